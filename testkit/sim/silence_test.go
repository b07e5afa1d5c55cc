package sim

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/ingest"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
)

// withoutSegments is a network on which heartbeats go through, and segments do not.
func withoutSegments(ingest http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/segments/") {
			http.Error(w, "no way", http.StatusBadGateway)
			return
		}
		ingest.ServeHTTP(w, r)
	})
}

// Two agents feed a new view. The one that leads cannot send, while its heartbeats go through: the other takes over, and the view
// can be read. The clock is the bubble's.
func TestAgentThatCannotSendHandsOver(t *testing.T) {
	warm(t)
	synctest.Test(t, func(t *testing.T) {
		st := NewStore(time.Now)
		keys, err := access.New(access.Options{Static: []access.Static{{Key: "key", Record: access.Record{Name: "test", Roles: []access.Role{access.Admin}, Views: access.AllViews}}}})
		if err != nil {
			t.Fatal(err)
		}
		i, err := ingest.New(ingest.Options{Store: st, Authenticator: keys, AnswerAtOnce: true})
		if err != nil {
			t.Fatal(err)
		}
		compact, err := compactor.New(compactor.Options{Store: st})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var work sync.WaitGroup
		server, began := NewServer(func() int64 { return time.Now().UnixNano() }), time.Now()
		start := func(name string, through http.Handler) *agent.Agent {
			m := server.Mount(rand.New(rand.NewPCG(1, uint64(len(name)))))
			if name == "first" {
				for k := range 20 {
					if err := m.Mkdir(fmt.Sprintf("/dir%d", k)); err != nil {
						t.Fatal(err)
					}
				}
			}
			a, err := agent.New(agent.Options{
				Root: Root, View: "v", AgentID: name, APIKey: "key", ScanWorkers: 2, ThroughIngest: true,
				IngestURL: "http://ingest", IngestHTTP: send.Handler(through),
				Tuning: agent.Tuning{
					Clocks:   lease.Clocks{Boot: func() int64 { return int64(time.Since(began)) }, Wall: time.Now},
					System:   &System{Mount: m, Local: true, Step: func(string, string) error { return nil }},
					Notifier: func(string) (watch.Notifier, error) { return m.Notifier(1000, func() error { return nil }), nil },
				},
			})
			if err != nil {
				t.Fatal(err)
			}
			work.Go(func() { _ = a.Run(ctx) })
			return a
		}
		first := start("first", withoutSegments(i.Handler()))
		await(t, time.Minute, "the first agent leads", func() bool { return first.Status().Leader })
		second := start("second", i.Handler())

		ready := func() bool {
			if _, err := compact.Once(ctx, "v"); err != nil {
				t.Error(err)
			}
			m, _, err := manifest.Load(ctx, st, "v")
			return err == nil && m.Ready()
		}
		await(t, 10*time.Minute, "the view can be read", ready)
		if took := time.Since(began); took < 3*45*time.Second {
			t.Errorf("after %s already: the first agent had not had its three time-outs", took)
		}
		if !second.Status().Leader || second.Status().Term != 2 || first.Status().Leader {
			t.Errorf("the second agent: %+v", second.Status())
		}
		o, err := session.List(ctx, st, "v")
		if err != nil || len(o.Sessions) != 2 {
			t.Fatal(o, err)
		}
		old, led := byAgent(o, "first"), byAgent(o, "second")
		if !old.Lives || old.Leads || old.Silence == nil || old.Silence.Owes != session.OwesSegments || old.Silence.Term != 1 {
			t.Errorf("the first session: %+v, silence %+v", old, old.Silence)
		}
		time.Sleep(time.Hour)
		if o, err = session.List(ctx, st, "v"); err != nil || o.Term != 2 || o.Leader != led.Record.ID || byAgent(o, "second").Silence != nil {
			t.Errorf("an hour later: %+v, %v", o, err)
		}
		cancel()
		work.Wait()
	})
}

// await waits in the bubble's time, which does not pass while anybody works.
func await(t *testing.T, most time.Duration, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(most); !done(); time.Sleep(time.Second) {
		if time.Now().After(end) {
			t.Fatalf("not within %s: %s", most, what)
		}
	}
}

// byAgent is the session of an agent. Sessions of one moment are in no order.
func byAgent(o session.Overview, agent string) session.Status {
	i := slices.IndexFunc(o.Sessions, func(s session.Status) bool { return s.Record.Agent == agent })
	return o.Sessions[i]
}
