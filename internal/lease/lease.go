// Package lease is the rule by which one session leads a view. Ingest asks it when a lease may be taken, agents until when
// they may lead, and the proofs of both (linearizability, simulation) ask the same functions.
//
// A lease holds for its TTL after it was last written:
//
//	0 ...... 1/6 ........ 2/5 ............ 2/3 ............. 1 × TTL
//	written  worth a      the leader       the leader has    others
//	         write again  renews it        stopped           may take it
//
// Others tell a lease's age by the store's clock alone. The leader cannot ask the store all the time, so it counts by its own
// host's clocks, from before it asked for the renewal, and stops a third of the TTL before anyone else may begin.
// The package keeps no state and reads no clock, except for Host.
package lease

import "time"

// Live reports whether a lease, or a session, whose last proof of life is of this age still holds. The age is by the store's
// clock; past it the lease is free.
func Live(age, ttl time.Duration) bool { return age <= ttl }

// Fresh reports whether a proof of life of this age is too young to be worth another write. A sixth keeps even those safe
// who count two thirds of the TTL from an answer that renewed nothing.
func Fresh(age, ttl time.Duration) bool { return age <= ttl/6 }

// Interval is how long after one proof of life the next is due. A leader has from then to two thirds of its TTL to try again;
// a follower proves its life more often than it needs to, since its heartbeats are what finds a lease expired.
func Interval(ttl time.Duration, leads bool) time.Duration {
	if leads {
		return ttl * 2 / 5
	}
	return ttl / 3
}

// Look is how long a follower whose life others carry waits before it looks at the lease again, of which so much was left when it last
// did. A leader that lives has renewed it by then; where it does not, the lease is found expired as soon as it is. Below zero is a lease
// that nobody holds, and that this follower may not take, or not yet.
func Look(ttl, left time.Duration) time.Duration {
	if left < 0 {
		return Interval(ttl, false)
	}
	return min(Interval(ttl, true), left+ttl/30) // stores tell times in whole seconds
}

// Carried is for how long a proof of life holds that the leader's renewals carry: it comes with one heartbeat and is written with
// another, each up to two fifths of the TTL later.
func Carried(ttl time.Duration) time.Duration { return 2 * ttl }

// Hold is what a leader knows of its own lease: the last renewal that succeeded. The zero Hold holds nothing.
type Hold struct {
	Term  uint64
	Start Instant // just before the request was sent whose answer said "leader, renewed"
	TTL   time.Duration
}

// Left is how long leader work may still go on at now; 0 or less means that it must have stopped.
//
// Work stops two thirds of the TTL after Start: nobody can have taken the lease by then, whatever was slow. Both clocks are
// asked and the later is believed, since either may miss time: the boot clock that of a virtual machine that stood still (and,
// where it is only a monotonic clock, that of a host that slept), the wall clock that by which it was set back. A wall clock
// that was set back by more than StepBack cannot tell any more what the boot clock misses, so the Hold is over.
func (h Hold) Left(now Instant) time.Duration {
	boot, wall := now.sub(h.Start)
	if h.Term == 0 || boot < 0 || boot-wall > StepBack(h.TTL) {
		return 0
	}
	return h.TTL*2/3 - max(boot, wall)
}

// StepBack is by how much a leader's wall clock may be set back during one TTL without ending its lease: a twelfth, which is
// 3.75 s of the default TTL of 45 s. Time daemons step a clock by less (ntpd from 0.128 s on, systemd-timesyncd from 0.4 s).
// So much time the wall clock may hide; where the boot clock missed it too, work stops at 2/3 + 1/12 = 3/4 of the TTL, which
// still is before others may begin.
func StepBack(ttl time.Duration) time.Duration { return ttl / 12 }
