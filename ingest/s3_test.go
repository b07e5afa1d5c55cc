//go:build unix

package ingest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/open"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/s3test"
	"github.com/fustor/fustor/testkit/wait"
)

// TestOnRealServers runs the life of sessions by the clocks of real S3 servers, whose Date has whole seconds.
func TestOnRealServers(t *testing.T) {
	if testing.Short() {
		t.Skip("needs servers that are built from source")
	}
	for name, start := range map[string]func(testing.TB) *s3test.Server{"minio": s3test.MinIO, "versitygw": s3test.Versitygw} {
		t.Run(name, func(t *testing.T) {
			server := start(t)
			for _, sdk := range []string{"s3", "minio"} {
				t.Run(sdk, func(t *testing.T) {
					t.Parallel()
					s, err := open.Open(context.Background(), server.URL(sdk, "p"+sdk))
					if err != nil {
						t.Fatal(err)
					}
					realLife(t, s)
				})
			}
		})
	}
}

// leaderTimeout is in seconds: long enough for the creation of all sessions, as the leader must live so long.
const leaderTimeout = 6

func realLife(t *testing.T, s store.Store) {
	ctx := context.Background()
	config := viewconfig.Default(view)
	config.SessionTimeoutSeconds = leaderTimeout
	if err := viewconfig.Save(ctx, s, config); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, 0)
	f.store = s
	// One of the two hosts has a clock that is five hours off, which must do no harm.
	off := func() time.Time { return time.Now().Add(-5 * time.Hour) }
	f.ingests = []*Ingest{f.newIngest(s, time.Now), f.newIngest(s, off)}

	paths := raceToCreate(f, 12)
	leader := paths[0]
	for n := range f.ingests {
		now := f.want(f.ask(n, "POST", leader+"/heartbeat", ""), 200).number("server_time_ns")
		if skew := time.Duration(now) - time.Duration(time.Now().UnixNano()); skew.Abs() > 1500*time.Millisecond {
			t.Errorf("process %d tells a time that is off by %s", n, skew)
		}
	}
	uploadBothWays(f, leader)
	takeOver(f, leader, paths[1:])
}

// raceToCreate makes n sessions at once; the leader's path comes first.
func raceToCreate(f *fixture, n int) []string {
	f.t.Helper()
	var mu sync.Mutex
	var group sync.WaitGroup
	var leaders, followers []string
	for k := range n {
		group.Go(func() {
			a := f.ask(k%2, "POST", "/api/v1/pipe/session", fmt.Sprintf(`{"task_id":"host%d","session_timeout_seconds":%d}`, k, leaderTimeout+60*min(k, 1)))
			mu.Lock()
			defer mu.Unlock()
			if a.status != 200 {
				f.t.Errorf("%v", a.body)
			} else if path := "/api/v1/pipe/session/" + a.text("session_id"); a.text("role") == "leader" {
				leaders = append(leaders, path)
			} else {
				followers = append(followers, path)
			}
		})
		if k == 0 {
			group.Wait() // the first one leads, with the short time-out
		}
	}
	group.Wait()
	if len(leaders) != 1 || len(followers) != n-1 {
		f.t.Fatalf("%d leaders, %d followers", len(leaders), len(followers))
	}
	return append(leaders, followers...)
}

// uploadBothWays sends segments by presigned PUTs and through the server.
func uploadBothWays(f *fixture, session string) {
	f.t.Helper()
	id := session[len("/api/v1/pipe/session/"):]
	f.want(f.ask(1, "POST", session+"/heartbeat", ""), 200)
	a := f.want(f.ask(1, "POST", session+"/uploads", `{"from_seq":0,"count":1}`), 200)
	upload := a.body["uploads"].([]any)[0].(map[string]any)
	for n, want := range []int{http.StatusOK, http.StatusPreconditionFailed} {
		body := segment(f.t, event.Header{View: view, Session: id, Nonce: rand.Text()})
		r, err := http.NewRequest(upload["method"].(string), upload["url"].(string), bytes.NewReader(body))
		if err != nil {
			f.t.Fatal(err)
		}
		for name, values := range upload["headers"].(map[string]any) {
			for _, v := range values.([]any) {
				r.Header.Add(name, v.(string))
			}
		}
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			f.t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != want {
			f.t.Errorf("presigned PUT number %d: %s, want %d", n+1, answer.Status, want)
		}
	}
	body := segment(f.t, event.Header{View: view, Session: id, Seq: 1})
	for n := range 2 {
		f.want(f.send(f.ingests[n], agentKey, "PUT", session+"/segments/1", body), 200)
	}
	f.want(f.send(f.ingests[0], agentKey, "PUT", session+"/segments/0", segment(f.t, event.Header{View: view, Session: id})), http.StatusConflict)
	if o, err := f.store.Get(context.Background(), layout.Segment(view, id, 1)); err != nil || !bytes.Equal(o.Body, body) {
		f.t.Errorf("%d bytes, %v", len(o.Body), err)
	}
}

// takeOver lets the leader fall silent and all followers ask at once, until one of them leads.
func takeOver(f *fixture, leader string, followers []string) {
	f.t.Helper()
	deadline := time.Now().Add(wait.Limit(30 * time.Second))
	for leaders := 0; leaders == 0; {
		if time.Now().After(deadline) {
			f.t.Fatal("nobody took over")
		}
		var mu sync.Mutex
		var group sync.WaitGroup
		for n, path := range followers {
			group.Go(func() {
				a := f.ask(n%2, "POST", path+"/heartbeat", "")
				mu.Lock()
				defer mu.Unlock()
				if a.status != 200 {
					f.t.Errorf("%v", a.body)
				} else if a.text("role") == "leader" {
					leaders++
					if a.number("term") != 2 {
						f.t.Errorf("term %v", a.number("term"))
					}
				}
			})
		}
		group.Wait()
		if leaders > 1 {
			f.t.Fatalf("%d leaders", leaders)
		}
	}
	for n := range f.ingests {
		f.want(f.ask(n, "POST", leader+"/heartbeat", ""), 419)
	}
}
