package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/fustor/fustor/internal/httpapi"
)

const (
	// MinUploadMemory is the least that a server needs for the bytes of segments that come in at once.
	MinUploadMemory = 2 * maxSegment
	// uploadMemory is what it has by default.
	uploadMemory = 4 * maxSegment
	// maxKeyUploads is how many uploads of one key may be under way or wait for memory.
	maxKeyUploads = 256
)

// uploads shares the memory for bodies. Slow or many uploads of a view, or by a key, wait for each other: a view may have a part of the
// memory, and a key a part of that, wherever it sends.
type uploads struct {
	all           *semaphore.Weighted
	ofView, ofKey int64

	mu     sync.Mutex
	shares map[shareOf]*share
}

// shareOf is who has a share: a key, or a view.
type shareOf struct{ key, view string }

type share struct {
	bytes *semaphore.Weighted
	users int // uploads that hold or wait for bytes; without any, it is forgotten
}

// newUploads shares all bytes, of which a view may have ofView and a key ofKey.
func newUploads(all, ofView, ofKey int64) *uploads {
	return &uploads{all: semaphore.NewWeighted(all), ofView: ofView, ofKey: ofKey, shares: map[shareOf]*share{}}
}

// errUploads: a key has too many uploads under way.
var errUploads = errors.New("too many uploads by this key")

// acquire waits until there is memory for so many bytes of a view's that a key sends. release gives it back.
func (u *uploads) acquire(ctx context.Context, key, view string, size int64) (release func(), err error) {
	ofKey, err := u.enter(shareOf{key: key}, u.ofKey, maxKeyUploads)
	if err != nil {
		return nil, err
	}
	ofView, _ := u.enter(shareOf{view: view}, u.ofView, 0)
	var held []*semaphore.Weighted
	release = func() {
		for _, s := range held {
			s.Release(size)
		}
		u.leave(shareOf{key: key})
		u.leave(shareOf{view: view})
	}
	for _, s := range []*semaphore.Weighted{ofKey, ofView, u.all} {
		if err := s.Acquire(ctx, size); err != nil {
			release()
			return nil, err
		}
		held = append(held, s)
	}
	return release, nil
}

// enter joins those who use a share; most: how many may, unless it is 0.
func (u *uploads) enter(of shareOf, bytes int64, most int) (*semaphore.Weighted, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.shares[of]
	if s == nil {
		s = &share{bytes: semaphore.NewWeighted(bytes)}
		u.shares[of] = s
	}
	if most > 0 && s.users >= most {
		return nil, errUploads
	}
	s.users++
	return s.bytes, nil
}

func (u *uploads) leave(of shareOf) {
	u.mu.Lock()
	defer u.mu.Unlock()
	s := u.shares[of]
	if s.users--; s.users == 0 {
		delete(u.shares, of)
	}
}

// uploadProblem is what an upload is answered that acquire did not let in.
func uploadProblem(err error) error {
	switch {
	case errors.Is(err, errUploads):
		return &httpapi.Error{Status: http.StatusTooManyRequests, Cause: err, RetryAfter: 5 * time.Second,
			Detail: fmt.Sprintf("%d uploads by this key are under way", maxKeyUploads), Hint: "wait for their answers, or give each agent a key of its own"}
	case errors.Is(err, context.DeadlineExceeded):
		return &httpapi.Error{Status: http.StatusServiceUnavailable, Cause: err, RetryAfter: 5 * time.Second, Detail: "too many uploads at once", Hint: "send it again later"}
	}
	return err
}
