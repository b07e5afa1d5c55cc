// Package v2rows makes segments of the rows that Fustor V2's agents send (internal/v2api; docs/v2.md).
//
// Realtime, snapshot and on-demand rows become one segment a request, durable before the answer. The rows of an audit come
// unordered, and what an audit did not see is gone: they are staged in the store, sorted, until the audit ends, and are then merged
// into listings (round.go). Everything is in the store; what a Rows remembers saves reads and decides nothing. A request that is
// repeated, or was cut off by a kill, changes nothing twice: its segment carries a name made of its body. Ingest is the only caller.
package v2rows

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/v2api"
)

// Options of a Rows. All but InRequest must be given.
type Options struct {
	Store  store.Store
	Ledger *session.Ledger
	Now    func() int64 // the store's time, ns
	// Measured is Now if the store has told its time within the last seconds, otherwise 0: this host's clock may have been set.
	Measured func() int64
	Random   io.Reader
	Logger   *slog.Logger
	// OnSegment hears of every segment that was written. It must not block.
	OnSegment func(view, session string, seq uint64, bytes int)
	// InRequest has an audit's end worked out within the request alone, for functions that stand still between two.
	InRequest bool
}

// Rows takes in what V2's agents send. It is safe for concurrent use, by any number of processes on one store.
type Rows struct {
	o        Options
	worker   string // names this process in a round
	segments segments
	finishes singleflight.Group
	mu       sync.Mutex
	resumed  map[string]int64 // by session: when a round that nobody finished was looked for
}

// New returns a Rows.
func New(o Options) (*Rows, error) {
	worker, err := nonce(o.Random)
	if err != nil {
		return nil, err
	}
	return &Rows{o: o, worker: worker, segments: segments{known: map[string]tail{}}, resumed: map[string]int64{}}, nil
}

func nonce(random io.Reader) (string, error) {
	var b [16]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", fmt.Errorf("make a nonce: %w", err)
	}
	return hex.EncodeToString(b[:]), nil
}

// Take takes in a batch of a session that lives; body is what it was decoded from. It returns the session's last segment with
// something of the batch, or -1. What is wrong with the batch is an *httpapi.Error, and nothing of it was taken.
func (r *Rows) Take(ctx context.Context, view, id string, batch *v2api.Batch, body []byte) (seq int64, err error) {
	evidence := event.Evidence(0)
	switch batch.Source {
	case v2api.Message, v2api.Realtime:
		evidence = event.Realtime
	case v2api.Snapshot:
		evidence = event.Snapshot
	case v2api.Audit:
		evidence = event.Audit
	case v2api.OnDemandJob:
		evidence = event.OnDemand
	default:
		return -1, httpapi.BadRequest(fmt.Sprintf("field \"source_type\" is %.50q", batch.Source), "message, snapshot, audit, on_demand_job, job_complete or config_report")
	}
	if err := each(batch, func(observation) error { return nil }); err != nil {
		return -1, httpapi.BadRequest("the batch is refused: "+err.Error(), "nothing of it was taken")
	}
	sum := sha256.Sum256(body)
	name := hex.EncodeToString(sum[:16])
	switch evidence {
	case event.Audit:
		return -1, r.audit(ctx, view, id, batch, name)
	case event.Snapshot:
		return r.snapshot(ctx, view, id, batch, name)
	}
	return r.now(ctx, view, id, batch, evidence, name)
}

// now is for rows that count at once: each is seen, or gone, as of the request.
func (r *Rows) now(ctx context.Context, view, id string, batch *v2api.Batch, evidence event.Evidence, name string) (int64, error) {
	record, err := r.o.Ledger.Alive(ctx, view, id)
	if err != nil {
		return -1, err
	}
	term, err := r.o.Ledger.Term(ctx, view)
	if err != nil {
		return -1, err
	}
	if count(batch) == 0 {
		return -1, nil
	}
	return r.write(ctx, segment{record: record, term: term, name: name, add: func(add adder, at int64) error {
		return addRows(add, batch, evidence, at)
	}})
}

// snapshot is for a snapshot's rows. A snapshot removes nothing, so that each row counts by itself and no round is owed to them;
// they count while their session leads.
func (r *Rows) snapshot(ctx context.Context, view, id string, batch *v2api.Batch, name string) (int64, error) {
	standing, err := r.o.Ledger.Standing(ctx, view, id)
	if err != nil {
		return -1, err
	}
	if !standing.Leads {
		r.o.Logger.Warn("rows of a snapshot came from a session that does not lead and were dropped", "view", view, "session", id)
		return -1, nil
	}
	rows := count(batch)
	before := r.segments.snapshot(view, id, standing.Term)
	if rows == 0 && (!batch.Ends() || before == snapshotEnded) { // its end comes twice
		return -1, nil
	}
	return r.write(ctx, segment{record: standing.Record, term: standing.Term, leads: true, name: name, add: func(add adder, at int64) error {
		if before != snapshotBegun {
			if err := add(mark(event.SnapshotBegin, at)); err != nil {
				return err
			}
		}
		if err := addRows(add, batch, event.Snapshot, at); err != nil || !batch.Ends() {
			return err
		}
		return add(mark(event.SnapshotEnd, at+int64(rows)+1))
	}, wrote: func() { r.segments.setSnapshot(view, id, standing.Term, batch.Ends()) }})
}

func mark(kind event.MarkKind, at int64) *event.Event {
	return &event.Event{Kind: event.Marked, Evidence: event.Snapshot, ObservedAt: at, Path: "/", Mark: event.Mark{Kind: kind}}
}

// Found takes in what a sentinel of the session that leads found, if it comes by whom that session is held: a look at single files. What it did not find any more is left
// to the kernel and to the next audit, as a look that lacks a name says nothing of why.
func (r *Rows) Found(ctx context.Context, view string, by session.Holder, feedback *v2api.Feedback, body []byte) error {
	batch := v2api.Batch{Source: v2api.Audit, Events: []v2api.Event{{Type: v2api.Update}}}
	for i := range feedback.Updates {
		u := &feedback.Updates[i]
		row, at := u.Row(), func() string { return fmt.Sprintf("updates[%d]", i) }
		path, err := row.Where(at)
		if err == nil {
			err = u.Check(at())
		}
		if err != nil {
			return httpapi.BadRequest("the feedback is refused: "+err.Error(), "nothing of it was taken")
		}
		if u.Status == v2api.Exists && u.Size.Given && path != "/" {
			batch.Events[0].Rows = append(batch.Events[0].Rows, row)
		}
	}
	leader, err := r.o.Ledger.Leader(ctx, view)
	if err != nil || leader.Dialect != session.V2 || !leader.HeldBy(by) || count(&batch) == 0 {
		return err
	}
	sum := sha256.Sum256(body)
	_, err = r.now(ctx, view, leader.ID, &batch, event.Audit, hex.EncodeToString(sum[:16]))
	return err
}

// count is how many rows a batch has.
func count(batch *v2api.Batch) (n int) {
	for i := range batch.Events {
		n += len(batch.Events[i].Rows)
	}
	return n
}

// observation is one row of a batch, checked.
type observation struct {
	row   *v2api.Row
	path  string
	entry event.Entry // of what is there
	gone  bool
}

// each calls f with every row of a batch that says something. The first value that nothing can mean is a *v2api.FieldError.
func each(batch *v2api.Batch, f func(observation) error) error {
	for i := range batch.Events {
		e := &batch.Events[i]
		switch e.Type {
		case v2api.Insert, v2api.Update, v2api.Delete:
		default:
			return &v2api.FieldError{Field: fmt.Sprintf("events[%d].event_type", i), Reason: fmt.Sprintf("is %.50q, not insert, update or delete", e.Type)}
		}
		for n := range e.Rows {
			o := observation{row: &e.Rows[n], gone: e.Type == v2api.Delete}
			at := place{i, n}
			var err error
			if o.path, err = o.row.Where(at.String); err != nil {
				return err
			}
			if told := o.row.ObservedAt; told.Given && told.Value < 1 {
				return &v2api.FieldError{Field: at.String() + ".observed_at_ns", Reason: "is not a time"}
			}
			if !o.gone {
				if o.entry, err = o.row.Entry(at.String, o.path); err != nil {
					return err
				}
			}
			if err := f(o); err != nil {
				return err
			}
		}
	}
	return nil
}

// addRows adds a batch's rows, the first observed at a time and each a nanosecond after the one before. Only the kernel tells
// of deletions: a look that did not find a path is no event, and an audit tells of it at its end.
func addRows(add adder, batch *v2api.Batch, evidence event.Evidence, at int64) error {
	return each(batch, func(o observation) error {
		at++
		ev := event.Event{Kind: event.Put, Evidence: evidence, ObservedAt: at, Path: o.path, Entry: o.entry,
			Atomic: !o.row.IsAtomicWrite.Given || o.row.IsAtomicWrite.Value}
		if told := o.row.ObservedAt; evidence == event.Realtime && told.Given {
			ev.ObservedAt = min(at, told.Value)
		}
		if o.gone {
			if evidence != event.Realtime || o.path == "/" {
				return nil
			}
			ev.Kind = event.Delete
		}
		return add(&ev)
	})
}

type place struct{ event, row int }

func (p place) String() string { return fmt.Sprintf("events[%d].rows[%d]", p.event, p.row) }

// age is how long ago something was, by the store's time.
func (r *Rows) age(at int64) time.Duration { return time.Duration(r.o.Now() - at) }
