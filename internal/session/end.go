package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/fustor/fustor/internal/store"
)

// Why sessions end.
const (
	Closed   = "closed"
	TimedOut = "timeout"
	Reset    = "reset"
	ByAdmin  = "admin"
)

var errAlive = errors.New("the session lives")

// End ends a session and releases its lease at once, keeping the term, so that the next leader has a new one. A session
// that has ended already, or never was, is as it should be.
func (l *Ledger) End(ctx context.Context, view, id, reason string) error {
	if !ValidID(id) {
		return nil
	}
	if err := again(ctx, func() error { return l.end(ctx, view, id, reason, false) }); err != nil {
		return fmt.Errorf("end session %s: %w", id, err)
	}
	return nil
}

// sweep reports whether a session lives, and ends it if its time is over.
func (l *Ledger) sweep(ctx context.Context, view, id string) (lives bool, err error) {
	err = again(ctx, func() error { return l.end(ctx, view, id, TimedOut, true) })
	if errors.Is(err, errAlive) {
		return true, nil
	}
	return false, err
}

// end is one attempt, lost where something changed under it. The record is read before the lease: see Ledger.
func (l *Ledger) end(ctx context.Context, view, id, reason string, onlyDead bool) error {
	record, err := l.readRecord(ctx, view, id)
	if err != nil || !record.exists() {
		return err
	}
	if onlyDead && (record.value.Ended || lives(record)) {
		return livingUnless(record.value.Ended)
	}
	lease, err := l.readLease(ctx, view)
	if err != nil {
		return err
	}
	if onlyDead && (lease.value.Session == id && liveLease(lease) || tells(lease, record.value)) {
		return errAlive
	}
	if err := l.release(ctx, view, id, lease); err != nil || record.value.Ended {
		return err
	}
	r := record.value
	r.Ended, r.EndedReason = true, reason
	if _, err := l.writeRecord(ctx, r, record.meta); err != nil {
		return err
	}
	if r.Rests {
		_ = l.over(ctx, view, id) // otherwise it hears of its end when it next writes its record
	}
	// A heartbeat that had renewed the record before may have taken the lease since.
	if lease, err = l.readLease(ctx, view); err != nil {
		return err
	}
	if onlyDead && lease.value.Session == id && liveLease(lease) {
		return l.condemn(ctx, view, lease)
	}
	return l.release(ctx, view, id, lease)
}

// condemn ends the reign of a session that was found dead and has turned out to lead: it stood still between the renewal of
// its record and the taking of the lease. It takes itself for the leader for as long as its lease would have held, so the
// lease is not free before; but it cannot renew it.
func (l *Ledger) condemn(ctx context.Context, view string, lease held[Lease]) error {
	next := lease.value
	next.Ended = true
	_, err := l.writeLease(ctx, view, next, lease.meta)
	return err
}

func livingUnless(ended bool) error {
	if ended {
		return nil
	}
	return errAlive
}

// release takes the lease away from session id if it has it.
func (l *Ledger) release(ctx context.Context, view, id string, lease held[Lease]) error {
	if lease.value.Session != id {
		return nil
	}
	_, err := l.writeLease(ctx, view, Lease{Term: lease.value.Term, TTLSeconds: lease.value.TTLSeconds, Terms: lease.value.Terms,
		Followers: lease.value.followers(l.clock.Now(), nil)}, lease.meta)
	return err
}

// Alive returns the record of a session that lives, or ErrGone.
func (l *Ledger) Alive(ctx context.Context, view, id string) (r Record, err error) {
	if !ValidID(id) {
		return Record{}, ErrGone
	}
	err = again(ctx, func() error {
		r, err = l.alive(ctx, view, id)
		return err
	})
	if err != nil {
		return Record{}, fmt.Errorf("look at session %s: %w", id, err)
	}
	return r, nil
}

func (l *Ledger) alive(ctx context.Context, view, id string) (Record, error) {
	record, err := l.readRecord(ctx, view, id)
	switch {
	case err != nil:
		return Record{}, err
	case !record.exists() || record.value.Ended:
		return Record{}, ErrGone
	case lives(record) || l.surelyLeads(view, id):
		return record.value, nil
	}
	lease, err := l.readLease(ctx, view)
	if err != nil {
		return Record{}, err
	}
	if holds(lease, id) || tells(lease, record.value) {
		return record.value, nil
	}
	return Record{}, l.expire(ctx, view, id)
}

// surelyLeads reports whether a lease that is remembered is the session's and far from its end.
func (l *Ledger) surelyLeads(view, id string) bool {
	lease, ok := l.remembersLease(view, id)
	return ok && !nearly(l.since(lease.meta), seconds(lease.value.TTLSeconds))
}

// Leads reports whether a session holds the view's lease, as far as is known: it may lose it at any time.
func (l *Ledger) Leads(ctx context.Context, view, id string) (bool, error) {
	if l.surelyLeads(view, id) {
		return true, nil
	}
	lease, err := l.readLease(ctx, view)
	if err != nil {
		return false, err
	}
	return leads(lease, id), nil
}

// expire ends a session whose time is over and returns ErrGone, or store.ErrLost if it turns out to live.
func (l *Ledger) expire(ctx context.Context, view, id string) error {
	lives, err := l.sweep(ctx, view, id)
	switch {
	case err != nil:
		return err
	case lives:
		return fmt.Errorf("session %s was renewed meanwhile: %w", id, store.ErrLost)
	}
	return ErrGone
}
