package manifest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/sim"
)

// paged is a store whose pages have few objects. It counts those that were asked for, and reads that are not of an ETag.
type paged struct {
	store.Store
	size, lists, changed int
	mu                   sync.Mutex // leaves are read side by side
	fail                 func(key string) error
	gets                 map[string]int
}

func (p *paged) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	p.lists++
	if limit == 0 || limit > p.size {
		limit = p.size
	}
	return p.Store.List(ctx, prefix, after, limit)
}

func (p *paged) GetIfChanged(ctx context.Context, key, etag string) (store.Object, error) {
	p.changed++
	return p.Store.GetIfChanged(ctx, key, etag)
}

func (p *paged) Get(ctx context.Context, key string) (store.Object, error) {
	p.mu.Lock()
	p.gets[key]++
	var err error
	if p.fail != nil {
		err = p.fail(key)
	}
	p.mu.Unlock()
	if err != nil {
		return store.Object{}, err
	}
	return p.Store.Get(ctx, key)
}

// TestListsAreShort: a question about one version lists that part of a long history, and no more; and none for ever.
func TestListsAreShort(t *testing.T) {
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	st := &paged{Store: sim.NewStore(func() time.Time { return now }), size: 4, gets: map[string]int{}}
	var head *Manifest
	for number := range uint64(80) {
		now = now.Add(time.Minute)
		head = &Manifest{Format: Format, View: "v", Version: number + 1, Nonce: Nonce(now.UnixNano(), "a"), FoldedAt: now.UnixNano()}
		put(t, st, head, head.Key())
	}
	if list, more, err := History(t.Context(), st, head, 20, 3); err != nil || len(list) != 3 || list[0].Version != 20 || !more || st.lists > 2 {
		t.Errorf("three versions took %d lists: %d, %t, %v", st.lists, len(list), more, err)
	}
	for _, gone := range []uint64{30, 31, 32, 33, 34} {
		if p, err := At(t.Context(), st, head, gone); err != nil {
			t.Fatal(err)
		} else if err := st.Delete(t.Context(), p.Key); err != nil {
			t.Fatal(err)
		}
	}
	st.lists = 0
	before, after, err := Around(t.Context(), st, head, 32)
	if err != nil || before == nil || before.Version != 29 || after == nil || after.Version != 35 || st.lists > 10 {
		t.Errorf("around 32, with %d lists: %+v, %+v, %v", st.lists, before, after, err)
	}
	for _, number := range []uint64{0, 32, 81} {
		if _, err := At(t.Context(), st, head, number); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("version %d: %v", number, err)
		}
	}
	if _, _, err := List(t.Context(), endless{st}, "v", 0, 0, nil); err != nil {
		t.Error(err)
	}
}

// endless is a store whose pages say that there is more, and hold nothing.
type endless struct{ store.Store }

func (endless) List(context.Context, string, string, int) (store.Page, error) {
	return store.Page{More: true}, nil
}

// TestLeavesThatCannotBeRead: one that is not there is looked for again, as head may have moved on; any other failure is what it is.
func TestLeavesThatCannotBeRead(t *testing.T) {
	st := &paged{Store: sim.NewStore(time.Now), size: 1000, gets: map[string]int{}}
	m := &Manifest{Format: Format, View: "v", Version: 1, Nonce: Nonce(1e18, "a"), Base: partitions(6)}
	if _, err := NewLeaves(1<<20, 2).Commit(t.Context(), st, m, ""); err != nil {
		t.Fatal(err)
	}
	leaf, denied := layout.Leaf("v", m.Leaves[0].ID), fmt.Errorf("read: %w", store.ErrDenied)
	for _, c := range []struct {
		name  string
		fails int // so often
		with  error
		want  error
		reads int
	}{{"gone once", 1, store.ErrNotFound, nil, 2}, {"gone", 9, store.ErrNotFound, ErrFormat, 2}, {"refused", 9, denied, store.ErrDenied, 1}} {
		for how, load := range map[string]func() (*Manifest, error){
			"head":    func() (*Manifest, error) { m, _, err := (*Leaves)(nil).Load(t.Context(), st, "v"); return m, err },
			"version": func() (*Manifest, error) { return (*Leaves)(nil).LoadKey(t.Context(), st, "v", m.Key()) },
		} {
			left := c.fails
			st.gets, st.changed = map[string]int{}, 0
			st.fail = func(key string) error {
				if key != leaf || left == 0 {
					return nil
				}
				left--
				return c.with
			}
			got, err := load()
			if !errors.Is(err, c.want) || errors.Is(err, ErrFormat) != (c.want == ErrFormat) || st.gets[leaf] != c.reads || c.want == nil && len(got.Base) != 6 {
				t.Errorf("%s by %s: %v after %d reads", c.name, how, err, st.gets[leaf])
			}
			if st.changed != 0 {
				t.Errorf("%s by %s: it was asked for a change since nothing", c.name, how)
			}
		}
	}
}
