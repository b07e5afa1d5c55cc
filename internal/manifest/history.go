package manifest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// Published is a version that is there, as its manifest's name says.
type Published struct {
	Version uint64
	Key     string // of its manifest
	// At is when it was published, by the store's clock: what its name says, or when the object was written if it says nothing, as
	// those of earlier builds. So a store that was copied keeps the times of its history.
	At      time.Time
	Written time.Time // when the object was written
	Bytes   int64     // of the manifest
	named   bool      // At is what the name says
}

// Nonce is a manifest's nonce that says when the version was made: ns since 1970, the store's time.
func Nonce(at int64, random string) string { return fmt.Sprintf("%013d-%s", at/1e6, random) }

// timeOf is the time that a manifest's nonce has.
func timeOf(nonce string) (t time.Time, ok bool) {
	ms, _, ok := strings.Cut(nonce, "-")
	n, err := strconv.ParseInt(ms, 10, 64)
	if !ok || err != nil || len(ms) < 13 {
		return time.Time{}, false
	}
	return time.UnixMilli(n), true
}

// published is what the name of a manifest says.
func published(item store.Item, prefix string) (p Published, ok bool) {
	number, nonce, ok := strings.Cut(strings.TrimPrefix(item.Key, prefix), "-")
	version, err := strconv.ParseUint(number, 10, 64)
	if !ok || err != nil {
		return p, false
	}
	p = Published{Version: version, Key: item.Key, At: item.LastModified, Written: item.LastModified, Bytes: item.Size}
	if at, ok := timeOf(nonce); ok {
		p.At, p.named = at, true
	}
	return p, true
}

// List lists the manifests of versions from a number on, in order, in pages until enough says so of what it has; nil: all. It has
// those of lost races, and those that are not yet, or were never, published. now is the store's time, from before the first was listed.
func List(ctx context.Context, st store.Store, view string, from uint64, limit int, enough func([]Published, time.Time) bool) (list []Published, now time.Time, err error) {
	prefix := layout.Manifests(view)
	for after := fmt.Sprintf("%s%020d", prefix, from); ; {
		page, err := st.List(ctx, prefix, after, limit)
		if err != nil {
			return nil, now, fmt.Errorf("list the versions of view %s: %w", view, err)
		}
		if now.IsZero() {
			now = page.Date
		}
		for _, item := range page.Items {
			if p, ok := published(item, prefix); ok {
				list = append(list, p)
			}
		}
		if !page.More || len(page.Items) == 0 || enough != nil && enough(list, now) {
			return list, now, nil
		}
		after = page.Items[len(page.Items)-1].Key
	}
}

// skew is how much later than its successor a version may seem to have been published, as clocks of one store differ. An object
// that was written more than copied after the time in its name was copied into this store, or held up on its way.
const (
	skew   = time.Minute
	copied = 10 * time.Minute
)

// Chain takes the history that ends with head out of a list of manifests: in order, one for each number, none published after the next.
// The others are strays: of
// lost races, written by a process that was held up, or of numbers beyond head's. It reads a manifest for each number that several
// have.
//
// A number alone is no proof. A compactor that was held up for hours may write the manifest of a number whose version was removed long
// ago. Such a stray was made, or at least written, later than the versions that follow it, which no version of the history was.
func Chain(ctx context.Context, st store.Store, head *Manifest, list []Published) (chain, strays []Published, err error) {
	earliest := time.Unix(0, head.FoldedAt)
	var written time.Time // the earliest at which a later version was written, of those that were not copied; zero: none is known
	late := func(p Published) bool {
		return p.named && (p.At.Sub(earliest) > skew || !written.IsZero() && p.Written.Sub(written) > skew)
	}
	for end := len(list); end > 0; {
		begin := end - 1
		for begin > 0 && list[begin-1].Version == list[begin].Version {
			begin--
		}
		var one []Published
		for _, p := range list[begin:end] {
			switch {
			case p.Version > head.Version, p.Version == head.Version && p.Key != head.Key(), p.Version < head.Version && late(p):
				strays = append(strays, p)
			default:
				one = append(one, p)
			}
		}
		next := end
		end = begin
		if len(one) == 0 {
			continue
		}
		if len(one) > 1 {
			var others []Published
			later := list[len(list):]
			if next < len(list) && list[next].Version == one[0].Version+1 {
				later = list[next : next+1]
			}
			if one, others, err = winner(ctx, st, head, later, one); err != nil {
				return nil, nil, err
			}
			if strays = append(strays, others...); len(one) == 0 {
				continue
			}
		}
		if n := len(chain); n > 0 && one[0].At.After(chain[n-1].At) { // clocks differ, or the store was copied
			one[0].At = chain[n-1].At
		}
		chain = append(chain, one[0])
		if p := one[0]; p.named && p.Written.Sub(p.At) < copied && (written.IsZero() || p.Written.Before(written)) {
			written = p.Written
		}
		if one[0].At.Before(earliest) {
			earliest = one[0].At
		}
	}
	slices.Reverse(chain)
	slices.SortFunc(strays, func(a, b Published) int { return strings.Compare(a.Key, b.Key) })
	return chain, strays, nil
}

// winner finds which of several manifests of one number is of the history. later are manifests of the next number, if there are any:
// whoever made one of them, the winner or not, had read the winner of this number as head. one is empty if retention has removed all
// since they were listed.
func winner(ctx context.Context, st store.Store, head *Manifest, later, several []Published) (one, others []Published, err error) {
	parent := ""
	switch {
	case several[0].Version+1 == head.Version:
		parent = head.Parent
	case len(later) > 0:
		next, err := LoadKeyRoot(ctx, st, head.View, later[0].Key)
		if errors.Is(err, store.ErrNotFound) { // removed since it was listed, and the strays before it: what they were, only what is left says
			if several, err = remaining(ctx, st, head.View, several); err != nil || len(several) == 0 {
				return nil, nil, err
			}
			break
		}
		if err != nil {
			return nil, nil, err
		}
		parent = next.Parent
	}
	won := slices.IndexFunc(several, func(p Published) bool { return p.Key == parent })
	if won < 0 { // the next version was removed, and before it every stray of then; what came later is a stray
		won = 0
		for i, p := range several {
			if p.At.Before(several[won].At) {
				won = i
			}
		}
	}
	return several[won : won+1], slices.Delete(slices.Clone(several), won, won+1), nil
}

// remaining are those of some manifests that are still there.
func remaining(ctx context.Context, st store.Store, view string, of []Published) (left []Published, err error) {
	for _, p := range of {
		switch _, err := LoadKeyRoot(ctx, st, view, p.Key); {
		case err == nil:
			left = append(left, p)
		case !errors.Is(err, store.ErrNotFound):
			return nil, err
		}
	}
	return left, nil
}

// History are the versions that are kept from a number on, of the history that ends with head, in order, at most n; more says whether
// there are others behind.
func History(ctx context.Context, st store.Store, head *Manifest, from uint64, n int) (list []Published, more bool, err error) {
	found, _, err := List(ctx, st, head.View, from, n+10, func(list []Published, _ time.Time) bool {
		numbers := 0
		for i := range list {
			if i == 0 || list[i].Version != list[i-1].Version {
				numbers++
			}
		}
		return numbers > n+1 // the last may be listed in part
	})
	if err != nil {
		return nil, false, err
	}
	if list, _, err = Chain(ctx, st, head, found); err != nil {
		return nil, false, err
	}
	return list[:min(n, len(list))], len(list) > n, nil
}

// Published is what a listing says of the version: nobody has listed it.
func (m *Manifest) Published() Published {
	return Published{Version: m.Version, Key: m.Key(), At: time.Unix(0, m.FoldedAt)}
}

// At finds the version with a number of the history that ends with head. store.ErrNotFound where it is not kept.
func At(ctx context.Context, st store.Store, head *Manifest, number uint64) (Published, error) {
	if number == head.Version {
		return head.Published(), nil
	}
	if number > 0 && number < head.Version {
		list, _, err := History(ctx, st, head, number, 1)
		if err != nil {
			return Published{}, err
		}
		if len(list) > 0 && list[0].Version == number {
			return list[0], nil
		}
	}
	return Published{}, fmt.Errorf("version %d of view %s: %w", number, head.View, store.ErrNotFound)
}

// Around finds the kept versions next to a number, which is not kept, of the history that ends with head: nil where there is none.
// The numbers that are kept have gaps, so it lists more and more of those before.
func Around(ctx context.Context, st store.Store, head *Manifest, number uint64) (before, after *Published, err error) {
	for span := uint64(100); ; span *= 8 {
		from := number - min(number, span)
		list, _, err := List(ctx, st, head.View, from, 0, func(list []Published, _ time.Time) bool {
			return len(list) > 0 && list[len(list)-1].Version > number+1 // the one after number is listed whole
		})
		if err != nil {
			return nil, nil, err
		}
		if list, _, err = Chain(ctx, st, head, list); err != nil {
			return nil, nil, err
		}
		i := sort.Search(len(list), func(i int) bool { return list[i].Version > number })
		if i < len(list) {
			after = &list[i]
		}
		if i > 0 {
			return &list[i-1], after, nil
		}
		if from == 0 {
			return nil, after, nil
		}
	}
}

// Before finds the newest version of the history that ends with head and that was published at or before a time, to the second.
// Of versions of which not all are kept, that is the newest kept one. It takes some twenty small requests at most, and mostly one.
// store.ErrNotFound where none that old is kept.
func Before(ctx context.Context, st store.Store, head *Manifest, at time.Time) (found Published, err error) {
	late := func(p Published) bool { return p.At.Unix() > at.Unix() }
	first, more, err := History(ctx, st, head, 0, 500)
	if err != nil {
		return found, err
	}
	if len(first) == 0 || late(first[0]) {
		return found, fmt.Errorf("a version of view %s before %s: %w", head.View, at.UTC().Format(time.RFC3339), store.ErrNotFound)
	}
	found = first[max(0, sort.Search(len(first), func(i int) bool { return late(first[i]) })-1)]
	if last := first[len(first)-1]; more && !late(last) {
		// The versions behind are those of the last hour, or of a history that keeps all.
		sort.Search(int(head.Version-last.Version), func(i int) bool {
			var next []Published
			if err == nil {
				next, _, err = History(ctx, st, head, last.Version+1+uint64(i), 1)
			}
			if err != nil || len(next) == 0 || late(next[0]) {
				return true
			}
			found = next[0]
			return false
		})
	}
	return found, err
}

// First reads the first kept version from a number on for which is holds, of the history that ends with head, for which it must hold: is
// must be one that, once it holds, holds for all later versions.
func First(ctx context.Context, st store.Store, head *Manifest, from uint64, is func(*Manifest) bool) (*Manifest, error) {
	first, last := from, head.Version
	found := head
	for first < last {
		middle := first + (last-first)/2
		next, _, err := History(ctx, st, head, middle, 1)
		if err != nil {
			return nil, err
		}
		if len(next) == 0 || next[0].Version >= last {
			last = middle
			continue
		}
		m, err := LoadKeyRoot(ctx, st, head.View, next[0].Key)
		if err != nil {
			return nil, err
		}
		if is(m) {
			found, last = m, middle
		} else {
			first = m.Version + 1
		}
	}
	return found, nil
}
