package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// NewEpoch begins a new epoch of a view: the sessions that its roster has are over, and nothing that they have sent or
// still send is folded into it. It returns the epoch. The sessions hear of it from EndOld, which is to follow.
//
// The roster decides: a session is of the epoch in which its entry was written, so none can be of two.
func (l *Ledger) NewEpoch(ctx context.Context, view string) (epoch string, err error) {
	if epoch, err = newNonce(l.random); err != nil {
		return "", err
	}
	err = again(ctx, func() error {
		roster, err := read[Roster](ctx, l.store, layout.Roster(view))
		if err != nil || roster.value.Epoch == epoch { // an attempt that looked lost had landed
			return err
		}
		number, err := l.epochs(ctx, view, roster.value.EpochNumber)
		if err != nil {
			return err
		}
		next := Roster{Epoch: epoch, EpochNumber: number + 1, Sessions: map[string]RosterEntry{}}
		for id, entry := range roster.value.Sessions {
			entry.Ended = true
			next.Sessions[id] = entry
		}
		if next.Nonce, err = newNonce(l.random); err != nil {
			return err
		}
		_, err = swap(ctx, l.store, layout.Roster(view), next, roster.meta)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("begin a new epoch of view %s: %w", view, err)
	}
	return epoch, nil
}

// EndOld ends the sessions of epochs that are over, and takes the lease away from them. It may be repeated.
func (l *Ledger) EndOld(ctx context.Context, view string) error {
	roster, err := read[Roster](ctx, l.store, layout.Roster(view))
	if err != nil {
		return err
	}
	var failed error
	for _, id := range slices.Sorted(maps.Keys(roster.value.Sessions)) {
		if roster.value.Sessions[id].Epoch != roster.value.Epoch {
			failed = errors.Join(failed, l.End(ctx, view, id, Reset))
		}
	}
	return failed
}

// ReadRoster reads a view's roster; the zero Roster, and no ETag, where it has none.
func ReadRoster(ctx context.Context, s store.Store, view string) (Roster, store.Meta, error) {
	h, err := read[Roster](ctx, s, layout.Roster(view))
	return h.value, h.meta, err
}

// Read reads the record of a session; the zero Record where there is none.
func Read(ctx context.Context, s store.Store, view, id string) (Record, error) {
	if !ValidID(id) {
		return Record{}, nil
	}
	h, err := read[Record](ctx, s, layout.Session(view, id))
	return h.value, err
}
