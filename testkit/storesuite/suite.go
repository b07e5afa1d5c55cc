// Package storesuite is the one conformance suite of all backends of store.Store: every rule of the contract, races included.
//
// A backend's test calls Run with a function that opens a fresh, empty store. What is beyond the contract, where servers
// differ, is probed all the same and reported by name; a server that falls short there must be known to do so, by a
// Deviation in its test, or the suite fails. No rule is ever skipped in silence.
package storesuite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/store"
)

// Deviation names a way in which a server is known to fall short of what Amazon S3 does.
type Deviation string

// The deviations that are known of.
const (
	// MixedReads: while an object is being overwritten, a GET may carry one version's body and another's ETag. The
	// backend has to read again, which the suite counts.
	MixedReads Deviation = "GET under overwrite mixes versions"
	// FalseDenial: a create may be answered "access denied" because a delete beside it empties their directory. The
	// backend has to send it again, which the suite counts.
	FalseDenial Deviation = "a create beside a delete is denied"
	// KeyBelowKey: a and a/b cannot both be keys.
	KeyBelowKey Deviation = "a key below another key is refused"
	// NoPresign: uploads cannot be granted by a signed URL.
	NoPresign Deviation = "no presigned uploads"
	// NoNotify: the store cannot tell of new objects.
	NoNotify Deviation = "no notifications"
	// NoUpload: an object is written at once, and not in parts.
	NoUpload Deviation = "no uploads in parts"
	// LateNotify: a notice may be held back until more objects have been created.
	LateNotify Deviation = "notices come late"
)

// run is one run of the suite.
type run struct {
	open  func(*testing.T) store.Store
	known map[Deviation]bool
}

// Run runs the suite. open returns a store without any object, a new one each time; it may be of a shared server.
func Run(t *testing.T, open func(*testing.T) store.Store, known ...Deviation) {
	r := &run{open: open, known: map[Deviation]bool{}}
	for _, d := range known {
		r.known[d] = true
	}
	for _, test := range []struct {
		name string
		do   func(*testing.T)
	}{
		{"a body survives the round trip", r.roundTrip},
		{"create is for new keys only", r.create},
		{"replace needs the present ETag", r.replace},
		{"put overwrites", r.put},
		{"a missing object is ErrNotFound", r.missing},
		{"get if changed", r.getIfChanged},
		{"ranges are exact", r.ranges},
		{"delete", r.remove},
		{"odd keys", r.oddKeys},
		{"illegal keys are refused unsent", r.illegalKeys},
		{"list in byte order", r.listOrder},
		{"list pages", r.listPages},
		{"list more than a server's page", r.listMany},
		{"writes are seen at once", r.readAfterWrite},
		{"an ended context ends a request", r.contexts},
		{"one winner of a create race", r.createRace},
		{"no lost update in a replace race", r.replaceRace},
		{"body and ETag are of one version", r.oneVersion},
		{"deletes race creates in one directory", r.deleteRace},
		{"swap", r.swap},
		{"swap settles lost answers in a race", r.swapRace},
		{"presigned create", r.presign},
		{"notify", r.notify},
		{"upload in parts", r.upload},
		{"a key below another key", r.keyBelowKey},
		{"the URL holds no secret", r.url},
	} {
		t.Run(test.name, test.do)
	}
}

// deviates reports what was seen of a property beyond the contract; not to hold is an error unless it is known.
func (r *run) deviates(t *testing.T, d Deviation, holds bool, detail string) {
	t.Helper()
	switch {
	case holds && r.known[d]:
		t.Logf("known deviation %q was not seen this time: %s", d, detail)
	case holds:
		t.Logf("no deviation %q: %s", d, detail)
	case r.known[d]:
		t.Logf("known deviation %q: %s", d, detail)
	default:
		t.Errorf("unknown deviation %q: %s", d, detail)
	}
}

// body returns n bytes that say whose they are, the same for equal arguments.
func body(n int, format string, args ...any) []byte {
	b := []byte(fmt.Sprintf(format, args...))
	for block := sha256.Sum256(b); len(b) < n; block = sha256.Sum256(block[:]) {
		b = append(b, block[:]...)
	}
	return b[:max(n, 0)]
}

func must[T any](t *testing.T, what string) func(T, error) T {
	return func(value T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		return value
	}
}

func create(t *testing.T, s store.Store, key string, b []byte) store.Meta {
	t.Helper()
	return must[store.Meta](t, "create "+key)(s.Create(t.Context(), key, b))
}

// wantBody fails unless key has this body and, if etag is not empty, this ETag.
func wantBody(t *testing.T, s store.Store, key string, b []byte, etag string) store.Object {
	t.Helper()
	object := must[store.Object](t, "get "+key)(s.Get(t.Context(), key))
	if !bytes.Equal(object.Body, b) {
		t.Errorf("%s has %s, want %s", key, brief(object.Body), brief(b))
	}
	if etag != "" && object.ETag != etag {
		t.Errorf("%s has ETag %s, want %s", key, object.ETag, etag)
	}
	if object.Size != int64(len(b)) {
		t.Errorf("%s has size %d, want %d", key, object.Size, len(b))
	}
	return object
}

func brief(b []byte) string {
	if len(b) > 40 {
		return fmt.Sprintf("%q… (%d bytes)", b[:40], len(b))
	}
	return fmt.Sprintf("%q", b)
}

func wantErr(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: error %v, want %v", what, err, want)
	}
}

// clockSlack is how far a store's clock may be from the test's: they are one host's.
const clockSlack = 5 * time.Second

func wantClock(t *testing.T, what string, m store.Meta) {
	t.Helper()
	if off := time.Since(m.Date).Abs(); off > clockSlack {
		t.Errorf("%s: Date %v is off by %v", what, m.Date, off)
	}
	// Whole seconds, rounded down on either side; a local file's time is that of the kernel's last tick.
	if age := m.Date.Sub(m.LastModified); age < -time.Second || age > time.Minute {
		t.Errorf("%s: LastModified %v, Date %v", what, m.LastModified, m.Date)
	}
}

func (r *run) roundTrip(t *testing.T) {
	s := r.open(t)
	for _, size := range []int{0, 1, 4 << 10, 1 << 20, 9<<20 + 1} {
		key, b := fmt.Sprintf("round/%d", size), body(size, "trip %d", size)
		written := create(t, s, key, b)
		wantClock(t, "create", written)
		if written.Size != int64(size) || written.ETag == "" {
			t.Errorf("create of %d bytes: %+v", size, written)
		}
		wantClock(t, "get", wantBody(t, s, key, b, written.ETag).Meta)
	}
}

func (r *run) create(t *testing.T) {
	s := r.open(t)
	first := create(t, s, "a/b", []byte("first"))
	_, err := s.Create(t.Context(), "a/b", []byte("second"))
	wantErr(t, "second create", err, store.ErrExists)
	wantBody(t, s, "a/b", []byte("first"), first.ETag)
}

func (r *run) replace(t *testing.T) {
	s, ctx := r.open(t), t.Context()
	_, err := s.Replace(ctx, "a/b", []byte("no"), "0123456789abcdef0123456789abcdef")
	wantErr(t, "replace of nothing", err, store.ErrChanged)
	_, err = s.Get(ctx, "a/b")
	wantErr(t, "get after that", err, store.ErrNotFound)

	v1 := create(t, s, "a/b", []byte("v1"))
	_, err = s.Replace(ctx, "a/b", []byte("no"), "0123456789abcdef0123456789abcdef")
	wantErr(t, "replace with a wrong ETag", err, store.ErrChanged)
	wantBody(t, s, "a/b", []byte("v1"), v1.ETag)
	v2 := must[store.Meta](t, "replace")(s.Replace(ctx, "a/b", []byte("v2 is longer"), v1.ETag))
	wantClock(t, "replace", v2)
	_, err = s.Replace(ctx, "a/b", []byte("no"), v1.ETag)
	wantErr(t, "replace with a stale ETag", err, store.ErrChanged)
	wantBody(t, s, "a/b", []byte("v2 is longer"), v2.ETag)
	if err := s.Delete(ctx, "a/b"); err != nil {
		t.Fatal(err)
	}
	_, err = s.Replace(ctx, "a/b", []byte("no"), v2.ETag)
	wantErr(t, "replace of a deleted object", err, store.ErrChanged)
}

func (r *run) put(t *testing.T) {
	s := r.open(t)
	for i := range 3 {
		b := body(10+i, "put %d", i)
		m := must[store.Meta](t, "put")(s.Put(t.Context(), "a/b", b))
		wantClock(t, "put", m)
		wantBody(t, s, "a/b", b, m.ETag)
	}
}

func (r *run) missing(t *testing.T) {
	s, ctx := r.open(t), t.Context()
	create(t, s, "dir/sub/file", []byte("x"))
	for _, key := range []string{"none", "dir", "dir/sub", "dir/none", "dir/sub/fil", "dir/sub/file2", "dir/sub/file.x/y"} {
		_, err := s.Get(ctx, key)
		wantErr(t, "get "+key, err, store.ErrNotFound)
		_, err = s.GetIfChanged(ctx, key, "0123456789abcdef0123456789abcdef")
		wantErr(t, "get if changed "+key, err, store.ErrNotFound)
		_, err = s.GetRange(ctx, key, 0, 1)
		wantErr(t, "get range "+key, err, store.ErrNotFound)
	}
}

func (r *run) getIfChanged(t *testing.T) {
	s, ctx := r.open(t), t.Context()
	v1 := create(t, s, "k", []byte("one"))
	same, err := s.GetIfChanged(ctx, "k", v1.ETag)
	wantErr(t, "unchanged", err, store.ErrNotModified)
	if len(same.Body) != 0 || same.Date.IsZero() {
		t.Errorf("not modified came with %+v", same)
	}
	v2 := must[store.Meta](t, "replace")(s.Replace(ctx, "k", []byte("two"), v1.ETag))
	changed := must[store.Object](t, "changed")(s.GetIfChanged(ctx, "k", v1.ETag))
	if string(changed.Body) != "two" || changed.ETag != v2.ETag {
		t.Errorf("changed: %s with ETag %s, want %s", changed.Body, changed.ETag, v2.ETag)
	}
}

func (r *run) ranges(t *testing.T) {
	s, ctx := r.open(t), t.Context()
	const size = 100_000
	b := body(size, "range")
	create(t, s, "k", b)
	for _, at := range [][2]int64{{0, 1}, {0, size}, {1, size - 1}, {size - 1, 1}, {4096, 8192}, {77, 0}, {99_999, 1}} {
		got, err := s.GetRange(ctx, "k", at[0], at[1])
		if err != nil || !bytes.Equal(got, b[at[0]:at[0]+at[1]]) {
			t.Errorf("bytes %d+%d: %s, %v", at[0], at[1], brief(got), err)
		}
	}
	for _, at := range [][2]int64{{0, size + 1}, {size - 1, 2}, {size, 1}, {2 * size, 5}, {-1, 5}, {0, -1}} {
		got, err := s.GetRange(ctx, "k", at[0], at[1])
		if err == nil || errors.Is(err, store.ErrNotFound) {
			t.Errorf("bytes %d+%d of %d: %s, %v; want an error", at[0], at[1], size, brief(got), err)
		}
	}
}

func (r *run) remove(t *testing.T) {
	s, ctx := r.open(t), t.Context()
	if err := s.Delete(ctx, "never/was"); err != nil {
		t.Errorf("delete of nothing: %v", err)
	}
	create(t, s, "a/b/c", []byte("1"))
	create(t, s, "a/b/d", []byte("2"))
	for range 2 {
		if err := s.Delete(ctx, "a/b/c"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := s.Get(ctx, "a/b/c")
	wantErr(t, "get of a deleted object", err, store.ErrNotFound)
	wantBody(t, s, "a/b/d", []byte("2"), "")
	create(t, s, "a/b/c", []byte("3"))
	wantBody(t, s, "a/b/c", []byte("3"), "")
	for _, key := range []string{"a", "a/b"} { // prefixes, not keys
		if err := s.Delete(ctx, key); err != nil {
			t.Errorf("delete of the prefix %s: %v", key, err)
		}
	}
	wantBody(t, s, "a/b/d", []byte("2"), "")
}

func (r *run) readAfterWrite(t *testing.T) {
	s := r.open(t)
	for i := range 30 {
		key, b := fmt.Sprintf("seen/%d", i), body(50, "%d", i)
		meta := create(t, s, key, b)
		wantBody(t, s, key, b, meta.ETag)
		page := must[store.Page](t, "list")(s.List(t.Context(), key, "", 0))
		if len(page.Items) == 0 || page.Items[0].Key != key {
			t.Fatalf("%s is not in the list after its creation: %+v", key, page)
		}
		meta = must[store.Meta](t, "replace")(s.Replace(t.Context(), key, b[1:], meta.ETag))
		wantBody(t, s, key, b[1:], meta.ETag)
		if i%2 == 0 {
			continue
		}
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		page = must[store.Page](t, "list")(s.List(t.Context(), key, "", 0))
		if len(page.Items) != 0 {
			t.Fatalf("%s is in the list after its deletion", key)
		}
	}
}

func (r *run) contexts(t *testing.T) {
	s := r.open(t)
	create(t, s, "k", []byte("x"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(ctx, "k")
	wantErr(t, "get", err, context.Canceled)
	_, err = s.Create(ctx, "new", []byte("x"))
	wantErr(t, "create", err, context.Canceled)
	_, err = s.List(ctx, "", "", 0)
	wantErr(t, "list", err, context.Canceled)
	wantErr(t, "delete", s.Delete(ctx, "k"), context.Canceled)
	_, err = s.Get(t.Context(), "new")
	wantErr(t, "get of what was not created", err, store.ErrNotFound)
	wantBody(t, s, "k", []byte("x"), "")
}

func (r *run) url(t *testing.T) {
	s := r.open(t)
	secret := os.Getenv("AWS_SECRET_ACCESS_KEY")
	if u := s.String(); u == "" || secret != "" && strings.Contains(u, secret) {
		t.Errorf("URL %q", u)
	}
}
