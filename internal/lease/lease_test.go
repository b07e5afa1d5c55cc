package lease_test

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/lease"
)

const ttl = 30 * time.Second

// at is the instant at which so much has gone by on each clock.
func at(boot, wall time.Duration) lease.Instant {
	return lease.Instant{Boot: int64(time.Hour + boot), Wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC).Add(wall).UnixNano()}
}

func TestHold(t *testing.T) {
	h := lease.Hold{Term: 3, Start: at(0, 0), TTL: ttl}
	for _, tc := range []struct {
		name string
		hold lease.Hold
		now  lease.Instant
		left time.Duration
	}{
		{"at once", h, at(0, 0), 20 * time.Second},
		{"later", h, at(15*time.Second, 15*time.Second), 5 * time.Second},
		{"at two thirds", h, at(20*time.Second, 20*time.Second), 0},
		{"by wall time alone", h, at(0, 21*time.Second), -time.Second},
		{"by the boot clock alone", h, at(21*time.Second, 20*time.Second), -time.Second},
		{"wall clock set back by a minute", h, at(0, -time.Minute), 0},
		{"wall clock set back by an hour, later", h, at(10*time.Second, 10*time.Second-time.Hour), 0},
		{"wall clock set back, but not to before the start", h, at(19*time.Second, 15*time.Second), 0},
		{"wall clock set forward by an hour", h, at(time.Second, time.Hour), 20*time.Second - time.Hour},
		{"a step of time synchronization right after the renewal", h, at(time.Millisecond, -4*time.Millisecond), 20*time.Second - time.Millisecond},
		{"the largest step that is none", h, at(10*time.Second, 7500*time.Millisecond), 10 * time.Second},
		{"another boot", h, at(-time.Second, time.Second), 0},
		{"none", lease.Hold{}, at(0, 0), 0},
	} {
		if left := tc.hold.Left(tc.now); left != tc.left {
			t.Errorf("%s: %s left, want %s", tc.name, left, tc.left)
		}
	}
}

// TestOneClockIsEnough becomes of one of the two clocks, work stops before others may take the lease; and while both go right, or the
// wall clock is only corrected a little, it goes on until two thirds.
func TestOneClockIsEnough(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ttl := time.Duration(rapid.Int64Range(1e9, 3600e9).Draw(rt, "ttl"))
		gone := time.Duration(rapid.Int64Range(0, 2*int64(ttl)).Draw(rt, "gone"))
		h := lease.Hold{Term: 1, Start: at(0, 0), TTL: ttl}
		set := time.Duration(rapid.Int64Range(-2*int64(ttl), 2*int64(ttl)).Draw(rt, "wall clock set by"))
		if left := h.Left(at(gone, gone+set)); left > 0 && gone >= ttl*2/3 {
			rt.Fatalf("the wall clock was set by %v, and after %v of %v %v are left", set, gone, ttl, left)
		}
		missed := time.Duration(rapid.Int64Range(0, int64(gone)).Draw(rt, "missed by the boot clock"))
		step := time.Duration(rapid.Int64Range(-int64(lease.StepBack(ttl)), int64(lease.StepBack(ttl))).Draw(rt, "step"))
		if left := h.Left(at(gone-missed, gone+step)); left > 0 && gone >= ttl*3/4+1 {
			rt.Fatalf("the boot clock missed %v, and after %v of %v %v are left", missed, gone, ttl, left)
		}
		if left := h.Left(at(gone, gone+min(step, 0))); (left > 0) != (gone < ttl*2/3) {
			rt.Fatalf("the wall clock was corrected by %v, and after %v of %v %v are left", min(step, 0), gone, ttl, left)
		}
	})
}

// TestMomentsAreInOrder moments of a lease's life come in the order that the rule relies on, whatever the TTL.
func TestMomentsAreInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ttl := time.Duration(rapid.Int64Range(int64(100*time.Millisecond), int64(24*time.Hour)).Draw(rt, "ttl"))
		renew := lease.Interval(ttl, true)
		stop := lease.Hold{Term: 1, Start: at(0, 0), TTL: ttl}.Left(at(0, 0))
		if lease.Fresh(renew, ttl) || renew >= stop || !lease.Live(stop, ttl) || !lease.Live(ttl, ttl) || lease.Live(ttl+1, ttl) ||
			lease.Interval(ttl, false) > renew || lease.Fresh(lease.Interval(ttl, false), ttl) {
			rt.Fatalf("renewed after %v, stopped after %v, of %v", renew, stop, ttl)
		}
	})
}

// TestLooksAreInTime: a follower looks soon after the lease that it saw must have run out, and never later than a leader renews; and a
// proof of life that is carried holds for longer than until a follower of whom nobody tells writes its own.
func TestLooksAreInTime(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		ttl := time.Duration(rapid.Int64Range(int64(100*time.Millisecond), int64(24*time.Hour)).Draw(rt, "ttl"))
		left := time.Duration(rapid.Int64Range(0, int64(ttl)).Draw(rt, "left"))
		look := lease.Look(ttl, left)
		if look <= 0 || look > lease.Interval(ttl, true) || left < lease.Interval(ttl, true)-ttl/30 && (look <= left || look > left+ttl/30) {
			rt.Fatalf("with %v of %v left, it looks after %v", left, ttl, look)
		}
		if lease.Carried(ttl) <= ttl+lease.Interval(ttl, true) {
			rt.Fatalf("a proof of life holds for %v of %v", lease.Carried(ttl), ttl)
		}
	})
	for _, c := range []struct{ left, want time.Duration }{{-1, 15 * time.Second}, {0, 1500 * time.Millisecond}, {10 * time.Second, 11500 * time.Millisecond}, {45 * time.Second, 18 * time.Second}} {
		if got := lease.Look(45*time.Second, c.left); got != c.want {
			t.Errorf("with %v left, it looks after %v, want %v", c.left, got, c.want)
		}
	}
	if lease.Carried(45*time.Second) != 90*time.Second {
		t.Error("a proof of life that is carried holds for two time-outs")
	}
}

// TestMoments: those that the package's picture names.
func TestMoments(t *testing.T) {
	if a, b := lease.Interval(45*time.Second, true), lease.Interval(45*time.Second, false); a != 18*time.Second || b != 15*time.Second {
		t.Errorf("a leader renews after %v, a follower after %v", a, b)
	}
	if !lease.Fresh(5*time.Second, ttl) || lease.Fresh(5*time.Second+1, ttl) {
		t.Error("a sixth of the time is fresh, and no more")
	}
	given := lease.Clocks{Boot: func() int64 { return 7 }, Wall: func() time.Time { return time.Unix(0, 8) }}
	if now := given.Or(lease.Host()).Now(); now != (lease.Instant{Boot: 7, Wall: 8}) {
		t.Errorf("clocks that are given are not asked: %+v", now)
	}
}

func TestHostClocks(t *testing.T) {
	clocks := lease.Clocks{}.Or(lease.Host())
	begin := time.Now()
	first := clocks.Now()
	for time.Since(begin) < 2*time.Millisecond {
	}
	now := clocks.Now()
	if since := now.Since(first); since < time.Millisecond || since > time.Minute || now.Boot <= first.Boot || now.Wall <= first.Wall {
		t.Errorf("%+v is %v after %+v", now, since, first)
	}
	if s := at(0, -time.Hour).Since(at(0, 0)); s != 0 {
		t.Errorf("with the wall clock set back: %v", s)
	}
	if s := at(0, time.Hour).Since(at(0, 0)); s != time.Hour {
		t.Errorf("after a sleep that only the wall clock counted: %v", s)
	}
}
