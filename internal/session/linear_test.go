package session_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/testkit/fault"
	"github.com/fustor/fustor/testkit/leasemodel"
)

// history is what clients did, by a clock that only says what came before what.
type history struct {
	mu  sync.Mutex
	ops []porcupine.Operation
	now atomic.Int64
}

func (h *history) record(client int, in leasemodel.Input, do func() (string, session.State, error)) (string, session.State, error) {
	call := h.now.Add(1)
	id, st, err := do()
	if in.Session == "" {
		in.Session = id
	}
	o := leasemodel.Output{Leads: st.Leads, Term: st.Term}
	end := h.now.Add(1)
	switch {
	case errors.Is(err, session.ErrGone):
		o = leasemodel.Output{Gone: true}
	case err != nil:
		// Nobody knows whether it was done, or will be.
		o, end = leasemodel.Output{Unknown: true}, 1<<40
		if in.Session == "" {
			in.Session = fmt.Sprint("unknown ", call)
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, porcupine.Operation{ClientId: client, Input: in, Output: o, Call: call, Return: end})
	return id, st, err
}

// belief is what a session believes of its lease, and by which clocks.
type belief struct {
	hold   lease.Hold
	clocks lease.Clocks
}

// Histories of many sessions over a store that loses requests and answers, with clients that stand still for longer than the
// lease and whose wall clocks are set, are linearizable: never two leaders of one term, and no term but the next one. And nobody
// still takes itself for the leader when another has taken over. In the calm ones of them sessions live for long enough to get
// nothing done for three time-outs, so that leaders have to yield.
func TestLeaseHistoriesAreLinearizable(t *testing.T) {
	leaders, unknown := 0, 0
	var paused, yielded atomic.Int32
	for seed := range uint64(36) {
		calm, calls, pause := seed >= 24, 14, 4000 // ms
		rates := fault.Rates{Lost: 0.01, LostBack: 0.02, Error: 0.02, Conflict: 0.05}
		if calm { // of more unknown answers in so many calls the check would not come to an end
			calls, pause, rates = 80, 2000, fault.Rates{LostBack: 0.002, Conflict: 0.05}
		}
		w := newWorld(t, 0, time.Second)
		h := &history{}
		var mu sync.Mutex
		holds := map[string]belief{}
		var wg sync.WaitGroup
		const clients = 4
		rounds := make([]sync.WaitGroup, calls)
		for n := range rounds {
			rounds[n].Add(clients)
		}
		for c := range clients {
			l := ledgerOn(t, fault.New(w.store, fault.Seeded(seed*10+uint64(c), rates)), w.clock)
			random := rand.New(rand.NewPCG(seed, uint64(c)))
			var set atomic.Int64 // by how much this client's wall clock is off
			clocks := lease.Clocks{
				Boot: func() int64 { return w.clock.Now().UnixNano() },
				Wall: func() time.Time { return w.clock.Now().Add(time.Duration(set.Load())) },
			}
			wg.Go(func() {
				id, leads, led := "", false, uint64(0) // the term in which it was told last that it leads
				for n := range calls {
					if calm { // none runs ahead, and with the clock away from the others' leases
						rounds[n].Done()
						rounds[n].Wait()
					}
					w.clock.Advance(time.Duration(random.IntN(pause)) * time.Millisecond)
					if !calm && random.IntN(12) == 0 {
						w.clock.Advance(40 * time.Second) // it stands still
					}
					if random.IntN(8) == 0 {
						set.Store(random.Int64N(int64(2*time.Hour)) - int64(time.Hour))
					}
					start := clocks.Now()
					var st session.State
					var err error
					switch {
					case id == "":
						id, st, err = h.record(c, leasemodel.Input{Kind: "create"}, func() (string, session.State, error) {
							st, err := l.Create(w.ctx, session.Application{View: view, Task: fmt.Sprint(c, " ", n), Agent: "a", TimeoutSeconds: 30})
							return st.Record.ID, st, err
						})
					case !calm && random.IntN(10) == 0:
						old := id
						mu.Lock() // who ends its session has stopped to lead
						delete(holds, old)
						mu.Unlock()
						_, _, _ = h.record(c, leasemodel.Input{Kind: "end", Session: old}, func() (string, session.State, error) {
							return old, session.State{}, l.End(w.ctx, view, old, session.Closed)
						})
						id = ""
						continue
					case !calm && random.IntN(6) == 0:
						mu.Lock() // who pauses has stopped to lead
						delete(holds, id)
						mu.Unlock()
						_, st, err = h.record(c, leasemodel.Input{Kind: "pause", Session: id}, func() (string, session.State, error) {
							st, err := l.Beat(w.ctx, view, id, session.Beat{Paused: true})
							return id, st, err
						})
						if err == nil {
							paused.Add(1)
						}
					default:
						works, kind := idle(), "beat"
						if calm && led != 0 { // who leads gets nothing done
							works, kind = session.Beat{AgentStatus: blocked(0)}, "blocked"
						}
						_, st, err = h.record(c, leasemodel.Input{Kind: kind, Session: id}, func() (string, session.State, error) {
							st, err := l.Beat(w.ctx, view, id, works)
							return id, st, err
						})
						if err == nil && calm && leads && !st.Leads && st.Term == led {
							yielded.Add(1)
						}
					}
					if err == nil {
						leads = st.Leads
					}
					if err == nil && leads {
						led = st.Term
					}
					mu.Lock()
					if err == nil && st.Leads && st.Renewed {
						holds[id] = belief{lease.Hold{Term: st.Term, Start: start, TTL: st.Record.Timeout()}, clocks}
					}
					if err == nil && st.Leads {
						for other, its := range holds {
							if other != id && its.hold.Term < st.Term && its.hold.Left(its.clocks.Now()) > 0 {
								t.Errorf("seed %d: %s leads in term %d, and %s still takes itself for the leader of term %d", seed, id, st.Term, other, its.hold.Term)
							}
						}
					}
					mu.Unlock()
					if errors.Is(err, session.ErrGone) || err != nil && id == "" {
						id = ""
					}
				}
			})
		}
		wg.Wait()
		w.terms.verify(t)
		for _, op := range h.ops {
			o := op.Output.(leasemodel.Output)
			if o.Leads {
				leaders++
			}
			if o.Unknown {
				unknown++
			}
		}
		if got := porcupine.CheckOperationsTimeout(leasemodel.Model, h.ops, 5*time.Minute); got != porcupine.Ok {
			t.Fatalf("seed %d: a history of %d calls is not linearizable: %s", seed, len(h.ops), got)
		}
	}
	t.Logf("%d answers of leaders, %d unknown ones, %d of paused ones, %d of leaders that yielded", leaders, unknown, paused.Load(), yielded.Load())
	if leaders < 50 || unknown < 10 || paused.Load() < 50 || yielded.Load() < 5 {
		t.Fatal("the histories prove little")
	}
}

// The check finds what it is for.
func TestTwoLeadersOfOneTermAreFound(t *testing.T) {
	op := func(call, end int64, kind, id string, leads bool, term uint64) porcupine.Operation {
		return porcupine.Operation{Call: call, Return: end, Input: leasemodel.Input{Kind: kind, Session: id}, Output: leasemodel.Output{Leads: leads, Term: term}}
	}
	good := []porcupine.Operation{op(1, 2, "create", "a", true, 1), op(3, 4, "create", "b", false, 1), op(5, 8, "beat", "b", true, 2), op(6, 7, "beat", "a", true, 1)}
	if !porcupine.CheckOperations(leasemodel.Model, good) {
		t.Fatal("a history that can be is refused")
	}
	yields := append(slices.Clone(good), op(9, 10, "blocked", "b", true, 2), op(11, 12, "beat", "a", false, 2), op(13, 14, "blocked", "b", false, 2))
	if !porcupine.CheckOperations(leasemodel.Model, append(slices.Clone(yields), op(15, 16, "beat", "a", true, 3))) {
		t.Fatal("a leader may not yield")
	}
	for name, bad := range map[string]porcupine.Operation{
		"one that has yielded and leads on":     op(15, 16, "blocked", "b", true, 2),
		"two leaders, as one of them yielded":   op(15, 16, "beat", "a", true, 2),
		"a term left out, as its leader yields": op(15, 16, "beat", "a", true, 4),
	} {
		if porcupine.CheckOperations(leasemodel.Model, append(slices.Clone(yields), bad)) {
			t.Errorf("%s: not found", name)
		}
	}
	for name, bad := range map[string]porcupine.Operation{
		"one that yields to nobody":               op(9, 10, "blocked", "b", false, 2),
		"two leaders of one term":                 op(9, 10, "beat", "a", true, 2),
		"a term that nobody had before":           op(9, 10, "beat", "a", true, 4),
		"a leader of a term that is over":         op(9, 10, "beat", "a", true, 1),
		"one that is paused and leads":            op(9, 10, "pause", "b", true, 2),
		"one that is paused and takes the lease":  op(9, 10, "pause", "a", true, 3),
		"a leader that is told that it follows":   op(9, 10, "beat", "b", false, 2),
		"a follower that hears of a future term":  op(9, 10, "beat", "a", false, 3),
		"a session that is new, in an old term":   op(9, 10, "create", "c", true, 2),
		"a leader's first term, another's second": op(9, 10, "beat", "b", true, 1),
	} {
		if porcupine.CheckOperations(leasemodel.Model, append(slices.Clone(good), bad)) {
			t.Errorf("%s: not found", name)
		}
	}
}
