package diskcache

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/wait"
)

func open(t *testing.T, dir string, size int64) *Cache {
	t.Helper()
	c, err := Open(dir, size, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func part(kind Kind, i int) Part {
	return Part{Kind: kind, Object: "views/v/layers/l", Offset: int64(i), Bytes: 5}
}

func always([]byte) bool { return true }

// put keeps parts, and waits until they are on disk.
func put(t *testing.T, c *Cache, body []byte, parts ...Part) {
	t.Helper()
	for _, p := range parts {
		c.Put(p, body)
		wait.For(t, 10*time.Second, fmt.Sprintf("%+v is kept", p), func() bool { return c.Has(p) })
	}
}

func TestPartsOutliveTheProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "cache")
	c := open(t, dir, LeastSize)
	whole := Part{Kind: Indexes, Object: "views/v/layers/l.index", Bytes: -1}
	put(t, c, []byte("12345"), part(Names, 1))
	put(t, c, []byte("whole"), whole)
	c.Close()
	c.Put(part(Names, 2), []byte("later")) // no more: and no panic
	c = open(t, dir, LeastSize)
	if got := c.Get(part(Names, 1), always); string(got) != "12345" {
		t.Errorf("the part is %q", got)
	}
	if got := c.Get(whole, always); string(got) != "whole" {
		t.Errorf("the object is %q", got)
	}
	for _, absent := range []Part{part(Rows, 1), part(Names, 2), {Kind: Names, Object: "views/w/layers/l", Offset: 1, Bytes: 5}, {Kind: Names, Object: "views/v/layers/l", Offset: 1, Bytes: 6}} {
		if c.Has(absent) || c.Get(absent, always) != nil {
			t.Errorf("%+v is there", absent)
		}
	}
	if f := c.Figures(); f != (Figures{Bytes: 2 * block, Parts: 2, Hits: 2, Misses: 4}) {
		t.Errorf("figures: %+v", f)
	}
}

func TestNilCacheKeepsNothing(t *testing.T) {
	var c *Cache
	c.Put(part(Rows, 1), []byte("x"))
	if c.Has(part(Rows, 1)) || c.Get(part(Rows, 1), always) != nil || c.Figures() != (Figures{}) {
		t.Error("it has something")
	}
	c.Close()
}

// TestDamageIsAMiss: whatever happened to a file, the caller reads the store, and the file is replaced.
func TestDamageIsAMiss(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, LeastSize)
	p, want := part(Names, 1), []byte("12345")
	valid := func(b []byte) bool { return bytes.Equal(b, want) }
	path := c.path(p.name())
	for what, damage := range map[string]func() error{
		"flipped":     func() error { return os.WriteFile(path, []byte("12355"), 0o600) },
		"cut short":   func() error { return os.Truncate(path, 3) },
		"emptied":     func() error { return os.Truncate(path, 0) },
		"removed":     func() error { return os.Remove(path) },
		"a directory": func() error { return errors.Join(os.Remove(path), os.Mkdir(path, 0o700)) },
	} {
		put(t, c, want, p)
		if err := damage(); err != nil {
			t.Fatal(err)
		}
		if got := c.Get(p, valid); got != nil {
			t.Errorf("%s: %q", what, got)
		}
		if c.Has(p) {
			t.Errorf("%s: it is still there", what)
		}
	}
	put(t, c, want, p)
	if got := c.Get(p, valid); !bytes.Equal(got, want) {
		t.Errorf("after all: %q", got)
	}
}

// TestIndexesStay: rows make room for names, and both for indexes, but a quarter each is theirs; of one kind the oldest goes.
func TestIndexesStay(t *testing.T) {
	dir := t.TempDir()
	c := open(t, dir, LeastSize)
	body := make([]byte, 1<<20) // so sixteen fit
	for i := range 16 {
		put(t, c, body, part(Rows, i))
	}
	for i := range 8 {
		put(t, c, body, part(Names, i))
	}
	if c.Get(part(Names, 0), always) == nil {
		t.Fatal("the oldest names are gone")
	}
	for i := range 16 {
		put(t, c, body, part(Indexes, i))
	}
	has := func(kind Kind, n int) (list string) {
		for i := range n {
			if c.Has(part(kind, i)) {
				list += fmt.Sprint(i, " ")
			}
		}
		return list
	}
	want := func(when string) {
		t.Helper()
		for kind, parts := range map[Kind]string{Rows: "12 13 14 15 ", Names: "0 5 6 7 ", Indexes: "8 9 10 11 12 13 14 15 "} {
			if got := has(kind, 16); got != parts {
				t.Errorf("%s of kind %c there are %s, not %s", when, suffixes[kind], got, parts)
			}
		}
		if f := c.Figures(); f.Bytes != LeastSize {
			t.Errorf("%s it holds %d bytes", when, f.Bytes)
		}
	}
	want("at first")
	c.Close()
	c = open(t, dir, LeastSize)
	want("after a start")
	c.Close()
	c = open(t, dir, 2*LeastSize)
	for i := range 16 {
		put(t, c, body, part(Rows, 100+i))
	}
	c.Close()
	c = open(t, dir, LeastSize) // smaller than before
	if f := c.Figures(); f.Bytes > LeastSize || has(Indexes, 16) == "" {
		t.Errorf("of a smaller size it holds %d bytes, and indexes %s", f.Bytes, has(Indexes, 16))
	}
	on := int64(0)
	files, err := filepath.Glob(filepath.Join(dir, "??", "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			t.Fatal(err)
		}
		on += info.Size()
	}
	if on > LeastSize {
		t.Errorf("%d bytes are on disk", on)
	}
}

func TestDirectories(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "thesis.txt"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails := func(dir string, size int64, words string) {
		t.Helper()
		if _, err := Open(dir, size, nil); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%s, %d bytes: %v, wanted: %s", dir, size, err, words)
		}
	}
	fails(dir, LeastSize, "thesis.txt, and no CACHEDIR.TAG")
	fails(filepath.Join(dir, "thesis.txt"), LeastSize, "not a directory")
	fails(filepath.Join(dir, "new"), 1, "less than")
	used := filepath.Join(dir, "used")
	c := open(t, used, LeastSize)
	fails(used, LeastSize, "another process uses it")
	put(t, c, []byte("12345"), part(Rows, 1))
	// What is not a part stays, whoever put it there; what a process that died was writing goes.
	for _, name := range []string{"notes", "aa.r", part(Rows, 2).name(), part(Rows, 3).name()[:2] + "/" + part(Rows, 3).name() + ".tmp"} {
		path := filepath.Join(used, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte("x"), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	c.Close()
	c.Close()
	c = open(t, used, LeastSize)
	if f := c.Figures(); f.Parts != 1 {
		t.Errorf("it has %d parts", f.Parts)
	}
	left, err := filepath.Glob(filepath.Join(used, "*", "*.tmp"))
	if err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
	for _, name := range []string{"notes", "aa.r"} {
		if _, err := os.Stat(filepath.Join(used, name)); err != nil {
			t.Error(err)
		}
	}
	if os.Getuid() != 0 {
		if err := os.Chmod(dir, 0o500); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.Chmod(dir, 0o700) })
		fails(filepath.Join(dir, "denied"), LeastSize, "permission denied")
	}
}

// TestDirectoryThatGoesAway: nothing can be written, which is said once, and nothing else happens.
func TestDirectoryThatGoesAway(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "cache")
	var log lockedBuffer
	c, err := Open(dir, LeastSize, slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		c.Put(part(Rows, i), []byte("12345"))
	}
	c.Close()
	if got := log.String(); strings.Count(got, "\n") != 1 || !strings.Contains(got, "read from the store") {
		t.Errorf("the log says %q", got)
	}
	if f := c.Figures(); f.Parts != 0 {
		t.Errorf("it has %d parts", f.Parts)
	}
}

type lockedBuffer struct {
	mu sync.Mutex
	bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Buffer.Write(p)
}

// TestManyUseIt: whatever several do at the same time, a part is what was put, or nothing.
func TestManyUseIt(t *testing.T) {
	c := open(t, t.TempDir(), LeastSize)
	body := func(i int) []byte { return bytes.Repeat([]byte{byte(i)}, 100<<10) }
	var g sync.WaitGroup
	for worker := range 4 {
		g.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(worker)))
			for range 300 {
				i := rnd.IntN(250)
				p := part(Kind(i%int(kinds)), i)
				if got := c.Get(p, func(b []byte) bool { return bytes.Equal(b, body(i)) }); got == nil {
					c.Put(p, body(i))
				}
			}
		})
	}
	g.Wait()
	c.Close()
	if f := c.Figures(); f.Bytes > LeastSize || f.Parts == 0 || f.Hits == 0 {
		t.Errorf("figures: %+v", f)
	}
}

func BenchmarkGet(b *testing.B) {
	c, err := Open(b.TempDir(), LeastSize, nil)
	if err != nil {
		b.Fatal(err)
	}
	for i := range 100 {
		c.Put(part(Names, i), make([]byte, 40<<10))
	}
	c.Close()
	for i := 0; b.Loop(); i++ {
		if c.Get(part(Names, i%100), always) == nil {
			b.Fatal("it is not there")
		}
	}
}
