// Package diskcache keeps parts of objects that are never replaced in files of a local directory. A server that starts again, or whose memory
// is small beside its views, then reads them from there, and asks its store for what nobody has asked for.
//
// Each part is a file, as the store has it. The cache proves nothing: callers hold what it returns against a checksum that they have from
// elsewhere, so a file that is damaged, cut short or gone is a part that must be read from the store, and nothing more. One process at a
// time has the directory. Writes happen behind the caller, and are left out where the disk does not keep up or is full.
//
// Callers: internal/layer reads through it, query opens it.
package diskcache

import (
	"bytes"
	"cmp"
	"container/list"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/internal/store/flock"
)

// Kind says what a part is for. Where the directory is full, parts of the last kind go first: see evict.
type Kind uint8

// The kinds.
const (
	Indexes Kind = iota // indexes of layers, and pages of their search indexes: every question needs some
	Names               // the keys of row groups: searches by name need most of them
	Rows                // whole row groups
	kinds
)

const suffixes = "inr" // of files, by Kind

// Part names a part of an object. Bytes is -1 for the whole object.
type Part struct {
	Kind          Kind
	Object        string // the key in the store
	Offset, Bytes int64
}

// name is the part's file, below the directory.
func (p Part) name() string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%d\x00%d", p.Object, p.Offset, p.Bytes))
	return hex.EncodeToString(sum[:16]) + "." + suffixes[p.Kind:p.Kind+1]
}

var fileName = regexp.MustCompile(`^[0-9a-f]{32}\.[` + suffixes + `]$`)

const (
	// tag is the file that says that a directory is a cache, for programs that make backups (https://bford.info/cachedir/), and for Open.
	tag     = "CACHEDIR.TAG"
	tagText = "Signature: 8a477f597d28d172789f06886806bc55\n# Fustor keeps parts of its layers here. You may remove the directory while no server uses it.\n"
	// LeastSize is how small a cache may be, bytes.
	LeastSize = 16 << 20
	// block is what files are rounded up to, as most file systems do.
	block = 4 << 10
	// maxPending bounds the bytes that wait to be written.
	maxPending = 8 << 20
	// touchAfter is how old the time of a file may be before a use of it sets it again: the times are the order of use at the next start.
	touchAfter = time.Hour
	// complainAfter is how often it is said that nothing can be written.
	complainAfter = time.Minute
)

// Cache is a directory with parts. It is safe for concurrent use. A nil Cache has nothing and keeps nothing.
type Cache struct {
	dir    string
	size   int64 // bytes
	log    *slog.Logger
	unlock func()

	mu      sync.Mutex
	entries map[string]*list.Element // of *entry, by file name
	used    [kinds]list.List         // the latest use first
	held    [kinds]int64             // bytes
	pending int64                    // bytes that wait to be written
	closed  bool

	writes     chan write
	done       chan struct{}
	complained time.Time // the writer's

	hits, misses atomic.Uint64
}

type entry struct {
	name    string
	kind    Kind
	bytes   int64 // rounded up
	touched time.Time
}

type write struct {
	name string
	kind Kind
	body []byte
}

// Open takes the cache in dir, which is made if need be, of about size bytes at most. It fails where dir is not a directory, has files that
// are not of a cache, cannot be written, or is in use by another process.
func Open(dir string, size int64, log *slog.Logger) (*Cache, error) {
	if size < LeastSize {
		return nil, fmt.Errorf("cache %s: a size of %d bytes is less than %d", dir, size, LeastSize)
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Cache{dir: dir, size: size, log: log, entries: map[string]*list.Element{}, writes: make(chan write, 256), done: make(chan struct{})}
	if err := c.open(); err != nil {
		return nil, fmt.Errorf("cache %s: %w", dir, err)
	}
	go c.write()
	return c, nil
}

func (c *Cache) open() error {
	if err := os.MkdirAll(c.dir, 0o700); err != nil {
		return err
	}
	if err := c.claim(); err != nil {
		return err
	}
	unlock, err := flock.TryLock(filepath.Join(c.dir, "lock"))
	if errors.Is(err, flock.ErrLocked) {
		return errors.New("another process uses it: give each server a directory of its own")
	}
	if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	c.unlock = func() {
		if unlock != nil {
			unlock()
		}
	}
	if err := c.scan(); err != nil {
		c.unlock()
		return err
	}
	return nil
}

// claim sees to it that the directory is a cache's, or empty.
func (c *Cache) claim() error {
	_, err := os.Lstat(filepath.Join(c.dir, tag))
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	there, err := os.ReadDir(c.dir)
	if err != nil {
		return err
	}
	if len(there) > 0 {
		return fmt.Errorf("it has %s, and no %s: name an empty directory, or one that does not exist", there[0].Name(), tag)
	}
	return os.WriteFile(filepath.Join(c.dir, tag), []byte(tagText), 0o600)
}

// scan finds the parts that are there, in the order of their last use.
func (c *Cache) scan() error {
	var found []*entry
	err := filepath.WalkDir(c.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if temporary(name) {
			return os.Remove(path)
		}
		if !d.Type().IsRegular() || !fileName.MatchString(name) || path != c.path(name) {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		found = append(found, &entry{name, kindOf(name), rounded(info.Size()), info.ModTime()})
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(found, func(a, b *entry) int { return cmp.Or(a.touched.Compare(b.touched), cmp.Compare(a.name, b.name)) })
	for _, e := range found {
		c.add(e)
	}
	c.evict()
	return nil
}

func temporary(name string) bool {
	ok, err := filepath.Match("*.tmp", name)
	return ok && err == nil
}

func kindOf(name string) Kind { return Kind(bytes.IndexByte([]byte(suffixes), name[len(name)-1])) }

func rounded(n int64) int64 { return max(block, (n+block-1)/block*block) }

func (c *Cache) path(name string) string { return filepath.Join(c.dir, name[:2], name) }

// Has reports whether the part may be had, without counting as a use.
func (c *Cache) Has(p Part) bool {
	if c == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.entries[p.name()] != nil
}

// Get is a part for which valid holds, or nil. What is not valid is removed.
func (c *Cache) Get(p Part, valid func([]byte) bool) []byte {
	if c == nil {
		return nil
	}
	name := p.name()
	touch, ok := c.use(name)
	if !ok {
		c.misses.Add(1)
		return nil
	}
	body, err := os.ReadFile(c.path(name))
	if err != nil || !valid(body) {
		c.misses.Add(1)
		c.remove(name)
		return nil
	}
	c.hits.Add(1)
	if touch {
		now := time.Now()
		_ = os.Chtimes(c.path(name), now, now) // else it is the older at the next start
	}
	return body
}

// use notes a use of a file; touch says that its time is due.
func (c *Cache) use(name string) (touch, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := c.entries[name]
	if at == nil {
		return false, false
	}
	e := at.Value.(*entry)
	c.used[e.kind].MoveToFront(at)
	if now := time.Now(); now.Sub(e.touched) > touchAfter {
		e.touched, touch = now, true
	}
	return touch, true
}

// Put keeps a part, which must not change afterwards. It does not wait for the disk.
func (c *Cache) Put(p Part, body []byte) {
	if c == nil {
		return
	}
	name := p.name()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed || c.entries[name] != nil || c.pending+int64(len(body)) > maxPending {
		return
	}
	select {
	case c.writes <- write{name: name, kind: p.Kind, body: body}:
		c.pending += int64(len(body))
	default:
	}
}

// Close waits for the writes under way and leaves the directory to others. What is put afterwards is not kept.
func (c *Cache) Close() {
	if c == nil {
		return
	}
	c.mu.Lock()
	closed := c.closed
	if c.closed = true; !closed {
		close(c.writes)
	}
	c.mu.Unlock()
	<-c.done
	c.unlock()
}

// Figures are what the cache holds, and how often it had what was asked for.
type Figures struct {
	Bytes        int64
	Parts        int
	Hits, Misses uint64
}

// Figures are those of now.
func (c *Cache) Figures() Figures {
	if c == nil {
		return Figures{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return Figures{Bytes: c.bytes(), Parts: len(c.entries), Hits: c.hits.Load(), Misses: c.misses.Load()}
}

func (c *Cache) bytes() (n int64) {
	for _, h := range c.held {
		n += h
	}
	return n
}

func (c *Cache) write() {
	defer close(c.done)
	for w := range c.writes {
		err := c.save(w)
		c.mu.Lock()
		c.pending -= int64(len(w.body))
		if err == nil {
			c.add(&entry{w.name, w.kind, rounded(int64(len(w.body))), time.Now()})
			c.evict()
		}
		c.mu.Unlock()
		if err != nil && time.Since(c.complained) > complainAfter {
			c.complained = time.Now()
			c.log.Warn("the cache on disk cannot be written: what is missing there is read from the store", "dir", c.dir, "error", err)
		}
	}
}

// save writes a file, which is there whole or not at all unless the machine stops.
func (c *Cache) save(w write) error {
	path := c.path(w.name)
	temp := path + ".tmp"
	err := os.WriteFile(temp, w.body, 0o600)
	if errors.Is(err, fs.ErrNotExist) {
		if err = os.Mkdir(filepath.Dir(path), 0o700); err == nil || errors.Is(err, fs.ErrExist) {
			err = os.WriteFile(temp, w.body, 0o600)
		}
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(temp) // the next start removes it, too
	}
	return err
}

// add notes a file that was just used.
func (c *Cache) add(e *entry) {
	c.forget(e.name)
	c.entries[e.name] = c.used[e.kind].PushFront(e)
	c.held[e.kind] += e.bytes
}

func (c *Cache) forget(name string) {
	at := c.entries[name]
	if at == nil {
		return
	}
	e := at.Value.(*entry)
	c.used[e.kind].Remove(at)
	c.held[e.kind] -= e.bytes
	delete(c.entries, name)
}

func (c *Cache) remove(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.forget(name)
	_ = os.Remove(c.path(name)) // it is not used, and the next start finds it
}

// evict removes what is too much. Rows go before names, and names before indexes; but rows and names keep a quarter each of the whole size, so
// that indexes of layers that are gone do not keep everything else away for ever. Of one kind, what was used longest ago goes first.
func (c *Cache) evict() {
	for c.bytes() > c.size {
		kind := Indexes
		for _, k := range []Kind{Names, Rows} {
			if c.held[k] > c.size/4 {
				kind = k
			}
		}
		oldest := c.used[kind].Back().Value.(*entry)
		c.forget(oldest.name)
		_ = os.Remove(c.path(oldest.name)) // as in remove
	}
}
