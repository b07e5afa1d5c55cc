package pipe

import (
	"sync"
	"time"

	"github.com/fustor/fustor/internal/lease"
)

// Clock tells the store's time: the host's clock plus an offset that is measured from ingest's answers. Its readings
// strictly grow, whatever the offset does, so that no two events of a session were observed at the same time.
//
// Between measurements it follows a clock that neither jumps when the host's time is set nor stops while the host sleeps.
type Clock struct {
	mu       sync.Mutex
	steady   func() int64 // the host's boot clock
	offset   int64        // store's time minus steady
	roundTr  int64        // of the measurement that offset is from; 0: none yet
	measured int64        // when, by steady
	last     int64
}

// NewClock starts from the host's own idea of the time.
func NewClock(host lease.Clocks) *Clock {
	now := host.Now()
	return &Clock{steady: host.Boot, offset: now.Wall - now.Boot}
}

// Now is the store's time in ns, later than every earlier answer.
func (c *Clock) Now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = max(c.last+1, c.steady()+c.offset)
	return c.last
}

// Time is the store's time in ns, for people to look at.
func (c *Clock) Time() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.steady() + c.offset
}

// Reading is when a request was sent, for Measure.
func (c *Clock) Reading() int64 { return c.steady() }

// Measure takes in an answer that has just come, to the request of Reading sent: the server's clock then, in ns.
// The answer is taken to be half a round trip old. A slow answer does not displace a quick one that it agrees with.
func (c *Clock) Measure(sent, server int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.steady()
	roundTrip := max(1, now-sent)
	offset := server + roundTrip/2 - now
	const forget = int64(5 * time.Minute)
	apart := max(offset-c.offset, c.offset-offset)
	if c.roundTr != 0 && roundTrip > c.roundTr && now-c.measured < forget && apart <= (roundTrip+c.roundTr)/2 {
		return
	}
	if c.roundTr == 0 {
		c.last = 0 // what the host's own time was before is no bound: nothing is sent before the first answer
	}
	c.offset, c.roundTr, c.measured = offset, roundTrip, now
}
