package storesuite

import (
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"
	"testing"

	"github.com/fustor/fustor/internal/store"
)

// odd are keys that are legal and that servers, proxies and file systems like to get wrong.
var odd = []string{
	"sp ace", " lead/ing", "trail /ing ", "plus+plus", "per%25cent", "per%zz", "q?a=b&c=d", "hash#tag", "semi;colon:co@lon",
	"quo\"te'd", "<xml>&amp;", "tilde~", "ünï/cødé", "日本/語", "emoji/🗄", "comma,dot.", "...", "a..b/.hidden", "br[ack]et{s}",
	"star*", "pipe|", "caret^`$!()", "UPPER/lower/Upper", "e\u0301/combining", "%2e%2e/x", "%2F", strings.Repeat("s", store.MaxSegment),
	strings.Repeat("long-segment-"+strings.Repeat("y", 120)+"/", 5) + "end",
}

func (r *run) oddKeys(t *testing.T) {
	s, ctx := r.open(t), t.Context()
	for _, key := range odd {
		meta, err := s.Create(ctx, key, []byte(key))
		if err != nil {
			t.Errorf("create %q: %v", key, err)
			continue
		}
		wantBody(t, s, key, []byte(key), meta.ETag)
		if part, err := s.GetRange(ctx, key, 1, 2); err != nil || string(part) != key[1:3] {
			t.Errorf("get range of %q: %q, %v", key, part, err)
		}
		if _, err := s.Replace(ctx, key, []byte("2"+key), meta.ETag); err != nil {
			t.Errorf("replace %q: %v", key, err)
		}
		page, err := s.List(ctx, key, "", 0)
		if err != nil || len(page.Items) != 1 || page.Items[0].Key != key {
			t.Errorf("list of %q: %v, %v", key, page.Items, err)
		}
	}
	want := slices.Sorted(slices.Values(odd))
	if got := listAll(t, s, "", 5); !slices.Equal(got, want) {
		t.Errorf("list of odd keys in pages of 5:\n%q, want\n%q", got, want)
	}
	for _, key := range odd {
		if err := s.Delete(ctx, key); err != nil {
			t.Errorf("delete %q: %v", key, err)
		}
	}
	if got := listAll(t, s, "", 0); len(got) != 0 {
		t.Errorf("after all deletes: %q", got)
	}
}

func (r *run) illegalKeys(t *testing.T) {
	s, ctx := r.open(t), t.Context()
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "a/./b", "a/../b", "../a", "nul\x00", "tab\t", "new\nline", "del\x7f", "not\xffutf8",
		"back\\slash", strings.Repeat("s", store.MaxSegment+1), strings.Repeat("abcdefg/", store.MaxKey/8) + "x", store.Reserved + "/x", store.Reserved,
	} {
		for op, do := range map[string]func() error{
			"get":            func() error { _, err := s.Get(ctx, key); return err },
			"get if changed": func() error { _, err := s.GetIfChanged(ctx, key, "x"); return err },
			"get range":      func() error { _, err := s.GetRange(ctx, key, 0, 1); return err },
			"put":            func() error { _, err := s.Put(ctx, key, nil); return err },
			"create":         func() error { _, err := s.Create(ctx, key, nil); return err },
			"replace":        func() error { _, err := s.Replace(ctx, key, nil, "x"); return err },
			"delete":         func() error { return s.Delete(ctx, key) },
		} {
			wantErr(t, fmt.Sprintf("%s %q", op, key), do(), store.ErrKey)
		}
		if _, err := s.PresignCreate(ctx, key, 1e9); !errors.Is(err, store.ErrKey) && !errors.Is(err, store.ErrUnsupported) {
			t.Errorf("presign %q: %v", key, err)
		}
	}
}

// listAll lists page by page, and checks what must hold of every page.
func listAll(t *testing.T, s store.Store, prefix string, limit int) []string {
	t.Helper()
	keys, after := []string{}, ""
	for {
		page := must[store.Page](t, "list")(s.List(t.Context(), prefix, after, limit))
		if limit > 0 && len(page.Items) > limit {
			t.Errorf("list of %q after %q: %d keys, want at most %d", prefix, after, len(page.Items), limit)
		}
		if page.Date.IsZero() {
			t.Errorf("list of %q: no Date", prefix)
		}
		for _, item := range page.Items {
			if item.Key <= after || !strings.HasPrefix(item.Key, prefix) || item.LastModified.IsZero() {
				t.Errorf("list of %q after %q: %+v", prefix, after, item)
			}
			after = item.Key
			keys = append(keys, item.Key)
		}
		if !page.More {
			return keys
		}
		if len(page.Items) == 0 {
			t.Fatalf("list of %q after %q: an empty page says there is more", prefix, after)
		}
	}
}

// fill creates keys, several at a time. A key's body has the length of the key.
func fill(t *testing.T, s store.Store, keys []string) {
	t.Helper()
	var all sync.WaitGroup
	work := make(chan string)
	for range 16 {
		all.Go(func() {
			for key := range work {
				if _, err := s.Create(t.Context(), key, []byte(key)); err != nil {
					t.Errorf("create %s: %v", key, err)
				}
			}
		})
	}
	for _, key := range keys {
		work <- key
	}
	close(work)
	all.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

func (r *run) listOrder(t *testing.T) {
	s := r.open(t)
	keys := []string{ // '-' and '.' sort before '/', '0' after it
		"a-b", "a-b/c", "a.b", "a/b", "a/b-c/d", "a/b.c", "a/c", "a0", "aB/x", "ab", "ab-", "b/1/2/3", "b/1/2-3", "b/1-2", "b/10/x", "b/1/0", "é", "z/é", "z/e",
	}
	keys = slices.DeleteFunc(keys, func(k string) bool { return k == "a-b" }) // a-b/c is below it
	fill(t, s, keys)
	sort.Strings(keys)
	for _, prefix := range []string{"", "a", "a/", "a/b", "a-", "b/1", "b/1/", "b/1/2", "b/10", "z/", "é", "none", "a/b/none", "ab-x"} {
		want := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return !strings.HasPrefix(k, prefix) })
		for _, limit := range []int{0, 1, 2, 3, 100} {
			if got := listAll(t, s, prefix, limit); !slices.Equal(got, want) {
				t.Errorf("list of %q in pages of %d: %q, want %q", prefix, limit, got, want)
			}
		}
	}
	for _, after := range append(slices.Clone(keys), "a", "a/", "a/b-", "a/bb", "b", "b/1/2", "b/1/2/", "zzz", "0") {
		page := must[store.Page](t, "list")(s.List(t.Context(), "", after, 0))
		want := slices.DeleteFunc(slices.Clone(keys), func(k string) bool { return k <= after })
		got := make([]string, 0, len(page.Items))
		for _, item := range page.Items {
			got = append(got, item.Key)
			if item.Size != int64(len(item.Key)) {
				t.Errorf("%s has size %d in the list", item.Key, item.Size)
			}
		}
		if !slices.Equal(got, want) || page.More {
			t.Errorf("list after %q: %q, want %q", after, got, want)
		}
	}
}

func (r *run) listPages(t *testing.T) {
	s := r.open(t)
	var keys []string
	for i := range 300 {
		keys = append(keys, fmt.Sprintf("views/v%d/segments/s-%d/%020d.zst", i%3, i%7, i))
	}
	fill(t, s, keys)
	sort.Strings(keys)
	for _, limit := range []int{1, 7, 100, 299, 300, 301} {
		if got := listAll(t, s, "", limit); !slices.Equal(got, keys) {
			t.Errorf("pages of %d: %d keys, want %d", limit, len(got), len(keys))
		}
	}
	exact := must[store.Page](t, "list")(s.List(t.Context(), "", "", 300))
	if exact.More || len(exact.Items) != 300 {
		t.Errorf("a page of all: %d keys, more %v", len(exact.Items), exact.More)
	}
	deep := must[store.Page](t, "list")(s.List(t.Context(), "views/v1/", keys[150], 10))
	if len(deep.Items) != 10 || deep.Items[0].Key != keys[151] || !deep.More {
		t.Errorf("a page deep inside: %+v", deep)
	}
}

func (r *run) listMany(t *testing.T) {
	s := r.open(t)
	keys := make([]string, 1050) // S3's page has 1000
	for i := range keys {
		keys[i] = fmt.Sprintf("many/%02d/%04d", i%20, i)
	}
	fill(t, s, keys)
	sort.Strings(keys)
	for _, limit := range []int{0, 1000, 5000} {
		if got := listAll(t, s, "many/", limit); !slices.Equal(got, keys) {
			t.Errorf("pages of %d: %d keys, want %d", limit, len(got), len(keys))
		}
	}
}

func (r *run) keyBelowKey(t *testing.T) {
	s, ctx := r.open(t), t.Context()
	create(t, s, "a", []byte("above"))
	_, below := s.Create(ctx, "a/b", []byte("below"))
	create(t, s, "d/e", []byte("below"))
	_, above := s.Create(ctx, "d", []byte("above"))
	r.deviates(t, KeyBelowKey, below == nil && above == nil, fmt.Sprintf("a/b below a: %v; d above d/e: %v", below, above))
	// Whatever the answer, what was there before is unharmed.
	wantBody(t, s, "a", []byte("above"), "")
	wantBody(t, s, "d/e", []byte("below"), "")
	for _, err := range []error{below, above} {
		if err != nil && !errors.Is(err, store.ErrKey) && !errors.Is(err, store.ErrConflict) {
			t.Errorf("such a key: error %v, want %v or %v", err, store.ErrKey, store.ErrConflict)
		}
	}
}
