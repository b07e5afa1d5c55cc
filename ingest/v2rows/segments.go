package v2rows

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
)

const (
	// tailLife is for how long a process goes by where it last saw a session's segments end. It is far below every grace:
	// a segment that another process wrote since, and that was folded and removed, would be written a second time.
	tailLife = 5 * time.Minute
	// repeatLife is within what time the same body is the same request.
	repeatLife = 5 * time.Minute
	maxTails   = 10_000
)

// tail is where a session's segments end, as this process saw it last.
type tail struct {
	next uint64
	name string // of the segment before it
	made int64  // when that was made
	seen int64  // when this was found, the store's time; 0: it has to be looked for
	// observed is the last observation that this process wrote for the session.
	observed     int64
	staged       int64 // when this process last staged rows of an audit
	snapshotTerm uint64
	snapshot     snapshotState
}

// snapshotState is where a session's snapshot stands in its term. A process that does not know begins it again, which only
// moves the time at which it is said to have begun.
type snapshotState uint8

const (
	snapshotUnknown snapshotState = iota
	snapshotBegun
	snapshotEnded
)

// segments are the tails of sessions.
type segments struct {
	mu    sync.Mutex
	known map[string]tail
}

func (s *segments) get(view, id string) tail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known[view+"/"+id]
}

// change changes a session's tail. Beyond maxTails all are forgotten, which costs a look each.
func (s *segments) change(view, id string, f func(*tail)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.known) >= maxTails {
		clear(s.known)
	}
	t := s.known[view+"/"+id]
	f(&t)
	s.known[view+"/"+id] = t
}

func (s *segments) snapshot(view, id string, term uint64) snapshotState {
	if t := s.get(view, id); t.snapshotTerm == term {
		return t.snapshot
	}
	return snapshotUnknown
}

func (s *segments) setSnapshot(view, id string, term uint64, ended bool) {
	s.change(view, id, func(t *tail) {
		if t.snapshotTerm, t.snapshot = term, snapshotBegun; ended {
			t.snapshot = snapshotEnded
		}
	})
}

// adder takes one event into a segment.
type adder func(*event.Event) error

// segment is what is to be written as a session's next segment.
type segment struct {
	record session.Record
	term   uint64
	leads  bool
	// name says what it has, as the nonce of its header: a segment of that name is this one.
	name string
	// add adds its events, the first observed after at. It may be called more than once.
	add func(add adder, at int64) error
	// sought: another process may have written it some time ago, under a number from from on.
	sought bool
	from   uint64
	// until, if not 0, is the time of its last observation: its events have times of their own.
	until int64
	wrote func()
}

// write writes a segment and returns its number. Several processes may write for one session: each number is given by a
// create-only put, and whoever loses one takes the next, unless what is there has the same name.
func (r *Rows) write(ctx context.Context, s segment) (int64, error) {
	view, id := s.record.View, s.record.ID
	t, err := r.tail(ctx, view, id)
	if err != nil {
		return -1, err
	}
	if t.next > 0 && t.name == s.name && r.age(t.made) < repeatLife {
		return int64(t.next - 1), nil
	}
	if s.sought {
		if seq, found, err := r.find(ctx, s, t.next); err != nil || found {
			return int64(seq), err
		}
	}
	now, err := r.storeTime(ctx, view, id)
	if err != nil {
		return -1, err
	}
	at := max(now, t.observed+1)
	last := at
	for {
		body, err := r.encode(s, t.next, at, &last)
		if err != nil {
			return -1, err
		}
		_, err = store.Swap(ctx, r.o.Store, layout.Segment(view, id, t.next), body, "")
		if errors.Is(err, store.ErrLost) {
			h, err := r.header(ctx, view, id, t.next)
			if err != nil {
				return -1, err
			}
			t.next, t.name, t.made = t.next+1, h.Nonce, h.CreatedAt
			r.remember(view, id, t, 0)
			if h.Nonce == s.name {
				return int64(t.next - 1), nil
			}
			continue
		}
		if err != nil {
			r.segments.change(view, id, func(t *tail) { t.seen = 0 }) // it may have landed
			return -1, err
		}
		t.next, t.name, t.made = t.next+1, s.name, at
		r.remember(view, id, t, last)
		if s.wrote != nil {
			s.wrote()
		}
		r.o.OnSegment(view, id, t.next-1, len(body))
		return int64(t.next - 1), nil
	}
}

// storeTime is the store's time, ns, which a segment is stamped with. If this host's clock was set a moment ago, the store is asked
// anew: compactors refuse what seems to come from the future, and end its session.
func (r *Rows) storeTime(ctx context.Context, view, id string) (int64, error) {
	for range 3 {
		if now := r.o.Measured(); now != 0 {
			return now, nil
		}
		if _, err := r.o.Store.Get(ctx, layout.Session(view, id)); err != nil {
			return 0, fmt.Errorf("ask for the store's time: %w", err)
		}
	}
	return 0, errors.New("the store's time cannot be told: it answers too slowly, or this host's clock is being set")
}

// remember takes in where a session's segments end, unless something later is known.
func (r *Rows) remember(view, id string, found tail, observed int64) {
	now := r.o.Now()
	r.segments.change(view, id, func(t *tail) {
		t.observed = max(t.observed, observed)
		if found.next >= t.next || t.seen == 0 {
			t.next, t.name, t.made, t.seen = found.next, found.name, found.made, now
		}
	})
}

// tail finds where a session's segments end: beyond those that are folded, one listing tells.
func (r *Rows) tail(ctx context.Context, view, id string) (tail, error) {
	t := r.segments.get(view, id)
	if t.seen != 0 && r.age(t.seen) < tailLife {
		return t, nil
	}
	next := uint64(0)
	m, _, err := manifest.LoadRoot(ctx, r.o.Store, view)
	switch {
	case err == nil:
		next = m.Sessions[id].Next
	case !errors.Is(err, manifest.ErrNoHead):
		return t, fmt.Errorf("find the end of session %s: %w", id, err)
	}
	after := ""
	if next > 0 {
		after = layout.Segment(view, id, next-1)
	}
	err = eachAfter(ctx, r.o.Store, layout.Segments(view, id), after, func(i store.Item) {
		if _, _, seq, ok := layout.SplitSegment(i.Key); ok {
			next = max(next, seq+1)
		}
	})
	if err != nil {
		return t, fmt.Errorf("find the end of session %s: %w", id, err)
	}
	found := tail{next: next}
	if next > 0 {
		h, err := r.header(ctx, view, id, next-1)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return t, err
		}
		found.name, found.made = h.Nonce, h.CreatedAt
	}
	r.segments.change(view, id, func(t *tail) { t.seen = 0 })
	r.remember(view, id, found, 0)
	return r.segments.get(view, id), nil
}

// LastSegment is the number of a session's last segment; -1: it has none.
func (r *Rows) LastSegment(ctx context.Context, view, id string) (int64, error) {
	t, err := r.tail(ctx, view, id)
	return int64(t.next) - 1, err
}

// find looks for a segment by its name among those from s.from to next, the last not included.
func (r *Rows) find(ctx context.Context, s segment, next uint64) (seq uint64, found bool, err error) {
	for seq = s.from; seq < next; seq++ {
		h, err := r.header(ctx, s.record.View, s.record.ID, seq)
		if errors.Is(err, store.ErrNotFound) {
			continue // folded and removed
		}
		if err != nil || h.Nonce == s.name {
			return seq, err == nil, err
		}
	}
	return 0, false, nil
}

// header reads the header of a segment that is there.
func (r *Rows) header(ctx context.Context, view, id string, seq uint64) (event.Header, error) {
	key := layout.Segment(view, id, seq)
	o, err := r.o.Store.Get(ctx, key)
	if err != nil {
		return event.Header{}, fmt.Errorf("read segment %s: %w", key, err)
	}
	reader, err := event.NewReader(key, bytes.NewReader(o.Body), event.Limits{})
	if err != nil {
		return event.Header{}, err
	}
	return reader.Header(), nil
}

// encode writes the segment's bytes; last is set to its last observation.
func (r *Rows) encode(s segment, seq uint64, at int64, last *int64) ([]byte, error) {
	h := event.Header{View: s.record.View, Session: s.record.ID, Agent: s.record.Agent, Source: s.record.Source, Seq: seq, Term: s.term,
		CreatedAt: at, Nonce: s.name}
	if s.leads {
		h.LeaseUntil = max(at, s.until)
	}
	var b bytes.Buffer
	w, err := event.NewWriter(&b, h)
	if err != nil {
		return nil, err
	}
	err = s.add(func(ev *event.Event) error {
		*last = max(*last, ev.ObservedAt)
		return w.Add(ev)
	}, at)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("encode segment: %w", err)
	}
	return b.Bytes(), nil
}

// eachAfter calls f with every object of a prefix after a key.
func eachAfter(ctx context.Context, s store.Store, prefix, after string, f func(store.Item)) error {
	for {
		page, err := s.List(ctx, prefix, after, 0)
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		for _, item := range page.Items {
			f(item)
			after = item.Key
		}
		if !page.More || len(page.Items) == 0 {
			return nil
		}
	}
}
