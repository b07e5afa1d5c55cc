package query

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/testkit/cases"
)

// model answers from all rows of a view, one by one.
type model []evidence.Row

func (m model) below(root string, depth int) (out []string) {
	for _, r := range m {
		level := strings.Count(strings.TrimSuffix(r.Path(), "/"), "/") - strings.Count(strings.TrimSuffix(root, "/"), "/")
		if r.Parent != "" && strings.HasPrefix(r.Parent, strings.TrimSuffix(root, "/")+"/") && level <= depth {
			out = append(out, r.Path())
		}
	}
	return out
}

func (m model) list(dir, order string) []string { return m.listed(dir, order, false, nil) }

// listed is a listing, of the names that are wanted; nil: all.
func (m model) listed(dir, order string, reverse bool, wanted func(name string) bool) (out []string) {
	var rows []evidence.Row
	for _, r := range m {
		if r.Parent == strings.TrimSuffix(dir, "/")+"/" && (wanted == nil || wanted(r.Name)) {
			rows = append(rows, r)
		}
	}
	slices.SortStableFunc(rows, func(a, b evidence.Row) int {
		weight := func(r evidence.Row) int64 {
			directory := r.Type == event.Directory
			switch {
			case order == engine.BySize && directory:
				return r.Sub.Bytes
			case order == engine.BySize:
				return r.Size
			case order == engine.ByFiles && directory:
				return r.Sub.Files
			case order == engine.ByFiles && r.Type == event.File:
				return 1
			case order == engine.ByMtime:
				return r.MtimeNs
			}
			return 0
		}
		return cmp.Compare(weight(b), weight(a))
	})
	if reverse {
		slices.Reverse(rows)
	}
	for _, r := range rows {
		out = append(out, r.Path())
	}
	return out
}

func (m model) search(root string, is func(r evidence.Row) bool) (out []string) {
	for _, r := range m {
		inside := r.Path() == root && root != "/" || r.Parent != "" && strings.HasPrefix(r.Parent, strings.TrimSuffix(root, "/")+"/")
		if inside && is(r) {
			out = append(out, r.Path())
		}
	}
	return out
}

// randomTree is a tree of about n entries with names that sort in surprising ways.
func randomTree(rng *rand.Rand, n int) []evidence.Row {
	names := []string{"a", "a-", "a.log", "a0", "b c", "b\xff", "Ä.LOG", "x\n", "..x", "~", "log", "%2F"}
	dirs := []string{""}
	kinds := []event.Type{event.File, event.File, event.Symlink, event.Other}
	rows := map[string]evidence.Row{}
	for range n {
		parent := dirs[rng.IntN(len(dirs))]
		path := parent + "/" + names[rng.IntN(len(names))] + strings.Repeat("z", rng.IntN(3))
		if _, there := rows[path]; there {
			path += strconv.Itoa(rng.IntN(1000))
		}
		if _, there := rows[path]; there {
			continue
		}
		if rng.IntN(5) == 0 && strings.Count(path, "/") < 7 {
			rows[path] = entry(path, event.Directory, 4096)
			dirs = append(dirs, path)
			continue
		}
		r := entry(path, kinds[rng.IntN(len(kinds))], rng.Int64N(1000))
		r.MtimeNs, r.UID = observed-rng.Int64N(20)*1e9, uint32(1000+rng.IntN(3))
		rows[path] = r
	}
	var all []evidence.Row
	for _, r := range rows {
		all = append(all, r)
	}
	return treeOf(all...)
}

// directoriesOf are some directories of a tree, the root among them.
func directoriesOf(rng *rand.Rand, rows model) []string {
	out := []string{"/"}
	for _, r := range rows {
		if r.Type == event.Directory && rng.IntN(8) == 0 {
			out = append(out, r.Path())
		}
	}
	return out
}

// TestAgainstModel: whatever the layers that a view lies in, its answers are those of its rows one by one, whole and in
// pages, nested and as a stream; removed rows are in none.
func TestAgainstModel(t *testing.T) {
	for seed := range uint64(cases.Of(6)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 7))
			f := newFixture(t)
			f.inLeaves(seed%2 == 1)
			rows := randomTree(rng, 40+rng.IntN(250))
			f.base(testView, rows)
			for range rng.IntN(4) { // deltas that replace, add and remove
				next := randomTree(rng, 40+rng.IntN(250))
				f.delta(testView, change(rows, next))
				rows = next
			}
			m := model(rows)
			for _, dir := range directoriesOf(rng, m) {
				f.checkTree(rng, m, dir)
				f.checkList(rng, m, dir)
				f.checkSearch(rng, m, dir)
				f.checkStats(m, dir)
			}
		})
	}
}

func pathParam(path string, more ...string) []string {
	return append([]string{"path_b64", b64(path)}, more...)
}

func (f *fixture) stream(call string, params []string) (out []string) {
	f.t.Helper()
	for _, n := range f.get(viewURL(call, params...), "Accept", ndjson).is(200).lines() {
		out = append(out, pathOf(f.t, n))
	}
	return out
}

func (f *fixture) checkTree(rng *rand.Rand, m model, dir string) {
	f.t.Helper()
	for depth, params := range map[int][]string{
		1 << 30: nil, rng.IntN(5): nil, 1: {"only_path", "true"}, 0: {"recursive", "false"},
	} {
		want := m.below(dir, depth)
		if depth < 1<<30 && len(params) != 2 || depth == 1 {
			params = append(params, "max_depth", strconv.Itoa(depth))
		}
		params = pathParam(dir, params...)
		whole := f.call("tree", params...).is(200).object()
		if pathOf(f.t, whole) != dir || whole["next_cursor"] != nil {
			f.t.Fatalf("tree %q: %v", params, whole)
		}
		equal(f.t, fmt.Sprintf("tree %q", params), newNodes(f.t, whole), want)
		limited := append(params, "limit", strconv.Itoa(1+rng.IntN(20)))
		equal(f.t, fmt.Sprintf("pages of tree %q", limited), f.pages("tree", limited, func() {}), want)
		equal(f.t, fmt.Sprintf("stream of tree %q", params), f.stream("tree", params), append([]string{dir}, want...))
	}
}

func (f *fixture) checkList(rng *rand.Rand, m model, dir string) {
	f.t.Helper()
	for _, c := range []struct {
		reverse bool
		pattern string
		wanted  func(name string) bool
	}{
		{},
		{reverse: true},
		{pattern: "A", wanted: func(name string) bool { return strings.ContainsAny(name, "aA") }},
		{true, "*[a-f]*", func(name string) bool { return strings.ContainsAny(name, "abcdef") }},
	} {
		for _, order := range []string{engine.ByName, engine.BySize, engine.ByFiles, engine.ByMtime} {
			want := m.listed(dir, order, c.reverse, c.wanted)
			params := pathParam(dir, "sort", order)
			if c.reverse {
				params = append(params, "reverse", "true")
			}
			if c.pattern != "" {
				params = append(params, "pattern", c.pattern)
			}
			equal(f.t, fmt.Sprintf("list %q", params), f.pages("list", params, func() {}), want)
			equal(f.t, fmt.Sprintf("stream of list %q", params), f.stream("list", params), want)
			limited := append(params, "limit", strconv.Itoa(1+rng.IntN(10)))
			equal(f.t, fmt.Sprintf("pages of list %q", limited), f.pages("list", limited, func() {}), want)
		}
	}
}

func (f *fixture) checkSearch(rng *rand.Rand, m model, dir string) {
	f.t.Helper()
	for _, c := range []struct {
		params []string
		is     func(r evidence.Row) bool
	}{
		{[]string{"pattern", "*"}, func(r evidence.Row) bool { return true }},
		{[]string{"query", "LOG"}, func(r evidence.Row) bool { return strings.Contains(strings.ToLower(r.Name), "log") }},
		{[]string{"pattern", "ä"}, func(r evidence.Row) bool { return strings.Contains(r.Name, "Ä") }},
		{[]string{"pattern", "*z", "type", "f"}, func(r evidence.Row) bool { return strings.HasSuffix(r.Name, "z") && r.Type == event.File }},
		{[]string{"pattern", "*", "type", "directory,l"}, func(r evidence.Row) bool { return r.Type == event.Directory || r.Type == event.Symlink }},
		{[]string{"pattern", "*", "min_size", "300", "max_size", "700"}, func(r evidence.Row) bool { return r.Size >= 300 && r.Size <= 700 }},
		{[]string{"pattern", "*", "min_size", "1K"}, func(r evidence.Row) bool { return r.Size >= 1024 }},
		{[]string{"pattern", "*", "owner", "1001"}, func(r evidence.Row) bool { return r.UID == 1001 }},
		{[]string{"pattern", "*", "newer_than", "@1699999990"}, func(r evidence.Row) bool { return r.MtimeNs > 1699999990e9 }},
		{[]string{"pattern", "*", "older_than", "@1699999990", "newer_than", "@1699999985"}, func(r evidence.Row) bool { return r.MtimeNs < 1699999990e9 && r.MtimeNs > 1699999985e9 }},
		{[]string{"pattern", "/a/**"}, func(r evidence.Row) bool { return strings.HasPrefix(r.Parent, "/a/") }},
		{[]string{"pattern", "nothing has this name"}, func(r evidence.Row) bool { return false }},
	} {
		want := m.search(dir, c.is)
		params := pathParam(dir, c.params...)
		equal(f.t, fmt.Sprintf("search %q", params), f.pages("search", params, func() {}), want)
		equal(f.t, fmt.Sprintf("stream of search %q", params), f.stream("search", params), want)
		limited := append(params, "limit", strconv.Itoa(1+rng.IntN(30)))
		equal(f.t, fmt.Sprintf("pages of search %q", limited), f.pages("search", limited, func() {}), want)
	}
}

func (f *fixture) checkStats(m model, dir string) {
	f.t.Helper()
	want := evidence.Totals{LatestMtimeNs: evidence.NoMtime}
	for _, r := range m {
		if r.Path() == dir || strings.HasPrefix(r.Parent, strings.TrimSuffix(dir, "/")+"/") {
			want = want.Plus(r.Own())
		}
	}
	got := f.call("stats", pathParam(dir)...).is(200).object()
	for field, n := range map[string]int64{
		"total_files": want.Files, "total_directories": want.Directories, "total_others": want.Others, "total_size": want.Bytes,
		"item_count": want.Files + want.Directories + want.Others,
	} {
		if got[field] != float64(n) {
			f.t.Fatalf("stats of %q: %s is %v, not %d", dir, field, got[field], n)
		}
	}
	if latest, is := got["latest_mtime_ns"].(float64); is != (want.LatestMtimeNs != evidence.NoMtime) || is && latest != float64(want.LatestMtimeNs) {
		f.t.Fatalf("stats of %q: latest mtime %v, not %d", dir, got["latest_mtime_ns"], want.LatestMtimeNs)
	}
}

// TestHugeDirectory: a directory of many row groups, in every order, in pages.
func TestHugeDirectory(t *testing.T) {
	f := newFixture(t)
	rng := rand.New(rand.NewPCG(1, 1))
	rows := []evidence.Row{entry("/", event.Directory, 0), entry("/d", event.Directory, 0)}
	for i := range 3000 {
		r := file(fmt.Sprintf("/d/%05d", i), rng.Int64N(50))
		r.MtimeNs = observed + rng.Int64N(100)
		rows = append(rows, r)
	}
	f.base(testView, rows)
	m := model(rows)
	for _, order := range []string{engine.ByName, engine.BySize, engine.ByMtime} {
		equal(t, order, f.pages("list", []string{"path", "/d", "sort", order, "limit", "97"}, func() {}), m.list("/d", order))
	}
	equal(t, "stream", f.stream("list", []string{"path", "/d"}), m.list("/d", engine.ByName))
}

// TestMarks: what is doubtful is counted as the newest layer has it.
func TestMarks(t *testing.T) {
	f := newFixture(t)
	until := f.now.UnixNano() + 60e9
	plain := randomTree(rand.New(rand.NewPCG(2, 2)), 200)
	marked := slices.Clone(plain)
	files := 0
	for i := range marked {
		if marked[i].Type == event.File && i%3 == 0 {
			marked[i].SuspectUntil = until
			files++
		}
		if i == len(marked)/2 {
			marked[i].AgentMissing = true
		}
	}
	check := func(what string, blind bool, suspects int) {
		t.Helper()
		got := f.call("stats").is(200).object()
		if got["has_blind_spot"] != blind || got["suspect_file_count"] != float64(suspects) {
			t.Fatalf("%s: blind spot %v, %v suspects; not %v, %d", what, got["has_blind_spot"], got["suspect_file_count"], blind, suspects)
		}
	}
	f.base(testView, plain)
	check("without marks", false, 0)
	f.delta(testView, change(plain, marked))
	check("marks in a delta", true, files)
	f.delta(testView, change(marked, plain))
	check("marks taken back", false, 0)
	f.base(testView, marked)
	check("marks in the base", true, files)
	f.delta(testView, change(marked, plain))
	check("marks in the base, taken back by a delta", false, 0)
	gone := change(plain, treeOf(plain[1]))
	for i := range gone {
		gone[i].AgentMissing = gone[i].Removed && i == len(gone)-1
	}
	f.base(testView, plain)
	f.delta(testView, gone)
	check("a deletion that was found by looking", true, 0)
}

// TestStats: what a manifest says of the view as a whole.
func TestStats(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	f.commit(testView, func(m *manifest.Manifest) {
		m.FoldedAt, m.ObservedAt = observed+1500e6, observed
		m.Scan.Audits, m.Scan.AuditStartedAt, m.Scan.AuditFinishedAt = 7, observed+9, observed+3
		m.Scan.ErrorCount, m.Scan.Errors = 3, []manifest.ScanError{{Path: []byte("/no\xff"), Message: "permission denied", ObservedAt: observed}}
		m.Clock = m.Clock.Add([]evidence.Sample{{ObservedAt: 5e9, MtimeNs: 2e9}})
	})
	got := f.call("stats").is(200).object()
	now := float64(f.now.UnixNano()) / 1e9
	for field, want := range map[string]any{
		"view_id": testView, "path": "/", "version": 2.0, "latency_ms": 1500.0, "audit_cycle_count": 7.0, "is_auditing": true,
		"last_audit_finished_at": 1700000000.000000003, "scan_error_count": 3.0, "oldest_item_path": nil, "folded_at": 1700000001.5,
		"observed_at_ns": 1.7e18, "has_blind_spot": true, "item_count": 19.0,
	} {
		if got[field] != want {
			t.Errorf("%s is %v, not %v", field, got[field], want)
		}
	}
	near := func(field string, want float64) {
		if v := got[field].(float64); v < want-0.01 || v > want+0.01 {
			t.Errorf("%s is %v, not about %v", field, v, want)
		}
	}
	near("staleness_seconds", now-1.7e9)
	near("logical_now", now-3)
	failed := got["scan_errors"].([]any)[0].(map[string]any)
	if failed["path_b64"] != b64("/no\xff") || failed["message"] != "permission denied" {
		t.Errorf("scan errors: %v", failed)
	}
	one := f.call("stats", "path", "/docs/a.log").is(200).object()
	if one["item_count"] != 1.0 || one["total_size"] != 20.0 || one["has_blind_spot"] != false {
		t.Errorf("stats of a file: %v", one)
	}
	f.call("stats", "path", "/nothing").problem(404)
}
