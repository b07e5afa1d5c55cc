package pipe

import "time"

// pace says when the next segment may go out: at most one a gap on average, as each costs requests, and at once for as long as that holds.
// So single changes, as people make them, never wait; what machines change without a pause comes once a gap.
type pace struct {
	gap   time.Duration
	tat   time.Time // when the segments sent so far would all have had their gap
	last  time.Time
	spent bool
}

const (
	burst  = 60                     // segments that may go out early after a quiet time: changes a gap apart, at random, hardly ever have to wait
	minGap = 100 * time.Millisecond // between any two
)

func (p *pace) spend(now time.Time) {
	if p.tat.Before(now) {
		p.tat = now
	}
	p.tat = p.tat.Add(p.gap)
	p.last, p.spent = now, true
}

func (p *pace) wait(now time.Time) time.Duration {
	if !p.spent {
		return 0
	}
	byBurst := p.tat.Add(-burst * p.gap).Sub(now)
	sinceLast := p.last.Add(minGap).Sub(now)
	// However many went out because they were full, none waits for more than a gap.
	return min(max(byBurst, sinceLast, 0), p.gap-now.Sub(p.last))
}
