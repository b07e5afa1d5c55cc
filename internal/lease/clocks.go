package lease

import "time"

// Instant is a moment by both clocks of a host, each in ns.
type Instant struct {
	Boot int64 // since some moment in the past of the host; nobody sets it
	Wall int64 // since 1970; it may be set
}

// Since is how long ago then was, by the clock that says it was longer.
func (i Instant) Since(then Instant) time.Duration { return max(i.sub(then)) }

func (i Instant) sub(then Instant) (boot, wall time.Duration) {
	return time.Duration(i.Boot - then.Boot), time.Duration(i.Wall - then.Wall)
}

// Clocks are the two clocks of a host. Boot goes on while the host sleeps, where the system has such a clock: Linux has.
type Clocks struct {
	Boot func() int64
	Wall func() time.Time
}

// Host is the clocks of this host.
func Host() Clocks { return Clocks{Boot: boot, Wall: time.Now} }

// Or is c with the clocks of other where it has none.
func (c Clocks) Or(other Clocks) Clocks {
	if c.Boot == nil {
		c.Boot = other.Boot
	}
	if c.Wall == nil {
		c.Wall = other.Wall
	}
	return c
}

// Now reads both.
func (c Clocks) Now() Instant { return Instant{Boot: c.Boot(), Wall: c.Wall().UnixNano()} }

var began = time.Now()

// monotonic is the time since this process began, by a clock that nobody sets.
func monotonic() int64 { return int64(time.Since(began)) }
