package store_test

import (
	"context"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/store"
)

// TestClockConverges far off the local clock is and whatever requests take, the estimate comes within what the answers prove.
func TestClockConverges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		offset := time.Duration(rapid.Int64Range(-100*365*24, 100*365*24).Draw(rt, "hours"))*time.Hour + time.Duration(rapid.Int64Range(0, 1e9-1).Draw(rt, "ns"))
		resolution := rapid.SampledFrom([]time.Duration{1, time.Second}).Draw(rt, "resolution")
		local := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		c := store.NewClock(func() time.Time { return local })
		last := int64(0)
		for range 60 {
			sent := local
			local = local.Add(time.Duration(rapid.Int64Range(1e6, 30e6).Draw(rt, "to the store")))
			date := local.Add(offset).Truncate(resolution)
			if resolution == 1 && date.Nanosecond() == 0 {
				date = date.Add(1)
			}
			local = local.Add(time.Duration(rapid.Int64Range(1e6, 30e6).Draw(rt, "back")))
			c.Observe(date, sent, local)
			if off := time.Duration(c.Now() - local.Add(offset).UnixNano()); off.Abs() > resolution/2+35*time.Millisecond {
				rt.Fatalf("off by %s", off)
			}
			if now := c.Now(); now < last && last != 0 {
				rt.Fatalf("time ran backwards by %s", time.Duration(last-now))
			}
			last = c.Now()
			local = local.Add(time.Duration(rapid.Int64Range(0, 3e9).Draw(rt, "pause")))
		}
	})
}

// TestClockSubSecond seconds are no limit: many answers narrow the offset down.
func TestClockSubSecond(t *testing.T) {
	local := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	offset := 3*time.Hour + 314*time.Millisecond
	c := store.NewClock(func() time.Time { return local })
	for range 200 {
		sent := local
		local = local.Add(2 * time.Millisecond)
		c.Observe(local.Add(offset).Truncate(time.Second), sent, local)
		local = local.Add(737 * time.Millisecond)
	}
	if off := time.Duration(c.Now() - local.Add(offset).UnixNano()); off.Abs() > 10*time.Millisecond {
		t.Errorf("off by %s after 200 answers", off)
	}
}

func TestClockFollowsASetClock(t *testing.T) {
	local := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	c := store.NewClock(func() time.Time { return local })
	if c.Now() != local.UnixNano() {
		t.Error("a clock that knows nothing shows another time than the local one")
	}
	c.Observe(time.Time{}, local, local)
	for _, offset := range []time.Duration{time.Hour, -5 * time.Hour, 30 * time.Minute} {
		for range 3 {
			c.Observe(local.Add(offset).Add(1), local, local.Add(time.Millisecond))
			local = local.Add(time.Second)
		}
		if off := time.Duration(c.Now() - local.Add(offset).UnixNano()); off.Abs() > 20*time.Millisecond {
			t.Errorf("offset %s: off by %s", offset, off)
		}
	}
}

// TestMeasuredIsSilentWhereItCouldBeHoursOff agents set their clocks by must not be this machine's own idea of the time, nor that idea after it was set.
func TestMeasuredIsSilentWhereItCouldBeHoursOff(t *testing.T) {
	local := time.Date(2026, 3, 1, 15, 0, 0, 0, time.UTC)
	stores := func() time.Time { return local.Add(-3 * time.Hour).Add(time.Nanosecond) }
	c := store.NewClock(func() time.Time { return local })
	if got := c.Measured(); got != 0 {
		t.Errorf("before the first answer: %v", time.Unix(0, got).UTC())
	}
	good := func(when string) {
		t.Helper()
		c.Observe(stores(), local, local)
		if off := time.Duration(c.Measured() - stores().UnixNano()).Abs(); off > time.Second {
			t.Errorf("%s: off by %v", when, off)
		}
	}
	good("after an answer")
	for _, set := range []time.Duration{time.Hour, -2 * time.Hour} {
		now := stores()
		before := local
		local = local.Add(set)
		if got := c.Measured(); got != 0 {
			t.Errorf("after the clock was set by %v: %v", set, time.Unix(0, got).UTC())
		}
		c.Observe(now, before, local) // it was set while the answer came
		if got := c.Measured(); got != 0 {
			t.Errorf("after the clock was set by %v during a request: %v", set, time.Unix(0, got).UTC())
		}
		good("after the next answer")
	}
}

// TestOffsetOfBoundsThatMeet: answers agree where their bounds have one point in common, and contradict each other where they have none.
func TestOffsetOfBoundsThatMeet(t *testing.T) {
	for second, want := range map[int64]int64{9: 10, 10: 10, 11: 21} {
		var o store.Offset
		o.Observe(0, 0, -10, 0) // within 0 and 10
		o.Observe(second, 0, -20, 0)
		if second == 9 {
			want = 9 + (10-9)/2
		}
		if got := o.Value(); got != want {
			t.Errorf("then within %d and %d: %d, want %d", second, second+20, got, want)
		}
	}
}

// TestClockAtItsLimits: an answer that leaves open as much as is allowed counts, and so does one of as long ago.
func TestClockAtItsLimits(t *testing.T) {
	for _, c := range []struct {
		took, ago time.Duration
		known     bool
	}{{15*time.Second - 1, 0, true}, {15 * time.Second, 0, false}, {0, 5 * time.Second, true}, {0, 5*time.Second + 1, false}, {0, -5 * time.Second, true}, {0, -5*time.Second - 1, false}} {
		local := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
		clock := store.NewClock(func() time.Time { return local })
		clock.Observe(local.Add(time.Hour).Add(1), local.Add(-c.took), local) // of a nanosecond's resolution
		local = local.Add(c.ago)
		if got := clock.Measured(); (got != 0) != c.known {
			t.Errorf("an answer that took %s, %s ago: %d", c.took, c.ago, got)
		}
	}
}

// dated is a store whose answers show its time, which is an hour ahead.
type dated struct {
	store.Store
	now func() time.Time
}

func (d dated) date() time.Time { return d.now().Add(time.Hour + 1) }

func (d dated) Get(context.Context, string) (store.Object, error) {
	return store.Object{Meta: store.Meta{Date: d.date()}}, nil
}

func (d dated) GetUpTo(context.Context, string, int64) (store.Object, error) {
	return store.Object{Meta: store.Meta{Date: d.date()}}, nil
}

func (d dated) GetIfChanged(context.Context, string, string) (store.Object, error) {
	return store.Object{Meta: store.Meta{Date: d.date()}}, nil
}

func (d dated) Put(context.Context, string, []byte) (store.Meta, error) {
	return store.Meta{Date: d.date()}, nil
}

func (d dated) Create(context.Context, string, []byte) (store.Meta, error) {
	return store.Meta{Date: d.date()}, nil
}

func (d dated) Replace(context.Context, string, []byte, string) (store.Meta, error) {
	return store.Meta{Date: d.date()}, nil
}

func (d dated) List(context.Context, string, string, int) (store.Page, error) {
	return store.Page{Date: d.date()}, nil
}

func (d dated) Delete(context.Context, string) error { return store.ErrDenied }

// TestClockWatches: whatever a store is asked, the clock learns from its answer; what it does not watch goes to the store, too.
func TestClockWatches(t *testing.T) {
	ctx := t.Context()
	local := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	now := func() time.Time { return local }
	for name, ask := range map[string]func(store.Store){
		"Get":          func(s store.Store) { _, _ = s.Get(ctx, "k") },
		"GetUpTo":      func(s store.Store) { _, _ = s.GetUpTo(ctx, "k", 1) },
		"GetIfChanged": func(s store.Store) { _, _ = s.GetIfChanged(ctx, "k", "e") },
		"Put":          func(s store.Store) { _, _ = s.Put(ctx, "k", nil) },
		"Create":       func(s store.Store) { _, _ = s.Create(ctx, "k", nil) },
		"Replace":      func(s store.Store) { _, _ = s.Replace(ctx, "k", nil, "e") },
		"List":         func(s store.Store) { _, _ = s.List(ctx, "", "", 0) },
	} {
		clock := store.NewClock(now)
		watched := clock.Watch(dated{now: now})
		if err := watched.Delete(ctx, "k"); err != store.ErrDenied || clock.Measured() != 0 {
			t.Errorf("Delete: %v, and the clock shows %d", err, clock.Measured())
		}
		ask(watched)
		if off := time.Duration(clock.Measured() - local.Add(time.Hour).UnixNano()); off.Abs() > time.Second {
			t.Errorf("%s: off by %s", name, off)
		}
	}
}
