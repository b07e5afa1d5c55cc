package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/fustor/fustor/internal/sleep"
)

// How long Swap goes on: about ten seconds of conflicts, or one second beside the requests themselves of answers that
// tell nothing. Callers that can wait out an outage call it again.
const (
	swapConflicts = 16
	swapUnknowns  = 6
	swapBackoff   = 20 * time.Millisecond // the first pause at most; it doubles up to swapMaxPause
	swapMaxPause  = time.Second
)

// Swap makes body the object of key: with an empty etag if there is none yet (Create), else if the present one still
// has that ETag (Replace). It returns nil only when the store is known to have taken this body, which must differ from
// every other body of that key (it carries a nonce).
//
// It settles what one request leaves open. After "exists" or "changed", which may be the echo of its own landed write,
// and after an unknown answer (time-out, 5xx, broken connection) it reads back: equal bytes have landed, other bytes
// are ErrLost, and what is as before is tried again, as a conflict (409) is, a bounded number of times with
// growing, jittered pauses. ErrDenied, ErrNoBucket, ErrKey, ErrUnsupported and the end of ctx are returned at once.
//
// ErrLost says that another's object is there now, or none. Where the answer to this write was unknown, this body may have
// been there in between and been replaced by one who had read it; a caller to whom that matters finds it in the chain of
// versions. Any other error leaves open whether the body landed.
func Swap(ctx context.Context, s Store, key string, body []byte, etag string) (Meta, error) {
	w := swap{store: s, key: key, body: body, etag: etag}
	meta, err := w.run(ctx)
	if err != nil {
		return meta, fmt.Errorf("swap %s: %w", key, err)
	}
	return meta, nil
}

type swap struct {
	store     Store
	key, etag string
	body      []byte
	conflicts int
	unknowns  int
}

// run alternates between writing and, where the answer settles nothing, reading back.
func (w *swap) run(ctx context.Context) (Meta, error) {
	for {
		meta, err := w.write(ctx)
		switch {
		case err == nil:
			return meta, nil
		case final(ctx, err):
			return Meta{}, err
		case errors.Is(err, ErrConflict):
			w.conflicts++
		default:
			meta, settled, readErr := w.readBack(ctx, err)
			if settled {
				return meta, readErr
			}
			w.unknowns++
		}
		if w.conflicts >= swapConflicts || w.unknowns >= swapUnknowns {
			return Meta{}, fmt.Errorf("no conclusive answer after %d tries: %w", w.conflicts+w.unknowns, err)
		}
		if err := pause(ctx, w.conflicts+w.unknowns); err != nil {
			return Meta{}, err
		}
	}
}

func (w *swap) write(ctx context.Context) (Meta, error) {
	if w.etag == "" {
		return w.store.Create(ctx, w.key, w.body)
	}
	return w.store.Replace(ctx, w.key, w.body, w.etag)
}

// readBack finds out what a write that ended with cause has done. It is not settled when the object is as it was
// before the write, so that the write may be repeated: if the first one lands late, one of the two fails its condition.
func (w *swap) readBack(ctx context.Context, cause error) (meta Meta, settled bool, err error) {
	for try := 1; ; try++ {
		var object Object
		object, err = w.store.Get(ctx, w.key)
		switch {
		case err == nil && bytes.Equal(object.Body, w.body):
			return object.Meta, true, nil
		case err == nil && object.ETag == w.etag:
			return Meta{}, false, nil
		case err == nil:
			return object.Meta, true, fmt.Errorf("%w (%v)", ErrLost, cause)
		case errors.Is(err, ErrNotFound) && w.etag != "":
			return Meta{}, true, fmt.Errorf("%w: the object is gone (%v)", ErrLost, cause)
		case errors.Is(err, ErrNotFound):
			return Meta{}, false, nil
		case final(ctx, err) || try >= swapUnknowns:
			return Meta{}, true, fmt.Errorf("read back after %q: %w", cause, err)
		}
		if err := pause(ctx, try); err != nil {
			return Meta{}, true, err
		}
	}
}

// final reports whether no further request can change err.
func final(ctx context.Context, err error) bool {
	return ctx.Err() != nil || errors.Is(err, ErrDenied) || errors.Is(err, ErrNoBucket) || errors.Is(err, ErrKey) ||
		errors.Is(err, ErrUnsupported)
}

// pause waits before try number n+1, for half to all of a time that doubles with n, so that rivals fall out of step.
func pause(ctx context.Context, n int) error {
	limit := min(swapMaxPause, swapBackoff<<min(n-1, 10))
	return sleep.For(ctx, limit/2+Jitter(limit/2))
}

// Jitter is a random part of limit. It draws from crypto/rand, so that a test that fixes that (testing/cryptotest) has
// the same pauses at every run.
func Jitter(limit time.Duration) time.Duration {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails
	return time.Duration(binary.LittleEndian.Uint64(b[:]) % uint64(max(1, limit)))
}
