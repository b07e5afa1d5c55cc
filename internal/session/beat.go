package session

import (
	"context"
	"fmt"
	"math/bits"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/pipeapi"
)

// Beat is what an agent says with a heartbeat.
type Beat struct {
	CanRealtime *bool                // nil: as before
	AgentStatus *pipeapi.AgentStatus // nil: as before; kept with the next write of the record
	// Paused: the session does not run for leader until a heartbeat says otherwise. If it leads, it gives up its lease.
	Paused bool
}

// Beat renews a session's proof of life and takes the lease over where it is free or expired. A session that does not
// live any more gets ErrGone. One that is paused takes no lease and keeps none: the lease is free at once, for others.
//
// It writes once: the leader its lease, any other session its record, if that is due. It writes nothing where the last proof is
// younger than a sixth of the time-out; State.Renewed tells. It writes more only where something changes, and the status of
// the leader's agent every ten minutes.
func (l *Ledger) Beat(ctx context.Context, view, id string, b Beat) (State, error) {
	if !ValidID(id) {
		return State{}, ErrGone
	}
	var state State
	err := again(ctx, func() (err error) {
		state, err = l.beat(ctx, view, id, b)
		return err
	})
	if err != nil {
		return State{}, fmt.Errorf("heartbeat of session %s: %w", id, err)
	}
	return state, nil
}

func (l *Ledger) beat(ctx context.Context, view, id string, b Beat) (State, error) {
	record, fresh, err := l.record(ctx, view, id)
	if err != nil {
		return State{}, err
	}
	if !record.exists() || record.value.Ended {
		return State{}, ErrGone
	}
	if lease, ok := l.remembersLease(view, id); ok && !nearly(l.since(lease.meta), seconds(lease.value.TTLSeconds)) &&
		!young(l.since(lease.meta), lease.value.TTLSeconds) {
		return l.beatLeader(ctx, record, lease, b)
	}
	lease, err := l.readLease(ctx, view)
	if err != nil {
		return State{}, err
	}
	if lease.value.Session == id && lease.value.Ended {
		return State{}, ErrGone
	}
	if lease.value.Session != id || lease.value.Yields {
		return l.beatFollower(ctx, record, fresh, lease, b)
	}
	if !liveLease(lease) {
		return State{}, l.expire(ctx, view, id)
	}
	return l.beatLeader(ctx, record, lease, b)
}

// record is the session's record, as remembered or read.
func (l *Ledger) record(ctx context.Context, view, id string) (record held[Record], fresh bool, err error) {
	record, ok := l.records.GetIfPresent(layout.Session(view, id))
	if ok && !record.value.Ended {
		return record, false, nil
	}
	record, err = l.readRecord(ctx, view, id)
	return record, true, err
}

// remembersLease returns the remembered lease if it is the session's, to renew.
func (l *Ledger) remembersLease(view, id string) (held[Lease], bool) {
	lease, ok := l.leases.GetIfPresent(layout.Lease(view))
	return lease, ok && lease.value.Session == id && !lease.value.Ended && !lease.value.Yields
}

// young reports whether a proof of life of this age is too young to be worth a write.
func young(age time.Duration, timeoutSeconds float64) bool {
	return lease.Fresh(age, seconds(timeoutSeconds))
}

// statusEvery is how old the status of a leader's agent may become in the record, which it has no other reason to write.
const statusEvery = 10 * time.Minute

// beatLeader renews the lease, which proves by itself that nobody has ended the session: they would have taken it away.
func (l *Ledger) beatLeader(ctx context.Context, record held[Record], lease held[Lease], b Beat) (State, error) {
	state := State{Record: record.value, Term: lease.value.Term, Leads: true}
	next, changed := b.apply(record.value)
	if next.Paused {
		return l.standDown(ctx, record, next, lease)
	}
	if changed || b.AgentStatus != nil && l.since(record.meta) > statusEvery {
		written, err := l.writeRecord(ctx, next, record.meta)
		if err != nil {
			return State{}, err
		}
		state.Record = written.value
	} else {
		l.remember(next, record)
	}
	if young(l.since(lease.meta), lease.value.TTLSeconds) {
		return state, nil
	}
	renewed := lease.value
	renewed.Followers = renewed.followers(l.clock.Now(), l.following.noted(next.View))
	renewed.Work = l.work(ctx, next, lease.value)
	if state.Record.Nonce != record.value.Nonce { // now and then, for the price of a read
		var err error
		if renewed.Term, err = l.provenTerm(ctx, next.View, lease); err != nil {
			return State{}, err
		}
		if state.Term = renewed.Term; state.Term != lease.value.Term {
			renewed.Terms = lease.value.give(state.Term, next.ID, l.clock.Now())
		}
	}
	if _, err := l.writeLease(ctx, next.View, renewed, lease.meta); err != nil {
		return State{}, err
	}
	state.Renewed = true
	return state, nil
}

// standDown gives up the lease of a leader that is paused. From then on its record proves that it lives, so it is renewed
// first.
func (l *Ledger) standDown(ctx context.Context, record held[Record], next Record, lease held[Lease]) (State, error) {
	written, err := l.writeRecord(ctx, next, record.meta)
	if err != nil {
		return State{}, err
	}
	if err := l.release(ctx, next.View, next.ID, lease); err != nil {
		return State{}, err
	}
	return State{Record: written.value, Term: lease.value.Term}, nil
}

// beatFollower renews the record and, where the lease is free or expired, takes it unless it is paused. Where the leader is
// silent, it has the leader yield the lease. The session may be such a leader: the lease still proves then that it lives.
func (l *Ledger) beatFollower(ctx context.Context, record held[Record], fresh bool, lease held[Lease], b Beat) (State, error) {
	view, id := record.value.View, record.value.ID
	next, changed := b.applyFollower(record.value, lease)
	free := freeFor(next, record.value.AgentStatus, lease)
	if !fresh && (nearly(l.proven(record, lease), record.value.holds()) || lease.value.Followers[id].Over ||
		!record.value.Rests && !l.due(record, lease) && !free && !changed) {
		// Whether it died, or was ended where nothing is to be written that would tell, must be read. Of one that rests the lease tells.
		var err error
		if record, err = l.readRecord(ctx, view, id); err != nil {
			return State{}, err
		}
		if !record.exists() || record.value.Ended {
			return State{}, ErrGone
		}
		next, changed = b.applyFollower(record.value, lease)
		free = freeFor(next, record.value.AgentStatus, lease)
		fresh = true
	}
	if fresh && !lives(record) && !tells(lease, record.value) && !holds(lease, id) {
		return State{}, l.expire(ctx, view, id)
	}
	state := State{Record: record.value, Term: lease.value.Term, LeaseLeft: left(lease)}
	if free || changed || l.due(record, lease) {
		next.Rests = next.mayRest() && !free // the record of a leader must not outlive its lease
		written, err := l.writeRecord(ctx, next, record.meta)
		if err != nil {
			return State{}, err
		}
		state.Record = written.value
	} else {
		l.remember(next, record)
		if next.Rests {
			note := Following{At: l.clock.Now()}
			if b.AgentStatus != nil {
				note.CaughtUp = b.AgentStatus.CaughtUp.OrNil()
			}
			l.following.note(next, note)
		}
	}
	switch {
	case free:
		return l.takeOver(ctx, state.Record, lease)
	case lease.value.silence() != nil && leads(lease, lease.value.Session) && canLead(next, record.value.AgentStatus):
		return state, l.haveYielded(ctx, view, lease)
	}
	return state, nil
}

// takeOver gives the lease, free or expired, to a session that has just renewed its record.
func (l *Ledger) takeOver(ctx context.Context, r Record, old held[Lease]) (State, error) {
	term, err := l.nextTerm(ctx, r.View, old)
	if err != nil {
		return State{}, err
	}
	now := l.clock.Now()
	next := Lease{Term: term, Session: r.ID, TTLSeconds: r.TimeoutSeconds, Terms: old.value.give(term, r.ID, now), Followers: old.value.followers(now, nil)}
	lease, err := l.writeLease(ctx, r.View, next, old.meta)
	if err != nil {
		return State{}, err
	}
	record, err := l.readRecord(ctx, r.View, r.ID)
	if err != nil {
		return State{}, err
	}
	if !record.exists() || record.value.Ended { // between the renewal of the record and the taking of the lease
		if err := l.release(ctx, r.View, r.ID, lease); err != nil {
			return State{}, err
		}
		return State{}, ErrGone
	}
	if record.value.Paused { // likewise, by a heartbeat that came through another process
		if err := l.release(ctx, r.View, r.ID, lease); err != nil {
			return State{}, err
		}
		return State{Record: record.value, Term: lease.value.Term}, nil
	}
	if ValidID(old.value.Session) {
		// The end of the old leader is noticed here, or by the next one who looks.
		_, _ = l.sweep(ctx, r.View, old.value.Session)
	}
	return State{Record: record.value, Term: lease.value.Term, Leads: true, Renewed: true}, nil
}

// apply is the record with what the heartbeat says, and whether that is worth a write of its own.
func (b Beat) apply(r Record) (next Record, changed bool) {
	if b.AgentStatus != nil {
		was := r.AgentStatus
		if was == nil {
			was = &pipeapi.AgentStatus{}
		}
		// Both are rare, and what people look for.
		changed = b.AgentStatus.State != was.State || troublesOf(b.AgentStatus) != troublesOf(was)
		r.AgentStatus = b.AgentStatus
	}
	if r.Silence != nil && b.AgentStatus != nil && b.AgentStatus.SentSegments > r.Silence.Sent {
		r.Silence, changed = nil, true
	}
	if b.Paused != r.Paused {
		r.Paused, changed = b.Paused, true
	}
	if b.CanRealtime != nil && *b.CanRealtime != r.CanRealtime {
		r.CanRealtime, changed = *b.CanRealtime, true
	}
	return r, changed
}

// troubles are what of a status must reach people within a heartbeat, not ten minutes late: which troubles there are, and their
// extent by powers of two.
type troubles struct {
	rootLost, spoolFails  bool
	unwatched, unreadable int // bits
	coverage              string
}

func troublesOf(s *pipeapi.AgentStatus) troubles {
	return troubles{rootLost: s.RootLost != "", spoolFails: s.SpoolError != "", unwatched: bits.Len(uint(max(0, s.Unwatched))),
		unreadable: bits.Len(uint(max(0, s.Unreadable))), coverage: s.Coverage}
}

// remember keeps what is to be written with the next write of the record.
func (l *Ledger) remember(next Record, written held[Record]) {
	l.records.Set(layout.Session(next.View, next.ID), held[Record]{next, written.meta})
}
