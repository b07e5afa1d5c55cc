package manifest

import (
	"context"
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// Published is a version that is kept, and when it was written, by the store's clock.
type Published struct {
	Version uint64
	At      time.Time
}

// History are the versions that are kept from a version on, in order, at most n; more says whether there are others behind.
// It may have versions behind head that were never, or are not yet, published.
func History(ctx context.Context, st store.Store, view string, from uint64, n int) (list []Published, more bool, err error) {
	prefix := layout.Manifests(view)
	for after := fmt.Sprintf("%s%020d", prefix, from); ; {
		page, err := st.List(ctx, prefix, after, n+2)
		if err != nil {
			return nil, false, fmt.Errorf("list the versions of view %s: %w", view, err)
		}
		for _, item := range page.Items {
			version, ok := versionOf(item.Key, prefix)
			switch {
			case !ok || len(list) > 0 && list[len(list)-1].Version == version: // another's that lost the race for this number
				continue
			case len(list) == n:
				return list, true, nil
			}
			list = append(list, Published{version, item.LastModified})
		}
		if !page.More || len(page.Items) == 0 {
			return list, false, nil
		}
		after = page.Items[len(page.Items)-1].Key
	}
}

func versionOf(key, prefix string) (uint64, bool) {
	number, _, ok := strings.Cut(strings.TrimPrefix(key, prefix), "-")
	version, err := strconv.ParseUint(number, 10, 64)
	return version, ok && err == nil
}

// At reads the version with a number of the history that ends with head. store.ErrNotFound where it is not kept.
func At(ctx context.Context, st store.Store, head *Manifest, number uint64) (*Manifest, error) {
	if number == head.Version {
		return head, nil
	}
	if number == 0 || number > head.Version {
		return nil, fmt.Errorf("version %d of view %s: %w", number, head.View, store.ErrNotFound)
	}
	page, err := st.List(ctx, fmt.Sprintf("%s%020d-", layout.Manifests(head.View), number), "", 100)
	if err != nil {
		return nil, fmt.Errorf("find version %d of view %s: %w", number, head.View, err)
	}
	switch len(page.Items) {
	case 0:
		return nil, fmt.Errorf("version %d of view %s: %w", number, head.View, store.ErrNotFound)
	case 1:
		return LoadKey(ctx, st, head.View, page.Items[0].Key)
	}
	// Several raced for this number. The next version says which of them it was made from.
	next, err := At(ctx, st, head, number+1)
	if err != nil {
		return nil, err
	}
	return LoadKey(ctx, st, head.View, next.Parent)
}

// Before finds the newest version of the history that ends with head and that was written at or before a time, to the second.
// It takes some twenty small requests at most. store.ErrNotFound where none that old is kept; oldest is the oldest one that is.
func Before(ctx context.Context, st store.Store, head *Manifest, at time.Time) (m *Manifest, oldest Published, err error) {
	first, _, err := History(ctx, st, head.View, 0, 1)
	if err != nil {
		return nil, oldest, err
	}
	if len(first) > 0 {
		oldest = first[0]
	}
	if len(first) == 0 || oldest.At.Unix() > at.Unix() || oldest.Version > head.Version {
		return nil, oldest, fmt.Errorf("a version of view %s before %s: %w", head.View, at.UTC().Format(time.RFC3339), store.ErrNotFound)
	}
	later := sort.Search(int(head.Version-oldest.Version), func(i int) bool {
		number := oldest.Version + 1 + uint64(i)
		var found []Published
		if err == nil {
			found, _, err = History(ctx, st, head.View, number, 1)
		}
		return len(found) == 0 || found[0].At.Unix() > at.Unix()
	})
	if err != nil {
		return nil, oldest, err
	}
	m, err = At(ctx, st, head, oldest.Version+uint64(later))
	return m, oldest, err
}

// First reads the first version for which is holds, of the history that ends with head, for which it must hold: is must be
// one that, once it holds, holds for all later versions.
func First(ctx context.Context, st store.Store, head *Manifest, is func(*Manifest) bool) (*Manifest, error) {
	kept, _, err := History(ctx, st, head.View, 0, 1)
	if err != nil || len(kept) == 0 || kept[0].Version >= head.Version {
		return head, err
	}
	first := head
	sort.Search(int(head.Version-kept[0].Version), func(i int) bool {
		var m *Manifest
		if err == nil {
			m, err = At(ctx, st, head, kept[0].Version+uint64(i))
		}
		if err != nil || !is(m) {
			return false
		}
		first = m
		return true
	})
	return first, err
}
