package layer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/diskcache"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/store"
)

// askAll asks one of each kind of question that a search and a lookup are made of, with a memory that is new, and returns the answers. The cache
// in dir has all that was read when it returns.
func askAll(t *testing.T, st store.Store, info Info, dir string, rows []evidence.Row) (answers string, cost Cost, err error) {
	t.Helper()
	disk, err := diskcache.Open(dir, 64<<20, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer disk.Close()
	v, err := OpenView(st, testView, []Info{info}, nil, NewCacheOn(disk, 64<<20))
	if err != nil {
		t.Fatal(err)
	}
	var m Meter
	ctx := WithMeter(t.Context(), &m)
	answers, err = ask(ctx, v, rows)
	return answers, m.Cost(), err
}

func ask(ctx context.Context, v *View, rows []evidence.Row) (string, error) {
	var out strings.Builder
	for _, i := range []int{0, len(rows) / 2, len(rows) - 1} {
		var r evidence.Row
		found, err := v.Get(ctx, Key{rows[i].Parent, rows[i].Name}, &r)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(&out, found, r.Parent, r.Name, r.Size)
	}
	l := v.Base()[0]
	var n Needle
	n.Add(rows[len(rows)/3].Name, true, true)
	set, err := l.MayHave(ctx, &n)
	if err != nil {
		return "", err
	}
	groups, err := l.Groups(ctx)
	if err != nil {
		return "", err
	}
	var all []int
	for i := range groups {
		fmt.Fprint(&out, set.Has(i), " ")
		all = append(all, i)
	}
	names := 0
	err = l.ScanNames(ctx, all[:len(all)/2], func(int, *CodedNames) bool { return true }, func(group int, text string, offsets []uint32) { names += len(text) + len(offsets) })
	if err != nil {
		return "", err
	}
	fmt.Fprintln(&out, names)
	held, err := Fetch(ctx, []GroupRef{{l, 1}, {l, 4}, {l, 5}})
	if err != nil {
		return "", err
	}
	c := v.Cursor(ctx).Hold(held).Skip(func(_ *Layer, i int, _ *Group) bool { return held[GroupRef{l, i}] == nil })
	for ok := c.Seek(Key{}); ok; ok = c.Next() {
		var r evidence.Row
		if err := c.Row(&r); err != nil {
			return "", err
		}
		fmt.Fprintln(&out, r.Parent, r.Name, r.Size)
	}
	return out.String(), c.Err()
}

// TestDiskHasWhatWasRead: a reader that starts again with the cache of one before asks the store for nothing, and says the same; with a
// cache that is damaged, it asks the store, and says the same.
func TestDiskHasWhatWasRead(t *testing.T) {
	st, dir := openStore(t), t.TempDir()
	info, rows := treeLayer(t, st, 20_000, WriterOptions{ID: id(1), RowsPerGroup: 500, SearchSpan: 1})
	if len(info.Index) > 0 {
		t.Fatal("the index is in the manifest: take more row groups")
	}
	want, cold, err := askAll(t, st, info, dir, rows)
	if err != nil || cold.Gets == 0 {
		t.Fatalf("%v, %+v", err, cold)
	}
	before := st.Counts()
	got, warm, err := askAll(t, st, info, dir, rows)
	if err != nil || got != want {
		t.Fatalf("again: %v; the answers are equal: %v", err, got == want)
	}
	if asked := st.Counts().Sub(before).Get; asked > 0 || warm.Gets > 0 || warm.Hits == 0 || warm.Groups != cold.Groups {
		t.Errorf("again, the store was asked %d times: %+v after %+v", asked, warm, cold)
	}

	kinds := map[string]int{}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || filepath.Dir(path) == dir {
			return err
		}
		kinds[filepath.Ext(path)]++
		body, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		body[len(body)/2] ^= 1
		return os.WriteFile(path, body, 0o600)
	})
	if err != nil || kinds[".i"] < 3 || kinds[".n"] < 3 || kinds[".r"] < 3 {
		t.Fatalf("%v, %v", err, kinds)
	}
	got, mended, err := askAll(t, st, info, dir, rows)
	if err != nil || got != want || mended.Gets == 0 {
		t.Fatalf("with a damaged cache: %v, %+v; the answers are equal: %v", err, mended, got == want)
	}
	if got, warm, err = askAll(t, st, info, dir, rows); err != nil || got != want || warm.Gets > 0 {
		t.Fatalf("once it is mended: %v, %+v; the answers are equal: %v", err, warm, got == want)
	}
}

// TestDamageInTheStoreIsNotKept: what the store has damaged is an error as long as it is, and not longer.
func TestDamageInTheStoreIsNotKept(t *testing.T) {
	st, dir := openStore(t), t.TempDir()
	info, rows := treeLayer(t, st, 20_000, WriterOptions{ID: id(1), RowsPerGroup: 500, SearchSpan: 1})
	want, _, err := askAll(t, st, info, t.TempDir(), rows)
	if err != nil {
		t.Fatal(err)
	}
	l := New(st, testView, info, NewCache(1))
	object, err := st.Get(t.Context(), l.object())
	if err != nil {
		t.Fatal(err)
	}
	damaged := slices.Clone(object.Body)
	for i := 100; i < len(damaged); i += 1000 {
		damaged[i] ^= 1
	}
	if _, err := st.Put(t.Context(), l.object(), damaged); err != nil {
		t.Fatal(err)
	}
	var format *FormatError
	if _, _, err := askAll(t, st, info, dir, rows); !errors.As(err, &format) {
		t.Fatalf("of a damaged layer: %v", err)
	}
	if _, err := st.Put(t.Context(), l.object(), object.Body); err != nil {
		t.Fatal(err)
	}
	if got, _, err := askAll(t, st, info, dir, rows); err != nil || got != want {
		t.Fatalf("of a layer that was mended: %v; the answers are equal: %v", err, got == want)
	}
}
