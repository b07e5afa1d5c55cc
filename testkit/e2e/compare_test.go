//go:build unix

package e2e

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/wait"
)

// entry is what must be the same in the tree and in the view. A path is missing in one where its entry is the zero one.
type entry struct {
	kind          byte // f, d, l or o
	size, mtimeNs int64
	mode          uint32
	uid, gid      uint32
	target        string // of a symlink
}

func (e entry) String() string {
	if e.kind == 0 {
		return "missing"
	}
	s := fmt.Sprintf("%c size %d mtime %d.%09d mode %04o owner %d:%d", e.kind, e.size, e.mtimeNs/1e9, e.mtimeNs%1e9, e.mode, e.uid, e.gid)
	if e.kind == 'l' {
		s += fmt.Sprintf(" -> %q", e.target)
	}
	return s
}

// tree is a whole tree by path: "/" is its root. Paths are bytes.
type tree map[string]entry

// onDisk reads a tree. Nobody may be changing it. It goes from directory to directory by their descriptors, since paths may
// be longer than any system call takes.
func onDisk(t testing.TB, dir string) tree {
	t.Helper()
	found := tree{}
	root, err := os.OpenRoot(dir)
	if err == nil {
		defer root.Close()
		err = found.add(root, ".", "/")
	}
	if err == nil {
		err = found.walk(root, "/")
	}
	if err != nil {
		t.Fatalf("walk %s: %v", dir, err)
	}
	return found
}

// walk adds what is in a directory, whose path in the tree ends with a slash.
func (tr tree) walk(dir *os.Root, path string) error {
	open, err := dir.Open(".")
	if err != nil {
		return err
	}
	names, err := open.Readdirnames(-1)
	open.Close()
	if err != nil {
		return err
	}
	for _, name := range names {
		if err := tr.add(dir, name, path+name); err != nil {
			return err
		}
		if tr[path+name].kind != 'd' {
			continue
		}
		below, err := dir.OpenRoot(name)
		if err != nil {
			return err
		}
		err = tr.walk(below, path+name+"/")
		below.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

func (tr tree) add(dir *os.Root, name, path string) error {
	info, err := dir.Lstat(name)
	if err != nil {
		return fmt.Errorf("lstat %q: %w", path, err)
	}
	st := info.Sys().(*syscall.Stat_t)
	e := entry{kind: 'o', size: st.Size, mtimeNs: info.ModTime().UnixNano(), mode: uint32(st.Mode) & 0o7777, uid: st.Uid, gid: st.Gid}
	switch st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		e.kind = 'f'
	case syscall.S_IFDIR:
		e.kind = 'd'
	case syscall.S_IFLNK:
		e.kind = 'l'
		if e.target, err = dir.Readlink(name); err != nil {
			return err
		}
	}
	tr[path] = e
	return nil
}

// server is whom the reading commands ask: flags of theirs, such as --data, or --url and --api-key.
type server []string

// ask runs a reading command.
func (s server) ask(t testing.TB, args ...string) result {
	t.Helper()
	return command(t, nil, append(args, s...)...)
}

// find is the view as `fustor find / --json` has it, or why there is none.
func (s server) find(t testing.TB) (tree, error) {
	t.Helper()
	r := s.ask(t, "find", "/", "--json")
	if r.code != 0 {
		return nil, fmt.Errorf("find: exit code %d: %s", r.code, strings.TrimSpace(r.stderr))
	}
	return parseTree(r.stdout)
}

// parseTree reads what find --json prints.
func parseTree(printed string) (tree, error) {
	found := tree{}
	lines := bufio.NewScanner(strings.NewReader(printed))
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		path, e, err := parseEntry(lines.Bytes())
		if err != nil {
			return nil, err
		}
		if _, doubled := found[path]; doubled {
			return nil, fmt.Errorf("find prints %q twice", path)
		}
		found[path] = e
	}
	return found, lines.Err()
}

// parseEntry reads a line of find --json. Every field must be there.
func parseEntry(line []byte) (string, entry, error) {
	var in struct {
		Path      *string `json:"path"`
		PathB64   string  `json:"path_b64"`
		Type      *string `json:"type"`
		Size      *int64  `json:"size"`
		MtimeNs   *int64  `json:"mtime_ns"`
		Mode      *uint32 `json:"mode"`
		UID       *uint32 `json:"uid"`
		GID       *uint32 `json:"gid"`
		Target    string  `json:"target"`
		TargetB64 string  `json:"target_b64"`
	}
	if err := json.Unmarshal(line, &in); err != nil {
		return "", entry{}, fmt.Errorf("find --json prints %q: %w", line, err)
	}
	if in.Path == nil || in.Type == nil || len(*in.Type) != 1 || in.Size == nil || in.MtimeNs == nil || in.Mode == nil || in.UID == nil || in.GID == nil {
		return "", entry{}, fmt.Errorf("find --json prints %q: a field is missing", line)
	}
	path, err := bytesOf(*in.Path, in.PathB64)
	if err != nil {
		return "", entry{}, err
	}
	target, err := bytesOf(in.Target, in.TargetB64)
	return path, entry{kind: (*in.Type)[0], size: *in.Size, mtimeNs: *in.MtimeNs, mode: *in.Mode, uid: *in.UID, gid: *in.GID, target: target}, err
}

// bytesOf is a name's bytes: those of the base64url twin, where there is one.
func bytesOf(text, b64 string) (string, error) {
	if b64 == "" {
		return text, nil
	}
	b, err := base64.RawURLEncoding.DecodeString(b64)
	return string(b), err
}

// difference tells in what way a view is not as the tree; empty where they are equal.
func difference(view, disk tree) string {
	var lines []string
	for path, want := range disk {
		if have := view[path]; have != want {
			lines = append(lines, fmt.Sprintf("%q\n    tree: %v\n    view: %v", path, want, have))
		}
	}
	for path, have := range view {
		if _, there := disk[path]; !there {
			lines = append(lines, fmt.Sprintf("%q\n    tree: missing\n    view: %v", path, have))
		}
	}
	if len(lines) == 0 {
		return ""
	}
	slices.Sort(lines)
	n := len(lines)
	return fmt.Sprintf("%d of %d paths differ:\n%s", n, len(disk), strings.Join(lines[:min(n, 8)], "\n"))
}

// sums are the numbers of du.
type sums struct {
	Files         int64  `json:"files"`
	Directories   int64  `json:"directories"`
	Bytes         int64  `json:"bytes"`
	LatestMtimeNs *int64 `json:"latest_mtime_ns"` // of a regular file; nil where there is none
}

func (s sums) String() string {
	latest := "-"
	if s.LatestMtimeNs != nil {
		latest = fmt.Sprint(*s.LatestMtimeNs)
	}
	return fmt.Sprintf("%d files, %d directories, %d bytes, latest %s", s.Files, s.Directories, s.Bytes, latest)
}

func (tr tree) sums() sums {
	var s sums
	for _, e := range tr {
		switch e.kind {
		case 'd':
			s.Directories++
		case 'f':
			s.Files++
			s.Bytes += e.size
			inFuture := e.mtimeNs > time.Now().Add(24*time.Hour).UnixNano() // such a time is not the newest of its directories
			if !inFuture && (s.LatestMtimeNs == nil || *s.LatestMtimeNs < e.mtimeNs) {
				s.LatestMtimeNs = &e.mtimeNs
			}
		}
	}
	return s
}

// du is the sums of the whole view as `fustor du / --json` has them.
func (s server) du(t testing.TB) (sums, error) {
	t.Helper()
	r := s.ask(t, "du", "/", "--json")
	if r.code != 0 {
		return sums{}, fmt.Errorf("du: exit code %d: %s", r.code, strings.TrimSpace(r.stderr))
	}
	var out sums
	in := json.NewDecoder(bytes.NewReader([]byte(r.stdout)))
	if err := in.Decode(&out); err != nil || in.More() {
		return out, errors.Join(fmt.Errorf("du --json prints %q", r.stdout), err)
	}
	return out, nil
}

// unlike says in what way the view is not as the tree.
func (s server) unlike(t testing.TB, disk tree) string {
	t.Helper()
	have, err := s.du(t) // first, as it costs less and most often tells
	if err != nil {
		return err.Error()
	}
	if want := disk.sums(); have.String() != want.String() {
		return fmt.Sprintf("du: %v\nthe tree has %v", have, want)
	}
	view, err := s.find(t)
	if err != nil {
		return err.Error()
	}
	return difference(view, disk)
}

// equal waits until find and du say of the view what the tree is, and returns how long after since that was seen. The
// tree must be at rest. An idle machine needs no longer than within.
func (s server) equal(t testing.TB, dir string, since time.Time, within time.Duration) time.Duration {
	t.Helper()
	disk, limit := onDisk(t, dir), wait.Limit(within)
	for {
		asked := time.Now()
		d := s.unlike(t, disk)
		took := time.Since(since)
		switch {
		case d == "" && took <= limit:
			t.Logf("equal after %v: %v", took.Round(time.Millisecond), disk.sums())
			return took
		case d == "":
			t.Fatalf("equal only after %v, not within %v", took.Round(time.Millisecond), limit)
		case took > limit+patience(15*time.Second): // long enough to tell late from never
			if view, err := s.find(t); err == nil {
				d = cmp.Or(difference(view, disk), d)
			}
			t.Fatalf("not equal after %v: %s", took.Round(time.Millisecond), d)
		}
		awaitPause(max(50*time.Millisecond, time.Since(asked))) // asking takes no more than half of the time
	}
}
