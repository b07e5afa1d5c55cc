package known

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/internal/event"
)

var identity = Identity{View: "v", Epoch: "e", Root: "/srv", Ino: 2, Birth: 7, Excludes: []string{".snapshot"}}

func open(t testing.TB, path string, id Identity, broken ...string) *Log {
	t.Helper()
	l, err := Open(path, id, broken)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	return l
}

// show is everything known, by path.
func show(k *scan.Known) map[string]int64 {
	m := map[string]int64{}
	var walk func(string, *scan.Known)
	walk = func(path string, k *scan.Known) {
		m[path] = k.Mtime
		for _, c := range k.Dirs {
			walk(event.Join(path, c.Name), c)
		}
	}
	if k != nil {
		walk("/", k)
	}
	return m
}

func (l *Log) shows(t *testing.T, want map[string]int64) {
	t.Helper()
	k, err := l.Load()
	if have := show(k); err != nil || !maps.Equal(have, want) {
		t.Errorf("known %.500s, %v; want %.500s", fmt.Sprint(have), err, fmt.Sprint(want))
	}
}

func list(l *Log, session string, seq uint64, path string, mtime int64, subdirectories ...string) {
	l.Listed(session, seq, path, mtime, slices.Values(subdirectories))
}

// folded says that the segments are durable, and the session alive after that.
func folded(l *Log, session string, seq uint64) {
	l.Sent(session, seq)
	l.Alive(session, time.Now().Add(time.Second))
}

func TestOnlyWhatIsFoldedForCertainIsRemembered(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dirs")
	l := open(t, path, identity)
	list(l, "s", 1, "/", 11, "a", "b")
	l.Alive("s", time.Now().Add(time.Second))
	l.shows(t, map[string]int64{})
	before := time.Now()
	l.Sent("s", 0)
	l.Alive("s", time.Now().Add(time.Second))
	l.shows(t, map[string]int64{}) // segment 1 is not durable
	l.Sent("s", 1)
	l.Alive("s", before) // the session may have ended before the segment came
	l.shows(t, map[string]int64{})
	l.Alive("s", time.Now().Add(time.Second))
	l.shows(t, map[string]int64{"/": 11, "/a": 0, "/b": 0})
	list(l, "s", 2, "/a", 12)
	l.Sent("s", 2)
	l.Alive("t", time.Now().Add(time.Second)) // another session: nobody knows what became of that one
	l.Alive("s", time.Now().Add(time.Second))
	l.shows(t, map[string]int64{"/": 11, "/a": 0, "/b": 0})
}

func TestFilesAreOfOneTreeAndView(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dirs")
	want := map[string]int64{"/": 11, "/a": 12}
	fill := func() {
		l := open(t, path, identity)
		list(l, "s", 1, "/", 11, "a")
		list(l, "s", 1, "/a", 12)
		folded(l, "s", 1)
		l.shows(t, want)
	}
	fill()
	open(t, path, identity).shows(t, want)
	for name, change := range map[string]func(*Identity){
		"epoch": func(id *Identity) { id.Epoch = "f" }, "view": func(id *Identity) { id.View = "w" }, "root": func(id *Identity) { id.Root = "/x" },
		"inode": func(id *Identity) { id.Ino = 3 }, "device": func(id *Identity) { id.Dev = 3 }, "birth": func(id *Identity) { id.Birth = 3 }, "excludes": func(id *Identity) { id.Excludes = nil },
		"crossing": func(id *Identity) { id.Cross = true },
	} {
		other := identity
		change(&other)
		open(t, path, other).shows(t, map[string]int64{})
		fill()
		if t.Failed() {
			t.Fatal(name)
		}
	}
	l, err := Open(path, identity, []string{"s"})
	if err == nil {
		t.Error("what a broken session told is believed")
	}
	l.shows(t, map[string]int64{})
}

// TestFilesOfEarlierBuilds do not know when the root was made, and are read. So are those of this one where that cannot be told.
func TestFilesOfEarlierBuilds(t *testing.T) {
	without := identity
	without.Birth = 0
	want := map[string]int64{"/": 11, "/a": 12}
	for _, c := range []struct{ written, read Identity }{{without, identity}, {identity, without}, {without, without}} {
		for _, whole := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "dirs")
			l := open(t, path, c.written)
			list(l, "s", 1, "/", 11, "a")
			list(l, "s", 1, "/a", 12)
			folded(l, "s", 1)
			if whole {
				if err := l.Compact(); err != nil {
					t.Fatal(err)
				}
			}
			l.Close()
			open(t, path, c.read).shows(t, want)
		}
	}
}

// TestWholeFile: what Compact writes is what the log said, later entries over earlier ones, and less.
func TestWholeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dirs")
	l := open(t, path, identity)
	var names []string
	for i := range 3000 {
		names = append(names, fmt.Sprintf("run_%05d", i))
	}
	list(l, "s", 1, "/", 1e18, "gone", "p", "\xff\n")
	list(l, "s", 1, "/gone", 5, "deep")
	list(l, "s", 1, "/gone/deep", 6)
	list(l, "s", 1, "/p", 1e18+7, names...)
	for i, n := range names {
		list(l, "s", 1, "/p/"+n, 1e18+int64(i*i)*1234567, "x", "y")
	}
	list(l, "s", 1, "/", 1e18-1, "p", "\xff\n")
	folded(l, "s", 1)
	k, err := l.Load()
	if err != nil {
		t.Fatal(err)
	}
	want := show(k)
	if len(want) != 3+3*3000 || want["/p/run_00002/y"] != 0 || want["/p/run_00002"] != 1e18+4*1234567 || want["/"] != 1e18-1 {
		t.Fatalf("%d directories: %d", len(want), want["/p/run_00002"])
	}
	if err := l.Compact(); err != nil {
		t.Fatal(err)
	}
	l.shows(t, want)
	list(l, "u", 0, "/p/run_00002", 99)
	folded(l, "u", 0)
	delete(want, "/p/run_00002/x")
	delete(want, "/p/run_00002/y")
	want["/p/run_00002"] = 99
	l.shows(t, want)
	again := open(t, path, identity)
	again.shows(t, want)
	if fmt.Sprint(again.sessions) != "[s u]" {
		t.Errorf("sessions %v", again.sessions)
	}
}

// TestDamage: of a log the part before the damage counts; a damaged whole file counts as none, and says so once.
func TestDamage(t *testing.T) {
	path := filepath.Join(t.TempDir(), "dirs")
	l := open(t, path, identity)
	list(l, "s", 1, "/", 11, "a")
	folded(l, "s", 1)
	whole, err := os.ReadFile(path + ".log")
	if err != nil {
		t.Fatal(err)
	}
	list(l, "s", 2, "/a", 12, "b")
	folded(l, "s", 2)
	l.Close()
	longer, err := os.ReadFile(path + ".log")
	if err != nil {
		t.Fatal(err)
	}
	for cut := len(whole); cut < len(longer); cut++ {
		write(t, path+".log", longer[:cut])
		torn := open(t, path, identity)
		torn.shows(t, map[string]int64{"/": 11, "/a": 0})
		list(torn, "s", 3, "/a", 13) // what is appended is behind what is whole
		folded(torn, "s", 3)
		torn.shows(t, map[string]int64{"/": 11, "/a": 13})
	}
	root := &scan.Known{Mtime: 11, Dirs: []*scan.Known{{Name: "a", Mtime: 12}, {Name: "ab"}}}
	body := encode(header{Format: baseFormat, Identity: identity, Sessions: []string{"s"}}, root)
	for i := range body {
		write(t, path+".log", whole)
		damaged := slices.Clone(body)
		damaged[i] ^= 0x10
		write(t, path, damaged)
		l, err := Open(path, identity, nil)
		if k, loadErr := l.Load(); loadErr != nil || k != nil {
			t.Fatalf("byte %d: %v is known, %v", i, show(k), loadErr)
		}
		l.Close()
		if err != nil && !errors.Is(err, errDamaged) {
			t.Fatalf("byte %d: %v", i, err)
		}
		if again, err := Open(path, identity, nil); err != nil {
			t.Fatalf("byte %d, the second time: %v", i, err)
		} else {
			again.Close()
		}
	}
}

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// BenchmarkMillion is a tree of a million directories, about ten million files: bytes of the files and the times to write
// and to load them.
func BenchmarkMillion(b *testing.B) {
	path := filepath.Join(b.TempDir(), "dirs")
	for b.Loop() {
		l := open(b, path, identity)
		if err := l.Clear(); err != nil {
			b.Fatal(err)
		}
		start := time.Now()
		var projects []string
		for p := range 1000 {
			projects = append(projects, fmt.Sprintf("project-%03d", p))
		}
		list(l, "s", 1, "/", 1, projects...)
		seed := int64(1)
		for p := range 1000 {
			var runs []string
			for r := range 1000 {
				runs = append(runs, fmt.Sprintf("run_%04d", r))
			}
			list(l, "s", 1, "/"+projects[p], 1.7e18+int64(p), runs...)
			for _, r := range runs {
				seed = seed*6364136223846793005 + 1442695040888963407
				list(l, "s", 1, "/"+projects[p]+"/"+r, 1.7e18+seed>>12, nil...)
			}
			if p%100 == 99 {
				folded(l, "s", 1)
			}
		}
		appended := time.Now()
		log := l.size
		if err := l.Compact(); err != nil {
			b.Fatal(err)
		}
		written := time.Now()
		if _, err := l.Load(); err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(appended.Sub(start).Seconds(), "s-log")
		b.ReportMetric(float64(log)/1001001, "B-dir-log")
		b.ReportMetric(written.Sub(appended).Seconds(), "s-compact")
		b.ReportMetric(float64(l.base)/1001001, "B-dir")
		b.ReportMetric(time.Since(written).Seconds(), "s-load")
	}
}
