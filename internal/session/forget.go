package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// Forget takes sessions that ended longer than grace ago out of the roster, and then removes their records. Until then
// a zombie's late segments are still read. Folded is asked about each and says whether all of its segments are folded.
func (l *Ledger) Forget(ctx context.Context, view string, grace time.Duration, folded func(id string) bool) error {
	roster, err := read[Roster](ctx, l.store, layout.Roster(view))
	if err != nil {
		return err
	}
	var gone []string
	for _, id := range slices.Sorted(maps.Keys(roster.value.Sessions)) {
		record, err := l.readRecord(ctx, view, id)
		if err != nil {
			return err
		}
		old := roster.value.Sessions[id].Epoch != roster.value.Epoch
		if old && record.exists() && !record.value.Ended { // whoever reset the view came no further
			if err := l.End(ctx, view, id, Reset); err != nil {
				return err
			}
			continue
		}
		over := !record.exists() || record.value.Ended && Age(record.meta) > grace
		// Of an epoch that is over nothing is folded any more.
		if over && (old || folded(id)) {
			gone = append(gone, id)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	next := Roster{Epoch: roster.value.Epoch, EpochNumber: roster.value.EpochNumber, Sessions: maps.Clone(roster.value.Sessions)}
	for _, id := range gone {
		delete(next.Sessions, id)
	}
	if next.Nonce, err = newNonce(l.random); err != nil {
		return err
	}
	_, err = swap(ctx, l.store, layout.Roster(view), next, roster.meta)
	if errors.Is(err, store.ErrLost) {
		return nil // another time
	}
	if err != nil {
		return fmt.Errorf("forget sessions of view %s: %w", view, err)
	}
	for _, id := range gone {
		if err := l.store.Delete(ctx, layout.Session(view, id)); err != nil {
			return fmt.Errorf("forget session %s: %w", id, err)
		}
	}
	return nil
}
