package compactor

import "time"

const (
	// pollMin is the first pause after work, and each pause while events flow. A session sends a segment a second on the
	// average, so most looks in between find only what others sent.
	pollMin = 125 * time.Millisecond
	// flowing: events flow while a look finds segments within so long of the last one that did, as it does where a host
	// seals one every second.
	flowing = 1500 * time.Millisecond
)

// pace is how long a compactor waits from look to look where nothing wakes it. Looks cost money, so the pauses grow as soon as
// nothing comes; while events flow they stay short, as a look more costs less than a hundredth of the fold that it is for.
type pace struct {
	max   time.Duration
	found time.Time // when the last look that found something began
	flow  bool
	pause time.Duration
}

// work says that a look, begun at this time, found something.
func (p *pace) work(began time.Time) {
	p.flow = began.Sub(p.found) < flowing
	p.found, p.pause = began, pollMin
}

// rest is the pause after a look that found nothing.
func (p *pace) rest(now time.Time) time.Duration {
	pause := min(max(p.pause, pollMin), p.max)
	if !p.flow || now.Sub(p.found) >= flowing {
		p.pause = min(2*pause, p.max)
	}
	return pause
}
