package session_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/session"
)

// TestTermsTellTheirSessions has leaders take turns, by the end of the one before, by its time-out, and anew after a lease that is lost: each
// session may have had the terms that it was given, and no others, as far as the lease remembers.
func TestTermsTellTheirSessions(t *testing.T) {
	w := newWorld(t, 2, time.Second)
	type led struct {
		id    string
		began int64
	}
	had := map[uint64]led{}
	var all []led
	for n := range 40 {
		l := w.ledgers[n%2]
		st, err := l.Create(w.ctx, session.Application{View: view, Task: fmt.Sprint(n), TimeoutSeconds: 30})
		if err != nil || !st.Leads {
			t.Fatalf("session %d: %+v %v", n, st, err)
		}
		s := led{st.Record.ID, st.Record.CreatedAt}
		had[st.Term], all = s, append(all, s)
		if n%3 == 0 {
			w.clock.Advance(31 * time.Second)
		} else if err := l.End(w.ctx, view, st.Record.ID, session.Closed); err != nil {
			t.Fatal(err)
		}
		w.clock.Advance(10 * time.Minute) // longer than clocks may differ
	}
	terms, err := session.ReadTerms(w.ctx, w.store, view)
	if err != nil || terms.Newest != 40 {
		t.Fatal(terms, err)
	}
	for term := uint64(1); term <= 40; term++ {
		for _, s := range all {
			may := terms.MayHaveHad(s.id, s.began, term)
			if s == had[term] && !may {
				t.Errorf("session %s cannot have had its term %d", s.id, term)
			}
			if remembered := term > 8; s != had[term] && remembered && may {
				t.Errorf("session %s may have had term %d, which was %s's", s.id, term, had[term].id)
			}
			if late := s.began > had[9].began; term <= 8 && late && may {
				t.Errorf("session %s may have had term %d, which was over before it began", s.id, term)
			}
		}
	}
	if terms.MayHaveHad(all[0].id, all[0].began, 41) {
		t.Error("a session may have had a term that was not given")
	}
	if !(session.Terms{Newest: 7}).MayHaveHad("x", 1, 7) {
		t.Error("by the lease of an earlier build, a session cannot have led")
	}
}
