// Package explore runs a small concurrent program against object storage in every order in which the store may take its requests, with
// faults at every place, up to a budget. The program is the code that ships; only the store decides who goes next.
//
// A program is a few actors. Each request of an actor waits until the explorer lets it take effect; between two requests actors run freely,
// as nothing but the store connects them. At each step every actor either has a request that waits, or has ended. The explorer chooses one,
// and what becomes of it: it takes effect and is answered; or it takes effect and the answer is lost; or it is lost itself. Where the budget
// allows, time may pass instead. Depth first, it tries every choice, by running the program again from its beginning.
//
// Of orders that only differ in requests that do not touch each other, one is tried: of two such neighbours, both waiting at the same time,
// the one that came first. Nothing is left out by that: among the orders that are equal, the least has no such pair the other way round.
//
// Example: two actors that each read and then replace one object, without faults, are 2 + 4 orders; of two objects, one order.
package explore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/sessiontest"
	"github.com/fustor/fustor/testkit/sim"
)

// Options bound what is explored.
type Options struct {
	Lost  int             // how many requests or answers may be lost in one run
	Steps []time.Duration // times that may pass, in this order, each once, at any place
	// Random is how many orders are tried, taken at random; 0: all of them, one after the other.
	Random int
}

// World is what one run works on.
type World struct {
	Store store.Store // for what comes before and after the actors: its requests take effect at once
	Clock *sessiontest.Clock

	run *run
}

// Program sets a world up, starts actors by World.Go, and returns what must hold when they have ended.
type Program func(t *testing.T, w *World) (after func())

// Figures are what was explored.
type Figures struct {
	Runs, Requests, Longest int
	Whole                   bool // everything within the budget was tried
}

// errLost is what an actor hears of a request whose answer, or which itself, was lost.
var errLost = errors.New("connection reset")

// Explore runs a program in the orders that the options bound. What it finds wrong is told with the order in which it went wrong.
func Explore(t *testing.T, o Options, program Program) (f Figures) {
	t.Helper()
	var path []int
	for seed := uint64(0); ; seed++ {
		r := &run{bounds: o, path: path}
		if o.Random > 0 {
			r.random = rand.New(rand.NewPCG(seed, 1))
		}
		synctest.Test(t, func(t *testing.T) { r.whole(t, program) })
		if !r.same {
			f.Runs++
		}
		f.Requests += len(r.trace)
		f.Longest = max(f.Longest, len(r.trace))
		if t.Failed() {
			t.Logf("in this order:\n%s", strings.Join(r.trace, "\n"))
			return f
		}
		if o.Random > 0 {
			if f.Runs == o.Random {
				return f
			}
			continue
		}
		if path = r.next(); path == nil {
			f.Whole = true
			return f
		}
	}
}

// run is one run of the program.
type run struct {
	ctx    context.Context // of the actors
	over   chan struct{}   // closed at the end
	group  sync.WaitGroup
	bounds Options
	random *rand.Rand // nil: by path
	path   []int      // choices that are given; after them the first of all is taken
	taken  []int      // choices made
	among  []int      // of how many
	lost   int
	same   bool // another order has all of it
	passed int  // of Options.Steps
	trace  []string

	mu      sync.Mutex
	actors  []*actor
	waiting []*request // in the order of actors, and of an actor's requests
	last    *request   // the one that took effect last, if nothing else has happened since
}

type actor struct {
	number int
	name   string
	asked  int // requests so far
	ended  bool
}

type request struct {
	actor  *actor
	number int // of the actor
	kind   string
	key    string
	writes bool
	since  int // the step before which it came
	grant  chan fate
}

// fate is what becomes of a request.
type fate int

const (
	answered fate = iota
	answerLost
	requestLost
)

// whole sets up, runs and checks.
func (r *run) whole(t *testing.T, program Program) {
	cryptotest.SetGlobalRandom(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	r.ctx, r.over = ctx, make(chan struct{})
	defer func() { // of a run that is given up, all that waits
		cancel()
		close(r.over)
		r.group.Wait()
	}()
	clock := sessiontest.NewClock(time.Time{})
	w := &World{Store: sim.NewStore(clock.Now), Clock: clock, run: r}
	after := program(t, w)
	for r.settle(t) {
		options := r.options()
		if len(options) == 0 {
			r.same = true
			return
		}
		r.choose(t, w, options)
	}
	after()
}

// Go starts an actor, which has a store and a context of its own.
func (w *World) Go(t *testing.T, name string, act func(ctx context.Context, st store.Store)) {
	r := w.run
	a := &actor{number: len(r.actors), name: name}
	r.actors = append(r.actors, a)
	r.group.Go(func() {
		act(r.ctx, &gated{Store: w.Store, run: r, actor: a})
		r.mu.Lock()
		defer r.mu.Unlock()
		a.ended = true
	})
}

// option is a choice: a request and its fate, or time that passes.
type option struct {
	request *request
	fate    fate
}

// settle waits until every actor has ended or asks for something. It reports whether any still lives.
func (r *run) settle(t *testing.T) bool {
	for range 1000 {
		synctest.Wait()
		r.mu.Lock()
		idle, live := 0, 0
		for _, a := range r.actors {
			if a.ended {
				continue
			}
			live++
			if !slices.ContainsFunc(r.waiting, func(q *request) bool { return q.actor == a }) {
				idle++
			}
		}
		r.mu.Unlock()
		if idle == 0 {
			return live > 0
		}
		time.Sleep(100 * time.Millisecond) // it pauses before it tries again
	}
	t.Fatal("an actor waits for something else than the store")
	return false
}

// options are what may happen next. There are none where all that may follow is what another order has, too.
func (r *run) options() (all []option) {
	r.mu.Lock()
	defer r.mu.Unlock()
	slices.SortFunc(r.waiting, func(a, b *request) int { return order(a, b) })
	for _, q := range r.waiting {
		if r.last != nil && q.since < len(r.trace) && order(q, r.last) < 0 && !touch(q, r.last) {
			continue // the other way round is tried, and the same
		}
		all = append(all, option{q, answered})
		if r.lost < r.bounds.Lost {
			all = append(all, option{q, requestLost})
			if q.writes {
				all = append(all, option{q, answerLost})
			}
		}
	}
	if r.passed < len(r.bounds.Steps) {
		all = append(all, option{})
	}
	return all
}

// order does not depend on which of an actor's goroutines is faster.
func order(a, b *request) int {
	return cmp.Or(a.actor.number-b.actor.number, strings.Compare(a.key, b.key), strings.Compare(a.kind, b.kind), a.number-b.number)
}

// touch reports whether the order of two requests can be told from what they do. A listing touches all.
func touch(a, b *request) bool {
	return (a.writes || b.writes) && (a.key == b.key || a.kind == "list" || b.kind == "list")
}

// choose takes the next choice of the path, the first where it has no more, or any one at random.
func (r *run) choose(t *testing.T, w *World, all []option) {
	i := 0
	if r.random != nil {
		i = r.random.IntN(len(all))
	} else if len(r.taken) < len(r.path) {
		i = r.path[len(r.taken)]
	}
	if i >= len(all) {
		t.Fatalf("step %d had another choice before: the program does not repeat itself", len(r.taken))
	}
	r.taken, r.among = append(r.taken, i), append(r.among, len(all))
	o := all[i]
	if o.request == nil {
		d := r.bounds.Steps[r.passed]
		r.passed++
		r.last = nil
		r.trace = append(r.trace, fmt.Sprintf("%v pass", d))
		w.Clock.Advance(d)
		return
	}
	q := o.request
	r.mu.Lock()
	r.waiting = slices.DeleteFunc(r.waiting, func(x *request) bool { return x == q })
	r.last = q
	if o.fate != answered {
		r.lost++
		r.last = nil // a fault may be spent on one request or on another
	}
	r.trace = append(r.trace, fmt.Sprintf("%s: %s %s%s", q.actor.name, q.kind, q.key, [...]string{"", ", the answer is lost", ", which is lost"}[o.fate]))
	r.mu.Unlock()
	q.grant <- o.fate
}

// next is the path of the next run, nil if there is none.
func (r *run) next() []int {
	for i := len(r.taken) - 1; i >= 0; i-- {
		if r.taken[i]+1 < r.among[i] {
			return append(slices.Clone(r.taken[:i]), r.taken[i]+1)
		}
	}
	return nil
}

// gated is an actor's store.
type gated struct {
	store.Store
	run   *run
	actor *actor
}

// await waits for the explorer, and does what it says.
func (g *gated) await(ctx context.Context, kind, key string, writes bool, do func() error) error {
	g.run.mu.Lock()
	q := &request{actor: g.actor, number: g.actor.asked, kind: kind, key: key, writes: writes, since: len(g.run.trace), grant: make(chan fate, 1)}
	g.actor.asked++
	g.run.waiting = append(g.run.waiting, q)
	g.run.mu.Unlock()
	select {
	case f := <-q.grant:
		if f == requestLost {
			return errLost
		}
		if err := do(); f == answered {
			return err
		}
		return errLost
	case <-g.run.over: // also where the context cannot end, as what is undone must be
		return store.ErrDenied
	case <-ctx.Done():
		g.run.mu.Lock()
		g.run.waiting = slices.DeleteFunc(g.run.waiting, func(x *request) bool { return x == q })
		g.run.mu.Unlock()
		return ctx.Err()
	}
}

// Get implements store.Store.
func (g *gated) Get(ctx context.Context, key string) (o store.Object, err error) {
	err = g.await(ctx, "get", key, false, func() error { o, err = g.Store.Get(ctx, key); return err })
	return o, err
}

// GetUpTo implements store.Store.
func (g *gated) GetUpTo(ctx context.Context, key string, most int64) (o store.Object, err error) {
	err = g.await(ctx, "get", key, false, func() error { o, err = g.Store.GetUpTo(ctx, key, most); return err })
	return o, err
}

// GetIfChanged implements store.Store.
func (g *gated) GetIfChanged(ctx context.Context, key, etag string) (o store.Object, err error) {
	err = g.await(ctx, "get", key, false, func() error { o, err = g.Store.GetIfChanged(ctx, key, etag); return err })
	return o, err
}

// GetRange implements store.Store.
func (g *gated) GetRange(ctx context.Context, key string, off, n int64) (body []byte, err error) {
	err = g.await(ctx, "get", key, false, func() error { body, err = g.Store.GetRange(ctx, key, off, n); return err })
	return body, err
}

// Put implements store.Store.
func (g *gated) Put(ctx context.Context, key string, body []byte) (m store.Meta, err error) {
	err = g.await(ctx, "put", key, true, func() error { m, err = g.Store.Put(ctx, key, body); return err })
	return m, err
}

// Create implements store.Store.
func (g *gated) Create(ctx context.Context, key string, body []byte) (m store.Meta, err error) {
	err = g.await(ctx, "create", key, true, func() error { m, err = g.Store.Create(ctx, key, body); return err })
	return m, err
}

// Replace implements store.Store.
func (g *gated) Replace(ctx context.Context, key string, body []byte, etag string) (m store.Meta, err error) {
	err = g.await(ctx, "replace", key, true, func() error { m, err = g.Store.Replace(ctx, key, body, etag); return err })
	return m, err
}

// Delete implements store.Store.
func (g *gated) Delete(ctx context.Context, key string) error {
	return g.await(ctx, "delete", key, true, func() error { return g.Store.Delete(ctx, key) })
}

// List implements store.Store.
func (g *gated) List(ctx context.Context, prefix, after string, limit int) (p store.Page, err error) {
	err = g.await(ctx, "list", prefix, false, func() error { p, err = g.Store.List(ctx, prefix, after, limit); return err })
	return p, err
}
