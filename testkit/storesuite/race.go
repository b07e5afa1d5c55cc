package storesuite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/cases"
)

// racers is how many writers are in a race.
const racers = 32

// createRace: of 32 creates of one key at once exactly one succeeds, round after round, and its body is what is there.
func (r *run) createRace(t *testing.T) {
	s := r.open(t)
	for round := range cases.Of(40) {
		key := fmt.Sprintf("race/%d/k", round)
		var all sync.WaitGroup
		var winners atomic.Int32
		var won atomic.Int64
		start := make(chan struct{})
		for i := range racers {
			all.Go(func() {
				<-start
				_, err := tryAgain(func() (store.Meta, error) { return s.Create(t.Context(), key, body(100, "racer %d", i)) })
				switch {
				case err == nil:
					winners.Add(1)
					won.Store(int64(i))
				case !errors.Is(err, store.ErrExists):
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		close(start)
		all.Wait()
		if n := winners.Load(); n != 1 {
			t.Fatalf("round %d had %d winners", round, n)
		}
		wantBody(t, s, key, body(100, "racer %d", won.Load()), "")
	}
}

// tryAgain repeats what ends with a conflict, which settles nothing.
func tryAgain[T any](do func() (T, error)) (T, error) {
	for range 1000 {
		if value, err := do(); !errors.Is(err, store.ErrConflict) {
			return value, err
		}
	}
	return do()
}

// replaceRace: 32 writers count to 500 together, or to a part of it (testkit/cases), each step one replace; every step that was acknowledged counts, and
// no other.
func (r *run) replaceRace(t *testing.T) {
	s := r.open(t)
	steps := cases.Of(500)
	create(t, s, "counter", counter(0, 0))
	var all sync.WaitGroup
	var acknowledged, attempts atomic.Int64
	for i := range racers {
		all.Go(func() {
			for {
				done, err := step(t.Context(), s, uint64(i), uint64(steps))
				attempts.Add(1)
				switch {
				case done:
					return
				case err == nil:
					acknowledged.Add(1)
				case !errors.Is(err, store.ErrChanged) && !errors.Is(err, store.ErrConflict):
					t.Errorf("writer %d: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	last := wantObject(t, s, "counter")
	if n := binary.BigEndian.Uint64(last.Body); n != uint64(steps) || acknowledged.Load() != int64(steps) {
		t.Errorf("%d steps were acknowledged, the counter stands at %d, want %d", acknowledged.Load(), n, steps)
	}
	t.Logf("%d steps in %d attempts", steps, attempts.Load())
}

// step reads the counter and replaces it by the next number, unless it has reached the end.
func step(ctx context.Context, s store.Store, writer, end uint64) (done bool, err error) {
	object, err := s.Get(ctx, "counter")
	if err != nil {
		return false, err
	}
	n := binary.BigEndian.Uint64(object.Body)
	if n >= end {
		return true, nil
	}
	_, err = s.Replace(ctx, "counter", counter(n+1, writer), object.ETag)
	return false, err
}

// counter is a body that no other writer has.
func counter(n, writer uint64) []byte {
	b := binary.BigEndian.AppendUint64(nil, n)
	return binary.BigEndian.AppendUint64(b, writer)
}

func wantObject(t *testing.T, s store.Store, key string) store.Object {
	t.Helper()
	return must[store.Object](t, "get "+key)(s.Get(t.Context(), key))
}

// oneVersion: while one writer overwrites an object of changing length, every reader's body is one that was written,
// whole, and its ETag is the one that the writer was told for that body.
func (r *run) oneVersion(t *testing.T) {
	s := r.open(t)
	const versions = 400
	var written sync.Map // hash of body → ETag
	note := func(b []byte, m store.Meta) { written.Store(sha256.Sum256(b), m.ETag) }
	b := body(3000, "version 0")
	meta := create(t, s, "k", b)
	note(b, meta)

	type reading struct {
		sum  [32]byte
		etag string
	}
	readings := make([][]reading, 6)
	stop := make(chan struct{})
	var readers sync.WaitGroup
	for i := range readings {
		readers.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				object, err := s.Get(t.Context(), "k")
				if err != nil {
					t.Errorf("reader: %v", err)
					return
				}
				readings[i] = append(readings[i], reading{sha256.Sum256(object.Body), object.ETag})
			}
		})
	}
	for v := 1; v <= versions; v++ {
		b := body(1000+v%7*4000, "version %d", v)
		var err error
		if meta, err = s.Replace(t.Context(), "k", b, meta.ETag); err != nil {
			t.Errorf("version %d: %v", v, err)
			break
		}
		note(b, meta)
	}
	close(stop)
	readers.Wait()
	total, distinct := 0, map[string]bool{}
	for _, list := range readings {
		for _, seen := range list {
			if etag, ok := written.Load(seen.sum); !ok || etag != seen.etag {
				t.Fatalf("a reading had ETag %s on a body whose ETag was %v", seen.etag, etag)
			}
			distinct[seen.etag] = true
			total++
		}
	}
	if len(distinct) < 3 {
		t.Errorf("%d readings saw %d versions only: no race", total, len(distinct))
	}
	r.reportMixed(t, s, total)
}

// reportMixed says how often the backend had to read again because the server had mixed versions.
func (r *run) reportMixed(t *testing.T, s store.Store, readings int) {
	t.Helper()
	counting, ok := s.(interface{ MixedReads() uint64 })
	if !ok {
		return
	}
	mixed := counting.MixedReads()
	r.deviates(t, MixedReads, mixed == 0, fmt.Sprintf("%d mixed answers were read again for %d readings", mixed, readings))
}

// deleteRace: creates and deletes in one deep directory do not hinder each other, though a directory that becomes empty
// may be taken away at any time.
func (r *run) deleteRace(t *testing.T) {
	s := r.open(t)
	var all sync.WaitGroup
	var attempts atomic.Int64
	for i := range 8 {
		all.Go(func() {
			for n := range 40 {
				key, b := fmt.Sprintf("x/y/z/%d", i), body(20, "%d %d", i, n)
				_, err := tryAgain(func() (store.Meta, error) { attempts.Add(1); return s.Create(t.Context(), key, b) })
				if err != nil {
					t.Errorf("create %s: %v", key, err)
					return
				}
				if object, err := s.Get(t.Context(), key); err != nil || !bytes.Equal(object.Body, b) {
					t.Errorf("get %s: %s, %v", key, brief(object.Body), err)
				}
				if err := s.Delete(t.Context(), key); err != nil {
					t.Errorf("delete %s: %v", key, err)
				}
			}
		})
	}
	all.Wait()
	t.Logf("%d creates in %d attempts", 8*40, attempts.Load())
	if counting, ok := s.(interface{ FalseDenials() uint64 }); ok {
		n := counting.FalseDenials()
		r.deviates(t, FalseDenial, n == 0, fmt.Sprintf("%d creates were denied, and taken when they were sent again", n))
	}
	if keys := listAll(t, s, "", 0); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
}
