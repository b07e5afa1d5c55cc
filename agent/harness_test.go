package agent_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/testkit/ingesttest"
	"github.com/fustor/fustor/testkit/wait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const apiKey = "test-key"

// server is a real ingest on a real store, in this process.
type server struct {
	http  *http.Client
	store store.Store
	cut   *cutter
}

// cutter is the network between agent and ingest.
type cutter struct {
	next http.RoundTripper
	mu   sync.Mutex
	cut  bool
	hold func(*http.Request) // called before a request goes on
}

func (c *cutter) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	cut, hold := c.cut, c.hold
	c.mu.Unlock()
	if hold != nil {
		hold(r)
	}
	if cut {
		return nil, errors.New("the network is down")
	}
	return c.next.RoundTrip(r)
}

func (c *cutter) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut = cut
}

func newServer(t testing.TB) *server {
	t.Helper()
	s, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return serverOn(t, s)
}

func serverOn(t testing.TB, s store.Store) *server {
	t.Helper()
	client := send.Handler(ingesttest.Handler(t, s, apiKey))
	cut := &cutter{next: client.Transport}
	return &server{http: &http.Client{Transport: cut}, store: s, cut: cut}
}

// recorder is a sender that keeps segments durably and applies them to a view as they come.
type recorder struct {
	next send.Sender
	view *view

	mu   sync.Mutex
	segs []pipe.Segment
	fail error
}

func (r *recorder) Send(ctx context.Context, seg pipe.Segment) error {
	r.mu.Lock()
	fail := r.fail
	r.mu.Unlock()
	if fail != nil {
		return fail
	}
	if r.next != nil {
		if err := r.next.Send(ctx, seg); err != nil {
			return err
		}
	}
	if err := r.view.applySegment(seg); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.segs = append(r.segs, seg)
	return nil
}

func (r *recorder) setFail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

// running is an agent at work.
type running struct {
	*agent.Agent
	t    testing.TB
	rec  *recorder
	view *view
	root string
	stop func()
}

// start runs an agent on root against a server until the test ends, or stop is called.
func start(t testing.TB, s *server, root string, change func(*agent.Options)) *running {
	t.Helper()
	rec := &recorder{view: newView(), next: &send.Store{Store: s.store}}
	o := agent.Options{
		Root: root, View: "test", AgentID: "host-1", IngestURL: "http://ingest", IngestHTTP: s.http, APIKey: apiKey, Sender: rec,
		Tuning: agent.Tuning{SegmentAge: 200 * time.Millisecond, GracePeriod: 5 * time.Second},
	}
	if os.Getenv("AGENT_TEST_LOG") != "" {
		o.Logger = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	if change != nil {
		change(&o)
	}
	a, err := agent.New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	r := &running{Agent: a, t: t, rec: rec, view: rec.view, root: root}
	r.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("agent: %v", err)
		}
	})
	t.Cleanup(r.stop)
	return r
}

// eventually waits for a condition.
func eventually(t testing.TB, within time.Duration, what string, ok func() bool) {
	t.Helper()
	wait.For(t, within, what, ok)
}

// settles waits until the view is as the disk is.
func (r *running) settles(within time.Duration) {
	r.t.Helper()
	var last string
	deadline, end := time.Now().Add(wait.Limit(within)), time.Now().Add(wait.Limit(2*time.Minute))
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		// On a slow disk the segments of audits that follow each other without a pause take longer to write than to make.
		if r.Status().BacklogSegments > 2 && time.Now().Before(end) {
			deadline = time.Now().Add(wait.Limit(within))
		}
		if last = difference(r.view.present(), onDisk(r.t, r.root, nil)); last == "" {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%v later the view and the disk differ:\n%s\nstatus %+v", wait.Limit(within), last, r.Status())
		}
		<-tick.C
	}
}

// snapshotted waits for the first snapshot.
func (r *running) snapshotted() {
	r.t.Helper()
	eventually(r.t, 20*time.Second, "snapshot", func() bool { return r.view.count("snapshot-end") > 0 })
}

func (v *view) count(mark string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	for k, n := range v.marks {
		if k.String() == mark {
			return n
		}
	}
	return 0
}
