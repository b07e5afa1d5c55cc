package manifest

import (
	"context"
	"errors"
	"fmt"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// Empty is the version that follows m in a new epoch: nothing of what the view held, and nobody's progress. What it
// knows of the file server's clock and of terms holds on.
func (m *Manifest) Empty(epoch, nonce string, now int64) *Manifest {
	next := &Manifest{Format: Format, View: m.View, Version: m.Version + 1, Nonce: nonce, Epoch: epoch,
		FoldedAt: now, Reason: "reset", Term: m.Term, Clock: m.Clock, Live: m.Live}
	if m.Version > 0 {
		next.Parent = m.Key()
	}
	return next
}

// Follow brings head to the epoch that the view's roster is in: if it is of another, or there is none, an empty version is
// published. It returns the version that is current then. Epoch reads the roster's and its number, nonce makes one. A roster of an
// epoch before head's is ErrWentBack.
//
// Head is read before the roster. So a head that is of the roster's epoch never goes back to an older one: whoever read
// an older roster read an older head as well, and loses.
func Follow(ctx context.Context, st store.Store, view string, epoch func() (string, uint64, error), nonce func() (string, error), now func() int64) (*Manifest, error) {
	for {
		m, etag, err := LoadRoot(ctx, st, view)
		lost := errors.Is(err, ErrNoHead)
		if err != nil && !lost {
			return nil, err
		}
		wanted, number, err := epoch()
		if err != nil {
			return nil, err
		}
		if lost {
			if m, err = Begin(ctx, st, view, wanted); err != nil {
				return nil, err
			}
		} else if wanted == m.Epoch {
			return m, nil
		}
		if m.EpochNumber > 0 && number <= m.EpochNumber {
			return nil, WentBack("%s is of the view's epoch %d, but version %d of epoch %d", layout.Roster(view), number, m.Version, m.EpochNumber)
		}
		n, err := nonce()
		if err != nil {
			return nil, err
		}
		at := now()
		next := m.Empty(wanted, Nonce(at, n), at)
		next.EpochNumber = number
		if _, err = Commit(ctx, st, next, etag); err == nil {
			return next, nil
		}
		if !errors.Is(err, store.ErrLost) {
			return nil, fmt.Errorf("empty view %s: %w", view, err)
		}
	}
}
