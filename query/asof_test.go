package query

import (
	"encoding/json"
	"fmt"
	"html"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/testkit/cases"
	"github.com/fustor/fustor/testkit/sim"
)

// askedThen are calls whose answers as of a time are what they were then.
var askedThen = []string{
	"tree", "tree?path=/data&max_depth=1", "list?path=/data", "list?sort=mtime", "metadata?path=/data", "metadata?links_once=true", "search?name=*.dat",
	"search?name=*&newer_than=3d", "search?name=*&changed_after=2024-01-01", "stats", "stats?path=/data", "suspect-list", "suspect-list?path=/data", "blind-spots",
	"reports/largest", "reports/largest?older_than=1d&type=f", "reports/usage", "reports/usage?across=mtime", "reports/histogram?of=mtime", "reports/empty-directories?newer_than=2w",
	"reports/odd", "reports/duplicates?min_size=0",
}

// asStream is a call that is answered as NDJSON.
const asStream = "search?name=*"

// noted are the answers of a time.
type noted struct {
	at        time.Time
	version   uint64 // of the test's view
	published int64  // when it was published, ns
	answers   map[string]*answer
	ofForest  map[string]*answer
}

// past is a view, another one and a forest of both, over a turned clock.
type past struct {
	*fixture
	random *rand.Rand
	rows   []evidence.Row
	notes  []noted
	owners bool     // changes give files, and /data, to others
	modes  []uint32 // changes give /data one of them, and other directories 0755
}

func newPast(t *testing.T, seed uint64) *past {
	begin := time.Date(2024, 2, 28, 23, 30, 0, 0, time.UTC)
	var f *fixture
	st := sim.NewStore(func() time.Time {
		if f == nil {
			return begin
		}
		return f.now
	})
	f = serve(t, st)
	f.now, f.dated = begin, true
	f.inLeaves(seed%2 == 1)
	f.forest("all", testView, "other")
	return &past{fixture: f, random: rand.New(rand.NewPCG(seed, 1)), rows: sample()}
}

// change publishes a version of a view with some rows changed.
func (p *past) change(view string) {
	for range 1 + p.random.IntN(3) {
		r := file(fmt.Sprintf("/data/%c.dat", 'a'+rune(p.random.IntN(12))), p.random.Int64N(5))
		r.MtimeNs = p.now.Add(-time.Duration(p.random.IntN(10)) * 24 * time.Hour).UnixNano()
		r.AgentMissing = p.random.IntN(4) == 0
		if p.owners {
			r.UID, r.GID = uint32(1000+p.random.IntN(3)), uint32(100+p.random.IntN(2))
		}
		if p.random.IntN(2) == 0 {
			r.SuspectUntil = p.now.Add(time.Duration(1+p.random.IntN(100)) * time.Minute).UnixNano()
		}
		p.rows = slices.DeleteFunc(p.rows, func(old evidence.Row) bool { return old.Path() == r.Path() })
		if p.random.IntN(4) > 0 {
			p.rows = append(p.rows, r)
		}
	}
	p.rows = treeOf(p.rows...)
	for i := range p.rows {
		if p.owners && p.rows[i].Path() == "/data" {
			p.rows[i].UID = uint32(1000 + p.random.IntN(3))
		}
		if len(p.modes) > 0 && p.rows[i].Type == event.Directory {
			p.rows[i].Mode, p.rows[i].ACL = 0o755, event.NoACL
			if p.rows[i].Path() == "/data" {
				p.rows[i].Mode = p.modes[p.random.IntN(len(p.modes))]
			}
		}
	}
	p.base(view, p.rows)
}

// note asks every call as it is.
func (p *past) note() {
	n := noted{version: p.last[testView].Version, published: p.last[testView].FoldedAt, answers: map[string]*answer{}, ofForest: map[string]*answer{}}
	for _, call := range askedThen {
		n.answers[call] = p.get("/api/v1/views/" + testView + "/" + call).is(200)
		n.ofForest[call] = p.get("/api/v1/views/all/" + call).is(200)
	}
	n.at = time.Unix(0, p.server.engine.Now()) // the server knows the store's time to the second
	n.answers[asStream] = p.get("/api/v1/views/"+testView+"/"+asStream, "Accept", ndjson).is(200)
	p.notes = append(p.notes, n)
}

// live publishes versions for a year and a half, at times that are seconds to weeks apart.
func (p *past) live() {
	for _, view := range []string{"other", testView} {
		p.now = p.now.Add(time.Minute)
		p.change(view)
	}
	for range 20 {
		p.change([]string{testView, testView, "other"}[p.random.IntN(3)])
		p.note()
		steps := []time.Duration{3 * time.Second, 5 * time.Minute, 7 * time.Hour, 30 * 24 * time.Hour}
		p.now = p.now.Add(steps[p.random.IntN(len(steps))] + time.Duration(p.random.IntN(10))*time.Second + 2*time.Second)
		p.note() // the version is older by now, and fewer files are suspect
		p.now = p.now.Add(2 * time.Second)
	}
	p.change(testView)
	p.now = p.now.Add(time.Hour)
}

// as adds a parameter to a call.
func as(call, name, value string) string {
	join := "?"
	if strings.Contains(call, "?") {
		join = "&"
	}
	return call + join + name + "=" + url.QueryEscape(value)
}

// TestAsOf: each call as of each time at which it was asked answers what it answered then, byte for byte: by the time in several forms, by
// the version's number and by a pin; of a forest, by the time.
func TestAsOf(t *testing.T) {
	for seed := range uint64(cases.Of(2)) {
		p := newPast(t, seed)
		p.live()
		for i, n := range p.notes {
			ago := time.Unix(0, p.server.engine.Now()).Sub(n.at)
			times := []string{n.at.UTC().Format(time.RFC3339Nano), fmt.Sprintf("@%d.%09d", n.at.Unix(), n.at.Nanosecond()), ago.String()}
			published := time.Unix(0, n.published).UTC().Format(time.RFC3339)
			for call, then := range n.answers {
				headers := []string{}
				if call == asStream {
					headers = []string{"Accept", ndjson}
				}
				ask := func(name, value string) *answer {
					return p.get("/api/v1/views/"+testView+"/"+as(call, name, value), headers...).is(200)
				}
				p.same(ask("as_of", times[i%3]), then)
				if i%4 == 0 {
					p.same(ask("version", fmt.Sprint(n.version)), ask("as_of", published))
					p.same(ask("as_of", fmt.Sprint(n.version)), ask("as_of", published))
				}
			}
			for call, then := range n.ofForest {
				p.same(p.get("/api/v1/views/all/"+as(call, "as_of", times[i%3])), then)
			}
		}
	}
}

// read reads a manifest.
func (p *past) read(key string) *manifest.Manifest {
	p.t.Helper()
	m, err := manifest.NewLeaves(0, 0).LoadKey(p.t.Context(), p.st, testView, key)
	if err != nil {
		p.t.Fatal(err)
	}
	return m
}

// same checks that an answer is what another was.
func (p *past) same(now, then *answer) {
	p.t.Helper()
	if now.status != then.status || string(now.body) != string(then.body) {
		p.t.Fatalf("%s: %d %s\nbut %s was %d %s", now.what, now.status, now.body, then.what, then.status, then.body)
	}
	for _, name := range []string{"ETag", "Fustor-Version", "Fustor-Observed-At", "Content-Type", "Fustor-Members"} {
		if now.header.Get(name) != then.header.Get(name) {
			p.t.Fatalf("%s: %s: %s, but %s has %s", now.what, name, now.header.Get(name), then.what, then.header.Get(name))
		}
	}
}

// TestAsOfThinned: where a version was removed, a time means the newest kept one before it; and where there is none, or the number of a
// removed one was asked for, 410 has the kept ones next to it.
func TestAsOfThinned(t *testing.T) {
	p := newPast(t, 7)
	p.live()
	last := p.last[testView]
	kept := []uint64{3, 4, 8, last.Version}
	published := map[uint64]time.Time{}
	for n, m := last.Version, last; ; n-- {
		published[n] = time.Unix(0, m.FoldedAt)
		if n == 1 {
			break
		}
		m = p.read(m.Parent)
		if !slices.Contains(kept, m.Version) {
			if err := p.st.Delete(t.Context(), m.Key()); err != nil {
				t.Fatal(err)
			}
		}
	}
	near := func(a *answer, before, after uint64) {
		t.Helper()
		problem := a.problem(http.StatusGone, "kept")
		for name, version := range map[string]uint64{"before": before, "after": after} {
			nearest, _ := problem["nearest"].(map[string]any)
			found, _ := nearest[name].(map[string]any)
			if version == 0 && found == nil {
				continue
			}
			if fmt.Sprint(found["version"]) != fmt.Sprint(version) || found["published_at"] != float64(published[version].Unix()) {
				t.Errorf("%s: %s: %v, not version %d of %v", a.what, name, found, version, published[version])
			}
		}
	}
	for number := uint64(1); number <= last.Version; number++ {
		a := p.call("list", "version", fmt.Sprint(number))
		if slices.Contains(kept, number) {
			a.is(200)
			continue
		}
		before, after := uint64(0), uint64(0)
		for _, k := range kept {
			if k < number {
				before = k
			} else if after == 0 {
				after = k
			}
		}
		near(a, before, after)
		asked := published[number].Format(time.RFC3339)
		if before == 0 {
			near(p.call("stats", "as_of", asked), 0, after)
			continue
		}
		if got := p.call("stats", "as_of", asked).is(200).header.Get("Fustor-Version"); got != fmt.Sprint(before) {
			t.Errorf("as of version %d, which is removed, %s answers, not %d", number, got, before)
		}
	}
	near(p.call("metadata", "as_of", "3y"), 0, kept[0])
	near(p.call("metadata", "version", "1000"), last.Version, 0)
	near(p.call("diff", "from", "2", "to", "3"), 0, 3)
}

// Calls that name a version by other parameters than as_of and version, and those that are of no version: of what goes on now, or of all
// versions. Every other reading call of a view takes as_of and version.
var (
	ofVersions = map[string][]string{"diff": {"from", "to"}, "changes": {"after"}, "reports/growth": {"since", "as_of", "version"}}
	ofNone     = []string{"complete", "log", "versions", "reports/trend", "jobs", "jobs/{job_id}", "sessions"}
)

// TestEveryCallKnowsWhatIsKept: whichever reading call of the document, and whichever page, is asked about a version that is not kept, it
// answers 410 with the kept versions next to it; and about a name that is no pin, 400 in the words of the call.
func TestEveryCallKnowsWhatIsKept(t *testing.T) {
	p := newPast(t, 7)
	p.live()
	last := p.last[testView]
	published := map[uint64]int64{}
	for n, m := last.Version, last; n > 0; n-- {
		published[n] = m.FoldedAt / 1e9
		gone := m
		if m = nil; n > 1 {
			m = p.read(gone.Parent)
		}
		if n < 3 || n == 6 || n == 7 {
			if err := p.st.Delete(t.Context(), gone.Key()); err != nil {
				t.Fatal(err)
			}
		}
	}
	then := func(n uint64) string { return time.Unix(published[n], 0).UTC().Format(time.RFC3339) }
	gone := []struct {
		text          string
		before, after uint64
	}{{"7", 5, 8}, {"1", 0, 3}, {"1000", last.Version, 0}, {then(2), 0, 3}, {"5y", 0, 3}}
	var d struct {
		Paths map[string]map[string]struct {
			Parameters []struct{ Name string }
		}
	}
	if err := json.Unmarshal(documentOf(t, p.server), &d); err != nil {
		t.Fatal(err)
	}
	asked := 0
	for path, methods := range d.Paths {
		call, ofView := strings.CutPrefix(path, "/api/v1/views/{view_id}/")
		operation, reads := methods["get"]
		if !ofView || !reads || slices.Contains(ofNone, call) {
			continue
		}
		parameters, special := ofVersions[call]
		if !special {
			parameters = []string{"as_of", "version"}
		}
		params := []string{}
		if call == "search" {
			params = append(params, "pattern", "*")
		}
		for _, parameter := range parameters {
			if !slices.ContainsFunc(operation.Parameters, func(has struct{ Name string }) bool { return has.Name == parameter }) {
				t.Errorf("%s does not take %s; if it is about no version, ofNone names it", path, parameter)
				continue
			}
			ask := func(text string) *answer {
				asked++
				more := append(slices.Clone(params), parameter, text)
				if parameter == "to" {
					more = append(more, "from", "3")
				}
				return p.call(call, more...)
			}
			for _, g := range gone {
				if parameter == "version" && strings.ContainsAny(g.text, ":y") {
					continue
				}
				problem := ask(g.text).problem(http.StatusGone, "kept")
				nearest, _ := problem["nearest"].(map[string]any)
				for side, want := range map[string]uint64{"before": g.before, "after": g.after} {
					found, _ := nearest[side].(map[string]any)
					switch {
					case want == 0 && found != nil:
						t.Errorf("%s, %s=%s: %s is %v", path, parameter, g.text, side, found)
					case want != 0 && (found["version"] != float64(want) || found["published_at"] != float64(published[want])):
						t.Errorf("%s, %s=%s: %s is %v, not version %d of %s", path, parameter, g.text, side, found, want, then(want))
					}
				}
			}
			words := []string{parameter, "no-such-pin", "no pin"}
			if parameter == "version" {
				words = []string{parameter, "integer"}
			}
			ask("no-such-pin").problem(http.StatusBadRequest, words...)
		}
	}
	if asked < 100 {
		t.Errorf("only %d questions were asked", asked)
	}
	for _, page := range []string{"/browse/" + testView, "/browse/" + testView + "/data", "/browse/" + testView + "?q=a"} {
		for _, g := range gone {
			a := p.get(as(page, "as_of", g.text), "Accept", "text/html").is(http.StatusGone)
			for _, want := range []uint64{g.before, g.after} {
				if want != 0 && !strings.Contains(string(a.body), time.Unix(published[want], 0).UTC().Format("2006-01-02")) {
					t.Errorf("%s as of %s does not name version %d of %s: %s", page, g.text, want, then(want), a.body)
				}
			}
		}
		if a := p.get(as(page, "as_of", "no-such-pin"), "Accept", "text/html").is(http.StatusBadRequest); !strings.Contains(string(a.body), "no pin") {
			t.Errorf("%s: %s", page, a.body)
		}
	}
}

// TestAsOfPin: a pinned name is a version wherever one is named.
func TestAsOfPin(t *testing.T) {
	p := newPast(t, 3)
	p.live()
	err := history.ChangePins(t.Context(), p.st, testView, func() (string, error) { return "nonce", nil }, func(pins history.Pins) error {
		pins["before-cleanup"] = history.Pin{Version: 2}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, call := range askedThen {
		p.same(p.get("/api/v1/views/"+testView+"/"+as(call, "as_of", "before-cleanup")), p.get("/api/v1/views/"+testView+"/"+as(call, "version", "2")).is(200))
	}
	p.same(p.call("diff", "from", "before-cleanup", "to", "4"), p.call("diff", "from", "2", "to", "4").is(200))
	p.same(p.call("reports/growth", "since", "before-cleanup", "version", "4"), p.call("reports/growth", "since", "2", "as_of", "4").is(200))
}

// TestAsOfRefused: what is wrong is said in the words of the call.
func TestAsOfRefused(t *testing.T) {
	p := newPast(t, 4)
	p.live()
	p.call("list", "as_of", "yesterdy").problem(http.StatusBadRequest, `parameter "as_of": "yesterdy" is neither a version nor a time`, "no pin")
	p.call("list", "as_of", "").problem(http.StatusBadRequest, "empty")
	p.call("list", "version", "0").problem(http.StatusBadRequest, "version")
	p.call("list", "version", "2", "as_of", "2").problem(http.StatusBadRequest, "cannot be combined")
	p.call("tree", "on_demand_scan", "true", "as_of", "1d").problem(http.StatusBadRequest, "on_demand_scan")
	p.call("versions", "as_of", "1d").problem(http.StatusBadRequest, "unknown parameter")
	p.call("reports/growth", "since", "5", "version", "4").problem(http.StatusBadRequest, "later than")
	p.of("all", "list", "version", "1").problem(http.StatusBadRequest, "forest")
	p.of("all", "list", "as_of", "before-cleanup").problem(http.StatusBadRequest, "forest")
	// A cursor goes on with its own question alone.
	first := p.call("list", "path", "/data", "limit", "2", "as_of", "2").is(200).object()
	cursor := first["next_cursor"].(string)
	p.call("list", "path", "/data", "limit", "2", "cursor", cursor, "as_of", "3").problem(http.StatusBadRequest, "other parameters")
	p.call("list", "path", "/data", "limit", "2", "cursor", cursor).problem(http.StatusBadRequest, "other parameters")
}

// TestAsOfPages: the pages of an answer are of the version that its first page was of, whatever the time means by then.
func TestAsOfPages(t *testing.T) {
	for _, view := range []string{testView, "all"} {
		p := newPast(t, 5)
		p.live()
		published := time.Unix(0, p.last[testView].FoldedAt)
		ago := fmt.Sprintf("%ds", int(p.now.Sub(published).Seconds())+1)
		whole := p.of(view, "search", "name", "*", "as_of", ago).is(200).object()
		var entries []any
		for cursor := ""; ; {
			params := []string{"name", "*", "as_of", ago, "limit", "5"}
			if cursor != "" {
				params = append(params, "cursor", cursor)
			}
			page := p.of(view, "search", params...).is(200).object()
			entries = append(entries, page["entries"].([]any)...)
			p.now = p.now.Add(time.Minute)
			if cursor, _ = page["next_cursor"].(string); cursor == "" {
				break
			}
		}
		if fmt.Sprint(entries) != fmt.Sprint(whole["entries"]) {
			t.Errorf("%s: pages have\n%v, not\n%v", view, entries, whole["entries"])
		}
		if now := p.of(view, "search", "name", "*", "as_of", ago).is(200).object(); fmt.Sprint(now["entries"]) == fmt.Sprint(entries) {
			t.Errorf("%s: %s should mean another version by now", view, ago)
		}
	}
}

// TestAsOfYoungMember: a member that has no version that old is named, and the others answer.
func TestAsOfYoungMember(t *testing.T) {
	p := newPast(t, 6)
	p.change("other")
	then := p.now
	p.now = p.now.Add(24 * time.Hour)
	p.change(testView)
	a := p.of("all", "list", "as_of", then.Format(time.RFC3339)).is(200).object()
	if a["complete"] != false || !strings.Contains(fmt.Sprint(a["members"]), "versions that old are not kept") {
		t.Errorf("%v", a)
	}
	p.of("all", "list", "as_of", "1y").problem(http.StatusGone, "versions that old are not kept")
}

// TestAsOfBrowse: every page that can be reached from one as of a version is of that version, but those that its link to the current one
// leads to, and the state of the agents.
func TestAsOfBrowse(t *testing.T) {
	p := newPast(t, 8)
	p.live()
	links := regexp.MustCompile(`href="([^"]*)"`)
	for _, begin := range []string{"/browse/" + testView + "?as_of=2", "/browse/all?as_of=" + time.Unix(0, p.last["other"].FoldedAt).UTC().Format(time.RFC3339)} {
		_, as, _ := strings.Cut(begin, "?")
		seen, todo := map[string]bool{}, []string{begin, begin + "&limit=2", begin + "&q=a&limit=2"}
		for len(todo) > 0 {
			target := todo[0]
			todo = todo[1:]
			if seen[target] {
				continue
			}
			seen[target] = true
			page := string(p.get(target).is(200).body)
			if !strings.Contains(page, "As of <b>") || !strings.Contains(page, `type="hidden" name="as_of"`) {
				t.Fatalf("%s does not say of when it is: %s", target, page)
			}
			if strings.HasPrefix(target, "/browse/"+testView) && as == "as_of=2" && !strings.Contains(page, "Version 2,") {
				t.Fatalf("%s is of another version", target)
			}
			now := strings.SplitN(strings.SplitN(page, `</b>. <a href="`, 2)[1], `"`, 2)[0]
			for _, found := range links.FindAllStringSubmatch(page, -1) {
				link := html.UnescapeString(found[1])
				switch {
				case link == html.UnescapeString(now), strings.HasPrefix(link, "/state/"), strings.HasPrefix(link, "/web/"), link == "/", link == "/openapi.json":
				case !strings.Contains(link, url.QueryEscape(strings.TrimPrefix(as, "as_of="))):
					t.Errorf("%s has the link %s", target, link)
				case strings.HasPrefix(link, "/browse/"):
					todo = append(todo, link)
				default:
					p.get(link).is(200)
				}
			}
		}
		if len(seen) < 5 {
			t.Errorf("only %d pages are reached from %s", len(seen), begin)
		}
	}
	for target, status := range map[string]int{
		"/browse/" + testView + "?as_of=9y": http.StatusGone, "/browse/" + testView + "?as_of=1000": http.StatusGone, "/browse/" + testView + "?as_of=yesterdy": http.StatusBadRequest,
		"/browse/all?as_of=2": http.StatusBadRequest, "/browse/all?as_of=2&q=a": http.StatusBadRequest, "/browse/" + testView + "?as_of=": http.StatusOK,
	} {
		p.get(target, "Accept", "text/html").is(status)
	}
}

// TestGrowthOverMonths: growth since months ago is what differs from the version of that day, however few versions are kept since.
func TestGrowthOverMonths(t *testing.T) {
	p := newPast(t, 9)
	p.live()
	p.now = time.Date(p.now.Year(), p.now.Month()+1, 15, 12, 0, 0, 0, time.UTC) // every month has such a day
	type version struct {
		number uint64
		at     int64
	}
	var chain []version // the newest first
	for m := p.last[testView]; ; m = p.read(m.Parent) {
		chain = append(chain, version{m.Version, m.FoldedAt})
		if m.Version == 1 {
			break
		}
	}
	bytes := func(params ...string) float64 {
		return p.call("metadata", append([]string{"path", "/data"}, params...)...).is(200).object()["subtree"].(map[string]any)["bytes"].(float64)
	}
	grown := 0
	for since, then := range map[string]time.Time{
		"1mo": p.now.AddDate(0, -1, 0), "2mo": p.now.AddDate(0, -2, 0), "3mo": p.now.AddDate(0, -3, 0), "5mo": p.now.AddDate(0, -5, 0), "10y": p.now.AddDate(-10, 0, 0),
	} {
		a := p.call("reports/growth", "since", since, "limit", "1000")
		at := slices.IndexFunc(chain, func(v version) bool { return v.at <= then.UnixNano() })
		if at < 0 {
			a.problem(http.StatusGone, "versions that old are not kept")
			continue
		}
		report := a.is(200).object()
		if report["since_version"] != float64(chain[at].number) {
			t.Errorf("growth since %s is since version %v, not %d", since, report["since_version"], chain[at].number)
		}
		want, got := bytes()-bytes("version", fmt.Sprint(chain[at].number)), 0.0
		for _, e := range report["entries"].([]any) {
			if e := e.(map[string]any); e["path"] == "/data" {
				got = e["bytes"].(float64)
			}
		}
		if got != want {
			t.Errorf("since %s /data has grown by %v bytes, not %v", since, got, want)
		}
		if got != 0 {
			grown++
		}
	}
	if grown < 3 {
		t.Errorf("/data has grown in %d of these times only", grown)
	}
}
