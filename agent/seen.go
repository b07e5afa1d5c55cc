package agent

import (
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"
)

const (
	// maxSeen bounds the directories that are remembered: about 300 MB. Those beyond are listed by every audit.
	maxSeen = 8 << 20
	// restatShare: of the directories that did not change, each audit lists one in so many all the same, others the next
	// time. In-place writes by hosts without an agent leave no trace but in the file itself.
	restatShare = 8
	// racyLocal and racyRemote are how old a directory's mtime must be, when it is listed, to prove something: what
	// happens after the listing within the clock's grain, or a cache's lag, leaves it as it is.
	racyLocal  = 2 * time.Second
	racyRemote = 2 * time.Minute
)

// seen is the directories' mtimes as they were last listed, by a hash of their paths.
type seen struct {
	mu     sync.Mutex
	mtimes map[uint64]int64
	racy   time.Duration
}

func newSeen(remote bool) *seen {
	s := &seen{mtimes: map[uint64]int64{}, racy: racyLocal}
	if remote {
		s.racy = racyRemote
	}
	return s
}

// listed remembers a directory that was listed, if its mtime proves something, and reports whether it does. Both times are
// ns, of the file server's clock.
func (s *seen) listed(path string, mtime, now int64) (proves bool) {
	if proves = now-mtime >= int64(s.racy); proves {
		s.trust(path, mtime)
		return true
	}
	h := xxhash.Sum64String(path)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.mtimes, h)
	return false
}

// trust remembers a directory whose mtime proves something.
func (s *seen) trust(path string, mtime int64) {
	h := xxhash.Sum64String(path)
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.mtimes[h]; known || len(s.mtimes) < maxSeen {
		s.mtimes[h] = mtime
	}
}

// unchanged reports whether audit number n may leave a directory's entries out.
func (s *seen) unchanged(path string, mtime int64, n uint64) bool {
	h := xxhash.Sum64String(path)
	if h%restatShare == n%restatShare {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.mtimes[h]
	return ok && known == mtime
}

// moved reports whether a directory is new, or has another mtime than it had when it was listed last.
func (s *seen) moved(path string, mtime int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	known, ok := s.mtimes[xxhash.Sum64String(path)]
	return !ok || known != mtime
}

// forget has everything listed again.
func (s *seen) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.mtimes)
}
