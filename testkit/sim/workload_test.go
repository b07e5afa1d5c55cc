package sim

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/event"
)

// maxEntries is how large a tree grows.
const maxEntries = 60

// user changes the tree on one host, as people, rsync and tar do. Operations may fail: others change the tree too.
type user struct {
	w      *world
	name   string
	mount  *Mount
	random *rand.Rand
}

func (w *world) user(name string, m *Mount) *user {
	return &user{w: w, name: name, mount: m, random: w.random("user " + name)}
}

// work changes the tree until then.
func (u *user) work(ctx context.Context, until time.Time) {
	for ctx.Err() == nil && time.Now().Before(until) {
		u.rest(u.w.plan.pauses)
		u.change()
	}
}

func (u *user) rest(d time.Duration) { time.Sleep(time.Duration(1 + u.random.Int64N(int64(d)))) }

var words = []string{"a", "b", "c", "data", "x y", "\xff\xfe", "ü", "run.log"}

func (u *user) name1() string {
	name := words[u.random.IntN(len(words))]
	if u.random.IntN(3) == 0 {
		name += fmt.Sprint(u.random.IntN(4))
	}
	return name
}

// some is an entry of this kind, chosen among all.
func (u *user) some(want func(event.Entry) bool) string {
	tree := u.w.server.Tree()
	paths := slices.Sorted(maps.Keys(tree))
	paths = slices.DeleteFunc(paths, func(p string) bool { return !want(tree[p]) })
	if len(paths) == 0 {
		return "/"
	}
	return paths[u.random.IntN(len(paths))]
}

func isDirectory(e event.Entry) bool { return e.Type == event.Directory }
func isFile(e event.Entry) bool      { return e.Type == event.File }
func isAny(event.Entry) bool         { return true }

func (u *user) fresh() string { return event.Join(u.some(isDirectory), u.name1()) }

// change does one thing.
func (u *user) change() {
	full := len(u.w.server.Tree())-int(u.w.unpacked.Load()) >= maxEntries
	switch n := u.random.IntN(20); {
	case n < 6 && !full:
		u.write(u.fresh())
	case n < 8 && !full:
		u.directories()
	case n < 10:
		u.append(u.some(isFile))
	case n < 12:
		u.rename(u.some(isAny), u.fresh())
	case n < 13:
		u.rename(u.some(isDirectory), u.fresh())
	case n < 15:
		u.remove(u.some(isAny))
	case n < 16:
		if d := u.some(isDirectory); d != "/" && (full || u.random.IntN(3) == 0) {
			u.removeAll(d)
		}
	case n < 17 && !full:
		path := u.fresh()
		u.did("symlink", path, u.mount.Symlink(u.name1(), path))
	case n < 18:
		path := u.some(isAny)
		u.did("touch", path, u.mount.Chtimes(path, 1_000_000_000_000_000_000+u.random.Int64N(500_000_000_000_000_000)))
	case n < 19:
		path := u.some(isAny)
		u.did("chmod", path, u.mount.Chmod(path, uint32(0o700|u.random.IntN(0o100))))
		u.did("chown", path, u.mount.Chown(path, uint32(u.random.IntN(3)), 7))
	default:
		u.replace()
	}
}

func (u *user) did(what, path string, err error) {
	result := ""
	if err != nil {
		result = err.Error()
	}
	u.w.trace.note(u.name, what, fmt.Sprintf("%q", path), result)
}

func (u *user) write(path string) {
	f, err := u.mount.Create(path)
	u.did("create", path, err)
	if err == nil {
		u.fill(f, path)
	}
}

func (u *user) append(path string) {
	f, err := u.mount.Append(path)
	u.did("append", path, err)
	if err == nil {
		u.fill(f, path)
	}
}

// fill writes to a file, now and then slowly.
func (u *user) fill(f *Handle, path string) {
	pause := 10 * time.Millisecond
	if u.random.IntN(8) == 0 {
		pause = 3 * time.Second
	}
	for range 1 + u.random.IntN(3) {
		u.rest(pause)
		f.Write(1 + u.random.Int64N(5000))
	}
	u.rest(pause)
	f.Close()
	u.did("close", path, nil)
}

func (u *user) directories() {
	path := u.fresh()
	for range 1 + u.random.IntN(3) {
		u.did("mkdir", path, u.mount.Mkdir(path))
		if u.random.IntN(2) == 0 {
			u.write(event.Join(path, u.name1()))
		}
		path = event.Join(path, u.name1())
	}
}

func (u *user) rename(from, to string) {
	u.did("rename "+fmt.Sprintf("%q", from), to, u.mount.Rename(from, to))
}

func (u *user) remove(path string) { u.did("remove", path, u.mount.Remove(path)) }

// removeAll is rm -r: the deepest first, with time for others in between.
func (u *user) removeAll(dir string) {
	paths := slices.Sorted(maps.Keys(u.w.server.Tree()))
	slices.Reverse(paths)
	for _, p := range paths {
		if p == dir || strings.HasPrefix(p, dir+"/") {
			u.remove(p)
			u.rest(2 * time.Millisecond)
		}
	}
}

// replace puts something else in an entry's place.
func (u *user) replace() {
	path := u.some(isAny)
	if path == "/" {
		return
	}
	if u.random.IntN(2) == 0 { // as editors save
		u.write(path + "~")
		u.rename(path+"~", path)
		return
	}
	u.removeAll(path)
	if u.random.IntN(2) == 0 {
		u.did("mkdir", path, u.mount.Mkdir(path))
		u.write(event.Join(path, u.name1()))
		return
	}
	u.write(path)
}

// unpack has somebody unpack archives on the host whose agent leads, one after the other, and remove what was in them.
func (w *world) unpack(ctx context.Context, name string, until time.Time) {
	users := make([]*user, len(w.plan.agents))
	for n, host := range w.plan.agents {
		users[n] = w.user(fmt.Sprint(name, " on host", host), w.mounts[host])
	}
	at := 0
	for ctx.Err() == nil && time.Now().Before(until) {
		for n := range w.plan.agents {
			if w.components[w.plan.ingests+w.plan.compactors+n].leads() {
				at = n
			}
		}
		u, dir := users[at], "/"+name
		u.did("mkdir", dir, u.mount.Mkdir(dir))
		w.unpacked.Add(int64(w.plan.archive))
		for n := range w.plan.archive {
			if f, err := u.mount.Create(event.Join(dir, fmt.Sprint("file", n))); err == nil {
				f.Write(1 + u.random.Int64N(1<<20))
				f.Close()
			}
			u.rest(4 * time.Millisecond)
		}
		u.rest(2 * w.plan.segments)
		u.removeAll(dir)
		w.unpacked.Add(-int64(w.plan.archive))
		u.rest(2 * w.plan.segments)
	}
}
