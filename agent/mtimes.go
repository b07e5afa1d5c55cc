package agent

import (
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/agent/schedule"
)

const (
	// maxMtimes bounds the directories whose mtimes are remembered: about 300 MB. Those beyond are listed by every audit.
	maxMtimes = 8 << 20
	// provenLocal and provenRemote are how old a directory's mtime must be, when it is listed, to prove something: what
	// happens after the listing within the clock's grain, or a cache's lag, leaves the mtime as it is.
	provenLocal  = 2 * time.Second
	provenRemote = 2 * time.Minute
)

// mtimes is the directories' mtimes as they were when this process last listed them, by a hash of their paths. It is safe
// for concurrent use.
type mtimes struct {
	proven time.Duration // age of an mtime that proves something

	mu     sync.Mutex
	byPath map[uint64]int64
}

// newMtimes makes an empty one. proven is for tests; 0: by the file system.
func newMtimes(remote bool, proven time.Duration) *mtimes {
	switch {
	case proven > 0:
	case remote:
		proven = provenRemote
	default:
		proven = provenLocal
	}
	return &mtimes{proven: proven, byPath: map[uint64]int64{}}
}

// share is the one of the schedule's shares that a directory is in.
func share(path string) uint64 { return xxhash.Sum64String(path) % schedule.Shares }

// listed remembers a directory that was listed, if its mtime proves something, and reports whether it does. Both times are
// ns, of the file server's clock.
func (m *mtimes) listed(path string, mtime, now int64) (proves bool) {
	if proves = now-mtime >= int64(m.proven); proves {
		m.remember(path, mtime)
		return true
	}
	h := xxhash.Sum64String(path)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byPath, h)
	return false
}

// remember takes in the mtime of a directory that proves something.
func (m *mtimes) remember(path string, mtime int64) {
	h := xxhash.Sum64String(path)
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.byPath[h]; ok || len(m.byPath) < maxMtimes {
		m.byPath[h] = mtime
	}
}

// same reports whether a directory has the mtime that it had when it was listed last. A new one has not.
func (m *mtimes) same(path string, mtime int64) bool {
	h := xxhash.Sum64String(path)
	m.mu.Lock()
	defer m.mu.Unlock()
	last, ok := m.byPath[h]
	return ok && last == mtime
}

// forget has everything listed again.
func (m *mtimes) forget() {
	m.mu.Lock()
	defer m.mu.Unlock()
	clear(m.byPath)
}
