package pipe

import (
	"sort"
	"sync"

	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/store"
)

// Ticks are when things are observed, by the host's clock, ns. Several pipes may send one observation, each to a store with a
// clock of its own, so an observation is stamped with a tick, and the Clock of each pipe tells what time that is for its store.
// It is safe for concurrent use.
type Ticks struct {
	host lease.Clocks

	mu   sync.Mutex
	last int64
}

// grain is the least distance of two ticks, ns: see Clock.
const grain = 64

// NewTicks makes ticks of a host's clock, which neither jumps when the host's time is set nor stops while the host sleeps.
func NewTicks(host lease.Clocks) *Ticks { return &Ticks{host: host} }

// Now is a tick later than every earlier one.
func (t *Ticks) Now() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = max(t.last+grain, t.host.Boot())
	return t.last
}

// newest is the last tick so far.
func (t *Ticks) newest() int64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.last
}

// Clock tells the store's time: the host's clock plus an offset that is measured from ingest's answers. A later tick is a later
// time, whatever the offset does, so that no two events of a session were observed at the same time.
//
// At is a function of the tick alone, in whatever order it is asked:
//
//	store's time
//	     │          ╱     offset 2, measured at tick b, is smaller
//	     │    ___╱╱╱      behind b the time goes on at 1/grain of its pace,
//	     │ ╱╱╱            until it has caught up
//	     └───┴─────────── tick
//	         b
type Clock struct {
	ticks *Ticks

	mu     sync.Mutex
	own    int64        // the host's time minus its clock, for as long as ingest has said nothing
	offset store.Offset // the store's time minus the host's clock
	bends  []bend       // by tick; where the offset has changed
}

// bend is a change of the offset behind a tick.
type bend struct {
	tick, time int64 // the last that belongs to the offset before, and its time
	offset     int64
}

// maxBends is how many changes are remembered. For ticks from before them, the time is that of the oldest.
const maxBends = 256

// NewClock starts from the host's own idea of the time.
func NewClock(ticks *Ticks) *Clock {
	now := ticks.host.Now()
	return &Clock{ticks: ticks, own: now.Wall - now.Boot}
}

// Now is the store's time in ns, later than every earlier answer.
func (c *Clock) Now() int64 { return c.At(c.ticks.Now()) }

// At is the store's time of a tick, in ns.
func (c *Clock) At(tick int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at(tick)
}

func (c *Clock) at(tick int64) int64 {
	switch {
	case !c.offset.Known():
		return tick + c.own
	case len(c.bends) == 0:
		return tick + c.offset.Value()
	}
	i := len(c.bends) - 1
	if c.bends[i].tick >= tick {
		i = sort.Search(i, func(i int) bool { return c.bends[i].tick >= tick }) - 1
	}
	if i < 0 {
		return c.bends[0].time - (c.bends[0].tick - tick)
	}
	b := c.bends[i]
	return max(tick+b.offset, b.time+(tick-b.tick)/grain)
}

// Time is the store's time in ns, for people to look at.
func (c *Clock) Time() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.ticks.host.Boot()
	if !c.offset.Known() {
		return now + c.own
	}
	return now + c.offset.Value()
}

// Ahead is how far the store's time is ahead of the ticks, ns.
func (c *Clock) Ahead() int64 {
	tick := c.ticks.newest()
	return c.At(tick) - tick
}

// Reading is when a request was sent, for Measure.
func (c *Clock) Reading() int64 { return c.ticks.host.Boot() }

// Measure takes in an answer that has just come, to the request of Reading sent: the server's clock then, in ns.
func (c *Clock) Measure(sent, server int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	known, tick := c.offset.Known(), c.ticks.newest()
	before := c.at(tick)
	c.offset.Observe(server, 1, sent, c.ticks.host.Boot())
	if !known { // what the host's own time was before is no bound: nothing is sent before the first answer
		c.bends = append(c.bends, bend{tick, tick + c.offset.Value(), c.offset.Value()})
		return
	}
	if n := len(c.bends); c.bends[n-1].tick == tick {
		c.bends[n-1].offset = c.offset.Value()
	} else {
		c.bends = append(c.bends, bend{tick, before, c.offset.Value()})
	}
	if len(c.bends) > maxBends {
		c.bends = append(c.bends[:0], c.bends[len(c.bends)-maxBends/2:]...)
	}
}
