package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fustor/fustor/agent/guard"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/testkit/wait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	wait.For(t, 20*time.Second, what, ok)
}

// member is a pipe of a test.
type member struct {
	*Subscription
	name string
	full atomic.Bool // it takes no events

	mu     sync.Mutex
	events []event.Event
	lost   [][]string
	fault  func() // called with each delivery
}

func (m *member) has(ok func(event.Event) bool) func() bool {
	return func() bool {
		m.mu.Lock()
		defer m.mu.Unlock()
		return slices.ContainsFunc(m.events, ok)
	}
}

func isPut(path string) func(event.Event) bool {
	return func(ev event.Event) bool { return ev.Kind == event.Put && ev.Path == path }
}

type rig struct {
	t    *testing.T
	root string
	bus  *Bus
}

func newRig(t *testing.T, maxQueued int) *rig {
	t.Helper()
	r := &rig{t: t, root: t.TempDir(), bus: New(lease.Clocks{}.Or(lease.Host()), slog.New(slog.DiscardHandler))}
	r.bus.maxQueued = maxQueued
	for _, dir := range []string{"a/deep", "b", "c"} {
		must(t, os.MkdirAll(filepath.Join(r.root, dir), 0o755))
	}
	return r
}

func (r *rig) write(path string) {
	r.t.Helper()
	must(r.t, os.WriteFile(filepath.Join(r.root, path), nil, 0o644))
}

// join subscribes a member, whose clock is ahead by some hours.
func (r *rig) join(name string, hours int64) *member {
	r.t.Helper()
	x, err := tree.NewExcludes(nil)
	must(r.t, err)
	m := &member{name: name}
	clock := pipe.NewClock(r.bus.Ticks())
	clock.Measure(clock.Reading(), time.Now().Add(time.Duration(hours)*time.Hour).UnixNano())
	m.Subscription = r.bus.Subscribe(Spec{Watch: watch.Config{Root: r.root, Excludes: x, System: tree.OS}}, Subscriber{
		Clock: clock,
		Events: func(events []event.Event) bool {
			m.mu.Lock()
			defer m.mu.Unlock()
			if m.fault != nil {
				m.fault()
			}
			if m.full.Load() {
				return false
			}
			m.events = append(m.events, events...)
			return true
		},
		HasRoom: func() bool { return !m.full.Load() }, Skew: func() int64 { return 0 },
		Lost:     func(dirs []string) { m.mu.Lock(); defer m.mu.Unlock(); m.lost = append(m.lost, dirs) },
		RootLost: func(error) {}, RootBack: func() {}, Uncover: func() {}, OnError: func(string, error) {}, Answers: func(string) {},
	})
	_, err = m.Begin()
	must(r.t, err)
	return m
}

// run runs a member until stop is called.
func (r *rig) run(m *member) (ended chan error, stop func()) {
	ctx, cancel := context.WithCancel(r.t.Context())
	ended = make(chan error, 1)
	go func() { ended <- m.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		<-ended
		m.Close()
	})
	r.t.Cleanup(stop)
	return ended, stop
}

func (r *rig) cover(m *member) {
	r.t.Helper()
	must(r.t, m.Walk(r.t.Context(), &scan.Receiver{Counts: &scan.Counts{}}, false))
}

// TestSlowPipeLosesItsEventsAndNoOther: a pipe that takes nothing is told what to scan again, and its queue stays within its
// bound. Each gets its events by its own clock.
func TestSlowPipeLosesItsEventsAndNoOther(t *testing.T) {
	const most = 20
	r := newRig(t, most)
	quick, slow := r.join("quick", 1), r.join("slow", 5)
	r.run(quick)
	r.run(slow)
	r.cover(quick)
	slow.full.Store(true)
	for i := range 40 {
		name := fmt.Sprintf("a/deep/%d", i)
		r.write(name)
		eventually(t, "the event of the quick one", quick.has(isPut("/"+name)))
		if n := slow.Subscription.Status().Queued; n > most+10 {
			t.Fatalf("%d events wait for the slow one", n)
		}
	}
	if st := slow.Subscription.Status(); st.Overflows == 0 || st.Dropped < most || st.Pipes != 2 {
		t.Errorf("status %+v", st)
	}
	slow.full.Store(false)
	r.write("b/last")
	eventually(t, "the slow one gets events again", slow.has(isPut("/b/last")))
	eventually(t, "and a mark for those that it has not got", slow.has(func(ev event.Event) bool {
		return ev.Kind == event.Marked && ev.Mark.Kind == event.Overflow && (ev.Path == "/a/deep" || ev.Path == "/a")
	}))
	slow.mu.Lock()
	defer slow.mu.Unlock()
	quick.mu.Lock()
	defer quick.mu.Unlock()
	if len(slow.lost) == 0 || len(quick.lost) != 0 || slices.ContainsFunc(slow.lost, func(dirs []string) bool { return dirs == nil }) {
		t.Errorf("the slow one was told to scan %q, and the quick one %q", slow.lost, quick.lost)
	}
	for hours, m := range map[int64]*member{1: quick, 5: slow} {
		for i, ev := range m.events {
			if i > 0 && ev.ObservedAt <= m.events[i-1].ObservedAt {
				t.Errorf("%s: %d after %d", m.name, ev.ObservedAt, m.events[i-1].ObservedAt)
			}
			if off := time.Unix(0, ev.ObservedAt).Sub(time.Now().Add(time.Duration(hours) * time.Hour)).Abs(); off > time.Minute {
				t.Errorf("%s: an event is off by %v", m.name, off)
			}
		}
	}
}

// TestNobodyHasRoom: then events wait in the watcher, and nobody loses any.
func TestNobodyHasRoom(t *testing.T) {
	r := newRig(t, 20)
	a, b := r.join("a", 0), r.join("b", 0)
	r.run(a)
	r.run(b)
	r.cover(a)
	a.full.Store(true)
	b.full.Store(true)
	for i := range 100 {
		r.write(fmt.Sprintf("c/%d", i))
	}
	eventually(t, "the watcher waits", func() bool { return a.Watcher().Status().Pending > 0 })
	a.full.Store(false)
	b.full.Store(false)
	for i := range 100 {
		eventually(t, "all events", a.has(isPut(fmt.Sprintf("/c/%d", i))))
		eventually(t, "all events", b.has(isPut(fmt.Sprintf("/c/%d", i))))
	}
	if len(a.lost)+len(b.lost) > 0 {
		t.Error("events were lost")
	}
}

// TestPanicIsContained: a pipe that panics ends, and begins again; the others do not notice.
func TestPanicIsContained(t *testing.T) {
	r := newRig(t, maxQueued)
	good, bad := r.join("good", 0), r.join("bad", 0)
	r.run(good)
	bad.fault = func() { panic("a fault") }
	ended := make(chan error, 1)
	go func() { ended <- bad.Run(t.Context()) }()
	r.cover(good)
	r.write("a/1")
	eventually(t, "the event of the good one", good.has(isPut("/a/1")))
	var caught *guard.PanicError
	if err := <-ended; !errors.As(err, &caught) {
		t.Fatalf("the bad one ended with %v", err)
	}
	bad.fault = nil
	if _, err := bad.Begin(); err != nil {
		t.Fatal(err)
	}
	r.run(bad)
	r.write("a/2")
	eventually(t, "the event of the bad one", bad.has(isPut("/a/2")))
	eventually(t, "the event of the good one", good.has(isPut("/a/2")))
}

// TestWatcherEndsWithTheLastPipe: and another one begins with the next.
func TestWatcherEndsWithTheLastPipe(t *testing.T) {
	r := newRig(t, maxQueued)
	a, b := r.join("a", 0), r.join("b", 0)
	watcher := a.Watcher()
	_, stopA := r.run(a)
	_, stopB := r.run(b)
	r.cover(a)
	r.write("a/1")
	stopA()
	if !a.has(isPut("/a/1"))() {
		t.Error("what was written before the first one ended is not with it")
	}
	eventually(t, "the event of the other", b.has(isPut("/a/1")))
	r.write("a/2")
	stopB()
	if !b.has(isPut("/a/2"))() || a.has(isPut("/a/2"))() {
		t.Error("what was written before the second one ended is not with that one alone")
	}
	if len(r.bus.sources) != 0 {
		t.Error("the source is still there")
	}
	c := r.join("c", 0)
	if c.Watcher() == watcher {
		t.Error("the watcher has not ended")
	}
	c.Close() // it was never run
}

// TestOtherSpecIsAnotherSource: whatever decides what is seen.
func TestOtherSpecIsAnotherSource(t *testing.T) {
	base := Spec{Watch: watch.Config{Root: "/a", Mount: "/", Method: watch.Auto}, Patterns: []string{"x"}}
	for name, change := range map[string]func(*Spec){
		"root": func(s *Spec) { s.Watch.Root = "/b" }, "mount": func(s *Spec) { s.Watch.Mount = "/a" },
		"method": func(s *Spec) { s.Watch.Method = watch.None }, "cross": func(s *Spec) { s.Watch.CrossFilesystems = true },
		"patterns": func(s *Spec) { s.Patterns = []string{"x", "y"} }, "rate": func(s *Spec) { s.Rate = 5 },
		"workers": func(s *Spec) { s.Workers = 5 }, "idle": func(s *Spec) { s.Idle = true },
	} {
		other := base
		change(&other)
		if other.key() == base.key() {
			t.Errorf("with another %s it is the same source", name)
		}
	}
}

// TestStatusWhileTheTreeDoesNotAnswer: a mount that hangs while it is opened holds up neither status nor other pipes' ends.
func TestStatusWhileTheTreeDoesNotAnswer(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	system := &silentSystem{System: tree.OS, asked: asked, answer: answer}
	b := New(lease.Clocks{}, slog.New(slog.DiscardHandler))
	dir := t.TempDir()
	spec := Spec{Watch: watch.Config{Root: dir, Mount: dir, System: system, Method: "none"}, HangAfter: time.Hour}
	one, two := b.Subscribe(spec, Subscriber{}), b.Subscribe(spec, Subscriber{})
	began := make(chan error, 1)
	go func() {
		_, err := one.Begin()
		began <- err
	}()
	<-asked
	if one.Watcher() != nil || two.Watcher() != nil {
		t.Error("there is a watcher of a tree that does not answer")
	}
	two.Close()
	close(answer)
	if err := <-began; err == nil {
		t.Error("a tree that cannot be opened is watched")
	}
	one.Close()
}

// silentSystem says when its root is opened, and fails once it may answer.
type silentSystem struct {
	tree.System
	asked, answer chan struct{}
}

func (s *silentSystem) OpenRoot(string) (tree.Root, error) {
	close(s.asked)
	<-s.answer
	return nil, syscall.EIO
}
