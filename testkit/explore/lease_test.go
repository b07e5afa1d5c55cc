package explore

import (
	"context"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/cases"
	"github.com/fustor/fustor/testkit/sessiontest"
)

const (
	view = "v"
	ttl  = 30 * time.Second
)

// reign is what a session may take itself for: the leader, from the answer on until its hold is over.
type reign struct {
	session     string
	from, until time.Time
}

// court sees every write of a lease, and every answer to those who would lead.
type court struct {
	t       *testing.T
	w       *World
	holders map[uint64]string
	reigns  []reign
}

func newCourt(t *testing.T, w *World) *court {
	c := &court{t: t, w: w, holders: map[uint64]string{}}
	w.Store = sessiontest.New(w.Store, w.Clock, time.Second, c.see)
	return c
}

// see holds a write of the lease against the one before.
func (c *court) see(key string, old, written []byte, age time.Duration) {
	if key != layout.Lease(view) {
		return
	}
	before, after := c.lease(old), c.lease(written)
	switch {
	case after.Term == before.Term:
		if after.Session != before.Session && after.Session != "" {
			c.t.Errorf("term %d goes from %s to %s", after.Term, before.Session, after.Session)
		}
	case after.Term != before.Term+1:
		c.t.Errorf("term %d after %d", after.Term, before.Term)
	case before.Session != "" && age <= ttl-time.Second:
		c.t.Errorf("%s takes the lease of %s after %s", after.Session, before.Session, age)
	}
	if after.Session == "" {
		return
	}
	if holder, known := c.holders[after.Term]; known && holder != after.Session {
		c.t.Errorf("term %d has two holders, %s and %s", after.Term, holder, after.Session)
	}
	c.holders[after.Term] = after.Session
}

func (c *court) lease(body []byte) (v session.Lease) {
	if body == nil {
		return v
	}
	plain, err := seal.Open(layout.Lease(view), body)
	if err == nil {
		err = json.Unmarshal(plain, &v)
	}
	if err != nil {
		c.t.Error(err)
	}
	return v
}

// ledger is that of a process of its own, which has this name.
func (c *court) ledger(name string, st store.Store) *session.Ledger {
	clock := store.NewClock(c.w.Clock.Now)
	l, err := session.NewLedger(clock.Watch(st), clock, bytesOf{rand.New(rand.NewPCG(1, xxhash.Sum64String(name)))})
	if err != nil {
		c.t.Error(err)
	}
	return l
}

type bytesOf struct{ r *rand.Rand }

func (b bytesOf) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(b.r.Uint32())
	}
	return len(p), nil
}

// told takes in an answer to a call that began at start.
func (c *court) told(start time.Time, s session.State, err error) {
	if err != nil || !s.Leads || !s.Renewed {
		return
	}
	hold := lease.Hold{Term: s.Term, Start: lease.Instant{Boot: start.UnixNano(), Wall: start.UnixNano()}, TTL: ttl}
	now := c.w.Clock.Now()
	left := hold.Left(lease.Instant{Boot: now.UnixNano(), Wall: now.UnixNano()})
	if left <= 0 {
		return
	}
	mine := reign{s.Record.ID, now, now.Add(left)}
	for _, r := range c.reigns {
		if r.session != mine.session && r.from.Before(mine.until) && mine.from.Before(r.until) {
			c.t.Errorf("%s leads from %s to %s, and %s from %s to %s", r.session, r.from, r.until, mine.session, mine.from, mine.until)
		}
	}
	c.reigns = append(c.reigns, mine)
}

func (c *court) create(ctx context.Context, l *session.Ledger, name string) (session.State, error) {
	start := c.w.Clock.Now()
	s, err := l.Create(ctx, session.Application{View: view, Task: name, Agent: name, TimeoutSeconds: ttl.Seconds()})
	c.told(start, s, err)
	return s, err
}

func (c *court) beat(ctx context.Context, l *session.Ledger, id string) (session.State, error) {
	start := c.w.Clock.Now()
	s, err := l.Beat(ctx, view, id, session.Beat{})
	c.told(start, s, err)
	return s, err
}

// goBeat starts an actor that beats once for a session.
func (c *court) goBeat(name, id string) {
	c.w.Go(c.t, name, func(ctx context.Context, st store.Store) { _, _ = c.beat(ctx, c.ledger(name, st), id) })
}

// end releases a session's hold first, as an agent does before it ends its session.
func (c *court) end(ctx context.Context, l *session.Ledger, id string) {
	now := c.w.Clock.Now()
	for i := range c.reigns {
		if r := &c.reigns[i]; r.session == id && now.Before(r.until) {
			r.until = now
		}
	}
	_ = l.End(ctx, view, id, session.Closed)
}

// settles has the sessions that live beat on for two time-outs: then one of them leads, and no other one.
func (c *court) settles(ids ...string) {
	ctx, l := c.t.Context(), c.ledger("later", c.w.Store)
	for range 8 {
		c.w.Clock.Advance(ttl / 4)
		for _, id := range ids {
			if _, err := c.beat(ctx, l, id); err != nil && !errors.Is(err, session.ErrGone) {
				c.t.Errorf("beat of %s: %v", id, err)
			}
		}
	}
	live, leads := 0, 0
	for _, id := range ids {
		if s, err := c.beat(ctx, l, id); err == nil {
			live++
			if s.Leads {
				leads++
			}
		}
	}
	if live > 0 && leads != 1 {
		c.t.Errorf("of %d sessions that live, %d lead", live, leads)
	}
}

// TestLeaseInEveryOrder: whatever the order and the fault, a term has one holder, terms follow each other, no two sessions take themselves for
// the leader at the same time, and in the end one leads.
func TestLeaseInEveryOrder(t *testing.T) {
	for _, c := range []struct {
		name    string
		options Options
		program Program
	}{
		{"two agents begin", Options{Lost: 1}, func(t *testing.T, w *World) func() {
			c := newCourt(t, w)
			var ids []string
			for _, name := range []string{"a", "b"} {
				w.Go(t, name, func(ctx context.Context, st store.Store) {
					if s, err := c.create(ctx, c.ledger(name, st), name); err == nil {
						ids = append(ids, s.Record.ID)
					}
				})
			}
			return func() { c.settles(ids...) }
		}},
		{"a lease that runs out", Options{Lost: 1, Steps: []time.Duration{ttl / 3}}, func(t *testing.T, w *World) func() {
			c, a, b := reigning(t, w)
			w.Clock.Advance(ttl / 3)
			c.goBeat("a", a)
			c.goBeat("b", b)
			return func() { c.settles(a, b) }
		}},
		{"three after it has run out", Options{}, func(t *testing.T, w *World) func() {
			c, a, b := reigning(t, w)
			w.Clock.Advance(2 * ttl / 3)
			c.goBeat("a", a)
			c.goBeat("b", b)
			third := ""
			w.Go(t, "c", func(ctx context.Context, st store.Store) {
				if s, err := c.create(ctx, c.ledger("c", st), "c"); err == nil {
					third = s.Record.ID
				}
			})
			return func() { c.settles(a, b, third) }
		}},
		{"a leader that ends", Options{Lost: 1}, func(t *testing.T, w *World) func() {
			c, a, b := reigning(t, w)
			w.Go(t, "a ends", func(ctx context.Context, st store.Store) { c.end(ctx, c.ledger("a", st), a) })
			c.goBeat("b", b)
			return func() { c.settles(a, b) }
		}},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "-"), func(t *testing.T) {
			explored(t, cases.Of(100), c.options, c.program)
		})
	}
}

// reigning is a view that a leads and b follows, the lease half a time-out old, and b's proof of life new.
func reigning(t *testing.T, w *World) (c *court, a, b string) {
	c = newCourt(t, w)
	l := c.ledger("before", w.Store)
	for _, name := range []string{"a", "b"} {
		s, err := c.create(t.Context(), l, name)
		if err != nil {
			t.Fatal(err)
		}
		a, b = b, s.Record.ID
	}
	w.Clock.Advance(ttl / 2)
	if _, err := c.beat(t.Context(), l, b); err != nil {
		t.Fatal(err)
	}
	return c, a, b
}
