package agent_test

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/job"
)

// A pipe that is paused sends nothing and lists nothing, goes on to watch, and outlives its process so; once it is resumed
// all that happened meanwhile arrives, whether its kernel told of it or nobody was there.
func TestPauseLosesNothing(t *testing.T) {
	for name, tuning := range map[string]agent.Tuning{
		"kept":    {SegmentAge: 50 * time.Millisecond, GracePeriod: 10 * time.Second},
		"no room": {SegmentAge: 50 * time.Millisecond, GracePeriod: 10 * time.Second, MaxBacklog: 1, ScanBacklog: 1, MaxPending: 20},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root, state := t.TempDir(), filepath.Join(t.TempDir(), "state.json")
			s := newServer(t)
			begin := func() *running {
				return start(t, s, root, func(o *agent.Options) { o.StateFile, o.Tuning = state, tuning })
			}
			mkdir(t, filepath.Join(root, "d"))
			write(t, filepath.Join(root, "d/before"), "x")
			r := begin()
			r.snapshotted()
			r.settles(10 * time.Second)
			if changed, err := r.SetPaused(true, "a test"); !changed || err != nil {
				t.Fatal(changed, err)
			}
			if changed, err := r.SetPaused(true, "another"); changed || err != nil {
				t.Fatal(changed, err)
			}
			eventually(t, 10*time.Second, "its heartbeat has said so", func() bool { st := r.Status(); return st.State == "paused" && !st.Leader && st.Paused.By == "a test" })
			sent := len(r.rec.all())
			for i := range 100 {
				write(t, filepath.Join(root, fmt.Sprint("d/f", i)), "y")
			}
			mkdir(t, filepath.Join(root, "e"))
			write(t, filepath.Join(root, "e/deep"), "z")
			if err := os.Remove(filepath.Join(root, "d/before")); err != nil {
				t.Fatal(err)
			}
			eventually(t, 10*time.Second, "it has noticed", func() bool { st := r.Status(); return st.BacklogSegments > 0 || st.Watch.Overflows > 0 })
			if st := r.Status(); st.State != "paused" || len(r.rec.all()) != sent || st.Scan != "" {
				t.Fatalf("%d segments were sent while paused; %+v", len(r.rec.all())-sent, st)
			}
			if name == "kept" { // in the same session
				if changed, err := r.SetPaused(false, "a test"); !changed || err != nil {
					t.Fatal(changed, err)
				}
				r.settles(10 * time.Second)
				return
			}
			began := time.Now()
			r.stop()
			if time.Since(began) > 8*time.Second || len(r.rec.all()) != sent {
				t.Fatalf("a paused pipe took %v to end, and sent %d segments", time.Since(began), len(r.rec.all())-sent)
			}
			write(t, filepath.Join(root, "d/nobody"), "z")
			r = begin()
			eventually(t, 10*time.Second, "it is paused from its start", func() bool { st := r.Status(); return st.Session != "" && st.State == "paused" })
			write(t, filepath.Join(root, "d/unwatched"), "z")
			if st := r.Status(); st.Leader || len(r.rec.all()) != 0 || st.Directories != 0 {
				t.Fatalf("paused from its start: %+v", st)
			}
			if changed, err := r.SetPaused(false, "a test"); !changed || err != nil {
				t.Fatal(changed, err)
			}
			r.settles(10 * time.Second)
			r.stop()
			r = begin()
			eventually(t, 10*time.Second, "it runs from its start", func() bool { return r.Status().State == "watching" })
		})
	}
}

// Commands that the agent cannot obey are refused in words, one that it does not know among them.
func TestCommandsThatCannotBe(t *testing.T) {
	s := newServer(t)
	quickSessions(t, s)
	a := start(t, s, t.TempDir(), func(o *agent.Options) { o.AgentID = "a" })
	a.snapshotted()
	root := t.TempDir()
	reloads := 0
	b := start(t, s.line(), root, func(o *agent.Options) {
		o.AgentID = "b"
		o.Reload = func() (string, error) {
			if reloads++; reloads > 1 {
				return "", errors.New("line 7 is wrong")
			}
			return "as before", nil
		}
	})
	eventually(t, 10*time.Second, "b follows", func() bool { return b.Status().State == "running" })
	for _, tc := range []struct {
		to        *running
		kind      string
		state     job.State
		says, not string
	}{
		{b, "dance", job.Failed, `does not know the command "dance"`, ""},
		{b, job.Scan, job.Failed, "does not lead view test", "paused"},
		{b, job.Reload, job.Done, "as before", ""},
		{b, job.Reload, job.Failed, "line 7", ""},
		{a, job.Reload, job.Failed, "no config file", ""},
		{a, job.Scan, job.Done, "", ""},
		{b, job.Resume, job.Done, "was not paused", ""},
		{b, job.Pause, job.Done, "", ""},
		{b, job.Scan, job.Failed, "is paused", ""},
	} {
		id := tc.to.Status().Session
		j, err := job.Ask(t.Context(), s.store, job.Job{View: "test", Kind: tc.kind, Session: id, Target: id, By: "ops", Path: []byte("/")}, time.Now().UnixNano(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		eventually(t, 20*time.Second, tc.kind+" has ended", func() bool {
			j, err = job.Get(t.Context(), s.store, "test", j.ID)
			return err == nil && j.State.Ended()
		})
		if text := j.Error + j.Note; j.State != tc.state || !strings.Contains(text, tc.says) || tc.not != "" && strings.Contains(text, tc.not) {
			t.Errorf("%s: %s %q; want %s %q", tc.kind, j.State, text, tc.state, tc.says)
		}
	}
	if st := b.Status(); st.Paused == nil || !strings.Contains(st.Paused.By, `"ops"`) {
		t.Errorf("paused by %+v", st.Paused)
	}
}

// What heartbeats tell: rates, the last scan, and errors by kind.
func TestStatusTellsOfErrorsAndRates(t *testing.T) {
	root := t.TempDir()
	for i := range 30 {
		mkdir(t, filepath.Join(root, fmt.Sprint("d", i)))
	}
	denied := &denying{System: tree.OS}
	r := start(t, newServer(t), root, func(o *agent.Options) {
		o.Tuning.System, o.Version, o.Tuning.AuditInterval = denied, "1.2.3", 200*time.Millisecond
	})
	r.snapshotted()
	eventually(t, 10*time.Second, "the scan is told of", func() bool { return r.Status().LastScan != nil })
	st := r.Status()
	if st.LastScan.Directories != 30 || st.LastScan.Files != 0 || st.Version != "1.2.3" || st.ReadErrors["permission"].Count == 0 || st.ReadErrors["permission"].Example != "/d7" || len(st.ReadErrors) != 1 {
		t.Errorf("%+v\n%+v", st.LastScan, st)
	}
	eventually(t, 10*time.Second, "rates", func() bool { return r.Status().Rates.Entries > 0 && r.Status().Rates.Bytes > 0 })
	write(t, filepath.Join(root, "d3/new"), "x")
	eventually(t, 10*time.Second, "an event is counted", func() bool { return r.Status().Rates.Events > 0 })
	eventually(t, 20*time.Second, "an audit finds the directory that changed", func() bool {
		l := r.Status().LastScan
		return l.Scan == "audit" && l.Changed > 0 && l.Changed < 30
	})
}

// denying does not let a directory be read.
type denying struct{ tree.System }

func (d *denying) OpenRoot(path string) (tree.Root, error) {
	root, err := d.System.OpenRoot(path)
	return denyingRoot{root}, err
}

type denyingRoot struct{ tree.Root }

func (r denyingRoot) OpenDir(path string) (tree.Dir, error) {
	if path == "/d7" {
		return nil, &os.PathError{Op: "open", Path: path, Err: os.ErrPermission}
	}
	return r.Root.OpenDir(path)
}

// A follower that was paused from its start has watched nothing: once it is resumed it looks at everything, since nobody
// else can say what its host did meanwhile.
func TestFollowerPausedFromItsStart(t *testing.T) {
	s := newServer(t)
	root, state := t.TempDir(), filepath.Join(t.TempDir(), "state.json")
	a := start(t, s, root, func(o *agent.Options) { o.AgentID = "a" })
	a.snapshotted()
	write(t, state, `{"session_id":"","paused":{"by":"a test","since":"2026-01-02T03:04:05Z"}}`)
	b := start(t, s.line(), root, func(o *agent.Options) { o.AgentID, o.StateFile = "b", state })
	eventually(t, 10*time.Second, "b is paused", func() bool { return b.Status().State == "paused" })
	write(t, filepath.Join(root, "meanwhile"), "x")
	if _, err := b.SetPaused(false, "a test"); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "b tells of it", func() bool { return b.view.present()["/meanwhile"].Size == 1 })
	if b.Status().Leader {
		t.Error("b leads")
	}
}
