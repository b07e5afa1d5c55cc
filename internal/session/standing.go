package session

import (
	"context"

	"github.com/fustor/fustor/internal/layout"
)

// Known returns a session's record as this ledger remembers it, or else as it is in the store; the zero Record where there is none.
// It does not say whether the session lives: only what never changes in a record is to be believed.
func (l *Ledger) Known(ctx context.Context, view, id string) (Record, error) {
	if !ValidID(id) {
		return Record{}, nil
	}
	record, _, err := l.record(ctx, view, id)
	return record.value, err
}

// Standing returns a session that lives, with the view's term and whether the session leads, or ErrGone. A leader may lose
// its lease at any time; what it saw before it asked, it saw while it led.
func (l *Ledger) Standing(ctx context.Context, view, id string) (State, error) {
	r, err := l.Alive(ctx, view, id)
	if err != nil {
		return State{}, err
	}
	if lease, ok := l.remembersLease(view, id); ok && !nearly(l.since(lease.meta), seconds(lease.value.TTLSeconds)) {
		return State{Record: r, Term: lease.value.Term, Leads: true}, nil
	}
	lease, err := l.readLease(ctx, view)
	if err != nil {
		return State{}, err
	}
	return State{Record: r, Term: lease.value.Term, Leads: lease.value.Session == id && !lease.value.Ended && liveLease(lease)}, nil
}

// Term is the view's newest term as far as this ledger knows, read from the store only where it knows none.
func (l *Ledger) Term(ctx context.Context, view string) (uint64, error) {
	if lease, ok := l.leases.GetIfPresent(layout.Lease(view)); ok {
		return lease.value.Term, nil
	}
	lease, err := l.readLease(ctx, view)
	return lease.value.Term, err
}

// Leader is the record of the session that leads a view; the zero Record where none does.
func (l *Ledger) Leader(ctx context.Context, view string) (Record, error) {
	lease, err := l.readLease(ctx, view)
	if err != nil || !liveLease(lease) || lease.value.Ended {
		return Record{}, err
	}
	return l.Known(ctx, view, lease.value.Session)
}
