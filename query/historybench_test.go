package query

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store/local"
)

var benchHistory = flag.String("history", "", "directory of a store whose view \"v\" has a history, as FUSTOR_BENCH_KEEP=DIR go test -bench KeptVersions ./compactor leaves it")

// BenchmarkHistory asks about the past of a view: the same questions of the newest version and of earlier ones; the diffs of days that
// follow each other; logs and trends over all versions that are kept. A new server is asked each, and asked again.
func BenchmarkHistory(b *testing.B) {
	if *benchHistory == "" {
		b.Skip("there is no -history")
	}
	st, err := local.Open(*benchHistory)
	if err != nil {
		b.Fatal(err)
	}
	const view = "v"
	f := serve(b, st)
	ctx := context.Background()
	head, _, err := manifest.Load(ctx, st, view)
	if err != nil {
		b.Fatal(err)
	}
	kept, _, err := manifest.History(ctx, st, head, 1, 10_000)
	if err != nil {
		b.Fatal(err)
	}
	b.Logf("%d rows, %d versions, from %s to %s", head.Rows(), len(kept), kept[0].At, kept[len(kept)-1].At)
	first, err := manifest.NewLeaves(0, 0).LoadKey(ctx, st, view, kept[0].Key)
	if err != nil {
		b.Fatal(err)
	}
	file, dir := benchPaths(b, f, first)
	l := &benchLayers{fixture: f, b: b}
	run := func(name, accept string, target string) {
		b.Run(name, func(b *testing.B) {
			l.b = b
			target := strings.Replace(target, "/"+testView+"/", "/"+view+"/", 1)
			var all []measured
			for b.Loop() {
				all = append(all, l.ask(target, accept, 1<<30))
			}
			slices.SortFunc(all, func(x, y measured) int { return int(x.coldTook - y.coldTook) })
			all[len(all)/2].report(b)
			reads, _ := roundsOf(b, f, target, accept)
			b.ReportMetric(float64(reads), "rounds")
		})
	}
	for _, then := range []string{"newest", "day", "month", "oldest"} {
		at := map[string]time.Time{"day": kept[len(kept)-1].At.AddDate(0, 0, -1), "month": kept[len(kept)-1].At.AddDate(0, 0, -30), "oldest": kept[0].At.Add(time.Second)}[then]
		url := func(call string, params ...string) string {
			if !at.IsZero() {
				params = append(params, "as_of", at.UTC().Format(time.RFC3339Nano))
			}
			return viewURL(call, params...)
		}
		run("stat/"+then, "", url("metadata", "path", file))
		run("list/"+then, "", url("list", "path", dir))
		run("du/"+then, "", url("metadata", "path", dir))
		run("search/"+then, "", url("search", "name", file[strings.LastIndexByte(file, '/')+1:]))
	}
	for _, back := range []int{2, 30, len(kept) - 1} {
		if back >= len(kept) {
			continue
		}
		from, to := kept[len(kept)-1-back], kept[len(kept)-back]
		run(fmt.Sprintf("diff/%d-days-back", back), ndjson, viewURL("diff", "from", number(from.Version), "to", number(to.Version)))
	}
	for name, path := range map[string]string{"file": file, "directory": dir, "root": "/"} {
		run(fmt.Sprintf("log/%s/%d", name, len(kept)), "", viewURL("log", "path", path, "limit", "1000"))
		run(fmt.Sprintf("trend/%s/%d", name, len(kept)), "", viewURL("reports/trend", "path", path, "limit", "1000"))
	}
}

// benchPaths are a file and a directory of some files about the middle of a version.
func benchPaths(b *testing.B, f *fixture, m *manifest.Manifest) (file, dir string) {
	v, err := layer.OpenView(f.st, m.View, m.Base, m.Deltas, layer.NewCache(64<<20))
	if err != nil {
		b.Fatal(err)
	}
	c := v.Cursor(context.Background())
	var r evidence.Row
	files := 0
	for ok := c.Seek(m.Base[len(m.Base)/2].First); ok; ok = c.Next() {
		if err := c.Row(&r); err != nil {
			b.Fatal(err)
		}
		switch {
		case r.Parent != dir:
			dir, files = strings.Clone(r.Parent), 0
		case r.Type == event.File:
			if files++; files == 20 {
				return strings.Clone(r.Path()), strings.TrimSuffix(dir, "/")
			}
		}
	}
	b.Fatal("no directory of twenty files")
	return
}
