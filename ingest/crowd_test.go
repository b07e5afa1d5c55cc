package ingest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/viewconfig"
)

// TestSessionsOfAKey begins sessions by one key until it has as many as it may: others begin theirs all the same, and the key may again once one
// of its own has ended. A key that begins and ends sessions all the time leaves half of the roster to others.
func TestSessionsOfAKey(t *testing.T) {
	f := newFixture(t, 2)
	config := viewconfig.Default(view)
	config.SessionsPerKey = 3
	if err := viewconfig.Save(t.Context(), f.store, config); err != nil {
		t.Fatal(err)
	}
	create := func(n int, key string, task int) answer {
		return f.send(f.ingests[n%2], key, "POST", "/api/v1/pipe/session/?view="+view, []byte(fmt.Sprintf(`{"task_id":"t%d"}`, task)))
	}
	var ids []string
	for n := range 3 {
		ids = append(ids, f.want(create(n, agentKey, n), 200).text("session_id"))
	}
	refused := f.want(create(0, agentKey, 3), http.StatusTooManyRequests)
	if !strings.Contains(refused.text("detail"), "3 live sessions") || !strings.Contains(refused.text("hint"), "--sessions-per-key") || refused.header.Get("Retry-After") == "" {
		t.Error(refused.body, refused.header)
	}
	f.want(create(1, manyKey, 4), 200)
	f.want(f.ask(1, "DELETE", "/api/v1/pipe/session/"+ids[1], ""), 200)
	f.want(create(0, agentKey, 3), 200)
	f.want(create(0, agentKey, 5), http.StatusTooManyRequests)
	f.clock.Advance(time.Hour) // all of them time out
	f.want(create(0, agentKey, 5), 200)
}

// TestEndedSessionsOfAKey fills half of a roster with sessions of a key that have ended.
func TestEndedSessionsOfAKey(t *testing.T) {
	f := newFixture(t, 1)
	ledger := f.ingests[0].ledger
	by := session.Holder{Key: "k"}
	st, err := ledger.Create(t.Context(), session.Application{View: view, Task: "a", TimeoutSeconds: 30, Holder: by})
	if err != nil {
		t.Fatal(err)
	}
	if err := ledger.End(t.Context(), view, st.Record.ID, session.Closed); err != nil {
		t.Fatal(err)
	}
	roster, meta, err := session.ReadRoster(t.Context(), f.store, view)
	if err != nil {
		t.Fatal(err)
	}
	entry := roster.Sessions[st.Record.ID]
	entry.Ended = true
	for n := range session.MaxSessions/2 - 1 {
		id, err := session.NewID(time.Unix(int64(n), 0), f.ingests[0].random)
		if err != nil {
			t.Fatal(err)
		}
		roster.Sessions[id] = entry
	}
	f.overwriteRoster(roster, meta)
	_, err = ledger.Create(t.Context(), session.Application{View: view, Task: "b", TimeoutSeconds: 30, Holder: by, OfKey: 512})
	if err == nil || !strings.Contains(err.Error(), "half of the 4096 sessions") {
		t.Error(err)
	}
	if _, err := ledger.Create(t.Context(), session.Application{View: view, Task: "b", TimeoutSeconds: 30, Holder: session.Holder{Key: "other"}, OfKey: 512}); err != nil {
		t.Error(err)
	}
}
