package session

import (
	"context"
	"errors"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// What must never go back: a term is given once, and a view's first roster begins its first epoch. The store may lose the object that
// says so, or have an older one in its place, so both are held against what else there is of the view.

// unreadable stands for the session that a damaged lease names. It is nobody's id.
const unreadable = "?"

// leaseOf reads the lease. A damaged one holds nothing that cannot be made again: nobody leads, and it is free as that of a session
// that is over, once it is older than the usual time-out.
func leaseOf(ctx context.Context, s store.Store, view string) (held[Lease], error) {
	h, err := read[Lease](ctx, s, layout.Lease(view))
	if errors.Is(err, ErrDamaged) {
		h.value, err = Lease{Session: unreadable, Ended: true, TTLSeconds: usualTimeout}, nil
	}
	return h, err
}

// usualTimeout is the time-out of sessions that ask for none, in seconds.
const usualTimeout = 45

// leap is how far a term goes beyond what is proven of a view whose lease is gone, damaged or older: further than there can have been
// leaders whose segments are not folded.
const leap = 1000

// nextTerm is the term after a lease, for who takes it: greater than any that was given.
func (l *Ledger) nextTerm(ctx context.Context, view string, old held[Lease]) (uint64, error) {
	term, err := l.provenTerm(ctx, view, old)
	if err == nil && term == old.value.Term {
		term++
	}
	return term, err
}

// provenTerm is the term of a lease, or a leap beyond what the view's head proves if that is more, or if the lease tells none of a view
// that has a version. A head that cannot be read proves nothing.
func (l *Ledger) provenTerm(ctx context.Context, view string, lease held[Lease]) (uint64, error) {
	m, _, err := manifest.LoadRoot(ctx, l.store, view)
	switch {
	case errors.Is(err, manifest.ErrNoHead), errors.Is(err, manifest.ErrFormat):
		if lease.value.Session == unreadable {
			return leap, nil
		}
		return lease.value.Term, nil
	case err != nil:
		return 0, err
	case m.Term > lease.value.Term || lease.value.Term == 0 && m.Epoch != "":
		return m.Term + leap, nil
	}
	return lease.value.Term, nil
}

// isNew refuses to begin a view's first epoch where there is something of the view: its roster is lost.
func (l *Ledger) isNew(ctx context.Context, view string) error {
	key, err := l.anything(ctx, view)
	if err != nil || key == "" {
		return err
	}
	return manifest.WentBack("there is no %s, but there is %s", layout.Roster(view), key)
}

// anything is the name of an object that proves that a view had an epoch; empty if there is none.
func (l *Ledger) anything(ctx context.Context, view string) (string, error) {
	m, _, err := manifest.LoadRoot(ctx, l.store, view)
	switch {
	case err == nil && m.Epoch == "": // made by none of the parts
		return "", nil
	case err == nil:
		return layout.Head(view), nil
	case !errors.Is(err, manifest.ErrNoHead):
		return "", err
	}
	page, err := l.store.List(ctx, layout.Manifests(view), "", 1)
	if err != nil || len(page.Items) == 0 {
		return "", err
	}
	return page.Items[0].Key, nil
}

// epochs is how many epochs a view has had, of which its roster counts so many: an administrator may reset a view whose roster is lost.
func (l *Ledger) epochs(ctx context.Context, view string, counted uint64) (uint64, error) {
	m, _, err := manifest.LoadRoot(ctx, l.store, view)
	switch {
	case errors.Is(err, manifest.ErrNoHead), errors.Is(err, manifest.ErrFormat):
		return counted, nil
	case err != nil:
		return 0, err
	}
	return max(counted, m.EpochNumber), nil
}
