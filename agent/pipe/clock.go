package pipe

import (
	"sync"

	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/store"
)

// Clock tells the store's time: the host's clock plus an offset that is measured from ingest's answers. Its readings
// strictly grow, whatever the offset does, so that no two events of a session were observed at the same time.
//
// Between measurements it follows a clock that neither jumps when the host's time is set nor stops while the host sleeps.
type Clock struct {
	boot func() int64 // the host's clock

	mu     sync.Mutex
	own    int64        // the host's time minus boot, for as long as ingest has said nothing
	offset store.Offset // the store's time minus boot
	last   int64
}

// NewClock starts from the host's own idea of the time.
func NewClock(host lease.Clocks) *Clock {
	now := host.Now()
	return &Clock{boot: host.Boot, own: now.Wall - now.Boot}
}

// Now is the store's time in ns, later than every earlier answer.
func (c *Clock) Now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last+1, c.time())
	return c.last
}

// Time is the store's time in ns, for people to look at.
func (c *Clock) Time() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.time()
}

func (c *Clock) time() int64 {
	if !c.offset.Known() {
		return c.boot() + c.own
	}
	return c.boot() + c.offset.Value()
}

// Reading is when a request was sent, for Measure.
func (c *Clock) Reading() int64 { return c.boot() }

// Measure takes in an answer that has just come, to the request of Reading sent: the server's clock then, in ns.
func (c *Clock) Measure(sent, server int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.offset.Known() {
		c.last = 0 // what the host's own time was before is no bound: nothing is sent before the first answer
	}
	c.offset.Observe(server, 1, sent, c.boot())
}
