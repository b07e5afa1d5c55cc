package manifest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// ErrWentBack: an object of the view is gone, or older than another one proves. Nothing is built upon it, as that would lose what it had.
var ErrWentBack = errors.New("the store lost an object of the view, or has an older one in its place")

// mend is what to do about ErrWentBack.
const mend = "`fustor check` says what is left, and `fustor check --repair` goes on from there"

// WentBack is an ErrWentBack that says what is wrong.
func WentBack(format string, args ...any) error {
	return fmt.Errorf("%s: %w; %s", fmt.Sprintf(format, args...), ErrWentBack, mend)
}

// Follows refuses head as the successor of a version that this process has seen before: versions of one epoch only grow.
func (m *Manifest) Follows(seen *Manifest) error {
	if seen == nil || seen.Epoch != m.Epoch || m.Version >= seen.Version {
		return nil
	}
	return WentBack("%s is version %d, but it was version %d before", layout.Head(m.View), m.Version, seen.Version)
}

// Proved refuses a head that the manifests beside it prove to be old. Whoever wrote one of version n + 2 had read n + 1 as head; of
// n + 1 alone there may be some that were never published. It is one LIST.
func (m *Manifest) Proved(ctx context.Context, st store.Store) error {
	beyond, _, err := List(ctx, st, m.View, m.Version+2, 1, func(list []Published, _ time.Time) bool { return len(list) > 0 })
	if err != nil {
		return err
	}
	if len(beyond) == 0 {
		return nil
	}
	now, _, err := LoadRoot(ctx, st, m.View) // the list is younger than m
	if err == nil && now.Version+1 < beyond[0].Version {
		err = WentBack("%s is version %d, but there is %s", layout.Head(m.View), now.Version, beyond[0].Key)
	}
	return err
}

// unpublished is how old a manifest of version 1 may be that was never published: longer than any job takes. An older one proves that
// there was a head. That of a process which died at its very first commit, and had no successor for so long, proves it wrongly.
const unpublished = time.Hour

// Begin is what the first version of a view may be built upon, where it had no head: nothing, if there are no manifests. If its roster
// has begun another epoch than theirs, as where a view is being deleted, it is the newest of them, for the next to be empty. Otherwise
// head is lost, unless others have published it meanwhile: then they are first, and nothing is built upon what this is. It is one LIST
// where there are none.
func Begin(ctx context.Context, st store.Store, view, epoch string) (*Manifest, error) {
	none := &Manifest{Format: Format, View: view}
	list, now, err := List(ctx, st, view, 0, 0, nil)
	if err != nil || len(list) == 0 {
		return none, err
	}
	if _, _, err := LoadRoot(ctx, st, view); !errors.Is(err, ErrNoHead) {
		return none, err
	}
	newest := list[len(list)-1]
	last, err := LoadKeyRoot(ctx, st, view, newest.Key)
	switch {
	case errors.Is(err, store.ErrNotFound): // the view is being deleted
		return none, nil
	case err != nil:
		return nil, err
	case last.Epoch != epoch:
		return last, nil
	case newest.Version == 1 && now.Sub(newest.Written) < unpublished:
		return none, nil
	}
	return nil, WentBack("there is no %s, but there is %s", layout.Head(view), last.Key())
}
