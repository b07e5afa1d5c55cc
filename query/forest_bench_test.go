package query

import (
	"fmt"
	"net/http"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/testkit/gentree"
)

// BenchmarkForest searches a forest of twenty members for the name of one file (all), and for comparison one member alone (one) and the
// twenty one after the other (each): warm, and cold over a store that takes 20 ms more for every request. -rows are those of each member.
//
//	go test -run '^$' -bench Forest -benchtime 40x ./query -rows 100000
func BenchmarkForest(b *testing.B) {
	f := newFixture(b)
	var members, names []string
	for i := range 20 {
		members = append(members, fmt.Sprintf("nfs%02d", i))
		names = append(names, f.benchMember(b, members[i], uint64(i)))
	}
	f.forest("all", "nfs*")
	warm := benchServer(b, f, f.st, 512<<20)
	for _, what := range []struct {
		name  string
		views func(i int) []string
	}{
		{"one", func(i int) []string { return members[i%20 : i%20+1] }}, {"each", func(int) []string { return members }},
		{"all", func(int) []string { return []string{"all"} }},
	} {
		search := func(h http.Handler, i int) {
			for _, view := range what.views(i) {
				ask(b, h, forestURL(view, names[i%20]), "")
			}
		}
		b.Run("warm/"+what.name, func(b *testing.B) {
			for i := range 20 {
				search(warm, i)
			}
			timed(b, func(i int) { search(warm, i) })
		})
		b.Run("cold/"+what.name, func(b *testing.B) {
			st := delayed(f.st)
			timed(b, func(i int) { search(benchServer(b, f, st, 0), i) })
			b.ReportMetric(float64(st.Counts().Get)/float64(b.N), "GETs")
		})
	}
}

// timed reports how long a question takes.
func timed(b *testing.B, question func(i int)) {
	var took []time.Duration
	for i := 0; b.Loop(); i++ {
		start := time.Now()
		question(i)
		took = append(took, time.Since(start))
	}
	percentiles(b, took)
}

func forestURL(view, pattern string) string {
	return strings.Replace(viewURL("search", "pattern", pattern, "limit", "1000"), testView, view, 1)
}

// benchMember publishes a generated view, and returns the name of one of its files as a glob.
func (f *fixture) benchMember(b *testing.B, view string, seed uint64) (name string) {
	b.Helper()
	tree := gentree.New(gentree.Options{Seed: seed, Rows: *benchRows})
	w := layer.NewWriter(layer.WriterOptions{ID: ulid.Make().String()})
	for r := range tree.Rows() {
		if err := w.Append(r); err != nil {
			b.Fatal(err)
		}
		if r.Type == event.File && (name == "" || w.Rows() == int64(*benchRows)/2) {
			name = path.Base(r.Path())
		}
	}
	built, err := w.Finish()
	if err == nil {
		err = layer.Publish(b.Context(), f.st, view, built)
	}
	if err != nil {
		b.Fatal(err)
	}
	f.commit(view, func(m *manifest.Manifest) { m.Base, m.Totals = []layer.Info{built.Info}, tree.Totals() })
	return "[" + name[:1] + "]" + name[1:]
}
