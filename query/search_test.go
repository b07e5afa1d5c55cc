package query

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"
	"golang.org/x/text/unicode/norm"

	"github.com/fustor/fustor/internal/casefold"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/testkit/cases"
)

// searchTree is a tree whose names have something to be found by, in any case and in bytes that are no characters.
func searchTree(rng *rand.Rand, n int) []evidence.Row {
	words := []string{"report", "IMG", "sample", "Makefile", "Ärger", "straße", "日本", "\xffraw", "ab\xc3", "x", "K\u212A",
		"İstanbul", "istanbul", "σίσυφος", "ΣΊΣΥΦΟΣ", "café", "CAFE\u0301", "STRASSE", "conﬁg"}
	ends := []string{".txt", ".TXT", ".so", ".c", ".h", ".tar.gz", "", "-old", ".Ö", "\xfe"}
	kinds := []event.Type{event.File, event.File, event.File, event.Symlink, event.Other}
	dirs, rows := []string{""}, map[string]evidence.Row{}
	for range n {
		path := dirs[rng.IntN(len(dirs))] + "/" + words[rng.IntN(len(words))] + strconv.Itoa(rng.IntN(400)) + ends[rng.IntN(len(ends))]
		if _, there := rows[path]; there {
			continue
		}
		r := entry(path, kinds[rng.IntN(len(kinds))], rng.Int64N(1<<rng.IntN(30)))
		if rng.IntN(12) == 0 && strings.Count(path, "/") < 6 {
			r = entry(path, event.Directory, 4096)
			dirs = append(dirs, path)
		}
		r.MtimeNs, r.UID = observed-rng.Int64N(1e15), uint32(1000+rng.IntN(100))
		r.GID, r.Mode = uint32(100+rng.IntN(4)), []uint32{0o644, 0o755, 0o4755, 0o600}[rng.IntN(4)]
		if rng.IntN(5) > 0 { // the others are not measured
			r.Inode = inodeOf(rng, &r)
		}
		if rng.IntN(8) == 0 && r.Type == event.File {
			r.Size = 0
		}
		rows[path] = r
	}
	var all []evidence.Row
	for _, r := range rows {
		all = append(all, r)
	}
	return treeOf(all...)
}

// inodeOf is what the inode of an entry might tell.
func inodeOf(rng *rand.Rand, r *evidence.Row) event.Inode {
	n := event.Inode{Links: 1, Allocated: event.Rounded(r.Size), CtimeNs: r.MtimeNs}
	if rng.IntN(3) == 0 {
		n.Allocated -= rng.Int64N(n.Allocated + 1)
		n.CtimeNs += rng.Int64N(1e15)
	}
	if rng.IntN(4) > 0 {
		n.BirthS = n.CtimeNs/1e9 - rng.Int64N(3)
	}
	if rng.IntN(6) == 0 && r.Type != event.Directory {
		n.Links, n.ID = uint32(2+rng.IntN(3)), 1+rng.Uint64N(20)
	}
	return n
}

// searchOf is a search that may find something: a part of a name or a path of the tree, or a glob made of one, with
// filters or without.
func searchOf(rng *rand.Rand, rows []evidence.Row) []string {
	r := rows[rng.IntN(len(rows))]
	text := r.Name
	if rng.IntN(4) == 0 {
		text = r.Path()
	}
	from := rng.IntN(len(text) + 1)
	part := text[from : from+rng.IntN(len(text)+1-from)]
	quote := strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`).Replace
	pattern := part
	switch rng.IntN(7) {
	case 0:
		pattern = "*" + quote(text[from:])
	case 1:
		pattern = quote(text[:from]) + "*"
	case 2:
		pattern = quote(text[:from]) + "?" + quote(text[min(len(text), from+1):]) + "*"
	case 3:
		pattern = "/**/" + quote(r.Name) + "*"
	case 4:
		if i := strings.IndexByte(r.Path()[1:], '/'); i > 0 {
			pattern = r.Path()[:i+1] + "/**/*" + quote(r.Name[rng.IntN(len(r.Name)):])
		}
	case 5:
		pattern = strings.ToUpper(part)
	}
	if pattern == "" || strings.Contains(pattern, "\x00") {
		pattern = "*"
	}
	params, given := []string{"pattern", pattern}, map[string]bool{}
	for _, filter := range [][]string{
		{"type", []string{"f", "d", "l,o"}[rng.IntN(3)]}, {"owner", strconv.Itoa(int(r.UID))}, {"owner", "7"},
		{"min_size", strconv.FormatInt(r.Size, 10)}, {"max_size", strconv.FormatInt(r.Size, 10)},
		{"newer_than", values.Seconds(r.MtimeNs - 1).String()}, {"older_than", values.Seconds(r.MtimeNs + 1).String()},
		{"group", strconv.Itoa(int(r.GID))}, {"perm", []string{"-4000", "/022", "0644", "-u+x"}[rng.IntN(4)]}, {"empty", "true"},
		{"min_links", strconv.Itoa(1 + rng.IntN(3))}, {"max_links", strconv.Itoa(1 + rng.IntN(3))}, {"inode", strconv.FormatUint(max(r.ID, 1), 10)},
		{"min_allocated", strconv.FormatInt(r.Allocated, 10)}, {"max_allocated", strconv.FormatInt(r.Allocated, 10)},
		{"changed_after", values.Seconds(r.CtimeNs - 1).String()}, {"changed_before", values.Seconds(r.CtimeNs + 1).String()},
		{"born_after", values.Seconds(r.BirthNs()).String()}, {"born_before", values.Seconds(r.BirthNs() + 1e9).String()},
	} {
		if !given[filter[0]] && rng.IntN(20) == 0 { // sometimes several
			given[filter[0]] = true
			params = append(params, filter...)
		}
	}
	if rng.IntN(4) == 0 {
		params = append(params, "regex", regexOf(rng, rows[rng.IntN(len(rows))].Path()))
	}
	for range rng.IntN(4) - 1 {
		other := rows[rng.IntN(len(rows))].Name
		if other == "" {
			continue
		}
		name := []string{"*" + quote(other[len(other)/2:]), "{" + "*" + other[len(other)-1:] + ",x*,R?p*}", "*{" + strings.ToLower(other[:1]) + ",1}*"}[rng.IntN(3)]
		if !strings.ContainsAny(other, "/\x00") {
			params = append(params, []string{"name", "not_name"}[rng.IntN(2)], name)
		}
	}
	return params
}

// regexOf is a regular expression that may match a path.
func regexOf(rng *rand.Rand, path string) string {
	quote := func(s string) string { return regexp.QuoteMeta(strings.ToValidUTF8(s, "\uFFFD")) }
	from := rng.IntN(len(path) + 1)
	to := from + rng.IntN(len(path)+1-from)
	return []string{
		".*" + quote(path[from:]), quote(path[:from]) + ".*", quote(path[:from]) + "[^/]*" + quote(path[to:]),
		"(?i)" + quote(path[:from]) + ".*" + quote(path[to:]), "(.*" + quote(path[to:]) + "|" + quote(path[:from]) + ".*)",
	}[rng.IntN(5)]
}

// found are the paths that a search finds, by looking at all rows one by one.
func found(t *testing.T, rows []evidence.Row, params []string) (out []string) {
	t.Helper()
	r := httptest.NewRequest("GET", viewURL("search", params...), nil)
	w, _, err := searchParams(httpapi.Query(r), time.Unix(0, observed))
	if err != nil {
		t.Fatal(params, err)
	}
	regex := regexp.MustCompile(`(?s)\A(?:` + r.URL.Query().Get("regex") + `)\z`)
	for i := range rows {
		if rows[i].Parent != "" && w.Matches(&rows[i]) {
			if r.URL.Query().Has("regex") && !regex.MatchString(rows[i].Path()) {
				t.Errorf("%q is found, which %s does not match", rows[i].Path(), regex)
			}
			out = append(out, rows[i].Path())
		}
	}
	return out
}

// copied is a base partition whose row groups were copied verbatim into another.
func (f *fixture) copied(info layer.Info) layer.Info {
	f.t.Helper()
	ctx := context.Background()
	l, err := layer.Open(ctx, f.st, testView, info, layer.NewCache(1<<20))
	if err != nil {
		f.t.Fatal(err)
	}
	groups, err := l.Groups(ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	w := layer.NewWriter(layer.WriterOptions{ID: ulid.Make().String(), SearchSpan: 1})
	for i := range groups {
		raw, err := l.RawGroup(ctx, i)
		if err == nil {
			err = w.AppendGroup(raw)
		}
		if err != nil {
			f.t.Fatal(err)
		}
	}
	built, err := w.Finish()
	if err == nil {
		err = layer.Publish(ctx, f.st, testView, built)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return built.Info
}

// TestSearchIsExact: whatever the indexes rule out, a search finds what a look at every row finds, in the same order;
// in views of partitions written and copied, with deltas and tombstones over them.
func TestSearchIsExact(t *testing.T) {
	for seed := range uint64(cases.Of(5)) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 3))
			f := newFixture(t)
			if seed%2 == 1 {
				f.leaves = manifest.NewLeaves(0, 1)
			}
			rows := searchTree(rng, 600)
			half := len(rows) / 2
			first, second := f.layer(testView, rows[:half]), f.copied(f.layer(testView, rows[half:]))
			f.commit(testView, func(m *manifest.Manifest) {
				m.Base, m.Totals = []layer.Info{first, second}, rows[0].Sub
			})
			for range rng.IntN(3) {
				next := searchTree(rng, 300+rng.IntN(300))
				f.delta(testView, change(rows, next))
				rows = next
			}
			skipped, some := 0, 0
			for i := range 150 {
				params := searchOf(rng, rows)
				want := found(t, rows, params)
				// Without anything in memory it looks at attributes before names; without room for anything it glances at names.
				equal(t, fmt.Sprintf("cold search %q", params), f.cold(int64(i%2), "search", params), want)
				got := f.call("search", append(params, "limit", "10000", "explain", "true")...).is(200).object()
				equal(t, fmt.Sprintf("search %q", params), paths(t, got["entries"].([]any)), want)
				equal(t, fmt.Sprintf("pages of search %q", params), f.pages("search", append(params, "limit", strconv.Itoa(1+rng.IntN(9)))[:], func() {}), want)
				skipped += int(got["explain"].(map[string]any)["groups_skipped"].(float64))
				some += len(want)
			}
			if skipped < 1000 || some < 1000 {
				t.Fatalf("%d row groups ruled out and %d entries found in 150 searches", skipped, some)
			}
		})
	}
}

// TestSearchFoldsNames: a search in any case finds what a plain walk over folded paths finds, whatever case and normal form it is
// written in.
func TestSearchFoldsNames(t *testing.T) {
	rng := rand.New(rand.NewPCG(19, 1))
	f := newFixture(t)
	rows := searchTree(rng, 800)
	f.base(testView, rows)
	some := 0
	for range 300 {
		r := rows[1+rng.IntN(len(rows)-1)]
		text := []rune(r.Name)
		if strings.ContainsFunc(r.Name, func(c rune) bool { return c == utf8.RuneError }) {
			text = []rune(strings.Trim(strings.ToValidUTF8(r.Name, "/"), "/")) // bytes that are not UTF-8 are left out
		}
		from := rng.IntN(len(text))
		pattern := string(text[from : from+1+rng.IntN(len(text)-from)])
		pattern = []func(string) string{strings.ToUpper, strings.ToLower, norm.NFD.String, norm.NFC.String, strings.ToTitle}[rng.IntN(5)](pattern)
		var want []string
		for i := range rows[1:] {
			text := rows[1+i].Name
			if strings.Contains(pattern, "/") {
				text = rows[1+i].Path()
			}
			if strings.Contains(casefold.String(text), casefold.String(pattern)) {
				want = append(want, rows[1+i].Path())
			}
		}
		some += len(want)
		equal(t, fmt.Sprintf("search %q", pattern), f.stream("search", []string{"pattern", pattern}), want)
	}
	if some < 3000 {
		t.Errorf("%d entries in all", some)
	}
	equal(t, "Σίσυφος", f.stream("search", []string{"pattern", "Σίσυφος"}), f.stream("search", []string{"pattern", "σίσυφοσ"}))
}

// cold are the paths that a call streams from a server that has just started, with a cache of so many bytes; 0 is the default.
func (f *fixture) cold(cacheBytes int64, name string, params []string) []string {
	f.t.Helper()
	warm := f.server
	defer func() { f.server = warm }()
	var err error
	if f.server, err = New(Options{Store: f.st, Authenticator: warm.keys, HeadTTL: -1, CacheBytes: cacheBytes, Now: warm.now}); err != nil {
		f.t.Fatal(err)
	}
	return f.stream(name, params)
}

// TestSearchWithoutItsIndex: a damaged search index costs reads, not answers, and the log names it.
func TestSearchWithoutItsIndex(t *testing.T) {
	f := newFixture(t)
	rows := searchTree(rand.New(rand.NewPCG(1, 1)), 500)
	m := f.base(testView, rows)
	ctx := context.Background()
	key := layout.Layer(testView, m.Base[0].ID)
	o, err := f.st.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	l, err := layer.Open(ctx, f.st, testView, m.Base[0], layer.NewCache(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	groups, _ := l.Groups(ctx)
	last := groups[len(groups)-1]
	for i := last.Offset + last.Bytes; i < last.Offset+last.Bytes+4000; i++ {
		o.Body[i] ^= 0x55 // the pages behind the row groups
	}
	if _, err := f.st.Put(ctx, key, o.Body); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	f.server, err = New(Options{Store: f.st, Authenticator: f.server.keys, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		params := []string{"pattern", "sample1"}
		equal(t, "search", f.stream("search", params), found(t, rows, params))
	}
	if said := log.String(); strings.Count(said, "search index is damaged") != 1 || !strings.Contains(said, key) {
		t.Fatalf("the log: %s", said)
	}
}

// TestSearchKeepsNames: where the cache has no room for row groups it keeps their names, so that searches of the same
// come to read no more than a row group with a hit. The names here are such that the index rules none out.
func TestSearchKeepsNames(t *testing.T) {
	f := newFixture(t)
	rng := rand.New(rand.NewPCG(6, 6))
	rows := []evidence.Row{file("/d2/12500-abcdefgh", 1)}
	for i := range 20_000 {
		rows = append(rows, file(fmt.Sprintf("/d%d/%05d-%s", i/5000, i, [2]string{"xabcdefg", "bcdefghy"}[i%2]), rng.Int64N(1<<40)))
	}
	rows = treeOf(rows...)
	info := f.layerOf(testView, rows, layer.WriterOptions{RowsPerGroup: 1000, SearchSpan: 1})
	f.commit(testView, func(m *manifest.Manifest) { m.Base, m.Totals = []layer.Info{info}, rows[0].Sub })
	var err error
	if f.server, err = New(Options{Store: f.st, Authenticator: f.server.keys, CacheBytes: info.Bytes / 3 * 2}); err != nil {
		t.Fatal(err)
	}
	search := func() (gets, read float64) {
		t.Helper()
		got := f.call("search", "pattern", "abcdefgh", "explain", "true").is(200).object()
		equal(t, "search", paths(t, got["entries"].([]any)), []string{"/d2/12500-abcdefgh"})
		explain := got["explain"].(map[string]any)
		if explain["rows"].(float64) < 20_000 {
			t.Fatalf("the index ruled something out: %v", explain)
		}
		return explain["gets"].(float64), explain["groups_read"].(float64)
	}
	if gets, read := search(); gets < 4 || read < 21 {
		t.Errorf("the first time %v requests for %v row groups and names of such", gets, read)
	}
	for range 8 { // it has to see what is used again and again
		search()
	}
	if gets, read := search(); gets > 2 || read > 2 {
		t.Errorf("the tenth time %v requests for %v row groups and names of such", gets, read)
	}
}

// TestPathGlobsReadTheirDirectory: a glob reads nothing outside the directory that it names, and a limit ends a search.
func TestPathGlobsReadTheirDirectory(t *testing.T) {
	f := newFixture(t)
	var rows []evidence.Row
	for i := range 2000 {
		rows = append(rows, file(fmt.Sprintf("/d%02d/%05d.h", i/50, i), 1))
	}
	rows = treeOf(rows...)
	f.base(testView, rows)
	cold := func(params ...string) (entries int, explain map[string]any) {
		t.Helper()
		s, err := New(Options{Store: store.Count(f.st), Authenticator: f.server.keys})
		if err != nil {
			t.Fatal(err)
		}
		f.server = s
		got := f.call("search", append(params, "explain", "true")...).is(200).object()
		return len(got["entries"].([]any)), got["explain"].(map[string]any)
	}
	n, e := cold("pattern", "/d07/**/*.h")
	if n != 50 || e["groups_read"].(float64) > 6 || e["rows"].(float64) > 100 {
		t.Errorf("a directory of 50: %d entries for %v", n, e)
	}
	if n, e = cold("pattern", "/d07/*.h", "path", "/d08"); n != 0 || e["groups_read"].(float64) > 1 {
		t.Errorf("a glob of another directory: %d entries for %v", n, e)
	}
	// Two shards are under way at first, each of the row groups that come to 64 KiB, and the path itself is looked up.
	if n, e = cold("pattern", ".h", "limit", "10"); n != 10 || e["groups_read"].(float64) > 70 || e["bytes"].(float64) > 150<<10 {
		t.Errorf("the first ten of 2000: %d entries for %v", n, e)
	}
	if n, e = cold("pattern", "no such name"); n != 0 || e["groups_read"].(float64) > 1 || e["groups_skipped"].(float64) < 100 {
		t.Errorf("no match: %d entries for %v", n, e)
	}
}

// TestExplain: every call says what it cost, where it is asked.
func TestExplain(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	for _, c := range []struct{ call, param, value string }{
		{"metadata", "path", "/readme.txt"}, {"list", "path", "/"}, {"tree", "path", "/docs"}, {"stats", "path", "/"},
		{"search", "pattern", "log"}, {"blind-spots", "path", "/"}, {"sessions", "", ""}, {"jobs", "", ""},
	} {
		params := []string{"explain", "true"}
		if c.param != "" {
			params = append(params, c.param, c.value)
		}
		a := f.call(c.call, params...).is(200)
		e, ok := a.object()["explain"].(map[string]any)
		if !ok {
			t.Fatalf("%s: no explain in %s", c.call, a.body)
		}
		for _, field := range []string{"gets", "bytes", "rows", "groups_read", "groups_skipped", "cache_hits", "milliseconds"} {
			if _, ok := e[field].(float64); !ok {
				t.Errorf("%s: %s is %v", c.call, field, e[field])
			}
		}
		if e["gets"].(float64) < 1 || c.param != "" && e["version"] != 1.0 {
			t.Errorf("%s: %v", c.call, e)
		}
		if n := a.header.Get("Content-Length"); n != strconv.Itoa(len(a.body)) {
			t.Errorf("%s: Content-Length %s of %d", c.call, n, len(a.body))
		}
		if cost := a.header.Get("Fustor-Cost"); !strings.Contains(cost, "gets=") || !strings.Contains(cost, "cache_hits=") {
			t.Errorf("%s: Fustor-Cost %q", c.call, cost)
		}
		if plain := f.call(c.call, params[2:]...).is(200); bytes.Contains(plain.body, []byte("explain")) || plain.header.Get("Fustor-Cost") == "" {
			t.Errorf("%s without explain: %s", c.call, plain.body)
		}
	}
	lines := f.get(viewURL("search", "pattern", "*", "limit", "3", "explain", "1"), "Accept", ndjson).is(200).lines()
	if len(lines) != 5 || lines[3]["next_cursor"] == nil || lines[4]["explain"] == nil {
		t.Errorf("a stream: %v", lines)
	}
	f.call("suspect-list", "explain", "true").is(200)
	f.call("list", "explain", "maybe").problem(400, "explain")
	f.call("list", "explain", "true", "explain", "true").problem(400, "explain")
	if a := f.call("metadata", "path", "/nothing", "explain", "true"); a.header.Get("Fustor-Cost") == "" || a.status != 404 {
		t.Errorf("%d, Fustor-Cost %q", a.status, a.header.Get("Fustor-Cost"))
	}
	tag := f.call("list").is(200).header.Get("ETag")
	f.get(viewURL("list", "explain", "true"), "If-None-Match", tag).is(304)
}
