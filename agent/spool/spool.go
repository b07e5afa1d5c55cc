// Package spool keeps sealed segments in files of one directory until they are durable in the store, so that neither an
// outage nor the agent's death loses what they say, nor does an outage cost memory.
//
// A file is one segment as it would be sent, named by its number: numbers only grow, and order the files of this process
// and of those before it. Files appear whole, by renaming; they are not forced to disk, so that after a power failure the
// last ones may be missing or torn: whoever reads them checks. One process at a time uses a directory. Package pipe
// writes and reads it; nothing else does.
package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/fustor/fustor/internal/store/flock"
)

// ErrFull says that the spool has reached its bound.
var ErrFull = errors.New("the spool is full")

// DefaultMax is the bound of a spool, bytes, unless another is given.
const DefaultMax = 1 << 30

// ID is the number of a segment's file, from 1.
type ID uint64

// Spool is one directory of segments. It is safe for concurrent use.
type Spool struct {
	dir    string
	max    int64
	unlock func()

	mu    sync.Mutex
	next  ID
	sizes map[ID]int64
	used  int64
	left  []ID // from processes before this one, in order

	err     error
	refused int // bytes, with err
}

// Status is how a spool is doing.
type Status struct {
	Bytes, Max int64
	Segments   int
	Err        error // why the last segment could not be written; nil: it was
}

// Open takes a directory into use, making it if need be. max is its bound in bytes, 0 for DefaultMax.
func Open(dir string, max int64) (*Spool, error) {
	if max <= 0 {
		max = DefaultMax
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("spool directory: %w", err)
	}
	unlock := func() {}
	if flock.Supported {
		var err error
		if unlock, err = flock.TryLock(filepath.Join(dir, "lock")); err != nil {
			return nil, fmt.Errorf("spool %s: %w", dir, err)
		}
	}
	s := &Spool{dir: dir, max: max, unlock: unlock, next: 1, sizes: map[ID]int64{}}
	if err := s.load(); err != nil {
		unlock()
		return nil, fmt.Errorf("spool %s: %w", dir, err)
	}
	return s, nil
}

const (
	suffix    = ".seg"
	temporary = ".new"
)

// load finds what is there.
func (s *Spool) load() error {
	files, err := os.ReadDir(s.dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if strings.HasSuffix(f.Name(), temporary) {
			_ = os.Remove(filepath.Join(s.dir, f.Name())) // what its writer died over; if it stays it is no harm
			continue
		}
		number, ok := strings.CutSuffix(f.Name(), suffix)
		n, err := strconv.ParseUint(number, 10, 64)
		if !ok || err != nil || n == 0 || n == math.MaxUint64 || f.Name() != fileName(ID(n)) {
			continue
		}
		info, err := f.Info()
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		s.sizes[ID(n)] = info.Size()
		s.used += info.Size()
		s.next = max(s.next, ID(n)+1)
		s.left = append(s.left, ID(n))
	}
	slices.Sort(s.left)
	return nil
}

// Left are the segments that were here when the spool was opened, in the order in which they were put, and their sizes.
func (s *Spool) Left() (ids []ID, sizes []int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, id := range s.left {
		if size, ok := s.sizes[id]; ok {
			ids, sizes = append(ids, id), append(sizes, size)
		}
	}
	return ids, sizes
}

// Put writes a segment. It fails with ErrFull at the bound, and where the file system does not take it; the spool is as
// before then.
func (s *Spool) Put(body []byte) (ID, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id, err := s.put(body)
	if s.err = err; err != nil {
		s.refused = len(body)
	}
	return id, err
}

func (s *Spool) put(body []byte) (ID, error) {
	size := int64(len(body))
	if s.used+size > s.max {
		return 0, fmt.Errorf("%w: %d of %d bytes", ErrFull, s.used, s.max)
	}
	id := s.next
	path := s.path(id)
	if err := os.WriteFile(path+temporary, body, 0o600); err != nil {
		_ = os.Remove(path + temporary)
		return 0, err
	}
	if err := os.Rename(path+temporary, path); err != nil {
		_ = os.Remove(path + temporary)
		return 0, err
	}
	s.next++
	s.sizes[id] = size
	s.used += size
	return id, nil
}

// Probe tries, after a failure, whether the spool would now take what it did not.
func (s *Spool) Probe() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		return
	}
	id, err := s.put(make([]byte, s.refused))
	if s.err = err; err == nil {
		s.used -= s.sizes[id]
		delete(s.sizes, id)
		_ = os.Remove(s.path(id))
	}
}

func (s *Spool) path(id ID) string { return filepath.Join(s.dir, fileName(id)) }

func fileName(id ID) string { return fmt.Sprintf("%020d%s", id, suffix) }

// Get reads a segment.
func (s *Spool) Get(id ID) ([]byte, error) { return os.ReadFile(s.path(id)) }

// Remove forgets a segment.
func (s *Spool) Remove(id ID) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used -= s.sizes[id]
	delete(s.sizes, id)
	if err := os.Remove(s.path(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err // it is sent again by the next process, which is no harm
	}
	return nil
}

// Status is how the spool is doing.
func (s *Spool) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	return Status{Bytes: s.used, Max: s.max, Segments: len(s.sizes), Err: s.err}
}

// Close lets the directory go. What is in it stays.
func (s *Spool) Close() { s.unlock() }
