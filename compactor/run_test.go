package compactor

import (
	"context"
	"crypto/rand"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fustor/fustor/internal/admin"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/sim"
)

// TestNewViewsAreSeenInSecondsAlways: a compactor that has run for hours looks into a view within seconds of its making, by an
// administrator or by its first session; and at rest it makes no more LISTs than one a minute.
func TestNewViewsAreSeenInSecondsAlways(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counted := store.Count(sim.NewStore(time.Now))
		c, err := New(Options{Store: counted})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- c.Run(ctx) }()
		defer func() {
			cancel()
			<-ended
			synctest.Wait()
		}()
		sees := func(view string) bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.views[view] != nil
		}
		rest := func() {
			t.Helper()
			before := counted.Counts()
			time.Sleep(3 * time.Hour)
			if n := counted.Counts().Sub(before).List; n > 3*60+2 { // two are its first
				t.Errorf("%d LISTs in three hours at rest", n)
			}
		}
		administrator, err := admin.New(admin.Options{Store: counted, Now: time.Now, Random: rand.Reader})
		if err != nil {
			t.Fatal(err)
		}
		for _, made := range []struct {
			view string
			by   func(view string) error
		}{
			{"created", func(view string) error {
				_, err := administrator.CreateView(ctx, view, nil)
				return err
			}},
			{"by-its-first-session", func(view string) error {
				_, err := c.ledger.Create(ctx, session.Application{View: view, Task: "a", Agent: "a", TimeoutSeconds: 3600})
				return err
			}},
		} {
			rest()
			if err := made.by(made.view); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Second)
			if !sees(made.view) {
				t.Errorf("view %s is not seen after five seconds", made.view)
			}
		}
		rest()
		// Earlier versions do not ring.
		if err := viewconfig.Save(ctx, counted, viewconfig.Default("configured")); err != nil {
			t.Fatal(err)
		}
		if _, err := counted.Put(ctx, "views/old/roster.json", []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute + 5*time.Second)
		if !sees("old") {
			t.Error("a view that did not ring is not seen after a minute")
		}
		if sees("bell.json") {
			t.Error("the bell is taken for a view")
		}
		if _, err := administrator.CreateView(ctx, "all", []byte(`{"members":["created"]}`)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Second)
		if sees("all") {
			t.Error("a forest, which never has anything to fold, has a worker")
		}
	})
}
