package sim

import (
	"math/rand/v2"
	"time"

	"github.com/fustor/fustor/testkit/fault"
)

// plan is what a seed decides beforehand.
type plan struct {
	agents    []int // the host of each agent
	v2        int   // which of them is one of Fustor V2; -1: none
	hosts     int   // those that change the tree; the ones without an agent are the blind ones
	local     bool  // one host, its own disk, no caches
	calm      bool  // no faults
	rates     rates
	staleness time.Duration // what caches may hide
	timeout   time.Duration // of sessions
	audit     time.Duration
	hot       time.Duration
	busy      time.Duration // how long the tree changes
	pauses    time.Duration // between changes, at most
	chaos     time.Duration // between crashes, pauses and the like, at most
	queue     int           // notices that may wait
	segments  time.Duration // between an agent's segments
	polls     time.Duration // between a compactor's looks

	serverSkew time.Duration
	ingests    int
	compactors int
	inline     int // base partitions in head itself, at most; 0: as many as by default, so that there are no leaves
	workers    int // of a fold, at most

	rounds   int           // of change, faults and rest; 0 is one
	grace    time.Duration // of the compactors; 0: their own, which is longer than a seed
	archives int           // how many are unpacked and removed at a time, again and again, where an agent leads
	archive  int           // files of each
	// Rows of a partition, and claims of a batch; 0: so few that a seed has many.
	partition int64
	batch     int
}

// rates are how often what happens to an I/O.
type rates struct {
	look, lost, lostBack, slow, late float64
	store                            fault.Rates
}

func makePlan(r *rand.Rand) plan {
	within := func(low, high time.Duration) time.Duration { return low + time.Duration(r.Int64N(int64(high-low))) }
	p := plan{
		calm: r.IntN(5) == 0, local: r.IntN(6) == 0,
		timeout: within(3*time.Second, 8*time.Second), audit: within(2*time.Second, 8*time.Second),
		hot: within(time.Second, 5*time.Second), busy: within(4*time.Second, 18*time.Second),
		segments: within(300*time.Millisecond, 3*time.Second), polls: within(500*time.Millisecond, 4*time.Second), chaos: within(time.Second, 5*time.Second),
		queue: 16 << r.IntN(8), serverSkew: within(-3*time.Hour, 3*time.Hour), ingests: 1 + r.IntN(2), compactors: 1 + r.IntN(3),
	}
	agentHosts := []int{1, 1, 2, 2, 3}[r.IntN(5)]
	p.hosts = agentHosts + r.IntN(2)
	if r.IntN(2) == 0 {
		p.staleness = within(100*time.Millisecond, 4*time.Second)
	}
	if p.local {
		agentHosts, p.hosts, p.staleness = 1, 1, 0
	}
	// Up to a hundred changes, in a hurry or at leisure.
	p.pauses = p.busy * 2 * time.Duration(p.hosts) / time.Duration(5+r.IntN(95))
	for h := range agentHosts {
		p.agents = append(p.agents, h)
	}
	if r.IntN(6) == 0 {
		p.agents = append(p.agents, 0) // two on one host
	}
	if p.calm {
		p.queue = 1 << 12 // an overflow is a fault too
	} else {
		level := r.Float64() * 0.06
		p.rates = rates{
			look: level / 10, lost: level, lostBack: level, slow: level, late: level / 4,
			store: fault.Rates{Lost: level, LostBack: level, Error: level, Conflict: level, Short: level * 4, Jitter: time.Duration(level * float64(2*time.Second))},
		}
	}
	if r.IntN(2) == 0 {
		p.inline = 1 + r.IntN(3)
	}
	p.workers = 1 + r.IntN(4)
	return p
}
