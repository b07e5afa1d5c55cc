package ingest

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

const (
	// maxUploadMemory bounds the bytes of segments that are in memory at once; further uploads wait.
	maxUploadMemory = 4 * maxSegment
	// maxViewUploads bounds those of one view, so that slow or many uploads of one do not make the others wait.
	maxViewUploads = maxSegment
)

// uploads shares the memory for bodies: what all have of it, and what one view may have.
type uploads struct {
	all     *semaphore.Weighted
	ofViews int64

	mu     sync.Mutex
	ofView map[string]*viewUploads
}

// viewUploads is what one view has of it.
type viewUploads struct {
	bytes *semaphore.Weighted
	users int // uploads that hold or wait for bytes; without any, it is forgotten
}

func newUploads(all, ofView int64) *uploads {
	return &uploads{all: semaphore.NewWeighted(all), ofViews: ofView, ofView: map[string]*viewUploads{}}
}

// acquire waits until there is memory for so many bytes of a view's. release gives it back.
func (u *uploads) acquire(ctx context.Context, view string, size int64) (release func(), err error) {
	u.mu.Lock()
	v := u.ofView[view]
	if v == nil {
		v = &viewUploads{bytes: semaphore.NewWeighted(u.ofViews)}
		u.ofView[view] = v
	}
	v.users++
	u.mu.Unlock()
	leave := func() {
		u.mu.Lock()
		defer u.mu.Unlock()
		if v.users--; v.users == 0 {
			delete(u.ofView, view)
		}
	}
	if err := v.bytes.Acquire(ctx, size); err != nil {
		leave()
		return nil, err
	}
	if err := u.all.Acquire(ctx, size); err != nil {
		v.bytes.Release(size)
		leave()
		return nil, err
	}
	return func() {
		u.all.Release(size)
		v.bytes.Release(size)
		leave()
	}, nil
}
