package session

import "time"

// Hold is what a session knows of its own lease: the last renewal that succeeded. The zero Hold holds nothing.
//
// Leader work must stop once two thirds of the TTL have gone by since the renewal was asked for, not since it was
// answered: nobody can have taken the lease by then, whatever was slow. Both the wall clock and the monotonic one are
// asked and the later believed, since one of them sleeps with a laptop and the other may be set back.
type Hold struct {
	Term  uint64
	Start time.Time // just before the request was sent whose answer said "leader, renewed"
	TTL   time.Duration
}

// Left is how long leader work may still go on at now; 0 or less means that it must have stopped.
func (h Hold) Left(now time.Time) time.Duration {
	wall := now.Round(0).Sub(h.Start.Round(0))
	if h.Term == 0 || wall < 0 { // a wall clock that was set back proves nothing any more
		return 0
	}
	return h.TTL*2/3 - max(wall, now.Sub(h.Start))
}

// RenewEvery is how often a session of a TTL proves that it lives.
func RenewEvery(ttl time.Duration) time.Duration { return ttl / 3 }
