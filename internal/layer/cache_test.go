package layer

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/gentree"
)

func treeLayer(t testing.TB, st store.Store, rows int, o WriterOptions) (Info, []evidence.Row) {
	t.Helper()
	var all []evidence.Row
	for r := range gentree.New(gentree.Options{Seed: 9, Rows: rows}).Rows() {
		all = append(all, *r)
	}
	return write(t, st, o, all), all
}

func TestCacheWeighsDecodedColumns(t *testing.T) {
	st := openStore(t)
	info, _ := treeLayer(t, st, 20_000, WriterOptions{ID: id(1)})
	c := NewCache(64 << 20)
	l, err := Open(t.Context(), st, testView, info, c)
	if err != nil {
		t.Fatal(err)
	}
	b, err := l.Block(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	c.entries.CleanUp()
	keys := c.Bytes()
	if keys < b.size.Load() || keys > b.size.Load()+4096 {
		t.Fatalf("the cache weighs %d, the block %d", keys, b.size.Load())
	}
	if _, err := b.loadAll(); err != nil {
		t.Fatal(err)
	}
	c.entries.CleanUp()
	if all := c.Bytes(); all < keys+3*8*int64(b.Len()) || all < b.size.Load() || all > b.size.Load()+4096 {
		t.Fatalf("%d bytes with keys alone, %d with all columns; the block has %d", keys, all, b.size.Load())
	}
}

func TestCacheKeepsToItsBudget(t *testing.T) {
	st := openStore(t)
	info, rows := treeLayer(t, st, 100_000, WriterOptions{ID: id(1)})
	const budget = 1 << 20
	c := NewCache(budget)
	v, err := OpenView(st, testView, []Info{info}, nil, c)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		same(t, "view", scan(t, v.Cursor(t.Context())), rows)
		c.entries.CleanUp()
		if n := c.Bytes(); n > budget {
			t.Fatalf("%d bytes in a cache of %d", n, budget)
		}
	}
}

// gated is a store whose range reads wait until they are let through.
type gated struct {
	store.Store
	waiting chan struct{}
	open    chan struct{}
}

func (g *gated) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	g.waiting <- struct{}{}
	select {
	case <-g.open:
		return g.Store.GetRange(ctx, key, off, n)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestReadersOfOneGroupShareTheRead(t *testing.T) {
	st := openStore(t)
	info, rows := treeLayer(t, st, 1000, WriterOptions{ID: id(1)})
	before := st.Counts()
	g := &gated{Store: st, waiting: make(chan struct{}, 64), open: make(chan struct{})}
	v, err := OpenView(g, testView, []Info{info}, nil, NewCache(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			var r evidence.Row
			want := rows[i*20]
			if found, err := v.Get(t.Context(), Key{want.Parent, want.Name}, &r); !found || err != nil || r != want {
				t.Errorf("%v %v %+v", found, err, r)
			}
		})
	}
	<-g.waiting
	close(g.open)
	wg.Wait()
	if n := st.Counts().Sub(before).Get; n != 1 {
		t.Fatalf("%d GETs for one row group", n)
	}
}

func TestACallerWhoGivesUpDoesNotFailTheOthers(t *testing.T) {
	st := openStore(t)
	info, rows := treeLayer(t, st, 100, WriterOptions{ID: id(1)})
	g := &gated{Store: st, waiting: make(chan struct{}, 64), open: make(chan struct{})}
	v, err := OpenView(g, testView, []Info{info}, nil, NewCache(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	want := rows[50]
	k := Key{want.Parent, want.Name}
	first, second := make(chan error, 1), make(chan error, 1)
	go func() {
		var r evidence.Row
		_, err := v.Get(ctx, k, &r)
		first <- err
	}()
	<-g.waiting
	go func() {
		var r evidence.Row
		found, err := v.Get(t.Context(), k, &r)
		if err == nil && (!found || r != want) {
			err = errors.New("not the row")
		}
		second <- err
	}()
	cancel()
	if err := <-first; !errors.Is(err, context.Canceled) {
		t.Fatalf("the one who gave up: %v", err)
	}
	close(g.open)
	if err := <-second; err != nil {
		t.Fatalf("the other: %v", err)
	}
}

// TestManyReaders is for the race detector: cursors and lookups that decode the same blocks at the same time.
func TestManyReaders(t *testing.T) {
	st := openStore(t)
	info, rows := treeLayer(t, st, 5000, WriterOptions{ID: id(1), RowsPerGroup: 500})
	for _, budget := range []int64{200_000, 64 << 20} {
		v, err := OpenView(st, testView, []Info{info}, nil, NewCache(budget))
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for n := range 4 {
			wg.Go(func() { same(t, "view", scan(t, v.Cursor(t.Context()).ReadAhead(100_000)), rows) })
			wg.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(n), 1))
				for range 300 {
					var r evidence.Row
					want := rows[rng.IntN(len(rows))]
					if found, err := v.Get(t.Context(), Key{want.Parent, want.Name}, &r); !found || err != nil || r != want {
						t.Errorf("%v %v %+v", found, err, r)
					}
				}
			})
		}
		wg.Wait()
	}
}

// TestReadAheadStaysInBounds: no row group is read that the cursor cannot come to, and none twice.
func TestReadAheadStaysInBounds(t *testing.T) {
	st := openStore(t)
	info, rows := treeLayer(t, st, 50_000, WriterOptions{ID: id(1), RowsPerGroup: 1000})
	v, err := OpenView(st, testView, []Info{info}, nil, NewCache(64<<20))
	if err != nil {
		t.Fatal(err)
	}
	var m Meter
	until := rows[10_500]
	c := v.Cursor(WithMeter(t.Context(), &m)).ReadAhead(1 << 20).Until(Key{until.Parent, until.Name})
	same(t, "bounded", scan(t, c), rows[:10_500])
	if cost := m.Cost(); cost.Groups != 11 || cost.Gets > 5 {
		t.Fatalf("cost %+v of 11 row groups", cost)
	}
	m = Meter{}
	same(t, "all", scan(t, v.Cursor(WithMeter(t.Context(), &m)).ReadAhead(1<<20)), rows)
	if cost := m.Cost(); cost.Groups != 39 || cost.Gets > 10 {
		t.Fatalf("cost %+v of the 39 row groups that were not in the cache", cost)
	}
}

func TestSeekInsideTheSpanCostsNothing(t *testing.T) {
	st := openStore(t)
	info, rows := treeLayer(t, st, 5000, WriterOptions{ID: id(1), RowsPerGroup: 1000})
	v, err := OpenView(st, testView, []Info{info}, nil, NewCache(1))
	if err != nil {
		t.Fatal(err)
	}
	var m Meter
	c := v.Cursor(WithMeter(t.Context(), &m))
	for i := 1000; i < 2000; i += 7 {
		if !c.Seek(Key{rows[i].Parent, rows[i].Name}) || c.Key() != (Key{rows[i].Parent, rows[i].Name}) {
			t.Fatalf("row %d: %v %v", i, c.Key(), c.Err())
		}
	}
	if cost := m.Cost(); cost.Groups != 1 {
		t.Fatalf("cost %+v of one row group", cost)
	}
}
