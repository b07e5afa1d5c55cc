//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestHugeDirectory has one directory of very many entries be listed, grow, shrink and be renamed while it is watched.
func TestHugeDirectory(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	many := shortOr(50_000, 1_000_000)
	within := shortOr(30*time.Second, 5*time.Minute)
	huge := filepath.Join(dir, "huge")
	if err := os.Mkdir(huge, 0o755); err != nil {
		t.Fatal(err)
	}
	file := func(i int) string { return fmt.Sprintf("%s/file-%07d", huge, i) }
	fill := func(from, to int) {
		t.Helper()
		for i := from; i < to; i++ {
			fd, err := syscall.Open(file(i), syscall.O_CREAT|syscall.O_WRONLY, 0o644)
			if err == nil {
				err = syscall.Close(fd)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	fill(0, many)
	began := time.Now()
	o := begin(t, observation{dir: dir})
	o.same(within)
	t.Logf("%d entries are in the view %v after the start", many, time.Since(began).Round(time.Millisecond))

	fill(many, many+many/5)
	o.same(within)
	for i := range many / 2 {
		if err := os.Remove(file(2 * i)); err != nil {
			t.Fatal(err)
		}
	}
	o.same(within)
	if err := os.Rename(huge, filepath.Join(dir, "renamed")); err != nil {
		t.Fatal(err)
	}
	o.same(within)
	huge = filepath.Join(dir, "renamed")
	fill(0, 100)
	if err := os.RemoveAll(filepath.Join(dir, "renamed", "file-0000001")); err != nil {
		t.Fatal(err)
	}
	o.same(within)
	o.agent.staysBelow(hugeMemory(many))
}

// hugeMemory: a kilobyte for each of the directory's names, which are held at once, and room for the rest.
func hugeMemory(entries int) int64 { return 256<<20 + int64(entries)<<10 }

// TestDeepTree has a tree two hundred levels deep with the longest names there can be, so that paths are twelve times as
// long as system calls take. It is made in part before the agent begins and in part while it watches.
func TestDeepTree(t *testing.T) {
	t.Parallel()
	const levels = 200
	dir := inMemory(t)
	d := newDeep(t, dir)
	d.down(levels / 2)
	o := observe(t, observation{dir: dir})
	d.down(levels - levels/2)
	d.write("leaf", "x")
	d.write("leaf", "longer than before")
	d.write(strings.Repeat("\xfe", 255), "not UTF-8")
	d.write("new\nline", "")
	o.same(30 * time.Second)
	d.rename("leaf", "\xff\x80")
	d.chmod("\xff\x80", 0o600)
	o.same(30 * time.Second)
	// The whole of it moves.
	if err := os.Mkdir(filepath.Join(dir, "above"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, d.names[0]), filepath.Join(dir, "above", "moved")); err != nil {
		t.Fatal(err)
	}
	d.write("after the move", "x")
	o.same(30 * time.Second)
	if err := os.RemoveAll(filepath.Join(dir, "above")); err != nil {
		t.Fatal(err)
	}
	o.same(30 * time.Second)
	if log := o.agent.log.String(); strings.Contains(log, "cannot read") || strings.Contains(log, "scan=rescan") {
		t.Error("something of it could not be read, or was scanned again")
	}
}

// deep is a chain of directories, and the descriptor of the deepest.
type deep struct {
	t     *testing.T
	fd    int
	names []string
}

func newDeep(t *testing.T, dir string) *deep {
	t.Helper()
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := &deep{t: t, fd: fd}
	t.Cleanup(func() { unix.Close(d.fd) })
	return d
}

func (d *deep) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// down goes some levels further, making them: names of 255 bytes, of all kinds in turn.
func (d *deep) down(levels int) {
	d.t.Helper()
	for range levels {
		kinds := []string{"d", "\xff", "é", "\n"}
		name := fmt.Sprintf("%03d-", len(d.names))
		kind := kinds[len(d.names)%len(kinds)]
		name += strings.Repeat(kind, (255-len(name))/len(kind))
		d.must(unix.Mkdirat(d.fd, name, 0o755))
		fd, err := unix.Openat(d.fd, name, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
		d.must(err)
		unix.Close(d.fd)
		d.fd = fd
		d.names = append(d.names, name)
	}
}

func (d *deep) write(name, text string) {
	d.t.Helper()
	fd, err := unix.Openat(d.fd, name, unix.O_CREAT|unix.O_TRUNC|unix.O_WRONLY|unix.O_CLOEXEC, 0o644)
	d.must(err)
	_, err = unix.Write(fd, []byte(text))
	d.must(err)
	d.must(unix.Close(fd))
}

func (d *deep) rename(from, to string) { d.t.Helper(); d.must(unix.Renameat(d.fd, from, d.fd, to)) }

func (d *deep) chmod(name string, mode uint32) {
	d.t.Helper()
	d.must(unix.Fchmodat(d.fd, name, mode, 0))
}

// TestEveryByte has a name of every byte that a name may have, alone and in the middle of others, each as a file, a
// directory, and a link to it.
func TestEveryByte(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	o := observe(t, observation{dir: dir})
	for b := 1; b < 256; b++ {
		if b == '/' {
			continue
		}
		name := string([]byte{byte(b)})
		for _, path := range []string{name + "x", "a" + name + "b"} {
			if err := os.WriteFile(filepath.Join(dir, path), bytes.Repeat([]byte{byte(b)}, b), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.MkdirAll(dir+"/dir"+name+"/"+name+name+name, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink("a"+name+"b", dir+"/dir"+name+"/link"); err != nil {
			t.Fatal(err)
		}
	}
	o.same(30 * time.Second)
	for b := 1; b < 256; b += 3 {
		if b != '/' {
			name := string([]byte{byte(b)})
			if err := os.Rename(filepath.Join(dir, "dir"+name), filepath.Join(dir, name+"dir")); err != nil {
				t.Fatal(err)
			}
		}
	}
	o.same(30 * time.Second)
}
