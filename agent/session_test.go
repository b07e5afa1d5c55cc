package agent_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/session"
)

// quickSessions makes the view's sessions, and its lease, time out after three seconds: soon, and not because a busy machine does
// not come to renew them.
func quickSessions(t testing.TB, s *server) {
	t.Helper()
	sessionsOf(t, s, 3)
}

// sessionsOf sets the time-out of the view's sessions, and of its lease.
func sessionsOf(t testing.TB, s *server, timeoutSeconds float64) {
	t.Helper()
	config := fmt.Sprintf(`{"view_id":"test","session_timeout_seconds":%g,"allow_concurrent_push":true,"audit_interval_sec":21600,"sentinel_interval_sec":120,`+
		`"hot_s":60,"staleness_s":120,"tombstone_ttl_s":3600}`, timeoutSeconds)
	if _, err := s.store.Put(t.Context(), layout.ViewConfig("test"), []byte(config)); err != nil {
		t.Fatal(err)
	}
}

// line is a server as one agent sees it, over a network of its own.
func (s *server) line() *server {
	cut := &cutter{next: s.cut.next}
	return &server{http: &http.Client{Transport: cut}, store: s.store, cut: cut}
}

func TestFollowerTakesOverAndTheOldLeaderStopsInTime(t *testing.T) {
	root := t.TempDir()
	mkdir(t, filepath.Join(root, "d"))
	s := newServer(t)
	quickSessions(t, s)
	lineA := s.line()
	a := start(t, lineA, root, func(o *agent.Options) { o.AgentID = "a"; o.Tuning.AuditInterval = 50 * time.Millisecond })
	a.snapshotted()
	b := start(t, s.line(), root, func(o *agent.Options) { o.AgentID = "b" })
	eventually(t, 5*time.Second, "b follows", func() bool { st := b.Status(); return st.Session != "" && st.Watch.Watches == 2 })
	if st := b.Status(); st.Leader || b.view.count("snapshot-begin") != 0 {
		t.Fatalf("two leaders: %+v", st)
	}
	// The leader loses ingest, but neither its tree nor the store.
	lineA.cut.set(true)
	eventually(t, 6*time.Second, "a notices", func() bool {
		led := b.Status().Leader // before the look at a
		leads := a.Status().Leader
		if led && leads {
			t.Error("b led before a had stopped")
		}
		return !leads
	})
	eventually(t, 10*time.Second, "b leads", func() bool { st := b.Status(); return st.Leader && st.Term == 2 })
	b.snapshotted()
	write(t, filepath.Join(root, "d/after"), "x")
	b.settles(5 * time.Second)
	// What a saw meanwhile is not lost: it goes out in a new session. What it lists there, as a listing of before was not sent, is a follower's.
	lineA.cut.set(false)
	eventually(t, 10*time.Second, "a has a new session and sends what it saw", func() bool {
		return a.view.present()["/d/after"].Size == 1 && a.Status().Term == 2
	})
	for _, seg := range a.rec.all() {
		r, err := event.NewReader("of the old leader", bytes.NewReader(seg.Body), event.Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if h := r.Header(); seg.Term != 1 && h.LeaseUntil != 0 {
			t.Errorf("the old leader claims the lease of term %d until %s", seg.Term, time.Unix(0, h.LeaseUntil))
		}
	}
}

func (r *recorder) all() []pipe.Segment {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]pipe.Segment(nil), r.segs...)
}

func TestCleanEndFreesTheLeaseAtOnce(t *testing.T) {
	root := t.TempDir()
	s := newServer(t)
	a := start(t, s, root, func(o *agent.Options) { o.AgentID = "a" })
	a.snapshotted()
	write(t, filepath.Join(root, "last"), "words")
	a.stop()
	if a.view.present()["/last"].Size != 5 {
		t.Error("what happened just before the end was not sent")
	}
	b := start(t, s, root, func(o *agent.Options) { o.AgentID = "b" })
	eventually(t, 5*time.Second, "b leads", func() bool { st := b.Status(); return st.Leader && st.Term == 2 })
}

func TestAgentThatWasKilledComesBackAtOnce(t *testing.T) {
	root := t.TempDir()
	state := filepath.Join(t.TempDir(), "state/agent.json")
	s := newServer(t)
	line := s.line()
	change := func(o *agent.Options) { o.StateFile = state; o.Tuning.GracePeriod = time.Millisecond }
	a := start(t, line, root, change)
	a.snapshotted()
	line.cut.set(true) // as good as killed: nobody says goodbye
	a.stop()
	write(t, filepath.Join(root, "meanwhile"), "x")
	b := start(t, s.line(), root, change)
	eventually(t, 5*time.Second, "b leads", func() bool { return b.Status().Leader })
	b.snapshotted()
	b.settles(3 * time.Second)
}

func TestEventsOutlastTheSession(t *testing.T) {
	root := t.TempDir()
	s := newServer(t)
	quickSessions(t, s)
	leader := start(t, s, root, func(o *agent.Options) { o.AgentID = "leader" })
	leader.snapshotted()
	line := s.line()
	f := start(t, line, root, func(o *agent.Options) { o.AgentID = "follower" })
	eventually(t, 5*time.Second, "the follower watches", func() bool { return f.Status().Watch.Watches == 1 })
	before := f.Status().Session
	line.cut.set(true)
	f.rec.setFail(errors.New("the network is down"))
	for i := range 50 {
		write(t, filepath.Join(root, fmt.Sprint("f", i)), "x")
	}
	eventually(t, 10*time.Second, "the session times out", func() bool {
		o, err := session.List(t.Context(), s.store, "test")
		return err == nil && !slices.ContainsFunc(o.Sessions, func(s session.Status) bool { return s.Record.ID == before && s.Lives })
	})
	// The store comes back after the new session, or the old one's segments might go up just before it ends.
	line.cut.set(false)
	eventually(t, 10*time.Second, "a new session", func() bool {
		now := f.Status().Session
		return now != before && now != ""
	})
	f.rec.setFail(nil)
	eventually(t, 10*time.Second, "all events", func() bool { return len(f.view.present()) >= 50 })
	for _, seg := range f.rec.all() {
		if seg.Session != before && seg.Seq == 0 {
			return
		}
	}
	t.Error("the new session does not begin with segment 0")
}

func TestNetworkDownIsBoundedAndHeals(t *testing.T) {
	root, outside := twoDirs(t)
	s := newServer(t)
	r := start(t, s, root, func(o *agent.Options) {
		o.Tuning.MaxBacklog, o.Tuning.ScanBacklog, o.Tuning.MaxPending = 4<<10, 4<<10, 300
	})
	r.snapshotted()
	r.rec.setFail(errors.New("the store is down"))
	runWorkload(root, outside, 7, 2, 1500, true)
	// The backlog grows while segments still have room; a segment itself is bounded.
	if st := r.Status(); st.BacklogBytes > 8<<20 {
		t.Errorf("backlog of %d bytes", st.BacklogBytes)
	}
	r.rec.setFail(nil)
	r.settles(40 * time.Second)
}

// What waits while nothing can be sent is bounded: past that, only the directories that changed are scanned again.
func TestTooManyChangesAreHealedByRescansOfSubtrees(t *testing.T) {
	root, _ := twoDirs(t)
	for _, dir := range []string{"deep/down/one", "deep/down/two", "other", "gone/below"} {
		mkdir(t, filepath.Join(root, dir))
		for i := range 50 {
			write(t, filepath.Join(root, dir, fmt.Sprint("old-", i)), "")
		}
	}
	r := start(t, newServer(t), root, func(o *agent.Options) {
		o.Tuning.MaxBacklog, o.Tuning.ScanBacklog, o.Tuning.MaxPending = 1, 4<<10, 120
		o.Tuning.AuditInterval = time.Hour
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	})
	r.snapshotted()
	r.rec.setFail(errors.New("the store is down"))
	write(t, filepath.Join(root, "deep", "first"), "") // takes what room there is
	eventually(t, 10*time.Second, "no room", func() bool { return r.Status().BacklogSegments > 0 })
	for i := range 100 {
		write(t, filepath.Join(root, "deep/down/one", fmt.Sprint("new-", i)), "x")
		if err := os.Remove(filepath.Join(root, "deep/down/two", fmt.Sprint("old-", i/2))); err != nil && i%2 == 0 {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond)
	}
	if err := os.RemoveAll(filepath.Join(root, "gone/below")); err != nil {
		t.Fatal(err)
	}
	eventually(t, 10*time.Second, "overflow", func() bool { return r.Status().Watch.Overflows > 0 })
	for end := time.Now().Add(500 * time.Millisecond); time.Now().Before(end); time.Sleep(5 * time.Millisecond) { // the schedule looks twice in that time
		if scan := r.Status().Scan; scan != "" {
			t.Fatalf("a scan runs while there is no room: %s", scan)
		}
	}
	r.rec.setFail(nil)
	eventually(t, 10*time.Second, "the mark", func() bool { return r.view.count("overflow") > 0 })
	r.settles(20 * time.Second)
	if n := r.view.count("audit-begin"); n > 0 {
		t.Errorf("the whole tree was scanned again, %d times", n)
	}
}

func TestOverflowIsHealedByARescan(t *testing.T) {
	root, outside := twoDirs(t)
	r := start(t, newServer(t), root, func(o *agent.Options) { o.Tuning.MaxPending = 20 })
	r.snapshotted()
	runWorkload(root, outside, uint64(time.Now().UnixNano()), 3, 1000, false)
	eventually(t, 10*time.Second, "overflow", func() bool { return r.view.count("overflow") > 0 })
	r.settles(20 * time.Second)
	if r.view.count("audit-end") == 0 {
		t.Error("no rescan")
	}
}

func TestRootThatVanishesIsNotTakenForEmpty(t *testing.T) {
	base := t.TempDir()
	root, away := filepath.Join(base, "root"), filepath.Join(base, "away")
	mkdir(t, filepath.Join(root, "d"))
	write(t, filepath.Join(root, "d/f"), "x")
	r := start(t, newServer(t), root, func(o *agent.Options) { o.Tuning.RootEvery = 50 * time.Millisecond })
	r.snapshotted()
	if err := os.Rename(root, away); err != nil {
		t.Fatal(err)
	}
	eventually(t, 5*time.Second, "the loss", func() bool { return r.Status().RootLost != nil })
	eventually(t, 5*time.Second, "the report", func() bool { return r.view.count("subtree-error") > 0 })
	if n := len(r.view.present()); n != 3 {
		t.Errorf("%d rows are left", n)
	}
	write(t, filepath.Join(away, "d/g"), "made meanwhile")
	if err := os.Rename(away, root); err != nil {
		t.Fatal(err)
	}
	r.settles(5 * time.Second)
	// Another directory in its place counts: what is not in it is gone.
	if err := os.Rename(root, away); err != nil {
		t.Fatal(err)
	}
	mkdir(t, filepath.Join(root, "other"))
	r.settles(5 * time.Second)
	write(t, filepath.Join(root, "other/h"), "x")
	r.settles(5 * time.Second)
}

func TestAuditFindsWhatNobodyReported(t *testing.T) {
	root := t.TempDir()
	r := start(t, newServer(t), root, func(o *agent.Options) { o.Tuning.AuditInterval = 100 * time.Millisecond })
	r.snapshotted()
	r.view.forget("/") // as if an event had been lost
	eventually(t, 5*time.Second, "an audit", func() bool { _, ok := r.view.present()["/"]; return ok })
	if r.view.count("audit-begin") == 0 {
		t.Error("no audit")
	}
}

func TestSegmentsThroughIngest(t *testing.T) {
	root := t.TempDir()
	write(t, filepath.Join(root, "f"), "x")
	s := newServer(t)
	r := start(t, s, root, func(o *agent.Options) { o.Sender = nil })
	eventually(t, 10*time.Second, "segments", func() bool { return r.Status().SentSegments >= 3 })
	page, err := s.store.List(t.Context(), layout.AllSegments("test"), "", 100)
	if err != nil || len(page.Items) < 3 {
		t.Fatalf("%d segments in the store, %v", len(page.Items), err)
	}
	v := newView()
	for i, item := range page.Items {
		_, session, seq, ok := layout.SplitSegment(item.Key)
		if !ok || session != r.Status().Session || seq != uint64(i) {
			t.Errorf("segment %s", item.Key)
		}
		o, err := s.store.Get(t.Context(), item.Key)
		if err != nil {
			t.Fatal(err)
		}
		if err := v.applySegment(pipe.Segment{Body: o.Body}); err != nil {
			t.Error(err)
		}
	}
	if d := difference(v.present(), onDisk(t, root, nil)); d != "" {
		t.Error(d)
	}
}

func TestWrongKeyIsSaidAndTriedAgain(t *testing.T) {
	s := newServer(t)
	var asked atomic.Int32
	s.cut.hold = func(*http.Request) { asked.Add(1) }
	r := start(t, s, t.TempDir(), func(o *agent.Options) { o.APIKey = "wrong" })
	eventually(t, 5*time.Second, "a request", func() bool { return asked.Load() > 0 })
	if st := r.Status(); st.Session != "" {
		t.Errorf("a session with a wrong key: %+v", st)
	}
	c, err := send.NewClient("http://ingest", "wrong", "test", s.http, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.CreateSession(context.Background(), pipeapi.Registration{Task: "x"}); !errors.Is(err, send.ErrRefused) {
		t.Errorf("error %v", err)
	}
}

func TestCheckSaysWhatIsWrong(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "file"), "")
	for path, word := range map[string]string{filepath.Join(dir, "missing"): "no such file", filepath.Join(dir, "file"): "not a directory"} {
		if err := tree.Check(path); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%s: %v", path, err)
		}
	}
	if err := tree.Check(dir); err != nil {
		t.Error(err)
	}
}
