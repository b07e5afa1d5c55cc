package query

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/gentree"
)

// BenchmarkFeed counts what a version costs a feed that is at the version before it: of a view of generated rows, in which one file or a
// hundred have changed, in one directory after the other or all over the view; the first time, when the earlier rows of the files must be
// read, and once they are in memory; and for a version that a merge made.
func BenchmarkFeed(b *testing.B) {
	f := newFixture(b)
	tree := gentree.New(gentree.Options{Seed: 1, Rows: *benchRows})
	d := &benchLayers{fixture: f, b: b}
	d.writeBase(tree, nil)
	f.commit(testView, func(m *manifest.Manifest) { m.Base, m.Totals = d.base, tree.Totals() })
	counted := store.Count(f.st)
	s, err := New(Options{Store: counted, Authenticator: f.server.keys, CacheBytes: 256 << 20})
	if err != nil {
		b.Fatal(err)
	}
	cursor := ""
	poll := func() (lines int) {
		s.Invalidate(testView) // the next look at the head asks the store, as one that is due does
		target := viewURL("changes")
		if cursor != "" {
			target = viewURL("changes", "after", cursor)
		}
		req := httptest.NewRequest(http.MethodGet, target, nil)
		req.Header.Set("X-API-Key", queryKey)
		rec := httptest.NewRecorder()
		s.Handler().ServeHTTP(rec, req)
		all := strings.Split(strings.TrimSpace(rec.Body.String()), "\n")
		_, after, ok := strings.Cut(all[len(all)-1], `"cursor":"`)
		if rec.Code != http.StatusOK || !ok {
			b.Fatal(rec.Code, rec.Body)
		}
		cursor, _, _ = strings.Cut(after, `"`)
		return len(all) - 2 // the first says where it begins, the last where it ends
	}
	version := func(b *testing.B, changes int, publish func()) {
		for b.Loop() {
			publish()
			before := counted.Counts()
			if n := poll(); n != changes && changes > 0 {
				b.Fatalf("%d changes, not %d", n, changes)
			}
			reads := counted.Counts().Sub(before)
			b.ReportMetric(float64(reads.Get), "gets")
			b.ReportMetric(float64(reads.List), "lists")
			b.ReportMetric(float64(reads.BytesIn)/1024, "KiB")
		}
		b.ReportMetric(0, "ns/op")
	}
	poll()
	var deltas []layer.Info
	round := int64(0)
	change := func(rows []evidence.Row) {
		round++
		w := d.deltaWriter()
		for _, r := range rows {
			r.Size += round
			if err := w.Append(&r); err != nil {
				b.Fatal(err)
			}
		}
		deltas = append([]layer.Info{d.publish(w)}, deltas[:min(len(deltas), 7)]...)
		f.commit(testView, func(m *manifest.Manifest) { m.Deltas, m.Reason = deltas, "fold" })
	}
	for _, c := range []struct {
		name  string
		files int
		from  int // file of the view
		every int // file
	}{{"one", 1, *benchRows / 3, 1}, {"together", 100, *benchRows / 2, 1}, {"scattered", 100, 0, *benchRows / 200}} {
		var rows []evidence.Row
		i := 0
		for r := range tree.Rows() {
			if r.Type != event.File || len(rows) == c.files {
				continue
			}
			if i++; i > c.from && i%c.every == 0 {
				rows = append(rows, *r)
			}
		}
		for _, memory := range []string{"first", "again"} {
			b.Run(c.name+"/"+memory, func(b *testing.B) { version(b, len(rows), func() { change(rows) }) })
		}
	}
	b.Run("merge", func(b *testing.B) {
		version(b, 0, func() { f.commit(testView, func(m *manifest.Manifest) { m.Reason = "merge" }) })
	})
	b.Run("none", func(b *testing.B) { version(b, 0, func() {}) })
}
