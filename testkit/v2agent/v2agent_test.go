package v2agent

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/v2api"
)

func isFile(d fs.DirEntry) bool { return !d.IsDir() }

// A view that a V2 agent feeds is the tree, after its snapshot, what its kernel tells, and its audits.
func TestRounds(t *testing.T) {
	f, r := newFixture(t, 2), rand.New(rand.NewPCG(1, 2))
	dir := grow(t, r, 400)
	a := f.agent(0, dir, "nfs07:data")
	a.Batch = 37
	if a.Role() != "leader" {
		t.Fatalf("the only session is a %s", a.Role())
	}
	f.must(a.Snapshot(t.Context()))
	m := f.fold()
	if !m.Ready() || m.Scan.SnapshotStartedAt == 0 || m.Scan.SnapshotFinishedAt < m.Scan.SnapshotStartedAt {
		t.Fatalf("after the snapshot: %+v", m.Scan)
	}
	f.equal(dir)
	for path, row := range f.rows() {
		if row.AgentMissing || row.Evidence != event.Snapshot || row.Agent != "nfs07" {
			t.Fatalf("%q is %+v", path, row)
		}
	}

	// What the kernel tells, through whichever ingest.
	for n := range 50 {
		a.URL = f.urls[n%2]
		path := pick(t, r, dir, isFile)
		switch r.IntN(4) {
		case 0:
			f.must(os.Remove(dir + path))
			f.must(a.Changed(t.Context(), false, path, filepath.Dir(path)))
		case 1:
			write(t, dir+path, 2000+n)
			f.must(a.Changed(t.Context(), false, path))
		case 2:
			write(t, dir+path+"-new", n)
			f.must(a.Changed(t.Context(), true, path+"-new"))
			f.must(a.Changed(t.Context(), false, path+"-new", filepath.Dir(path)))
		case 3:
			from := pick(t, r, dir, fs.DirEntry.IsDir)
			to := "/renamed-" + filepath.Base(path)
			f.must(os.Rename(dir+from, dir+to))
			f.must(a.Renamed(t.Context(), from, to))
			f.must(a.Changed(t.Context(), false, filepath.Dir(from), "/"))
		}
	}
	f.equal(dir)

	// What nobody told: an audit finds it, and marks it as blind spots; the next has nothing new.
	gone, changed := pick(t, r, dir, isFile), ""
	for changed == "" || changed == gone {
		changed = pick(t, r, dir, isFile)
	}
	f.must(os.Remove(dir + gone))
	write(t, dir+changed, 4711)
	f.must(os.MkdirAll(dir+"/blind/empty", 0o755))
	write(t, dir+"/blind/file", 9)
	whole := pick(t, r, dir, fs.DirEntry.IsDir)
	for strings.HasPrefix(whole, "/blind") || strings.HasPrefix(changed, whole+"/") {
		whole = pick(t, r, dir, fs.DirEntry.IsDir)
	}
	f.must(os.RemoveAll(dir + whole))
	f.must(a.Audit(t.Context()))
	f.equal(dir)
	rows := f.rows()
	if !rows["/blind/file"].AgentMissing || !rows[changed].AgentMissing || rows["/blind/file"].Evidence != event.Audit {
		t.Errorf("what nobody told of: %+v, %+v", rows["/blind/file"], rows[changed])
	}
	m = f.fold()
	if m.Scan.Audits != 1 || m.Scan.AuditFinishedAt < m.Scan.AuditStartedAt {
		t.Errorf("after one audit: %+v", m.Scan)
	}
	// The second audit skips what has not changed, which keeps its files.
	write(t, dir+"/blind/late", 1)
	f.must(a.Audit(t.Context()))
	f.equal(dir)
	if m = f.fold(); m.Scan.Audits != 2 {
		t.Errorf("after two audits: %+v", m.Scan)
	}
	f.nothingStaged()
}

// What an audit that never ends has staged goes once its session is over.
func TestAbandonedAudit(t *testing.T) {
	f := newFixture(t, 1)
	dir := t.TempDir()
	a := f.agent(0, dir, "a:p")
	f.must(a.Snapshot(t.Context()))
	root, err := a.Row("/")
	f.must(err)
	f.must(a.send(t.Context(), v2api.Audit, []any{Event(v2api.Update, "audit", root)}, false, nil, nil))
	f.fold()
	c, err := compactor.New(compactor.Options{Store: f.store, Grace: 1})
	f.must(err)
	staged := func() (keys []string) {
		t.Helper()
		_, err := c.Retain(t.Context(), view)
		f.must(err)
		page, err := f.store.List(t.Context(), layout.AllStaging(view), "", 0)
		f.must(err)
		for _, item := range page.Items {
			keys = append(keys, item.Key)
		}
		return keys
	}
	if keys := staged(); len(keys) != 2 {
		t.Fatalf("while the session lives there is %q", keys)
	}
	f.must(a.Close(t.Context()))
	f.agent(0, dir, "b:p") // notes that the other is over
	if keys := staged(); len(keys) != 0 {
		t.Errorf("afterwards there is %q", keys)
	}
}

// nothingStaged: what was staged of audits that are over is gone.
func (f *fixture) nothingStaged() {
	f.Helper()
	page, err := f.store.List(f.Context(), "views/"+view+"/staging/", "", 0)
	f.must(err)
	for _, item := range page.Items {
		if !strings.HasSuffix(item.Key, "/audit.json") {
			f.Errorf("%s is left", item.Key)
		}
	}
}

// V2's rule: an audit removes what it did not see in a directory that it reported, unless the kernel told of it since the audit began.
func TestAuditDeletes(t *testing.T) {
	f := newFixture(t, 1)
	dir := t.TempDir()
	for _, d := range []string{"/seen", "/skipped", "/unreported", "/told"} {
		f.must(os.Mkdir(dir+d, 0o755))
		write(t, dir+d+"/old", 1)
		past := time.Now().Add(-time.Hour)
		f.must(os.Chtimes(dir+d+"/old", past, past))
	}
	a := f.agent(0, dir, "a:p")
	f.must(a.Snapshot(t.Context()))
	f.equal(dir)
	row := func(path string) v2api.Row {
		r, err := a.Row(path)
		f.must(err)
		return r
	}
	for _, changed := range []string{"", "/seen", "/told"} { // a directory that lost something shows it
		f.must(os.Chtimes(dir+changed, time.Now(), time.Now()))
	}
	skipped := row("/skipped")
	skipped.AuditSkipped = v2api.Of(true)
	send := func(end bool, rows ...v2api.Row) {
		f.must(a.send(t.Context(), v2api.Audit, []any{Event(v2api.Update, "audit", rows...)}, end, nil, nil))
	}
	send(false, row("/told"), row("/"))
	write(t, dir+"/told/new", 3)
	f.must(a.Changed(t.Context(), false, "/told/new"))
	f.must(a.Changed(t.Context(), false, "/told/gone")) // it was never there
	send(false, skipped, v2api.Row{Path: "/told/gone", Size: v2api.Whole(1), Modified: v2api.Seconds(1e18), IsDirectory: v2api.Of(false)})
	send(true, row("/seen"))
	rows := f.rows()
	for path, want := range map[string]bool{"/seen": true, "/seen/old": false, "/skipped": true, "/skipped/old": true, "/unreported": false, "/told": true,
		"/told/old": false, "/told/new": true, "/told/gone": false} {
		if _, have := rows[path]; have != want {
			t.Errorf("%s is there: %v", path, have)
		}
	}
}

// Rows of a session that does not lead are no evidence, and an audit that lost some removes nothing.
func TestFollowersRows(t *testing.T) {
	f := newFixture(t, 3)
	dir := grow(t, rand.New(rand.NewPCG(3, 4)), 50)
	leader := f.agent(0, dir, "a:p")
	f.must(leader.Snapshot(t.Context()))
	follower := f.agent(0, t.TempDir(), "b:p") // sees an empty tree
	if follower.Role() != "follower" {
		t.Fatalf("the second session is a %s", follower.Role())
	}
	f.must(follower.Snapshot(t.Context()))
	f.must(follower.Audit(t.Context()))
	f.equal(dir)
	write(t, dir+"/told", 1)
	follower.Dir = dir
	f.must(follower.Changed(t.Context(), false, "/told", "/"))
	f.equal(dir)

	// The leader loses its lease in the middle of its audit, and is leader again before it ends.
	send := func(end bool, rows ...v2api.Row) {
		f.must(leader.send(t.Context(), v2api.Audit, []any{Event(v2api.Update, "audit", rows...)}, end, nil, nil))
	}
	root, err := leader.Row("/")
	f.must(err)
	send(false, root)
	f.lead("")
	leader.URL = f.urls[1] // which does not remember who led
	send(false, v2api.Row{Path: "/x", Size: v2api.Whole(1), Modified: v2api.Seconds(1)})
	f.lead(leader.Session())
	leader.URL = f.urls[2]
	send(true)
	f.equal(dir)
	f.nothingStaged()
}
