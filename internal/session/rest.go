package session

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/pipeapi"
)

// A follower that has nothing to tell rests: its heartbeats write nothing. The process that has them notes them, and the leader's next
// renewal through the same process, a write that is made anyway, tells of them all. Where the leader's heartbeats come through another
// process the follower finds, in the lease that it reads, that nobody tells of it, and writes its record.
//
//	follower   beat ·········· beat ·········· beat
//	               noted          the lease tells of it: nothing to write
//	leader     ········ renews ·········· renews
//
// Its record is read again once an hour, and where the lease says that the session is over.

// Following is what a lease tells of a session that follows.
type Following struct {
	At int64 `json:"at_ns"` // of its last heartbeat, by the store's clock
	// CaughtUp is what its agent said of that with it; nil: it said nothing.
	CaughtUp *pipeapi.CaughtUp `json:"caught_up,omitempty"`
	// Over: somebody has ended the session, and it is to read its record.
	Over bool `json:"over,omitempty"`
}

// maxFollowers bounds the sessions that a lease tells of. Others write their records.
const maxFollowers = 128

// RecordEvery is how old the record of a session that rests becomes: it has the rest of its agent's status.
const RecordEvery = time.Hour

// mayRest reports whether a session may rest while it does not lead. The agents of Fustor V2 beat as V2 has it.
func (r Record) mayRest() bool { return r.Dialect != V2 }

// holds is for how long a proof of life of a session that does not lead holds.
func (r Record) holds() time.Duration {
	if r.Rests {
		return lease.Carried(r.Timeout())
	}
	return r.Timeout()
}

// tells reports whether a lease that was just read tells that a session lives.
func tells(h held[Lease], r Record) bool {
	f, ok := h.value.Followers[r.ID]
	return ok && r.Rests && !f.Over && lease.Live(time.Duration(h.meta.Date.UnixNano()-f.At), r.holds())
}

// lives reports whether a record that was just read proves that its session lives.
func lives(h held[Record]) bool { return lease.Live(Age(h.meta), h.value.holds()) }

// proven is how long ago a follower last proved its life, by the store's clock, as far as its record and the lease tell.
func (l *Ledger) proven(record held[Record], h held[Lease]) time.Duration {
	age := l.since(record.meta)
	if f, ok := h.value.Followers[record.value.ID]; ok && record.value.Rests && !f.Over {
		age = min(age, time.Duration(l.clock.Now()-f.At))
	}
	return age
}

// due reports whether a follower's record is to be written again.
func (l *Ledger) due(record held[Record], h held[Lease]) bool {
	if record.value.Rests {
		return l.proven(record, h) > record.value.Timeout() || l.since(record.meta) > RecordEvery
	}
	return !young(l.since(record.meta), record.value.TimeoutSeconds)
}

// busy reports whether an agent's status has what a lease does not tell and others should know soon: it sent something, has yet to, or
// its rates came to an end.
func busy(was, now *pipeapi.AgentStatus) bool {
	switch {
	case now == nil:
		return false
	case was == nil:
		return true
	}
	return now.SentSegments != was.SentSegments || now.CaughtUp.Known() != was.CaughtUp.Known() ||
		now.CaughtUp.Known() && now.CaughtUp.NextSeq != was.CaughtUp.NextSeq || now.Rates.Events == 0 && was.Rates.Events != 0
}

// left is how much of a lease that was just read is left; below zero where nobody holds it.
func left(h held[Lease]) time.Duration {
	if !liveLease(h) {
		return -1
	}
	return seconds(h.value.TTLSeconds) - Age(h.meta)
}

// following are the followers whose heartbeats a process had, by view and session.
type following struct {
	mu    sync.Mutex
	views map[string]map[string]Following
}

// note has the next renewals of the lease through this process tell of a follower.
func (f *following) note(r Record, n Following) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.views == nil || len(f.views) > maxRemembered {
		f.views = map[string]map[string]Following{}
	}
	kept := map[string]Following{r.ID: n}
	for id, before := range f.views[r.View] {
		if id != r.ID && time.Duration(n.At-before.At) <= r.holds() {
			kept[id] = before
		}
	}
	f.views[r.View] = kept
}

// noted is what was noted of a view; it is not to be changed.
func (f *following) noted(view string) map[string]Following {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.views[view]
}

// followers are those that a lease is to tell of: of what it told, and was noted since, what still proves that somebody lives.
func (v Lease) followers(now int64, noted map[string]Following) map[string]Following {
	all := map[string]Following{}
	fresh := func(f Following) bool { return time.Duration(now-f.At) <= lease.Carried(seconds(v.TTLSeconds)) }
	for _, from := range []map[string]Following{v.Followers, noted} {
		for id, f := range from {
			if before, ok := all[id]; fresh(f) && id != v.Session && !(ok && (before.Over || before.At >= f.At)) {
				all[id] = f
			}
		}
	}
	if len(all) > maxFollowers {
		ids := slices.SortedFunc(maps.Keys(all), func(a, b string) int { return cmp.Or(cmp.Compare(all[b].At, all[a].At), cmp.Compare(a, b)) })
		for _, id := range ids[maxFollowers:] {
			delete(all, id)
		}
	}
	if len(all) == 0 {
		return nil
	}
	return all
}

// over has a session that rests hear of its end with its next heartbeat, also where nobody holds the lease: it may be paused, so that it
// does not take it, or another takes it first. A lease that ran out is given up then, as a write would renew it.
func (l *Ledger) over(ctx context.Context, view, id string) error {
	return again(ctx, func() error {
		h, err := l.readLease(ctx, view)
		if err != nil || !h.exists() || liveLease(h) && h.value.Session == id {
			return err
		}
		next, now := h.value, l.clock.Now()
		if !liveLease(h) {
			next.Session, next.Ended = "", false
		}
		if next.Followers = next.followers(now, nil); next.Followers == nil {
			next.Followers = map[string]Following{}
		}
		next.Followers[id] = Following{At: now, Over: true}
		_, err = l.writeLease(ctx, view, next, h.meta)
		return err
	})
}
