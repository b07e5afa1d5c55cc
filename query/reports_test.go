package query

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/report"
	"github.com/fustor/fustor/testkit/cases"
)

// below are the rows below a directory.
func (m model) rowsBelow(dir string) (out model) {
	for _, r := range m {
		if r.Parent != "" && strings.HasPrefix(r.Parent, strings.TrimSuffix(dir, "/")+"/") {
			out = append(out, r)
		}
	}
	return out
}

// TestReportsAgainstModel: whatever the layers that a view lies in, its reports are what its rows, one by one, say.
func TestReportsAgainstModel(t *testing.T) {
	for seed := range uint64(cases.Of(6)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 11))
			f := newFixture(t)
			f.inLeaves(seed%2 == 1)
			rows := randomReportTree(rng)
			first := f.base(testView, rows)
			old := model(rows)
			for range rng.IntN(4) {
				next := randomReportTree(rng)
				f.delta(testView, change(rows, next))
				rows = next
			}
			m := model(rows)
			for _, dir := range directoriesOf(rng, m) {
				f.checkLargest(rng, m, dir)
				f.checkUsage(m, dir)
				f.checkHistograms(m, dir)
				f.checkEmpty(rng, m, dir)
				f.checkDuplicates(m, dir)
				f.checkLinksOnce(m, dir)
				f.checkGrowth(rng, old, m, dir, first)
				f.checkFiltered(rng, old, m, dir, first)
			}
		})
	}
}

// randomReportTree has equal sizes and names in several places, and times far apart.
func randomReportTree(rng *rand.Rand) []evidence.Row {
	rows := randomTree(rng, 40+rng.IntN(250))
	var leaves []evidence.Row
	for _, r := range rows {
		if r.Type == event.Directory && r.Sub.Directories > 1 {
			continue
		}
		if r.Type == event.File {
			r.Size = []int64{0, 1, 1023, 1024, 5 << 20, 5 << 20, 1 << 40}[rng.IntN(7)]
			r.MtimeNs = observed - []int64{-5, 0, 86_399, 86_400, 40 * 86_400, 4000 * 86_400}[rng.IntN(6)]*1e9
			r.AtimeDay = int32(observed/86_400e9) - int32(rng.IntN(3)*50) + 1
			r.GID = uint32(rng.IntN(2))
			if rng.IntN(3) == 0 {
				id := 1 + rng.IntN(5)
				r.Inode = event.Inode{Links: 2, ID: uint64(id), Allocated: int64(id) * 4096}
			}
		}
		leaves = append(leaves, r)
	}
	return treeOf(leaves...)
}

// entries are an answer's, and those of its stream, which must be the same.
func (f *fixture) entries(call string, params ...string) (list []map[string]any, whole map[string]any) {
	f.t.Helper()
	whole = f.call(call, params...).is(http.StatusOK).object()
	for _, e := range whole["entries"].([]any) {
		list = append(list, e.(map[string]any))
	}
	streamed := f.get(viewURL(call, params...), "Accept", ndjson).is(http.StatusOK).lines()
	if a, b := jsonOf(list), jsonOf(streamed); a != b && len(streamed) == len(list) {
		f.t.Fatalf("%s: streamed\n%s\nnot\n%s", call, b, a)
	}
	return list, whole
}

func jsonOf(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func (f *fixture) checkLargest(rng *rand.Rand, m model, dir string, filter ...string) {
	f.t.Helper()
	for _, kind := range []event.Type{event.File, event.Directory} {
		rows := slices.DeleteFunc(m.rowsBelow(dir), func(r evidence.Row) bool { return r.Type != kind })
		slices.SortStableFunc(rows, func(a, b evidence.Row) int { return cmp.Compare(sizeOf(&b), sizeOf(&a)) })
		n := 1 + rng.IntN(20)
		var want, got []string
		for _, r := range rows[:min(n, len(rows))] {
			want = append(want, r.Path())
		}
		list, _ := f.entries("reports/largest", pathParam(dir, append(filter, "type", kind.String(), "limit", strconv.Itoa(n))...)...)
		for _, e := range list {
			got = append(got, pathOf(f.t, e))
		}
		equal(f.t, "largest "+kind.String()+" in "+dir, got, want)
	}
}

func (f *fixture) checkUsage(m model, dir string, filter ...string) {
	f.t.Helper()
	for by, of := range map[string]func(r evidence.Row) any{
		"owner":     func(r evidence.Row) any { return float64(r.UID) },
		"group":     func(r evidence.Row) any { return float64(r.GID) },
		"extension": func(r evidence.Row) any { return extensionOf(r.Name) },
	} {
		want := map[any]evidence.Totals{}
		for _, r := range m.rowsBelow(dir) {
			if by == "extension" && r.Type != event.File {
				continue
			}
			sum, ok := want[of(r)]
			if !ok {
				sum.LatestMtimeNs = evidence.NoMtime
			}
			want[of(r)] = sum.Plus(r.Own())
		}
		list, _ := f.entries("reports/usage", pathParam(dir, append(filter, "by", by)...)...)
		last := int64(1 << 62)
		for _, e := range list {
			key := map[string]any{"owner": e["uid"], "group": e["gid"], "extension": e["extension"]}[by]
			sum, ok := want[key]
			delete(want, key)
			got := jsonOf(e["totals"])
			var w any
			_ = json.Unmarshal(appendTotals(nil, sum), &w)
			if !ok || got != jsonOf(w) || sum.Bytes > last {
				f.t.Fatalf("usage by %s in %s: %v has %s, not %s", by, dir, key, got, jsonOf(w))
			}
			last = sum.Bytes
		}
		if len(want) > 0 {
			f.t.Fatalf("usage by %s in %s lacks %v", by, dir, want)
		}
	}
}

func (f *fixture) checkHistograms(m model, dir string, filter ...string) {
	f.t.Helper()
	now := f.last[testView].ObservedAt
	for of, value := range map[string]func(r evidence.Row) float64{
		"size":  func(r evidence.Row) float64 { return float64(r.Size) },
		"mtime": func(r evidence.Row) float64 { return float64(now-r.MtimeNs) / 1e9 },
		"atime": func(r evidence.Row) float64 { return float64(now/1e9 - int64(r.AtimeDay)*86_400) },
	} {
		list, _ := f.entries("reports/histogram", pathParam(dir, append(filter, "of", of)...)...)
		files := 0.0
		for _, e := range list {
			from, isFrom := e["from"].(float64)
			to, isTo := e["to"].(float64)
			n, bytes := 0.0, 0.0
			for _, r := range m.rowsBelow(dir) {
				v := value(r)
				if r.Type == event.File && (!isFrom || v >= from) && (!isTo || v < to) {
					n, bytes = n+1, bytes+float64(r.Size)
				}
			}
			if e["files"] != n || e["bytes"] != bytes {
				f.t.Fatalf("%s in %s: %v, not %v files with %v bytes", of, dir, e, n, bytes)
			}
			files += n
		}
		if all := slices.DeleteFunc(m.rowsBelow(dir), func(r evidence.Row) bool { return r.Type != event.File }); files != float64(len(all)) {
			f.t.Fatalf("%s in %s: %v files of %d", of, dir, files, len(all))
		}
	}
}

func (f *fixture) checkEmpty(rng *rand.Rand, m model, dir string) {
	f.t.Helper()
	var want, got []string
	for _, r := range m.rowsBelow(dir) {
		if r.Type == event.Directory && len(m.list(r.Path(), engine.ByName)) == 0 {
			want = append(want, r.Path())
		}
	}
	equal(f.t, "empty in "+dir, f.stream("reports/empty-directories", pathParam(dir)), want)
	params := pathParam(dir, "limit", strconv.Itoa(1+rng.IntN(5)))
	for cursor := []string(nil); ; {
		a := f.call("reports/empty-directories", append(slices.Clone(params), cursor...)...).is(http.StatusOK).object()
		got = append(got, paths(f.t, a["entries"].([]any))...)
		next, more := a["next_cursor"].(string)
		if !more {
			break
		}
		cursor = []string{"cursor", next}
	}
	equal(f.t, "pages of empty in "+dir, got, want)
}

func (f *fixture) checkDuplicates(m model, dir string, filter ...string) {
	f.t.Helper()
	groups, linked := map[string][]string{}, map[string]bool{}
	for _, r := range m.rowsBelow(dir) {
		if r.Type == event.File && r.Size >= 1024 {
			key := fmt.Sprint(r.Size, r.Name)
			if of := fmt.Sprint(key, r.Inode.ID); r.Inode.ID != 0 { // one file counts once
				if linked[of] {
					continue
				}
				linked[of] = true
			}
			groups[key] = append(groups[key], r.Path())
		}
	}
	list, _ := f.entries("reports/duplicates", pathParam(dir, append(filter, "min_size", "1K", "limit", "1000")...)...)
	last := float64(1 << 62)
	for _, e := range list {
		var shown []string
		for _, p := range e["paths"].([]any) {
			shown = append(shown, pathOf(f.t, p.(map[string]any)))
		}
		size := int64(e["size"].(float64))
		key := fmt.Sprint(size, shown[0][strings.LastIndexByte(shown[0], '/')+1:])
		want := groups[key]
		delete(groups, key)
		if e["count"] != float64(len(want)) || e["wasted"] != float64(size)*float64(len(want)-1) || e["wasted"].(float64) > last {
			f.t.Fatalf("duplicates in %s: %v, not %q", dir, e, want)
		}
		equal(f.t, "paths", shown, want[:min(len(want), report.MaxPaths)])
		last = e["wasted"].(float64)
	}
	for key, paths := range groups {
		if len(paths) > 1 {
			f.t.Fatalf("duplicates in %s lack %s: %q", dir, key, paths)
		}
	}
}

// checkLinksOnce: what a directory has allocated counts each file once, wherever below it its names are.
func (f *fixture) checkLinksOnce(m model, dir string) {
	f.t.Helper()
	var want int64
	counted := map[uint64]bool{}
	for _, r := range append(m.rowsBelow(dir), m[slices.IndexFunc(m, func(r evidence.Row) bool { return r.Path() == dir })]) {
		if r.Type == event.Directory || r.Links < 2 || !counted[r.Inode.ID] {
			own := r.Own()
			want += own.Allocated
			counted[r.Inode.ID] = r.Type != event.Directory && r.Links > 1
		}
	}
	sums := f.call("metadata", pathParam(dir, "links_once", "true")...).is(http.StatusOK).object()["subtree"].(map[string]any)
	if sums["allocated"] != float64(want) {
		f.t.Fatalf("%s has %v allocated, not %d", dir, sums["allocated"], want)
	}
}

// TestOdd: each oddity is found by itself, with its word, and nothing else is.
func TestOdd(t *testing.T) {
	f := newFixture(t)
	with := func(path string, change func(*evidence.Row)) evidence.Row {
		r := file(path, 1)
		change(&r)
		return r
	}
	mtime := func(path string, ns int64) evidence.Row {
		return with(path, func(r *evidence.Row) { r.MtimeNs, r.ObservedAt = ns, observed })
	}
	const day = 86_400e9
	rows := []evidence.Row{
		mtime("/times/future", observed+day+1), mtime("/times/tomorrow", observed+day), mtime("/times/1969", -1), mtime("/times/1970", 0),
		mtime("/times/30828", math.MaxInt64), mtime("/times/1601", math.MinInt64),
		with("/size/huge", func(r *evidence.Row) { r.Size = math.MaxInt64 }), with("/size/large", func(r *evidence.Row) { r.Size = math.MaxInt64 - 1 }),
		file("/names/bad\xff", 1), file("/names/tab\t.x", 1), file("/names/c1\u0085x", 1), file("/names/ first", 1), file("/names/last ", 1),
		file("/names/nbsp\u00a0", 1), file("/names/a b é", 1), file("/names/both\n", 1),
	}
	f.base(testView, treeOf(rows...))
	want := map[string]string{
		"/times/future": "mtime-in-future", "/times/1969": "mtime-before-1970", "/times/30828": "mtime-out-of-range", "/times/1601": "mtime-out-of-range",
		"/size/huge": "size-out-of-range", "/names/bad\xff": "name-not-utf8", "/names/tab\t.x": "name-control-character",
		"/names/c1\u0085x": "name-control-character", "/names/ first": "name-blank-at-end", "/names/last ": "name-blank-at-end",
		"/names/nbsp\u00a0": "name-blank-at-end", "/names/both\n": "name-control-character name-blank-at-end",
	}
	list, _ := f.entries("reports/odd")
	for _, e := range list {
		path := pathOf(t, e)
		if got := strings.Trim(fmt.Sprint(e["oddities"]), "[]"); got != want[path] {
			t.Errorf("%q: %q, not %q", path, got, want[path])
		}
		delete(want, path)
	}
	if len(want) > 0 {
		t.Errorf("not found: %q", want)
	}
	if list, _ := f.entries("reports/odd", "path", "/times", "name", "1*"); len(list) != 2 {
		t.Errorf("with a filter: %v", list)
	}
	var pages []string
	for cursor := []string{"limit", "5"}; ; {
		a := f.call("reports/odd", cursor...).is(http.StatusOK).object()
		pages = append(pages, paths(t, a["entries"].([]any))...)
		next, more := a["next_cursor"].(string)
		if !more {
			break
		}
		cursor = []string{"limit", "5", "cursor", next}
	}
	if len(pages) != len(list) {
		t.Errorf("%d on pages, %d at once", len(pages), len(list))
	}
}

// reportFilters are filters as parameters, and as the model has them.
var reportFilters = []struct {
	params []string
	is     func(r evidence.Row) bool
}{
	{[]string{"owner", "1001", "older_than", "@" + strconv.FormatInt(observed/1e9-3600, 10)}, func(r evidence.Row) bool {
		return r.UID == 1001 && r.MtimeNs < observed/1e9*1e9-3600e9
	}},
	{[]string{"name", "*a*", "name", "*.log", "not_name", "*z"}, func(r evidence.Row) bool {
		return (strings.Contains(r.Name, "a") || strings.HasSuffix(r.Name, ".log")) && !strings.HasSuffix(r.Name, "z")
	}},
	{[]string{"accessed_before", "@" + strconv.FormatInt(observed/1e9-10*86_400, 10), "pattern", "A"}, func(r evidence.Row) bool {
		return int64(r.AtimeDay) < observed/86_400e9-10 && strings.ContainsAny(r.Name, "aA")
	}},
	{[]string{"accessed_after", "@" + strconv.FormatInt(observed/1e9-10*86_400, 10), "group", "1"}, func(r evidence.Row) bool {
		return int64(r.AtimeDay) >= observed/86_400e9-10 && r.GID == 1
	}},
	{[]string{"name", "nothing"}, func(evidence.Row) bool { return false }},
}

// checkFiltered: every report with a filter says what it would say of a tree with nothing else in it.
func (f *fixture) checkFiltered(rng *rand.Rand, old, m model, dir string, first *manifest.Manifest) {
	f.t.Helper()
	for _, filter := range reportFilters {
		params := slices.Clip(filter.params)
		keep := func(rows model) model {
			return slices.DeleteFunc(slices.Clone(rows), func(r evidence.Row) bool { return !filter.is(r) })
		}
		kept := keep(m)
		f.checkLargest(rng, kept, dir, params...)
		f.checkUsage(kept, dir, params...)
		f.checkHistograms(kept, dir, params...)
		f.checkDuplicates(kept, dir, params...)
		f.checkCross(kept, dir, params...)
		f.checkFilteredGrowth(rng, keep(old), kept, dir, first, params)
		var empty []string
		for _, r := range kept.rowsBelow(dir) {
			if r.Type == event.Directory && len(m.list(r.Path(), engine.ByName)) == 0 {
				empty = append(empty, r.Path())
			}
		}
		equal(f.t, fmt.Sprint("empty in ", dir, params), f.stream("reports/empty-directories", pathParam(dir, params...)), empty)
		search := append(params, "limit", "10000")
		if !slices.Contains(search, "pattern") {
			search = append(search, "pattern", "*")
		}
		found, _ := f.entries("search", pathParam(dir, search...)...)
		own := 0 // a search finds the path itself, and a report does not
		for _, e := range found {
			if pathOf(f.t, e) == dir {
				own = 1
			}
		}
		if len(found)-own != len(kept.rowsBelow(dir)) {
			f.t.Fatalf("a search for %q in %s finds %d, the reports %d", params, dir, len(found)-own, len(kept.rowsBelow(dir)))
		}
	}
}

// checkCross: the buckets of each owner are those of a histogram of what is the owner's, those without files left out.
func (f *fixture) checkCross(m model, dir string, filter ...string) {
	f.t.Helper()
	for _, across := range []string{"size", "mtime", "atime"} {
		for by, param := range map[string]string{"owner": "uid", "group": "gid"} {
			if slices.Contains(filter, by) {
				continue
			}
			list, _ := f.entries("reports/usage", pathParam(dir, append(filter, "by", by, "across", across)...)...)
			files := 0
			for _, e := range list {
				id := strconv.FormatFloat(e[param].(float64), 'f', -1, 64)
				buckets, _ := f.entries("reports/histogram", pathParam(dir, append(filter, "of", across, by, id)...)...)
				buckets = slices.DeleteFunc(buckets, func(b map[string]any) bool { return b["files"] == 0.0 })
				got, _ := e["across"].([]any)
				if len(got) != len(buckets) || len(got) > 0 && jsonOf(got) != jsonOf(buckets) {
					f.t.Fatalf("%s %s across %s in %s: %s, not %s", by, id, across, dir, jsonOf(got), jsonOf(buckets))
				}
				for _, b := range buckets {
					files += int(b["files"].(float64))
				}
			}
			if all := slices.DeleteFunc(m.rowsBelow(dir), func(r evidence.Row) bool { return r.Type != event.File }); files != len(all) {
				f.t.Fatalf("across %s in %s: %d files of %d", across, dir, files, len(all))
			}
		}
	}
}

func (f *fixture) checkFilteredGrowth(rng *rand.Rand, old, m model, dir string, first *manifest.Manifest, filter []string) {
	f.t.Helper()
	depth, root := 1+rng.IntN(4), strings.TrimSuffix(dir, "/")
	nothing := evidence.Totals{LatestMtimeNs: evidence.NoMtime}
	want := map[string][2]evidence.Totals{}
	for i, rows := range []model{old, m} {
		for _, r := range rows.rowsBelow(dir) {
			at := r.Parent + r.Name
			if r.Type != event.Directory {
				at = strings.TrimSuffix(r.Parent, "/")
			}
			for ; len(at) > len(root); at = at[:strings.LastIndexByte(at, '/')] {
				if strings.Count(at, "/")-strings.Count(root, "/") <= depth {
					sums, known := want[at]
					if !known {
						sums = [2]evidence.Totals{nothing, nothing}
					}
					sums[i] = sums[i].Plus(r.Own())
					want[at] = sums
				}
			}
		}
	}
	list, _ := f.entries("reports/growth",
		pathParam(dir, append(filter, "depth", strconv.Itoa(depth), "limit", "1000", "since", strconv.FormatUint(first.Version, 10))...)...)
	for _, e := range list {
		path := pathOf(f.t, e)
		sums, known := want[path]
		delete(want, path)
		if !known || e["bytes"] != float64(sums[1].Bytes-sums[0].Bytes) || e["files"] != float64(sums[1].Files-sums[0].Files) ||
			e["directories"] != float64(sums[1].Directories-sums[0].Directories) {
			f.t.Fatalf("growth of %q in %s: %v, not %+v", filter, dir, e, sums)
		}
	}
	for path, sums := range want {
		if sums[0] != sums[1] {
			f.t.Fatalf("growth of %q in %s lacks %s: %+v", filter, dir, path, sums)
		}
	}
}

func (f *fixture) checkGrowth(rng *rand.Rand, old, m model, dir string, first *manifest.Manifest) {
	f.t.Helper()
	depth := 1 + rng.IntN(4)
	type pair [2]evidence.Totals
	nothing := evidence.Totals{LatestMtimeNs: evidence.NoMtime}
	want := map[string]*pair{}
	for i, rows := range []model{old, m} {
		for _, r := range rows.rowsBelow(dir) {
			if level := strings.Count(r.Path(), "/") - strings.Count(strings.TrimSuffix(dir, "/"), "/"); r.Type == event.Directory && level <= depth {
				if want[r.Path()] == nil {
					want[r.Path()] = &pair{nothing, nothing}
				}
				want[r.Path()][i] = r.Sub
			}
		}
	}
	list, whole := f.entries("reports/growth", pathParam(dir, "depth", strconv.Itoa(depth), "limit", "1000", "since", strconv.FormatUint(first.Version, 10))...)
	if whole["since_version"] != float64(first.Version) || whole["version"] != float64(f.last[testView].Version) {
		f.t.Fatalf("growth from %v to %v", whole["since_version"], whole["version"])
	}
	for _, e := range list {
		p := want[pathOf(f.t, e)]
		if p == nil {
			f.t.Fatalf("growth in %s has %v", dir, e)
		}
		delete(want, pathOf(f.t, e))
		var totals [2]any
		_ = json.Unmarshal(appendTotals(nil, p[0]), &totals[0])
		_ = json.Unmarshal(appendTotals(nil, p[1]), &totals[1])
		if jsonOf(e["from"]) != jsonOf(totals[0]) || jsonOf(e["to"]) != jsonOf(totals[1]) || e["bytes"] != float64(p[1].Bytes-p[0].Bytes) {
			f.t.Fatalf("growth in %s: %v, not %+v", dir, e, *p)
		}
	}
	for path, p := range want {
		// What lies below a directory whose sums are the same need not be found: nothing grew.
		if p[0] != p[1] && !sameAbove(old, m, path, dir) {
			f.t.Fatalf("growth in %s lacks %s: %+v", dir, path, *p)
		}
	}
}

// sameAbove reports whether a directory between dir and path has the same sums in both.
func sameAbove(old, m model, path, dir string) bool {
	sums := func(rows model, p string) (t evidence.Totals) {
		for _, r := range rows {
			if r.Path() == p && r.Type == event.Directory {
				t = r.Sub
			}
		}
		return t
	}
	for {
		path = path[:strings.LastIndexByte(path, '/')]
		if len(path) <= len(strings.TrimSuffix(dir, "/")) {
			return false
		}
		if sums(old, path) == sums(m, path) {
			return true
		}
	}
}

// TestGrowthSince: the earlier version is found by its number or a time, also where another had raced for the number.
func TestGrowthSince(t *testing.T) {
	f := newFixture(t)
	rows := sample()
	first := f.base(testView, rows)
	lost := *first // it lost the race for version 2
	lost.Version, lost.Nonce, lost.Parent = 2, "0-loser", first.Key()
	lost.Base = nil
	body, err := lost.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.st.Put(t.Context(), lost.Key(), body); err != nil {
		t.Fatal(err)
	}
	grown := treeOf(append(slices.Clone(rows), file("/data/more", 1000))...)
	second := f.delta(testView, change(rows, grown))
	f.commit(testView, func(*manifest.Manifest) {})
	f.now = time.Now().Add(time.Minute) // after all of them, also on a slow machine: a time of the future is taken for now

	bytesSince := func(since ...string) (bytes any, version any) {
		list, whole := f.entries("reports/growth", since...)
		if len(list) == 0 {
			return nil, whole["since_version"]
		}
		return list[0]["bytes"], whole["since_version"]
	}
	for _, c := range []struct {
		since   []string
		bytes   any
		version uint64
	}{
		{nil, 1000.0, 1}, {[]string{"since", "1"}, 1000.0, 1}, {[]string{"since", "0"}, 1000.0, 1},
		{[]string{"since", "2"}, nil, second.Version}, {[]string{"since", "3"}, nil, 3},
		{[]string{"since", time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}, nil, 3},
	} {
		if bytes, version := bytesSince(c.since...); bytes != c.bytes || version != float64(c.version) {
			t.Errorf("since %q: %v bytes since version %v, not %v since %d", c.since, bytes, version, c.bytes, c.version)
		}
	}
	f.commit(testView, func(m *manifest.Manifest) { m.Scan.SnapshotDone = 0 })
	f.commit(testView, func(m *manifest.Manifest) { m.Scan.SnapshotDone = 2 })
	f.call("reports/growth", "since", "4").problem(http.StatusGone, "version 4", "first scan")
	f.call("reports/growth", "since", "6").problem(http.StatusGone, "version 6 is not kept")
	f.call("reports/growth", "since", "30d").problem(http.StatusGone, "versions that old are not kept", "version 1")
	f.call("reports/growth", "since", "soon").problem(http.StatusBadRequest, "since")
	f.call("reports/largest", "path", "/readme.txt").problem(http.StatusBadRequest, "not a directory")
	f.call("reports/usage", "path", "/nothing").problem(http.StatusNotFound, "/nothing")

	listed := f.call("versions").is(http.StatusOK).object()
	var numbers []string
	for _, v := range listed["versions"].([]any) {
		numbers = append(numbers, fmt.Sprint(v.(map[string]any)["version"], v.(map[string]any)["current"]))
	}
	equal(t, "versions", numbers, []string{"5 true", "4 false", "3 false", "2 false", "1 false"})
	if n := f.call("versions", "before", "3", "limit", "1").object()["versions"].([]any); len(n) != 1 || n[0].(map[string]any)["version"] != 2.0 {
		t.Errorf("versions before 3: %v", n)
	}

	f.putJSON(layout.Pins(testView), `{"format":1,"nonce":"n","pins":{"before-cleanup":{"version":3,"at_ns":1,"pinned_at_ns":1},"first":{"version":1,"at_ns":1,"pinned_at_ns":1}}}`)
	lasting := func(params ...string) (numbers []any) {
		for _, v := range f.call("versions", append(params, "kept", "true")...).is(http.StatusOK).object()["versions"].([]any) {
			numbers = append(numbers, v.(map[string]any)["version"])
		}
		return numbers
	}
	if all, two, last := lasting(), lasting("limit", "2"), lasting("before", "3"); !reflect.DeepEqual([][]any{all, two, last}, [][]any{{5.0, 3.0, 1.0}, {5.0, 3.0}, {1.0}}) {
		t.Errorf("versions that are kept for more than being recent: %v, two of them %v, before 3 %v", all, two, last)
	}
}

// TestGrowthSinceTheFirstWhole: versions from before the first scan was complete are nothing to compare with.
func TestGrowthSinceTheFirstWhole(t *testing.T) {
	f := newFixture(t)
	part := treeOf(file("/a/1", 1))
	info := f.layer(testView, part)
	f.commit(testView, func(m *manifest.Manifest) { m.Scan.SnapshotDone, m.Base = 0, []layer.Info{info} })
	f.commit(testView, func(m *manifest.Manifest) { m.Scan.SnapshotDone = 0 })
	f.base(testView, treeOf(file("/a/1", 1), file("/b/2", 2)))
	if list, whole := f.entries("reports/growth"); len(list) != 0 || whole["since_version"] != 3.0 {
		t.Errorf("since version %v: %v", whole["since_version"], list)
	}
}

var extensionForm = regexp.MustCompile(`^.+\.([A-Za-z0-9+_~-]{1,16})$`)

// extensionOf is the model's own reading of what docs/api.md calls an extension.
func extensionOf(name string) string {
	if m := extensionForm.FindStringSubmatch(name); m != nil {
		return strings.ToLower(m[1])
	}
	return ""
}

// sizeOf is what the largest are ranked by: a directory's is that of its subtree.
func sizeOf(r *evidence.Row) int64 {
	if r.Type == event.Directory {
		return r.Sub.Bytes
	}
	return r.Size
}
