package query

import (
	rand2 "crypto/rand"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/permission"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/cases"
)

// userKey makes a key for what a user may see.
func (f *fixture) userKey(who permission.Identity) string {
	f.t.Helper()
	groups := make([]string, len(who.Groups))
	for i, g := range who.Groups {
		groups[i] = fmt.Sprint(g)
	}
	key := access.GenerateKey()
	record := access.Record{Name: "user", Roles: []access.Role{access.Query}, Views: access.AllViews, As: fmt.Sprintf("%d:%s", who.UID, strings.Join(groups, ","))}
	if err := access.Register(f.t.Context(), f.st, key, record); err != nil {
		f.t.Fatal(err)
	}
	return key
}

// as calls with a key.
func (f *fixture) as(key, name string, params ...string) *answer {
	f.t.Helper()
	return f.do(http.MethodGet, viewURL(name, params...), "", "X-API-Key", key)
}

// owned is a directory with rights.
func owned(path string, mode, uid, gid uint32) evidence.Row {
	r := entry(path, event.Directory, 4096)
	r.Mode, r.UID, r.GID = mode, uid, gid
	r.Inode = event.Inode{Links: 2, Allocated: 4096, ACL: event.NoACL}
	return r
}

// The user whom the tests are about.
var alice = permission.NewIdentity(1001, 100)

// shared is a tree with all kinds of rights. What is not shown to alice is named hidden, or is below /closed; without is the tree without it.
func shared() (all, without []evidence.Row) {
	named := file("/listed/known-by-name", 50)
	rows := []evidence.Row{
		owned("/", 0o755, 0, 0), owned("/home", 0o755, 0, 0),
		owned("/home/alice", 0o700, 1001, 100), file("/home/alice/mine.log", 7), file("/home/alice/run.bam", 3<<20),
		owned("/home/bob", 0o711, 1002, 100), owned("/project", 0o2750, 1003, 100), file("/project/data.log", 11), file("/project/dup.bam", 3<<20),
		owned("/project/empty", 0o700, 1001, 100), owned("/closed", 0o700, 1002, 101), owned("/listed", 0o744, 1002, 101), named, owned("/home/bob/public", 0o755, 1002, 100),
		file("/home/bob/public/paper.log", 13), owned("/project/locked", 0o700, 1003, 100), file("/readme", 5),
	}
	secret := file("/closed/hidden.log", 1<<30)
	secret.AgentMissing, secret.SuspectUntil, secret.UID = true, observed+1e18, 4242
	hidden := []evidence.Row{
		secret, owned("/closed/hidden-dir", 0o777, 1001, 100), file("/closed/hidden-dir/run.bam", 3<<20), file("/home/bob/hidden.log", 17),
		file("/project/locked/hidden.log", 19), file("/project/locked/data.log", 11), entry("/closed/hidden-link", event.Symlink, 3),
	}
	return treeOf(append(slices.Clone(rows), hidden...)...), treeOf(rows...)
}

func TestReadersSeeWhatFindShows(t *testing.T) {
	f := newFixture(t)
	all, _ := shared()
	f.base(testView, all)
	key := f.userKey(alice)
	// /home/bob may be searched and not read: what is there is shown to who names it. /listed may be read and not searched.
	equal(t, "search", paths(t, f.as(key, "search", "pattern", "*").is(200).object()["entries"].([]any)), []string{
		"/closed", "/home", "/listed", "/project", "/readme", "/home/alice", "/home/bob", "/home/alice/mine.log", "/home/alice/run.bam",
		"/listed/known-by-name", "/project/data.log", "/project/dup.bam", "/project/empty", "/project/locked"})
	equal(t, "below what may be searched", paths(t, f.as(key, "search", "pattern", "*", "path", "/home/bob/public").is(200).object()["entries"].([]any)),
		[]string{"/home/bob/public", "/home/bob/public/paper.log"})
	equal(t, "attributes", paths(t, f.as(key, "search", "pattern", "*.log", "min_size", "1").is(200).object()["entries"].([]any)),
		[]string{"/home/alice/mine.log", "/project/data.log"})
	equal(t, "by type", paths(t, f.as(key, "search", "pattern", "known*", "type", "f").is(200).object()["entries"].([]any)), []string{"/listed/known-by-name"})
	equal(t, "empty", paths(t, f.as(key, "search", "pattern", "*", "empty", "true", "type", "d").is(200).object()["entries"].([]any)), []string{"/project/empty"})
	f.as(key, "list", "path", "/home/bob").problem(403, "may not list")
	f.as(key, "list", "path", "/closed").problem(403, "may not list")
	f.as(key, "list", "path", "/home/bob/hidden-dir").problem(404)
	f.as(key, "metadata", "path", "/closed/hidden.log").problem(404)
	f.as(key, "metadata", "path", "/listed/known-by-name").problem(404)
	f.as(key, "metadata", "path", "/home/bob/hidden.log").is(200) // find /home/bob/hidden.log shows it, too
	name := f.as(key, "list", "path", "/listed").is(200).object()["entries"].([]any)[0].(map[string]any)
	if name["name"] != "known-by-name" || name["size"] != nil || name["uid"] != nil || name["attributes_hidden"] != true {
		t.Errorf("in a directory that may only be listed: %v", name)
	}
	sub := f.as(key, "metadata", "path", "/project").is(200).object()["subtree"].(map[string]any)
	if sub["files"] != 2.0 || sub["bytes"] != float64(3<<20+11) || sub["directories"] != 3.0 {
		t.Errorf("sum of what may be seen: %v", sub)
	}
	sums := f.as(key, "stats").is(200).object()
	if sums["total_files"] != 5.0 || sums["suspect_file_count"] != 0.0 || sums["has_blind_spot"] != false {
		t.Errorf("stats: %v", sums)
	}
	for _, e := range f.as(key, "list", "path", "/").is(200).object()["entries"].([]any) {
		if e.(map[string]any)["subtree"] != nil {
			t.Errorf("a list shows sums that count what is hidden: %v", e)
		}
	}
	largest := f.as(key, "reports/largest", "type", "d", "limit", "2").is(200).object()["entries"].([]any)
	equal(t, "largest directories", paths(t, largest), []string{"/project", "/home"})
	f.as(key, "search", "pattern", "*", "explain", "true").problem(403)
}

// Views that differ only in what a user may not see answer that user the same, byte for byte, headers included, whatever is asked.
func TestHiddenIsNonexistent(t *testing.T) {
	all, without := shared()
	nonces := map[string]string{}
	open := func(rows []evidence.Row, errors int) (*fixture, string) {
		f := newFixture(t)
		f.now = f.now.Truncate(0)
		info := f.layer(testView, rows)
		f.commit(testView, func(m *manifest.Manifest) {
			m.Base, m.Totals = append(m.Base, info), rows[0].Sub
			m.Scan.ErrorCount = uint64(errors)
			for range errors {
				m.Scan.Errors = append(m.Scan.Errors, manifest.ScanError{Path: []byte("/closed/hidden-dir"), Message: "permission denied"})
			}
		})
		nonces[f.last[testView].Nonce] = "NONCE"
		return f, f.userKey(alice)
	}
	a, aliceA := open(all, 1)
	b, aliceB := open(without, 0)
	b.now = a.now
	canonical := func(of *answer) string {
		text := fmt.Sprint(of.status, of.header, string(of.body))
		for nonce := range nonces {
			text = strings.ReplaceAll(text, nonce, "NONCE")
		}
		return regexp.MustCompile(`next_cursor":"[^"]*|next_before":[0-9]*|Request-Id:\[[^]]*|(published_at|"now"|"cursor)":[^,}]*|Content-Length:\[[0-9]*\]`).ReplaceAllString(text, "")
	}
	asked := 0
	for call := range forReaders {
		for _, params := range questions(call) {
			for _, accept := range []string{"application/json", "application/x-ndjson;end=true"} {
				one := a.do(http.MethodGet, viewURL(call, params...), "", "X-API-Key", aliceA, "Accept", accept)
				other := b.do(http.MethodGet, viewURL(call, params...), "", "X-API-Key", aliceB, "Accept", accept)
				if x, y := canonical(one), canonical(other); x != y && !t.Failed() {
					t.Errorf("%s %q: what is hidden shows:\n%s\nbut without it\n%s", call, params, x, y)
				}
				asked++
			}
		}
	}
	if asked < 200 {
		t.Errorf("only %d questions were asked", asked)
	}
	// And for whoever may see everything they differ.
	if string(a.call("stats").body) == string(b.call("stats").body) {
		t.Error("the two views do not differ at all")
	}
}

// questions are parameters of a call: paths that are shown, hidden and absent, pages, filters, and what is refused.
func questions(call string) (all [][]string) {
	for _, path := range []string{"/", "/home", "/home/alice", "/home/bob", "/home/bob/public", "/home/bob/nothing", "/project", "/project/locked", "/closed",
		"/closed/hidden-dir", "/closed/hidden-dir/run.bam", "/closed/hidden.log", "/closed/hidden-link", "/closed/nothing", "/listed/known-by-name", "/listed", "/nothing", "/readme", "/readme/x"} {
		all = append(all, questionsAt(call, path)...)
	}
	return append(all, []string{"path", "relative"}, []string{"explain", "true"}, []string{"no_such", "parameter"})
}

// questionsAt are those about one path.
func questionsAt(call, path string) (all [][]string) {
	params := []string{"path", path}
	all = append(all, params)
	with := func(more ...string) { all = append(all, append(slices.Clone(params), more...)) }
	with("version", "1")
	with("as_of", "no-such-pin")
	switch {
	case call == "search":
		all = all[:len(all)-3]
		params = append(params, "pattern", "*")
		for _, more := range [][]string{{}, {"limit", "1"}, {"limit", "3"}, {"min_size", "1"}, {"empty", "true"}, {"owner", "4242"}, {"owner", "nobody-knows"}, {"type", "d"}, {"min_links", "2"}} {
			with(more...)
		}
		params = []string{"path", path, "pattern", "hidden"}
		with()
		params = []string{"path", path, "regex", ".*run.*"}
		with()
	case call == "list":
		for _, order := range []string{"name", "size", "mtime"} {
			with("sort", order)
			with("sort", order, "limit", "1")
		}
	case call == "tree":
		for _, depth := range []string{"0", "1", "2"} {
			with("max_depth", depth)
		}
		with("limit", "2")
		with("only_path", "true")
		with("on_demand_scan", "true")
	case call == "metadata":
		with("links_once", "true")
	case call == "diff":
		with("summary", "true")
		with("from", "1", "name", "*.log")
	case call == "log", call == "reports/trend":
		with("limit", "1")
	case call == "complete":
		with("quiet", "1s", "min_files", "2")
	case call == "suspect-list", call == "blind-spots":
		with("limit", "1")
	case call == "reports/usage":
		for _, by := range []string{"owner", "group", "extension"} {
			with("by", by, "across", "size")
		}
		with("owner", "nobody-knows")
	case call == "reports/duplicates":
		with("min_size", "1")
	case call == "reports/largest":
		with("type", "d")
	case call == "reports/growth":
		with("since", "1")
		with("since", "1", "name", "*.log")
	case strings.HasPrefix(call, "reports/"):
		with("name", "*.log")
	}
	return all
}

// Whatever is not made for users refuses them, in all documents.
func TestEveryRouteRefusesUsersOrKnowsThem(t *testing.T) {
	f := newFixture(t)
	all, _ := shared()
	f.base(testView, all)
	key := f.userKey(alice)
	routes := slices.Concat(f.server.mux.Routes(), f.server.v2.Routes())
	refused := 0
	for _, r := range routes {
		call, ofView := strings.CutPrefix(r.Pattern, "/api/v1/views/{view_id}/")
		switch r.Pattern {
		case "/", "/browse/{view_id}", "/browse/{view_id}/{path...}": // TestPagesHideWhatIsHidden
			continue
		case "/admin", "/admin/{view_id}": // TestAdminWhereItIsNot
			continue
		case "/healthz", "/v2", "/v2/api/v1", "/web/style.css", "/web/icon.svg", "/web/plot.css", "/web/app.js", "/login", "/logout", "/api/v1/views":
			continue
		}
		if ofView && forReaders[call] && r.Method == http.MethodGet {
			continue
		}
		target := regexp.MustCompile(`\{job_id\}|\{id\}|\{path\.\.\.\}`).ReplaceAllString(strings.ReplaceAll(r.Pattern, "{view_id}", testView), "x")
		req := f.raw(r.Method, target, key)
		if req.status != http.StatusForbidden {
			t.Errorf("%s %s answers a key of a user: %d %.200s", r.Method, r.Pattern, req.status, req.body)
		}
		if strings.Contains(string(req.body), "hidden.log") {
			t.Errorf("%s %s shows what is hidden: %s", r.Method, r.Pattern, req.body)
		}
		refused++
	}
	if refused < 25 {
		t.Errorf("only %d routes refuse", refused)
	}
}

// The pages show a user what that user may see, and are the same where what is hidden does not exist.
func TestPagesHideWhatIsHidden(t *testing.T) {
	all, without := shared()
	var pages [2][]string
	targets := []string{"/browse/research", "/browse/research?sort=size", "/browse/research/home", "/browse/research/closed", "/browse/research/closed/hidden.log", "/browse/research/closed/nothing",
		"/browse/research/listed", "/browse/research/home/bob", "/browse/research/project", "/browse/research?q=*", "/browse/research?q=*hidden*", "/browse/research/closed?q=*", "/browse/research?q=*.log&limit=1", "/"}
	for i, rows := range [2][]evidence.Row{all, without} {
		f := newFixture(t)
		f.base(testView, rows)
		key := f.userKey(alice)
		for _, target := range targets {
			a := f.raw(http.MethodGet, target, key)
			text := strings.ReplaceAll(fmt.Sprint(a.status, string(a.body)), f.last[testView].Nonce, "NONCE")
			text = regexp.MustCompile(`cursor=[^"]*`).ReplaceAllString(text, "")
			pages[i] = append(pages[i], text)
			if regexp.MustCompile(`hidden\.log|hidden-dir|hidden-link`).MatchString(text) && !strings.Contains(target, "hidden") {
				t.Errorf("%s shows what is hidden: %s", target, text)
			}
		}
		if a := f.raw(http.MethodGet, "/state/research", key); a.status != http.StatusForbidden {
			t.Errorf("the state of the view: %d", a.status)
		}
		if home := f.raw(http.MethodGet, "/browse/research/home/alice", key); !strings.Contains(string(home.body), "mine.log") {
			t.Errorf("a user's own directory: %s", home.body)
		}
	}
	for i := range targets {
		if pages[0][i] != pages[1][i] {
			t.Errorf("%s: what is hidden shows:\n%s\nbut without it\n%s", targets[i], pages[0][i], pages[1][i])
		}
	}
}

// A cursor of one reader is refused to every other, and an ETag is none of theirs, in each call of the document that has cursors.
func TestCursorsAndETagsAreOfOneUser(t *testing.T) {
	f := newFixture(t)
	rows, _ := shared()
	for i := range 3 {
		suspect, missing := file(fmt.Sprintf("/project/suspect-%d", i), 1), file(fmt.Sprintf("/project/missing-%d", i), 1)
		suspect.SuspectUntil, missing.AgentMissing = observed+1e18, true
		rows = append(rows, suspect, missing, file(fmt.Sprintf("/project/odd-%d ", i), 1), owned(fmt.Sprintf("/project/empty-%d", i), 0o755, 1003, 100))
	}
	rows = treeOf(rows...)
	f.base(testView, rows)
	next := slices.Clone(rows)
	for i := range next {
		if next[i].Type == event.File {
			next[i].Size++
		}
	}
	f.delta(testView, change(rows, treeOf(next...)))
	params := map[string][]string{
		"list": {"path", "/project"}, "tree": {"path", "/", "recursive", "true"}, "search": {"pattern", "*"}, "diff": {"from", "1"}, "changes": nil,
		"suspect-list": nil, "blind-spots": nil, "reports/empty-directories": nil, "reports/odd": nil,
	}
	cursorOf := regexp.MustCompile(`"(?:next_)?cursor":"([^"]+)"`)
	cursorIn := func(a *answer) string {
		t.Helper()
		if h := a.header.Get("Fustor-Next-Cursor"); h != "" {
			return h
		}
		all := cursorOf.FindAllSubmatch(a.body, -1)
		if all == nil {
			t.Fatalf("no cursor in %s", a.body)
		}
		return string(all[len(all)-1][1])
	}
	readers := map[string]string{"alice": f.userKey(alice), "bob": f.userKey(permission.NewIdentity(1002, 100)), "who sees all": queryKey}
	var document struct {
		Paths map[string]map[string]struct{ Parameters []struct{ Name string } }
	}
	if err := json.Unmarshal(documentOf(t, f.server), &document); err != nil {
		t.Fatal(err)
	}
	for path, methods := range document.Paths {
		call, name, from := strings.TrimPrefix(path, "/api/v1/views/{view_id}/"), "cursor", []string(nil)
		if call == "changes" {
			name, from = "after", []string{"after", "1"}
		}
		if !slices.ContainsFunc(methods["get"].Parameters, func(p struct{ Name string }) bool { return p.Name == name }) {
			continue
		}
		given, known := params[call]
		if !known {
			t.Errorf("%s has cursors, and is not asked here", path)
		}
		delete(params, call)
		ask := func(key string, more ...string) *answer {
			return f.as(key, call, slices.Concat(given, []string{"limit", "1"}, more)...)
		}
		for who, key := range readers {
			first := ask(key, from...).is(200)
			cursor, tag := cursorIn(first), first.header.Get("ETag")
			for other, key := range readers {
				resumed, status := ask(key, name, cursor), http.StatusOK
				if other == who {
					resumed.is(200)
					status = http.StatusNotModified
				} else {
					resumed.problem(400, "cursor belongs")
				}
				if tag != "" {
					f.do(http.MethodGet, viewURL(call, slices.Concat(given, []string{"limit", "1"})...), "", "X-API-Key", key, "If-None-Match", tag).is(status)
				}
			}
			if got := first.header.Get("Cache-Control"); !strings.Contains(got, "private") && !strings.Contains(got, "no-store") {
				t.Errorf("%s: Cache-Control: %q", call, got)
			}
		}
	}
	for call := range params {
		t.Errorf("%s has no cursors in the document", call)
	}
	// What one reader was answered is not the next one's answer.
	f.as(readers["who sees all"], "metadata", "path", "/closed/hidden.log").is(200)
	f.as(readers["alice"], "metadata", "path", "/closed/hidden.log").problem(404)
}

func TestAdministratorsAskAsUsers(t *testing.T) {
	f := newFixture(t)
	all, _ := shared()
	f.base(testView, all)
	as := func(key, who, call string, params ...string) *answer {
		return f.do(http.MethodGet, viewURL(call, params...), "", "X-API-Key", key, access.AsHeader, who)
	}
	as(adminKey, "1001:100", "metadata", "path", "/closed/hidden.log").problem(404)
	as(adminKey, "1002:101", "metadata", "path", "/closed/hidden.log").is(200)
	as(queryKey, "1002:101", "metadata", "path", "/closed/hidden.log").problem(403, "role admin")
	as(f.userKey(alice), "1002:101", "metadata", "path", "/closed/hidden.log").problem(403, "role admin")
	as(adminKey, "1001:100", "sessions").problem(403, "not answered as")
	as(adminKey, "-x", "metadata", "path", "/").problem(400)
	as(adminKey, "0:0", "metadata", "path", "/closed/hidden.log").is(200)
	config := viewconfig.Default(testView)
	config.RootSquash = true
	if err := viewconfig.Save(t.Context(), f.st, config); err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(2 * viewconfig.KnownFor)
	as(adminKey, "0:0", "metadata", "path", "/closed/hidden.log").problem(404)
}

// Random trees, users and questions: the answers are those of a model that asks for each row alone.
func TestReadersAgainstModel(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 23))
	for i := range cases.Of(40) {
		f := newFixture(t)
		f.inLeaves(i%2 == 1)
		rights := func(rows []evidence.Row) []evidence.Row {
			for i := range rows {
				if r := &rows[i]; r.Type == event.Directory {
					if rng.IntN(3) > 0 && i > 0 { // as its directory, as a rule
						r.UID, r.GID, r.Mode, r.Inode = rows[0].UID, rows[0].GID, rows[0].Mode, rows[0].Inode
						continue
					}
					r.UID, r.GID = 1000+rng.Uint32N(3), 100+rng.Uint32N(3)
					r.Mode = [...]uint32{0o755, 0o755, 0o755, 0o750, 0o700, 0o711, 0o744, 0o077, 0o705, 0o550}[rng.IntN(10)]
					r.Inode = event.Inode{Links: 2, Allocated: 4096, ACL: event.NoACL}
				}
			}
			return treeOf(rows...)
		}
		rows := randomTree(rng, 120)
		for i := range rows {
			if r := &rows[i]; r.Type == event.File && rng.IntN(3) == 0 { // one of the names of a file
				id := 1 + rng.Int64N(6)
				r.Size, r.Inode = id*100, event.Inode{Links: 2, Allocated: id * 4096, ID: uint64(id)}
			}
		}
		rows = rights(rows)
		f.base(testView, rows)
		history := [][]evidence.Row{rows}
		for range 2 {
			next := slices.Clone(rows)
			for i := range next {
				if r := &next[i]; r.Type == event.File && r.Links == 0 && rng.IntN(10) == 0 {
					r.Size += 1 + rng.Int64N(50)
				}
			}
			next = rights(next)
			f.delta(testView, change(rows, next))
			rows = next
			history = append(history, rows)
		}
		byPath := map[string]permission.Directory{}
		for _, r := range rows {
			if r.Type == event.Directory {
				byPath[r.ChildParent()] = permission.Directory{UID: r.UID, GID: r.GID, Mode: r.Mode, ACL: r.ACL}
			}
		}
		for range 4 {
			who := permission.NewIdentity(1000+rng.Uint32N(4), 100+rng.Uint32N(4))
			key := f.userKey(who)
			right := func(dir string, want permission.Rights) bool {
				return permission.Rules{}.Rights(who, byPath[dir]).Has(want)
			}
			above := func(parent string) (all []string) {
				for i, c := range parent {
					if c == '/' {
						all = append(all, parent[:i+1])
					}
				}
				return all
			}
			known := func(r evidence.Row) bool {
				return !slices.ContainsFunc(above(r.Parent), func(d string) bool { return !right(d, permission.Search) })
			}
			diffsAgainstModel(t, f, key, who, history)
			sumsAgainstModel(t, f, key, who, history)
			reportsAgainstModel(t, f, key, who, history)
			start := rows[rng.IntN(len(rows))]
			if start.Type != event.Directory {
				start = rows[0]
			}
			listed := func(r evidence.Row) bool {
				for _, d := range above(r.Parent) {
					within := len(d) >= len(start.ChildParent())
					if within && !right(d, permission.Read) || d != r.Parent && !right(d, permission.Search) {
						return false
					}
				}
				return strings.HasPrefix(r.Parent, start.ChildParent())
			}
			var want, full []string
			var sum evidence.Totals
			for _, r := range rows {
				if r.Path() == start.Path() || listed(r) {
					want = append(want, r.Path())
					if known(r) {
						full, sum = append(full, r.Path()), sum.Plus(r.Own())
					}
				}
			}
			if !known(start) {
				f.as(key, "tree", "path", start.Path()).problem(404)
				continue
			}
			var found, searched []string
			for _, line := range f.do(http.MethodGet, viewURL("tree", "path", start.Path()), "", "X-API-Key", key, "Accept", ndjson).is(200).lines() {
				found = append(found, pathOf(t, line))
			}
			equal(t, fmt.Sprintf("tree of %s as %v", start.Path(), who), found, want)
			for cursor, limit := "", fmt.Sprint(1+rng.IntN(20)); ; {
				params := []string{"path", start.Path(), "pattern", "*", "min_size", "0", "max_links", "1000000", "limit", limit, "not_name", "no-such"}
				if cursor != "" {
					params = append(params, "cursor", cursor)
				}
				page := f.as(key, "search", params...).is(200).object()
				searched = append(searched, paths(t, page["entries"].([]any))...)
				if cursor, _ = page["next_cursor"].(string); cursor == "" {
					break
				}
			}
			measured := slices.DeleteFunc(slices.Clone(full), func(p string) bool {
				return p == "/" || !slices.ContainsFunc(rows, func(r evidence.Row) bool { return r.Path() == p && r.Measured() })
			})
			equal(t, "search", searched, measured)
			got := f.as(key, "metadata", "path", start.Path()).is(200).object()["subtree"].(map[string]any)
			if got["files"] != float64(sum.Files) || got["bytes"] != float64(sum.Bytes) || got["directories"] != float64(sum.Directories) || got["others"] != float64(sum.Others) {
				t.Fatalf("sum of %s as %v: %v, not %+v", start.Path(), who, got, sum)
			}
		}
	}
}

// seen is what a model says that a user sees of a version below the root: by path, the row, without its attributes where they are hidden.
func seen(who permission.Identity, of, newest []evidence.Row) map[string]evidence.Row {
	rights := func(rows []evidence.Row) map[string]permission.Rights {
		by := map[string]permission.Rights{}
		for _, r := range rows {
			if r.Type == event.Directory {
				by[r.ChildParent()] = permission.Rules{}.Rights(who, permission.Directory{UID: r.UID, GID: r.GID, Mode: r.Mode, ACL: r.ACL})
			}
		}
		return by
	}
	own, today := rights(of), rights(newest)
	out := map[string]evidence.Row{}
	for _, r := range of {
		listed, known := true, true
		for i, c := range r.Parent {
			if c != '/' {
				continue
			}
			dir := r.Parent[:i+1]
			may := own[dir]
			if now, there := today[dir]; there { // one that is no longer there is as open as the one above it
				may &= now
			}
			listed = listed && may.Has(permission.Read) && (dir == r.Parent || may.Has(permission.Search))
			known = known && may.Has(permission.Search)
		}
		switch {
		case listed && known:
			out[r.Path()] = r
		case listed:
			out[r.Path()] = evidence.Row{Parent: r.Parent, Name: r.Name, Type: r.Type, Hidden: evidence.HiddenAttributes}
		}
	}
	return out
}

// sumsAgainstModel holds the sums of all versions against the model, by the rights that they have and those of today.
func sumsAgainstModel(t *testing.T, f *fixture, key string, who permission.Identity, history [][]evidence.Row) {
	t.Helper()
	for i, rows := range history {
		sum := rows[0].Own()
		for _, r := range seen(who, rows, history[len(history)-1]) {
			if r.Hidden == 0 && r.Parent != "" {
				sum = sum.Plus(r.Own())
			}
		}
		got := f.as(key, "metadata", "path", "/", "version", fmt.Sprint(i+1)).is(200).object()["subtree"].(map[string]any)
		if got["files"] != float64(sum.Files) || got["bytes"] != float64(sum.Bytes) || got["directories"] != float64(sum.Directories) || got["allocated"] != float64(sum.Allocated) {
			t.Fatalf("sum of version %d as %v: %v, not %+v", i+1, who, got, sum)
		}
	}
}

// seenSums are the sums of all directories that a user sees of a version, with the root "", and what is allocated at and below the root if
// each file counts once.
func seenSums(who permission.Identity, rows, newest []evidence.Row) (sums map[string]evidence.Totals, once int64) {
	sums, counted := map[string]evidence.Totals{"": rows[0].Own()}, map[uint64]bool{}
	once = sums[""].Allocated
	all := seen(who, rows, newest)
	for path, r := range all {
		if r.Hidden != 0 || r.Parent == "" {
			continue
		}
		if r.Type == event.Directory {
			if _, known := sums[path]; !known {
				sums[path] = evidence.Totals{LatestMtimeNs: evidence.NoMtime}
			}
			sums[path] = sums[path].Plus(r.Own())
		}
		for i, c := range r.Parent {
			if dir := r.Parent[:i]; c == '/' {
				of, known := sums[dir]
				if !known {
					of.LatestMtimeNs = evidence.NoMtime
				}
				sums[dir] = of.Plus(r.Own())
			}
		}
		if r.Type == event.Directory || r.Links < 2 || !counted[r.Inode.ID] {
			own := r.Own()
			once += own.Allocated
			counted[r.Inode.ID] = r.Type != event.Directory && r.Links > 1
		}
	}
	return sums, once
}

// reportsAgainstModel holds the reports that use stored sums where they may against the model.
func reportsAgainstModel(t *testing.T, f *fixture, key string, who permission.Identity, history [][]evidence.Row) {
	t.Helper()
	newest := history[len(history)-1]
	after, _ := seenSums(who, newest, newest)
	for i, rows := range history {
		if i == 1 { // the oldest and the newest
			continue
		}
		version := fmt.Sprint(i + 1)
		before, once := seenSums(who, rows, newest)
		got := f.as(key, "metadata", "path", "/", "version", version, "links_once", "true").is(200).object()["subtree"].(map[string]any)
		if got["allocated"] != float64(once) {
			t.Fatalf("each file once, in version %s as %v: %v, not %d", version, who, got, once)
		}
		if root := (permission.Directory{UID: rows[0].UID, GID: rows[0].GID, Mode: rows[0].Mode, ACL: rows[0].ACL}); !(permission.Rules{}).Rights(who, root).Has(permission.Read) {
			continue // TestReadersSeeWhatFindShows has what is refused
		}
		answered := f.as(key, "reports/largest", "type", "d", "limit", "1000", "version", version)
		if answered.status == http.StatusForbidden { // the newest root is closed
			continue
		}
		largest := map[string]string{}
		for _, e := range answered.is(200).object()["entries"].([]any) {
			sub := e.(map[string]any)["subtree"].(map[string]any)
			largest[pathOf(t, e.(map[string]any))] = fmt.Sprint(sub["bytes"], sub["files"], sub["allocated"])
		}
		want := map[string]string{}
		for path, sum := range before {
			if path != "" {
				want[path] = fmt.Sprint(float64(sum.Bytes), float64(sum.Files), float64(sum.Allocated))
			}
		}
		if !maps.Equal(largest, want) {
			t.Fatalf("largest directories of version %s as %v:\n got %v\nwant %v", version, who, largest, want)
		}
		answered = f.as(key, "reports/growth", "since", version, "depth", "3", "limit", "1000")
		if answered.status == http.StatusForbidden {
			continue
		}
		grown := map[string]string{}
		for _, e := range answered.is(200).object()["entries"].([]any) {
			g := e.(map[string]any)
			grown[pathOf(t, g)] = fmt.Sprint(g["bytes"], g["files"], g["directories"])
		}
		want = map[string]string{}
		for path := range joined(before, after) {
			differs := path != "" && strings.Count(path, "/") <= 3
			for dir := path; differs && dir != ""; dir = dir[:strings.LastIndexByte(dir, '/')] { // below what is equal nothing is compared
				differs = total(before, dir) != total(after, dir)
			}
			if differs {
				b, a := total(before, path), total(after, path)
				want[path] = fmt.Sprint(float64(a.Bytes-b.Bytes), float64(a.Files-b.Files), float64(a.Directories-b.Directories))
			}
		}
		if !maps.Equal(grown, want) {
			t.Fatalf("growth since version %s as %v:\n got %v\nwant %v", version, who, grown, want)
		}
	}
}

func joined(a, b map[string]evidence.Totals) map[string]evidence.Totals {
	all := maps.Clone(a)
	maps.Copy(all, b)
	return all
}

// total is what a directory has; one that is not there has nothing.
func total(of map[string]evidence.Totals, path string) evidence.Totals {
	if t, there := of[path]; there {
		return t
	}
	return evidence.Totals{LatestMtimeNs: evidence.NoMtime}
}

// What is open below a directory is not read for the reports of a user: they read what an administrator's read, and the rights.
func TestReportsOfUsersReadOpenDirectoriesOnce(t *testing.T) {
	f := newFixture(t)
	rows := []evidence.Row{owned("/", 0o755, 0, 0), owned("/locked", 0o700, 1003, 100), file("/locked/hidden.log", 1)}
	for d := range 20 {
		rows = append(rows, owned(fmt.Sprintf("/d%02d", d), 0o755, 1001, 100), owned(fmt.Sprintf("/d%02d/sub", d), 0o755, 1001, 100))
		for i := range 60 {
			r := file(fmt.Sprintf("/d%02d/sub/f%03d", d, i), 1)
			r.Inode = event.Inode{Links: 1, Allocated: 4096}
			if d == 7 && i >= 58 {
				r.Inode = event.Inode{Links: 2, Allocated: 4096, ID: 7}
			}
			rows = append(rows, r)
		}
	}
	before := treeOf(rows...)
	f.base(testView, before)
	after := treeOf(append(rows, file("/d09/sub/new", 7), file("/locked/new", 8))...)
	f.delta(testView, change(before, after))
	key := f.userKey(alice)
	for _, question := range [][]string{
		{"reports/growth", "since", "1", "depth", "3"}, {"metadata", "path", "/", "links_once", "true"}, {"reports/largest", "type", "d"}, {"metadata", "path", "/"},
	} {
		target := viewURL(question[0], question[1:]...)
		all, user := f.asks(queryKey, http.MethodGet, target, "application/json")[0], f.asks(key, http.MethodGet, target, "application/json")[0]
		if all.status != http.StatusOK || user.status != http.StatusOK {
			t.Fatalf("%q: %s\n%s", question, all.answer, user.answer)
		}
		if user.cost.GroupsRead > all.cost.GroupsRead+10 || user.cost.Rows > all.cost.Rows+50 {
			t.Errorf("%q reads %+v for a user, %+v for an administrator", question, user.cost, all.cost)
		}
	}
}

// diffsAgainstModel holds the diffs between all versions against the model: what differs is what differs of what is seen.
func diffsAgainstModel(t *testing.T, f *fixture, key string, who permission.Identity, history [][]evidence.Row) {
	t.Helper()
	for from := range history {
		for to := range history {
			before, after := seen(who, history[from], history[len(history)-1]), seen(who, history[to], history[len(history)-1])
			want := map[string]string{}
			for path, r := range before {
				if now, there := after[path]; !there {
					want[path] = "removed"
				} else if evidence.FieldsOf(&r, &now) != 0 {
					want[path] = "changed"
				}
			}
			for path := range after {
				if _, there := before[path]; !there {
					want[path] = "added"
				}
			}
			got := map[string]string{}
			for cursor := ""; ; {
				params := []string{"from", fmt.Sprint(from + 1), "to", fmt.Sprint(to + 1), "limit", "37"}
				if cursor != "" {
					params = append(params, "cursor", cursor)
				}
				page := f.as(key, "diff", params...).is(200).object()
				for _, e := range page["entries"].([]any) {
					c := e.(map[string]any)
					got[pathOf(t, c)] = c["change"].(string)
				}
				if cursor, _ = page["next_cursor"].(string); cursor == "" {
					break
				}
			}
			if !maps.Equal(got, want) {
				t.Fatalf("diff from %d to %d as %v:\n got %v\nwant %v", from+1, to+1, who, got, want)
			}
		}
	}
}

// A user may have scanned what the user sees, so many times an hour; what is hidden is as if it did not exist, and the jobs of others are.
func TestUsersScans(t *testing.T) {
	f := newFixture(t)
	all, _ := shared()
	f.base(testView, all)
	f.lead("s1")
	key, bob := f.userKey(alice), f.userKey(permission.NewIdentity(1002, 101))
	scan := func(key, path string) *answer { return f.as(key, "tree", "path", path, "on_demand_scan", "true") }
	ofAll := f.call("tree", "path", "/", "on_demand_scan", "true").is(200).object()["job"].(map[string]any)["job_id"].(string)
	hidden, absent := scan(key, "/closed/hidden-dir"), scan(key, "/closed/no-such-dir")
	if x, y := strings.ReplaceAll(string(hidden.is(404).body), "hidden-dir", "no-such-dir"), string(absent.is(404).body); x != y {
		t.Errorf("a hidden path: %s; an absent one: %s", x, y)
	}
	scan(key, "/closed").problem(403, "may not list")
	mine := scan(key, "/project").is(200).object()["job"].(map[string]any)
	if mine["job_id"] == ofAll {
		t.Error("a user is given the job of somebody else")
	}
	if again := scan(key, "/project").is(200).object()["job"].(map[string]any); again["job_id"] != mine["job_id"] {
		t.Errorf("the same scan is another job: %v", again)
	}
	id := mine["job_id"].(string)
	if _, err := job.Apply(t.Context(), f.st, testView, id, "s1", job.Report{For: "s1", State: job.Failed, Files: 77, Error: "/project/locked/hidden.log"}, f.now.UnixNano(), rand2.Reader); err != nil {
		t.Fatal(err)
	}
	shown := f.as(key, "jobs/"+id).is(200).object()
	if shown["files"] != 0.0 || strings.Contains(fmt.Sprint(shown), "hidden") || shown["state"] != "failed" {
		t.Errorf("the job shows what is hidden: %v", shown)
	}
	if n := f.as(key, "jobs").is(200).object()["count"]; n != 1.0 {
		t.Errorf("alice sees %v jobs", n)
	}
	f.as(bob, "jobs/"+id).problem(404)
	f.as(key, "jobs/"+ofAll).problem(404)
	if n := f.call("jobs").object()["count"]; n != 2.0 {
		t.Errorf("an administrator sees %v jobs", n)
	}
	config := viewconfig.Default(testView)
	config.UserScans = 2
	if err := viewconfig.Save(t.Context(), f.st, config); err != nil {
		t.Fatal(err)
	}
	f.now = f.now.Add(2 * viewconfig.KnownFor)
	scan(key, "/home/alice").is(200)
	scan(key, "/home").problem(429, "within an hour")
	scan(bob, "/home").is(200)
	f.now = f.now.Add(time.Hour)
	scan(key, "/home").is(200)
}
