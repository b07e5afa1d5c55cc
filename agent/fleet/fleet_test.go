package fleet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/agent"
)

// scripted is a pipe whose runs do as the test says.
type scripted struct {
	name   string
	news   atomic.Int32
	alive  atomic.Int32 // at once
	most   atomic.Int32
	paused atomic.Bool
	fails  func(n int32) error // of New, by its number from 1
	run    func(ctx context.Context, n int32) error
	linger time.Duration // after the end was asked for
}

func (s *scripted) pipe(version string) Pipe {
	return Pipe{Name: s.name, Version: version, New: func(_ context.Context, reg prometheus.Registerer) (Runner, error) {
		n := s.news.Add(1)
		if s.fails != nil {
			if err := s.fails(n); err != nil {
				return nil, err
			}
		}
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: "runs"})
		g.Set(float64(n))
		reg.MustRegister(g)
		return &script{s, n}, nil
	}}
}

type script struct {
	*scripted
	n int32
}

func (s *script) Status() agent.Status { return agent.Status{Files: uint64(s.n)} }

func (s *script) SetPaused(paused bool, _ string) (bool, error) {
	return s.paused.Swap(paused) != paused, nil
}

func (s *script) Run(ctx context.Context) error {
	now := s.alive.Add(1)
	defer s.alive.Add(-1)
	if now > s.most.Load() {
		s.most.Store(now)
	}
	if s.run != nil {
		return s.run(ctx, s.n)
	}
	<-ctx.Done()
	time.Sleep(s.linger)
	return ctx.Err()
}

// fleetOf runs f with a fleet in a bubble of its own time.
func fleetOf(t *testing.T, f func(t *testing.T, fl *Fleet, log *text)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		log := &text{}
		fl := New(ctx, slog.New(slog.NewTextHandler(log, nil)))
		f(t, fl, log)
		cancel()
		fl.Wait()
	})
}

type text struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *text) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *text) count(s string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), s)
}

func TestApplyTouchesWhatChangedAlone(t *testing.T) {
	fleetOf(t, func(t *testing.T, f *Fleet, _ *text) {
		var p [4]*scripted
		for i := range p {
			p[i] = &scripted{name: fmt.Sprint("p", i), linger: 5 * time.Second}
		}
		check := func(got Changes, want string) {
			t.Helper()
			synctest.Wait()
			if s := fmt.Sprint(got.Added, got.Changed, got.Removed, got.Kept); s != want {
				t.Errorf("changes %s, want %s", s, want)
			}
		}
		check(f.Apply([]Pipe{p[0].pipe("1"), p[1].pipe("1"), p[2].pipe("1")}), "[p0 p1 p2] [] [] []")
		check(f.Apply([]Pipe{p[0].pipe("1"), p[2].pipe("2"), p[3].pipe("1")}), "[p3] [p2] [p1] [p0]")
		var names []string
		for _, s := range f.Status() {
			names = append(names, fmt.Sprintf("%s:%t:%t", s.Name, s.Ending, s.Agent != nil))
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != "p0:false:true p1:true:true p2:false:false p2:true:true p3:false:true" {
			t.Errorf("while two of them end: %s", got)
		}
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if len(f.Status()) != 3 {
			t.Errorf("afterwards: %+v", f.Status())
		}
		for i, want := range []int32{1, 1, 2, 1} {
			if p[i].news.Load() != want || p[i].most.Load() != 1 {
				t.Errorf("p%d was made %d times, %d at once", i, p[i].news.Load(), p[i].most.Load())
			}
		}
		check(f.Apply(nil), "[] [] [p0 p2 p3] []")
		// Back before they have ended: they wait for themselves.
		check(f.Apply([]Pipe{p[0].pipe("1")}), "[p0] [] [] []")
		check(f.Apply([]Pipe{p[0].pipe("2")}), "[] [p0] [] []")
		time.Sleep(20 * time.Second)
		synctest.Wait()
		if p[0].most.Load() != 1 || p[0].alive.Load() != 1 {
			t.Errorf("p0: %d at once, %d now", p[0].most.Load(), p[0].alive.Load())
		}
	})
}

func TestOneThatFailsIsTriedAgainAndHurtsNobody(t *testing.T) {
	fleetOf(t, func(t *testing.T, f *Fleet, log *text) {
		late := &scripted{name: "late", fails: func(n int32) error {
			if n < 10 {
				return errors.New("no such directory")
			}
			return nil
		}}
		panics := &scripted{name: "panics", run: func(ctx context.Context, n int32) error {
			if n < 20 {
				panic("a bug")
			}
			<-ctx.Done()
			return nil
		}}
		good := &scripted{name: "good"}
		f.Apply([]Pipe{late.pipe("1"), panics.pipe("1"), good.pipe("1")})
		time.Sleep(time.Second)
		st := f.Status()
		if st[0].Err == nil || st[0].Agent != nil || st[0].Starts != 0 || st[1].Starts == 0 || st[2].Agent == nil {
			t.Errorf("at first: %+v", st)
		}
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		for _, s := range f.Status() {
			if s.Err != nil || s.Agent == nil {
				t.Errorf("in the end: %+v", s)
			}
		}
		if n := log.count("cannot start"); n != 1 {
			t.Errorf("told %d times that it waits", n)
		}
		if n := log.count("please report this"); n != 19 {
			t.Errorf("told %d times that it panicked", n)
		}
		if good.news.Load() != 1 {
			t.Errorf("the good one was started %d times", good.news.Load())
		}
		families, err := f.Gather()
		if err != nil || len(families) != 1 || len(families[0].Metric) != 3 {
			t.Fatalf("metrics: %v, %v", families, err)
		}
		for _, m := range families[0].Metric {
			if m.Label[0].GetName() != "pipe" || m.Label[0].GetValue() == "late" && m.Gauge.GetValue() != 10 {
				t.Errorf("metric %v", m)
			}
		}
	})
}

// A pipe that was stopped stays so, the others go on, and a reload starts it again.
func TestStoppedUntilReload(t *testing.T) {
	fleetOf(t, func(t *testing.T, f *Fleet, log *text) {
		stop := make(chan struct{})
		stops := &scripted{name: "stops", run: func(ctx context.Context, n int32) error {
			if n == 1 {
				<-stop
				return &agent.StoppedError{By: "a test"}
			}
			<-ctx.Done()
			return nil
		}}
		good := &scripted{name: "good"}
		pipes := []Pipe{stops.pipe("1"), good.pipe("1")}
		f.Apply(pipes)
		synctest.Wait()
		close(stop)
		time.Sleep(10 * time.Minute)
		st := f.Status()
		if !st[0].Stopped || st[0].Agent != nil || st[0].Err.Error() != "stopped by a test" || stops.news.Load() != 1 || st[1].Agent == nil {
			t.Errorf("stopped: %+v", st)
		}
		if log.count("level=ERROR") != 0 {
			t.Error("a stop counts as a failure")
		}
		if ch := f.Apply(pipes); len(ch.Started) != 1 || len(ch.Kept) != 1 {
			t.Errorf("a reload did %+v", ch)
		}
		synctest.Wait()
		if st := f.Status(); st[0].Stopped || st[0].Agent == nil || stops.news.Load() != 2 || good.news.Load() != 1 {
			t.Errorf("after a reload: %+v", st)
		}
	})
}

func TestPausingAPipe(t *testing.T) {
	fleetOf(t, func(t *testing.T, f *Fleet, _ *text) {
		good, late := &scripted{name: "good"}, &scripted{name: "late", fails: func(int32) error { return errors.New("no such directory") }}
		f.Apply([]Pipe{good.pipe("1"), late.pipe("1")})
		synctest.Wait()
		for _, want := range []bool{true, false} { // the second time it is no news
			if changed, err := f.SetPaused("good", true, "a test"); err != nil || changed != want {
				t.Errorf("%v, %v; want %v", changed, err, want)
			}
		}
		if _, err := f.SetPaused("late", true, "a test"); err == nil || !strings.Contains(err.Error(), "no such directory") {
			t.Errorf("a pipe that does not run: %v", err)
		}
		if _, err := f.SetPaused("nobody", true, "a test"); !errors.Is(err, ErrNoPipe) {
			t.Errorf("a pipe that is not: %v", err)
		}
	})
}
