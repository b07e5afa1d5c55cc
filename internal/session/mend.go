package session

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// MendRoster makes the roster of an epoch anew where it is lost, damaged or old: of the session records, and of what the roster has of
// that epoch, if it can be read.
func (l *Ledger) MendRoster(ctx context.Context, view, epoch string, number uint64) error {
	err := again(ctx, func() error {
		old, err := read[Roster](ctx, l.store, layout.Roster(view))
		if err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
		next := Roster{Epoch: epoch, EpochNumber: number, Sessions: map[string]RosterEntry{}}
		for id, entry := range old.value.Sessions {
			if entry.Epoch == epoch && ValidID(id) {
				next.Sessions[id] = entry
			}
		}
		err = store.Each(ctx, l.store, layout.View(view)+"sessions/", func(i store.Item, _ time.Duration) error {
			id := strings.TrimSuffix(i.Key[strings.LastIndexByte(i.Key, '/')+1:], ".json")
			r, err := Read(ctx, l.store, view, id)
			if err == nil && r.ID == id && r.Epoch == epoch {
				next.Sessions[id] = r.entry()
			}
			if errors.Is(err, ErrDamaged) {
				return nil
			}
			return err
		})
		if err != nil {
			return err
		}
		if next.Nonce, err = newNonce(l.random); err != nil {
			return err
		}
		_, err = swap(ctx, l.store, layout.Roster(view), next, old.meta)
		return err
	})
	if err != nil {
		return fmt.Errorf("mend the roster of view %s: %w", view, err)
	}
	return nil
}

// MendRecord makes the record of a session anew that is damaged or lost, of what the roster says: the session is over, and its agent
// begins another one.
func (l *Ledger) MendRecord(ctx context.Context, view, id string, entry RosterEntry) error {
	err := again(ctx, func() error {
		old, err := read[Record](ctx, l.store, layout.Session(view, id))
		if err == nil && old.exists() || err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
		_, err = l.writeRecord(ctx, Record{ID: id, View: view, Task: entry.Task, Agent: entry.Agent, TimeoutSeconds: entry.TimeoutSeconds,
			CreatedAt: entry.CreatedAt, Epoch: entry.Epoch, Ended: true, EndedReason: ByAdmin}, old.meta)
		return err
	})
	if err != nil {
		return fmt.Errorf("mend the record of session %s: %w", id, err)
	}
	return l.End(ctx, view, id, ByAdmin)
}
