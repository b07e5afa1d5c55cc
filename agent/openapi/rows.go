package openapi

import (
	"encoding/json"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/agent/record"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/v2api"
)

// rows is the format of Fustor's own events call (v2api.Batch).
//
// What a snapshot or the kernel saw is sent as it comes. An audit is told by its rule: a directory that was reported and not
// skipped has the entries that were reported, and no others. So a directory counts as skipped until its whole listing is sent, and
// a subdirectory in a listing is skipped until its own listing says otherwise; of two rows of a path the later counts.
type rows struct{}

// round is the audit whose rows the session has sent, and not yet ended.
type round struct {
	open   bool // rows were sent
	marked bool // the agent has said that it begins: it will say that it ends
	// listed are the hashes of directories that were sent whole.
	listed map[uint64]struct{}
	// partial are directories that are listed by ranges of names, with where the next range begins.
	partial map[string]string
}

func (rows) name() string { return "Fustor's own events" }

func (f rows) write(s *segment, ev *event.Event) error {
	switch ev.Kind {
	case event.Put:
		row := rowOf(ev.Path, &ev.Entry)
		phase := phaseOf(ev.Evidence)
		if ev.Evidence == event.Realtime {
			row.IsAtomicWrite, row.ObservedAt = v2api.Of(ev.Atomic), v2api.Whole(ev.ObservedAt)
		} else if ev.Evidence == event.Audit { // a look at one path, which is no round
			phase = v2api.OnDemandJob
		}
		return s.row(phase, v2api.Update, ev, &row)
	case event.Delete:
		if ev.Evidence != event.Realtime {
			return nil
		}
		return s.row(v2api.Message, v2api.Delete, ev, &v2api.Row{Path: v2api.Text(ev.Path), ObservedAt: v2api.Whole(ev.ObservedAt)})
	case event.Listing:
		if ev.Evidence == event.Audit {
			return f.audited(s, ev)
		}
		return f.listed(s, ev)
	case event.Unchanged:
		if ev.Evidence != event.Audit {
			return nil
		}
		row := rowOf(ev.Path, &ev.Entry)
		row.AuditSkipped = v2api.Of(true)
		s.t.round.open = true
		return s.row(v2api.Audit, v2api.Update, ev, &row)
	case event.Marked:
		f.mark(s, ev)
	}
	return nil
}

func phaseOf(e event.Evidence) string {
	switch e {
	case event.Realtime:
		return v2api.Message
	case event.Snapshot:
		return v2api.Snapshot
	case event.Audit:
		return v2api.Audit
	}
	return v2api.OnDemandJob
}

func rowOf(path string, e *event.Entry) v2api.Row {
	_, name := event.Split(path)
	return v2api.Row{Path: v2api.Text(path), Name: v2api.Text(name), Size: v2api.Whole(e.Size), Modified: v2api.Seconds(e.MtimeNs),
		IsDirectory: v2api.Of(e.Type == event.Directory)}
}

// listed sends a listing whose rows count one by one.
func (rows) listed(s *segment, ev *event.Event) error {
	if ev.From == "" {
		row := rowOf(ev.Path, &ev.Entry)
		if err := s.row(phaseOf(ev.Evidence), v2api.Update, ev, &row); err != nil {
			return err
		}
	}
	return record.Each(&s.header, ev, func(subject *record.Subject) error {
		row := rowOf(subject.Path, subject.Entry)
		return s.row(phaseOf(ev.Evidence), v2api.Update, ev, &row)
	})
}

// audited sends a listing of an audit, or of a scan that repairs, which is told as an audit of its own.
func (rows) audited(s *segment, ev *event.Event) error {
	r := &s.t.round
	r.open = true
	whole := r.take(ev)
	own := rowOf(ev.Path, &ev.Entry)
	if ev.From == "" && !whole {
		own.AuditSkipped = v2api.Of(true)
		if err := s.row(v2api.Audit, v2api.Update, ev, &own); err != nil {
			return err
		}
		own.AuditSkipped = v2api.Bool{}
	}
	err := record.Each(&s.header, ev, func(subject *record.Subject) error {
		row := rowOf(subject.Path, subject.Entry)
		if subject.Entry.Type == event.Directory {
			if _, done := r.listed[xxhash.Sum64String(subject.Path)]; done {
				return nil
			}
			row.AuditSkipped = v2api.Of(true)
		}
		return s.row(v2api.Audit, v2api.Update, ev, &row)
	})
	if err != nil || !whole {
		return err
	}
	r.listed[xxhash.Sum64String(ev.Path)] = struct{}{}
	return s.row(v2api.Audit, v2api.Update, ev, &own)
}

// take takes in a listing, and reports whether with it the directory is listed whole.
func (r *round) take(ev *event.Event) (whole bool) {
	if r.listed == nil {
		r.listed, r.partial = map[uint64]struct{}{}, map[string]string{}
	}
	next, began := r.partial[ev.Path]
	delete(r.partial, ev.Path)
	if ev.From != "" && (!began || next != ev.From) {
		return false // a range is missing
	}
	if ev.To != "" {
		r.partial[ev.Path] = ev.To
	}
	return ev.To == ""
}

func (rows) mark(s *segment, ev *event.Event) {
	switch ev.Mark.Kind {
	case event.SnapshotEnd:
		s.end(v2api.Snapshot, ev)
	case event.AuditBegin:
		s.t.round.marked = true
		clear(s.t.round.partial) // of an audit that was broken off
	case event.AuditEnd:
		s.end(v2api.Audit, ev)
		s.t.round = round{}
	}
}

// finish ends the round of a scan that repairs, which has no marks of its own.
func (rows) finish(s *segment) error {
	r := &s.t.round
	if r.open && !r.marked && len(r.partial) == 0 {
		s.end(v2api.Audit, &event.Event{Kind: event.Marked, Evidence: event.Audit, ObservedAt: s.header.CreatedAt, Path: "/"})
		*r = round{}
	}
	s.flush()
	return nil
}

// row adds one row.
func (s *segment) row(phase, kind string, ev *event.Event, row *v2api.Row) error {
	b, err := json.Marshal(row)
	if err != nil {
		return err
	}
	subject := record.Subject{Header: &s.header, Event: ev, Path: string(row.Path)}
	s.add(phase, kind, subject.ID(), b, maxRows)
	return nil
}

func (rows) body(s *segment, b *batch) ([]byte, error) {
	head, err := json.Marshal(struct {
		Session string `json:"session_id"`
		Source  string `json:"source_type"`
		End     bool   `json:"is_end"`
	}{s.header.Session, b.phase, b.end})
	if err != nil {
		return nil, err
	}
	return slices.Concat(head[:len(head)-1], []byte(`,"events":[`), b.rows, []byte("]}")), nil
}

// jobDone says that an on-demand scan is complete.
func (rows) jobDone(session, job, path string) ([]byte, error) {
	return json.Marshal(struct {
		Session  string         `json:"session_id"`
		Source   string         `json:"source_type"`
		End      bool           `json:"is_end"`
		Events   []any          `json:"events"`
		Metadata v2api.Metadata `json:"metadata"`
	}{session, v2api.JobComplete, true, []any{}, v2api.Metadata{ScanPath: v2api.Text(path), Job: job}})
}
