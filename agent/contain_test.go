package agent_test

import (
	"context"
	"crypto/rand"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/fleet"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
)

// faults panics so many times as it is armed for.
type faults struct{ left atomic.Int32 }

func (f *faults) strike(where string) {
	if f.left.Add(-1) >= 0 {
		panic("a fault in " + where)
	}
}

// faultyLog is a log whose handler panics at a message.
type faultyLog struct {
	slog.Handler
	*faults
	at string
}

func (l faultyLog) Handle(_ context.Context, r slog.Record) error {
	if r.Message == l.at {
		l.strike("the log")
	}
	return nil
}
func (l faultyLog) Enabled(context.Context, slog.Level) bool { return true }
func (l faultyLog) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l faultyLog) WithGroup(string) slog.Handler            { return l }

// faultySender panics when it is to send.
type faultySender struct {
	*recorder
	*faults
}

func (s faultySender) Send(ctx context.Context, seg pipe.Segment) error {
	s.strike("the sender")
	return s.recorder.Send(ctx, seg)
}

// striking has requests panic that are of this kind.
func striking(f *faults, method, part string) func(*http.Request) {
	return func(r *http.Request) {
		if r.Method == method && strings.Contains(r.URL.Path, part) {
			f.strike(part)
		}
	}
}

// A panic in any task is contained and reported, the task goes on, and the pipe beside it in the fleet notices nothing.
func TestPanicsAreContained(t *testing.T) {
	type world struct {
		*server
		t    *testing.T
		f    *faults
		root string
	}
	ask := func(kind string) func(w *world, session string) {
		return func(w *world, session string) {
			j := job.Job{View: "test", Session: session, Kind: kind, Path: []byte("/")}
			if kind != job.Scan {
				j.Target = session
			}
			if _, err := job.Ask(w.t.Context(), w.store, j, time.Now().UnixNano(), rand.Reader); err != nil {
				w.t.Fatal(err)
			}
		}
	}
	for _, tc := range []struct {
		task   string
		before func(w *world, o *agent.Options)
		armed  func(w *world, session string) // once it runs
	}{
		{task: "upload", before: func(w *world, o *agent.Options) { o.Sender = faultySender{o.Sender.(*recorder), w.f} }},
		{task: "heartbeat", before: func(w *world, _ *agent.Options) { w.cut.hold = striking(w.f, "POST", "/heartbeat") }},
		{task: "commands", before: func(w *world, _ *agent.Options) { w.cut.hold = striking(w.f, "GET", "/commands") },
			armed: ask(job.Reload)}, // ends the call that waits
		{task: "on-demand", before: func(w *world, _ *agent.Options) { w.cut.hold = striking(w.f, "POST", "/jobs/") }, armed: ask(job.Scan)},
		{task: "orders", before: func(w *world, _ *agent.Options) { w.cut.hold = striking(w.f, "POST", "/jobs/") }, armed: ask(job.Resume)},
		{task: "sentinel", before: func(w *world, _ *agent.Options) {
			w.cut.hold = striking(w.f, "GET", "/sentinel/tasks")
			m := &manifest.Manifest{Format: manifest.Format, View: "test", Version: 1, Nonce: "n"}
			if body, err := m.Encode(); err != nil {
				w.t.Fatal(err)
			} else if _, err := w.store.Put(w.t.Context(), layout.Head("test"), body); err != nil {
				w.t.Fatal(err)
			}
		}},
		{task: "scan", before: func(w *world, o *agent.Options) {
			o.Tuning.System = &faultyFiles{tree.OS, w.f}
			o.Tuning.AuditInterval = 50 * time.Millisecond
		}},
		{task: "watch", before: func(w *world, o *agent.Options) {
			o.Tuning.Notifier = func(root string) (watch.Notifier, error) {
				return faultyNotifier{watch.NewNotifier(root, watch.Auto, 0, slog.New(slog.DiscardHandler)), w.f}, nil
			}
		}, armed: func(w *world, _ string) { write(w.t, filepath.Join(w.root, "wakes"), "x") }},
		{task: "lease", before: func(w *world, o *agent.Options) {
			o.Logger = slog.New(faultyLog{faults: w.f, at: "the lease was not renewed in time; leader work stops"})
		}, armed: func(w *world, _ string) { w.cut.set(true) }},
		{task: "spool", before: func(w *world, o *agent.Options) {
			o.Spool = filepath.Join(w.t.TempDir(), "spool")
			if err := os.MkdirAll(o.Spool, 0o700); err != nil {
				w.t.Fatal(err)
			}
			write(w.t, filepath.Join(o.Spool, "00000000000000000001.seg"), "no segment")
			o.Logger = slog.New(faultyLog{faults: w.f, at: "the spool lost events; the tree is scanned again"})
			w.f.left.Store(1)
		}},
	} {
		t.Run(tc.task, func(t *testing.T) {
			t.Parallel()
			w := &world{server: newServer(t), t: t, f: &faults{}, root: t.TempDir()}
			config := `{"view_id":"test","session_timeout_seconds":1.5,"allow_concurrent_push":true,"audit_interval_sec":21600,"sentinel_interval_sec":1,` +
				`"hot_s":60,"staleness_s":120,"tombstone_ttl_s":3600}`
			if _, err := w.store.Put(t.Context(), layout.ViewConfig("test"), []byte(config)); err != nil {
				t.Fatal(err)
			}
			rec := &recorder{view: newView()}
			o := agent.Options{
				Root: w.root, View: "test", AgentID: "bad", IngestURL: "http://ingest", IngestHTTP: w.http, APIKey: apiKey, Sender: rec,
				Tuning: agent.Tuning{SegmentAge: 50 * time.Millisecond, Backoff: 50 * time.Millisecond},
			}
			tc.before(w, &o)
			beside := o
			beside.AgentID, beside.View, beside.IngestHTTP, beside.Spool = "good", "other", w.line().http, ""
			beside.Sender, beside.Logger, beside.Tuning = &recorder{view: newView()}, nil, agent.Tuning{}

			ctx, cancel := context.WithCancel(t.Context())
			f := fleet.New(ctx, slog.New(slog.DiscardHandler))
			defer func() { cancel(); f.Wait() }()
			pipeOf := func(name string, o agent.Options) fleet.Pipe {
				return fleet.Pipe{Name: name, Version: "1", New: func(context.Context, prometheus.Registerer) (fleet.Runner, error) { return agent.New(o) }}
			}
			f.Apply([]fleet.Pipe{pipeOf("bad", o), pipeOf("good", beside)})
			status := func(n int) agent.Status {
				if st := f.Status()[n].Agent; st != nil {
					return *st
				}
				return agent.Status{}
			}
			eventually(t, 20*time.Second, "both lead", func() bool { return status(0).State == "watching" && status(1).State == "watching" })
			good := status(1).Session
			if tc.task != "spool" {
				w.f.left.Store(1)
			}
			if tc.armed != nil {
				tc.armed(w, status(0).Session)
			} else if tc.task == "upload" {
				write(t, filepath.Join(w.root, "sent"), "x")
			}
			// A heartbeat may bring the command before the call that waits does, which then ends by its time alone, 25 s.
			eventually(t, 60*time.Second, "the panic is reported", func() bool { return status(0).Tasks[tc.task].Restarts == 1 })
			if got := status(0).Tasks[tc.task].Error; !strings.Contains(got, "panic: a fault in ") {
				t.Errorf("reported as %q", got)
			}
			w.cut.set(false)
			write(t, filepath.Join(w.root, "after"), "y")
			eventually(t, 20*time.Second, "it goes on", func() bool { return rec.view.present()["/after"].Size == 1 })
			if st := f.Status(); st[0].Starts != 1 || st[1].Starts != 1 || status(1).Session != good || len(status(1).Tasks) != 0 {
				t.Errorf("the pipes: %+v", st)
			}
		})
	}
}

// faultyFiles are the operating system's, with a root that cannot be opened once.
type faultyFiles struct {
	tree.System
	*faults
}

func (f *faultyFiles) OpenRoot(path string) (tree.Root, error) {
	f.strike("the files")
	return f.System.OpenRoot(path)
}

type faultyNotifier struct {
	watch.Notifier
	*faults
}

func (n faultyNotifier) Read() ([]watch.Notice, error) {
	notices, err := n.Notifier.Read()
	n.strike("the watch")
	return notices, err
}
