package store_test

import (
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
