package ingest

import (
	"net/http"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/session"
)

const (
	secret = "a-secret-of-an-agent"
	wrong  = "another-agent's-secret"
)

// TestSessionsAreHeld has somebody with a valid key for the view try each call in the name of another agent's session: nothing of it counts, and
// the session goes on as if nobody had tried. Sessions with a secret are held by that, all others by the key that made them.
func TestSessionsAreHeld(t *testing.T) {
	type caller struct{ key, secret string }
	for name, c := range map[string]struct {
		owner  caller
		others []caller
	}{
		"a secret": {caller{agentKey, secret}, []caller{{agentKey, ""}, {agentKey, wrong}, {manyKey, ""}, {manyKey, wrong}, {adminKey, ""}}},
		"a key":    {caller{agentKey, ""}, []caller{{manyKey, ""}, {manyKey, secret}, {adminKey, ""}}},
	} {
		for _, kind := range []string{"native", "v2"} {
			t.Run(name+", "+kind, func(t *testing.T) {
				f := newFixture(t, 2)
				const in = "?view=" + view
				body := `{"task_id":"a:p"}`
				if kind == "v2" {
					body = `{"task_id":"a:p","source_type":"fs"}`
				}
				send := func(c caller, n int, method, path, body string) answer {
					return f.sendAs(f.ingests[n], c.key, c.secret, method, path+in, []byte(body))
				}
				created := f.want(send(c.owner, 0, "POST", "/api/v1/pipe/session/", body), 200)
				id := created.text("session_id")
				path := "/api/v1/pipe/session/" + id
				bytes := string(segment(t, event.Header{View: view, Session: id, Seq: 0, Agent: "a"}))
				events := `{"session_id":"` + id + `","source_type":"message","events":[{"event_type":"delete","rows":[{"path":"/a"}]}]}`
				calls := [][3]string{
					{"POST", path + "/heartbeat", `{}`},
					{"POST", path + "/uploads", `{"from_seq":0,"count":1}`},
					{"PUT", path + "/segments/0", bytes},
					{"GET", path + "/commands", ``},
					{"POST", path + "/jobs/J", `{"state":"done"}`},
					{"POST", "/api/v1/pipe/ingest/" + id + "/events", events},
					{"DELETE", path, ``},
				}
				for _, other := range c.others {
					for _, call := range calls {
						if other.key == adminKey && call[0] == "DELETE" {
							continue // TestAdminsEndSessions
						}
						for n := range f.ingests { // one has seen the session, the other has not
							a := send(other, n, call[0], call[1], call[2])
							if a.status != 419 || !strings.Contains(a.text("detail"), "another agent's") {
								t.Errorf("%s %s as %v: %d %v", call[0], call[1], other, a.status, a.body)
							}
						}
					}
				}
				if _, err := f.store.Get(t.Context(), layout.Segment(view, id, 0)); err == nil {
					t.Error("somebody else's segment was stored")
				}
				beat := f.want(send(c.owner, 1, "POST", path+"/heartbeat", `{}`), 200)
				if beat.text("role") != "leader" {
					t.Errorf("the leader is %s", beat.text("role"))
				}
				for _, call := range calls {
					if a := send(c.owner, 1, call[0], call[1], call[2]); a.status == 419 {
						t.Errorf("%s %s of its own agent: %v", call[0], call[1], a.body)
					}
				}
			})
		}
	}
}

// TestAdminsEndSessions has an administrator, who knows no secret, end the session of an agent, and no more.
func TestAdminsEndSessions(t *testing.T) {
	f := newFixture(t, 2)
	const in = "?view=" + view
	send := func(key, secret, method, path string) answer {
		return f.sendAs(f.ingests[0], key, secret, method, path+in, []byte(`{}`))
	}
	created := f.want(f.sendAs(f.ingests[0], agentKey, secret, "POST", "/api/v1/pipe/session/"+in, []byte(`{"task_id":"a:p"}`)), 200)
	path := "/api/v1/pipe/session/" + created.text("session_id")
	f.want(send(manyKey, "", "DELETE", path), 419)
	f.want(send(agentKey, secret, "POST", path+"/heartbeat"), 200)
	f.want(send(adminKey, "", "DELETE", path), 200)
	f.want(send(agentKey, secret, "POST", path+"/heartbeat"), 419)
}

// TestSentinelOfAnother has somebody with a valid key say what the sentinel of the leader found.
func TestSentinelOfAnother(t *testing.T) {
	f := newFixture(t, 1)
	f.want(f.ask(0, "POST", "/api/v1/pipe/session/", `{"task_id":"a:p","source_type":"fs"}`), 200)
	found := []byte(`{"type":"suspect_update","updates":[{"path":"/a","mtime":1,"size":3,"status":"exists"}]}`)
	for key, wants := range map[string]int{manyKey: 0, agentKey: 1} {
		f.want(f.send(f.ingests[0], key, "POST", "/api/v1/pipe/consistency/sentinel/feedback?view="+view, found), 200)
		page, err := f.store.List(t.Context(), layout.View(view)+"segments/", "", 0)
		if err != nil || len(page.Items) != wants {
			t.Errorf("with %s there are %d segments, want %d (%v)", key, len(page.Items), wants, err)
		}
		for _, i := range page.Items {
			if err := f.store.Delete(t.Context(), i.Key); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestSecretsAreNotTold holds that the store has a hash alone, that a secret which could be guessed is refused, and that the sessions of
// earlier builds, which say nothing of whose they are, go on.
func TestSecretsAreNotTold(t *testing.T) {
	f := newFixture(t, 2)
	for _, bad := range []string{"short", strings.Repeat("x", session.MaxSecret+1)} {
		a := f.want(f.sendAs(f.ingests[0], agentKey, bad, "POST", "/api/v1/pipe/session/", []byte(`{"task_id":"a:p"}`)), http.StatusBadRequest)
		if !strings.Contains(a.text("detail"), pipeapi.SecretHeader) {
			t.Error(a.body)
		}
	}
	id := f.want(f.sendAs(f.ingests[0], agentKey, secret, "POST", "/api/v1/pipe/session/", []byte(`{"task_id":"a:p"}`)), 200).text("session_id")
	o, err := f.store.Get(t.Context(), layout.Session(view, id))
	if err != nil || strings.Contains(string(o.Body), secret) || !strings.Contains(string(o.Body), "secret_sha256") {
		t.Errorf("%s %v", o.Body, err)
	}
	if strings.Contains(f.log.String(), secret) {
		t.Error("the log has the secret")
	}
	record, err := session.Read(t.Context(), f.store, view, id)
	if err != nil {
		t.Fatal(err)
	}
	record.Secret, record.Key = "", ""
	for _, h := range []session.Holder{{}, {Key: "k"}, {Key: "k", Secret: secret}} {
		if !record.HeldBy(h) {
			t.Errorf("a session of an earlier build is not held by %v", h)
		}
	}
}
