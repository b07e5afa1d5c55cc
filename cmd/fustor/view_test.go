//go:build !reading

package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/query"
)

// serveView indexes a directory into the store in the work directory, as the parts do it, and serves it with the real
// query handler: the view "default" with the key "secret", $API is its URL.
func serveView(ts *testscript.TestScript, _ bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: view DIR")
	}
	st, err := local.Open(ts.MkAbs("store"))
	ts.Check(err)
	server, err := serveDirectory(context.Background(), st, ts.MkAbs(args[0]))
	ts.Check(err)
	ts.Defer(server.Close)
	ts.Setenv("API", server.URL)
}

// serveDirectory indexes a directory into a store and serves it: the view "default", with the key "secret".
func serveDirectory(ctx context.Context, st store.Store, dir string) (*httptest.Server, error) {
	if err := indexDirectory(ctx, st, dir); err != nil {
		return nil, err
	}
	if err := access.Register(ctx, st, "secret", access.Record{Name: "test", Roles: []access.Role{access.Query}, Views: access.Views{All: true}}); err != nil {
		return nil, err
	}
	keys, err := access.New(access.Options{Store: st})
	if err != nil {
		return nil, err
	}
	handler, err := query.New(query.Options{Store: st, Authenticator: keys})
	if err != nil {
		return nil, err
	}
	return httptest.NewServer(handler.Handler()), nil
}

// indexDirectory makes a version of the view "default" of what is in a directory.
func indexDirectory(ctx context.Context, st store.Store, dir string) error {
	if err := writeSnapshot(ctx, st, dir); err != nil {
		return err
	}
	c, err := compactor.New(compactor.Options{Store: st})
	if err != nil {
		return err
	}
	_, err = c.Once(ctx, "default")
	return err
}

// writeSnapshot scans dir and writes what it saw as the one segment of a new session.
func writeSnapshot(ctx context.Context, st store.Store, dir string) error {
	clock := store.NewClock(time.Now)
	ledger, err := session.NewLedger(st, clock, rand.Reader)
	if err != nil {
		return err
	}
	state, err := ledger.Create(ctx, session.Application{View: "default", Task: "t", Agent: "here", Source: "fs://here" + dir, TimeoutSeconds: 60})
	if err != nil {
		return err
	}
	var segment bytes.Buffer
	w, err := event.NewWriter(&segment, event.Header{View: "default", Session: state.Record.ID, Agent: "here", Source: "fs://here" + dir,
		Term: state.Term, CreatedAt: clock.Now(), Nonce: "n"})
	if err != nil {
		return err
	}
	if err := writeScan(ctx, w, dir); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	_, err = st.Create(ctx, layout.Segment("default", state.Record.ID, 0), segment.Bytes())
	return err
}

func writeScan(ctx context.Context, w *event.Writer, dir string) error {
	root, err := tree.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	excludes, err := tree.NewExcludes(nil)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	last := int64(0)
	now := func() int64 { // strictly growing
		mu.Lock()
		defer mu.Unlock()
		last = max(last+1, time.Now().UnixNano())
		return last
	}
	counts := &scan.Counts{}
	mark := func(kind event.MarkKind) error {
		return w.Add(&event.Event{Kind: event.Marked, Evidence: event.Snapshot, ObservedAt: now(), Path: "/", Mark: counts.Mark(kind)})
	}
	if err := mark(event.SnapshotBegin); err != nil {
		return err
	}
	var adding sync.Mutex
	err = scan.Run(ctx, scan.Config{Root: root, Excludes: excludes, Now: now}, &scan.Receiver{
		Evidence: event.Snapshot, Counts: counts,
		Emit: func(_ context.Context, ev *event.Event, _ scan.Reading) error {
			adding.Lock()
			defer adding.Unlock()
			return w.Add(ev)
		},
	}, "/")
	if err != nil {
		return err
	}
	return mark(event.SnapshotEnd)
}

// TestScriptsOnAView runs the scripts in testdata/view: the reading commands against a real view. They have
//
//	view DIR      indexes DIR and serves it; $API is its URL, "secret" its key
//
// and the commands of TestScripts.
func TestScriptsOnAView(t *testing.T) {
	params := scripts(filepath.Join("testdata", "view"))
	params.Cmds["view"] = serveView
	testscript.Run(t, params)
}
