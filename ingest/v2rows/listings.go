package v2rows

import (
	"context"
	"fmt"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/values"
)

// Sizes; tests make them small.
var (
	// roundSegment is about how many rows of a round go into one segment.
	roundSegment = 32 << 10
	// pieceEntries is how many entries of one directory go into one listing; larger ones are listed by ranges of names.
	pieceEntries = 16 << 10
)

// roundWriter turns the rows of an audit, in order, into listings, and these into segments.
//
// The rule is V2's: a directory that was reported, and not skipped, has the entries that were reported and no others. All count as
// of the audit's beginning, so that what the kernel told since stands against them.
type roundWriter struct {
	rows   *Rows
	record session.Record
	held   *heldRound
	at     int64 // of the event before; each is a nanosecond later, but for the pieces of one listing

	events  []event.Event // of the segment at hand
	weight  int           // rows in them
	made    uint64        // segments so far
	dir     staged        // whose entries are at hand
	listing bool          // dir is to be listed
	path    string        // of dir
	entries []event.Entry
	from    string // where the listing at hand begins, by name
	mark    event.Mark
}

// write writes the whole round.
func (w *roundWriter) write(ctx context.Context, rows *mergedRuns) error {
	w.events = append(w.events, event.Event{Kind: event.Marked, Evidence: event.Audit, ObservedAt: w.at, Path: "/", Mark: event.Mark{Kind: event.AuditBegin}})
	for {
		s, ok, err := rows.next(ctx)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		if err := w.take(ctx, s); err != nil {
			return err
		}
	}
	w.flush("")
	w.mark.Kind = event.AuditEnd
	w.events = append(w.events, event.Event{Kind: event.Marked, Evidence: event.Audit, ObservedAt: max(w.at+1, w.held.Closed), Path: "/", Mark: w.mark})
	return w.cut(ctx)
}

// take takes the next row.
func (w *roundWriter) take(ctx context.Context, s staged) error {
	switch {
	case s.own:
		w.flush("")
		w.open(s)
	case w.path != "" && s.parent == childParent(w.path) && w.listing:
		w.count(&s)
		if len(w.entries) >= pieceEntries {
			w.flush(s.name)
		}
		w.entries = append(w.entries, s.entry(s.name))
	case !s.directory: // of a directory that was skipped, or not reported
		w.count(&s)
		w.add(event.Event{Kind: event.Put, Path: s.parent + s.name, Entry: s.entry(s.name), Atomic: true})
	}
	if w.weight >= roundSegment {
		return w.cut(ctx)
	}
	return nil
}

// open begins with the entries of a directory.
func (w *roundWriter) open(s staged) {
	w.path = "/"
	if s.parent != "/" {
		w.path = s.parent[:len(s.parent)-1]
	}
	w.dir, w.listing, w.from = s, !s.skipped, ""
	w.mark.Directories++
	if s.skipped {
		w.add(event.Event{Kind: event.Unchanged, Path: w.path, Entry: w.own()})
	}
}

func (w *roundWriter) own() event.Entry {
	_, name := event.Split(w.path)
	return w.dir.entry(name)
}

func (w *roundWriter) count(s *staged) {
	if !s.directory {
		w.mark.Files++
		w.mark.Bytes = uint64(values.Sum(int64(w.mark.Bytes), s.size))
	}
}

// flush lists what is at hand of a directory: the names before to, or all that are left.
func (w *roundWriter) flush(to string) {
	if w.listing {
		w.add(event.Event{Kind: event.Listing, Path: w.path, Entry: w.own(), Entries: w.entries, From: w.from, To: to})
	}
	w.entries, w.from, w.listing = nil, to, w.listing && to != ""
}

func (w *roundWriter) add(ev event.Event) {
	if ev.From == "" {
		w.at++
	}
	ev.Evidence, ev.ObservedAt = event.Audit, w.at
	w.events = append(w.events, ev)
	w.weight += 1 + len(ev.Entries)
}

// cut writes a segment of the events so far, unless that was done before this process took the round over.
func (w *roundWriter) cut(ctx context.Context) error {
	r, h, n := w.rows, w.held, w.made
	w.made++
	events := w.events
	w.events, w.weight = nil, 0
	if n < h.Segments {
		return nil
	}
	seq, err := r.write(ctx, segment{record: w.record, term: h.Term, leads: true, name: fmt.Sprintf("audit-%d-%d", h.Number, n),
		until: max(h.Closed, w.at+1), sought: true, from: h.Next, add: func(add adder, _ int64) error {
			for i := range events {
				if err := add(&events[i]); err != nil {
					return err
				}
			}
			return nil
		}})
	if err != nil {
		return err
	}
	next := h.round
	next.Segments, next.Next = n+1, uint64(seq)+1
	return r.replace(ctx, w.record.View, w.record.ID, h, next)
}
