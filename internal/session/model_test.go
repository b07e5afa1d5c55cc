package session_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/testkit/fault"
)

// TestLeaseLaws plays random histories of sessions on several processes, one step at a time, against what a session
// may expect: its life is over only after its silence or its end, and the leader is the one that holds the newest term.
func TestLeaseLaws(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(t, 3, rapid.SampledFrom([]time.Duration{1, time.Second}).Draw(rt, "resolution"))
		type member struct {
			id    string
			spoke time.Time // last proof of life that was written for sure
			ended bool
			pause bool
		}
		var members []*member
		leader, term := "", uint64(0)
		note := func(id string, st session.State) {
			if st.Term < term {
				rt.Fatalf("%s was told term %d after term %d", id, st.Term, term)
			}
			if st.Leads && st.Term == term && leader != "" && leader != id {
				rt.Fatalf("term %d has the leaders %s and %s", term, leader, id)
			}
			if term = st.Term; st.Leads {
				leader = id
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"create": func(rt *rapid.T) {
				if len(members) > 8 {
					rt.Skip()
				}
				st := w.create(w.ledgers[rapid.IntRange(0, 2).Draw(rt, "ledger")], fmt.Sprint("task", len(members)))
				members = append(members, &member{id: st.Record.ID, spoke: w.clock.Now()})
				note(st.Record.ID, st)
			},
			"wait": func(rt *rapid.T) {
				w.clock.Advance(time.Duration(rapid.IntRange(1, 14_000).Draw(rt, "ms")) * time.Millisecond)
			},
			"restart": func(rt *rapid.T) {
				w.ledgers[rapid.IntRange(0, 2).Draw(rt, "ledger")] = w.newLedger()
			},
			"end": func(rt *rapid.T) {
				if len(members) == 0 {
					rt.Skip()
				}
				m := rapid.SampledFrom(members).Draw(rt, "member")
				if err := w.ledgers[rapid.IntRange(0, 2).Draw(rt, "ledger")].End(w.ctx, view, m.id, session.Closed); err != nil {
					rt.Fatal(err)
				}
				m.ended = true
			},
			"beat": func(rt *rapid.T) {
				if len(members) == 0 {
					rt.Skip()
				}
				m := rapid.SampledFrom(members).Draw(rt, "member")
				silent := w.clock.Now().Sub(m.spoke)
				m.pause = rapid.IntRange(0, 3).Draw(rt, "paused") == 0
				st, err := w.ledgers[rapid.IntRange(0, 2).Draw(rt, "ledger")].Beat(w.ctx, view, m.id, session.Beat{Paused: m.pause})
				if st.Leads && m.pause {
					rt.Fatalf("%s is paused and leads", m.id)
				}
				if !st.Leads && leader == m.id && err == nil {
					leader = "" // it gave up the lease; its term goes to nobody else
				}
				switch gone := errors.Is(err, session.ErrGone); {
				case err != nil && !gone:
					rt.Fatal(err)
				case gone && !m.ended && silent < 29*time.Second:
					rt.Fatalf("%s is gone after a silence of %s", m.id, silent)
				case !gone && m.ended:
					rt.Fatalf("%s has ended and lives", m.id)
				case gone:
					m.ended = true
				default:
					note(m.id, st)
					if silent >= 29*time.Second/4 {
						m.spoke = w.clock.Now()
					}
				}
			},
			"": func(rt *rapid.T) {
				w.terms.verify(t)
				if t.Failed() {
					rt.Fatal("the lease's laws are broken")
				}
			},
		})
	})
}

// TestLawsHoldOnABadStore races heartbeats, ends and creates while requests and answers get lost.
func TestLawsHoldOnABadStore(t *testing.T) {
	t.Parallel()
	terms := 0
	for seed := range uint64(4) {
		w := newWorld(t, 0, time.Second)
		bad := fault.New(w.store, fault.Seeded(seed, fault.Rates{Lost: .03, LostBack: .1, Error: .03, Conflict: .1}))
		var ledgers []*session.Ledger
		for range 4 {
			ledgers = append(ledgers, ledgerOn(t, bad, w.clock))
		}
		parallel(8, func(i int) {
			id := ""
			for step := range 30 {
				l := ledgers[(i+step)%4]
				if i == 0 {
					w.clock.Advance(9 * time.Second)
				}
				if id == "" {
					if st, err := l.Create(w.ctx, session.Application{View: view, Task: fmt.Sprint(i, step), TimeoutSeconds: 30}); err == nil {
						id = st.Record.ID
					}
					continue
				}
				if step%5 == i%5 {
					_ = l.End(w.ctx, view, id, session.Closed) // may fail, as the store does
					id = ""
				} else if _, err := l.Beat(w.ctx, view, id, session.Beat{}); errors.Is(err, session.ErrGone) {
					id = ""
				}
			}
		})
		w.terms.verify(t)
		t.Logf("seed %d: %d terms", seed, len(w.terms.holders))
		terms += len(w.terms.holders)
	}
	if terms < 12 {
		t.Errorf("only %d terms under all seeds; the test tests nothing", terms)
	}
}
