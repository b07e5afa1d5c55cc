package v2agent

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math/rand/v2"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/ingest"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/testkit/logs"
)

const (
	view = "research"
	key  = "fustor_key-of-a-v2-agent"
)

// fixture is a store with some ingests on it, over real HTTP, and a compactor that folds when it is told to.
type fixture struct {
	testing.TB
	store   store.Store
	dir     string // of the store
	urls    []string
	log     *logs.Buffer
	compact *compactor.Compactor
}

func newFixture(t testing.TB, ingests int) *fixture {
	t.Helper()
	f := &fixture{TB: t, dir: t.TempDir(), log: &logs.Buffer{}}
	var err error
	if f.store, err = local.Open(f.dir); err != nil {
		t.Fatal(err)
	}
	for range ingests {
		f.urls = append(f.urls, f.ingest(f.store))
	}
	if f.compact, err = compactor.New(compactor.Options{Store: f.store}); err != nil {
		t.Fatal(err)
	}
	return f
}

// ingest starts an ingest on a store and returns its URL.
func (f *fixture) ingest(s store.Store) string {
	f.Helper()
	keys, err := access.New(access.Options{Static: []access.Static{{Key: key, Record: access.Record{Name: "test", Roles: []access.Role{access.Admin},
		Views: access.Views{Names: []string{view}}}}}})
	if err != nil {
		f.Fatal(err)
	}
	i, err := ingest.New(ingest.Options{Store: s, Authenticator: keys, Logger: slog.New(slog.NewTextHandler(f.log, nil))})
	if err != nil {
		f.Fatal(err)
	}
	server := httptest.NewServer(i.Handler())
	f.Cleanup(server.Close)
	return server.URL
}

// agent is an agent on a tree, with a session through the n-th ingest.
func (f *fixture) agent(n int, dir, task string) *Agent {
	f.Helper()
	a := &Agent{URL: f.urls[n], Key: key, Task: task, Dir: dir, Patience: 5 * time.Second}
	if _, err := a.Create(f.Context()); err != nil {
		f.Fatal(err)
	}
	return a
}

// must fails the test where a step failed.
func (f *fixture) must(err error) {
	f.Helper()
	if err != nil {
		f.Fatal(err)
	}
}

// fold folds everything there is.
func (f *fixture) fold() *manifest.Manifest {
	f.Helper()
	for {
		n, err := f.compact.Fold(context.Background(), view)
		f.must(err)
		if n == 0 {
			break
		}
	}
	m, _, err := manifest.Load(f.Context(), f.store, view)
	f.must(err)
	return m
}

// rows are the view's rows that are not tombstones, by path.
func (f *fixture) rows() map[string]evidence.Row {
	f.Helper()
	m := f.fold()
	v, err := layer.OpenView(f.store, view, m.Base, m.Deltas, layer.NewCache(1<<20))
	f.must(err)
	rows, c := map[string]evidence.Row{}, v.Cursor(f.Context())
	for ok := c.Seek(layer.Key{}); ok; ok = c.Next() {
		var r evidence.Row
		f.must(c.Row(&r))
		if !r.Removed {
			rows[r.Path()] = r
		}
	}
	f.must(c.Err())
	return rows
}

// thing is what must be the same in the tree and in the view. Times are floats of seconds on V2's wire: a microsecond is the same.
type thing struct {
	directory     bool
	size, mtimeNs int64
}

func (a thing) same(b thing) bool {
	return a.directory == b.directory && a.size == b.size && max(a.mtimeNs, b.mtimeNs)-min(a.mtimeNs, b.mtimeNs) < 1000
}

// equal holds the view against the tree.
func (f *fixture) equal(dir string) {
	f.Helper()
	want := map[string]thing{}
	f.must(filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		below := strings.TrimPrefix(path, dir)
		if below == "" {
			below = "/"
		}
		want[below] = thing{d.IsDir(), info.Size(), info.ModTime().UnixNano()}
		return err
	}))
	have := map[string]thing{}
	for path, r := range f.rows() {
		have[path] = thing{r.Type == event.Directory, r.Size, r.MtimeNs}
	}
	var wrong []string
	for path, w := range want {
		if h, found := have[path]; !found {
			wrong = append(wrong, fmt.Sprintf("%q is missing", path))
		} else if !w.same(h) {
			wrong = append(wrong, fmt.Sprintf("%q is %+v in the tree, %+v in the view", path, w, h))
		}
	}
	for path := range have {
		if _, found := want[path]; !found {
			wrong = append(wrong, fmt.Sprintf("%q is only in the view", path))
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		f.Fatalf("the tree has %d paths, the view %d:\n%s", len(want), len(have), strings.Join(wrong[:min(20, len(wrong))], "\n"))
	}
}

// grow makes a tree of some directories and files, names that are not UTF-8 among them.
func grow(t testing.TB, r *rand.Rand, paths int) string {
	t.Helper()
	dir := t.TempDir()
	dirs := []string{""}
	for i := range paths {
		parent := dirs[r.IntN(len(dirs))]
		name := fmt.Sprintf("%s/%c-%d", parent, 'a'+rune(r.IntN(26)), i)
		if r.IntN(10) == 0 {
			name += "\xff\xfe"
		}
		if r.IntN(5) == 0 {
			if err := os.Mkdir(dir+name, 0o755); err != nil {
				t.Fatal(err)
			}
			dirs = append(dirs, name)
			continue
		}
		write(t, dir+name, r.IntN(1000))
	}
	return dir
}

func write(t testing.TB, path string, size int) {
	t.Helper()
	if err := os.WriteFile(path, make([]byte, size), 0o644); err != nil {
		t.Fatal(err)
	}
}

// pick is one of a tree's paths that f takes.
func pick(t testing.TB, r *rand.Rand, dir string, f func(fs.DirEntry) bool) string {
	t.Helper()
	all := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != dir && f(d) {
			all[strings.TrimPrefix(path, dir)] = true
		}
		return err
	})
	if err != nil || len(all) == 0 {
		t.Fatal("nothing to pick from", err)
	}
	sorted := slices.Sorted(maps.Keys(all))
	return sorted[r.IntN(len(sorted))]
}

// lead gives the view's lease to a session, or takes it from all, with a new term.
func (f *fixture) lead(id string) {
	f.Helper()
	o, err := f.store.Get(f.Context(), layout.Lease(view))
	f.must(err)
	var l session.Lease
	f.must(json.Unmarshal(o.Body, &l))
	l.Term, l.Session, l.Nonce, l.TTLSeconds = l.Term+1, id, fmt.Sprint(l.Term+1), 45
	body, err := json.Marshal(l)
	f.must(err)
	_, err = f.store.Replace(f.Context(), layout.Lease(view), body, o.ETag)
	f.must(err)
}
