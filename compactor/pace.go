package compactor

import "time"

const (
	// pollMin is the first pause after work, and each pause while events flow. A session sends a segment a second on the
	// average, so most polls in between find only what others sent.
	pollMin = 125 * time.Millisecond
	// flowing: events flow while a poll finds segments within so long of the last one that did, as where a host
	// seals one every second.
	flowing = 1500 * time.Millisecond
)

// pace is how long a compactor waits between polls where nothing wakes it. Polls cost money, so the pauses grow once nothing
// comes. While events flow they stay short, as one more poll costs less than a hundredth of the fold that follows it.
type pace struct {
	max   time.Duration
	found time.Time // when the last poll that found something began
	flow  bool
	pause time.Duration
}

// work says that a poll, begun at this time, found something.
func (p *pace) work(began time.Time) {
	p.flow = began.Sub(p.found) < flowing
	p.found, p.pause = began, pollMin
}

// rest is the pause after a poll that found nothing.
func (p *pace) rest(now time.Time) time.Duration {
	pause := min(max(p.pause, pollMin), p.max)
	if !p.flow || now.Sub(p.found) >= flowing {
		p.pause = min(2*pause, p.max)
	}
	return pause
}
