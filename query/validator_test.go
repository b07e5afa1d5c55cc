package query

import (
	"bytes"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/httpapi/openapi"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/cases"
)

// triedValues are a value or more for each parameter of a reading call, that the document does not list itself.
var triedValues = map[string][]string{
	"regex": {"^d"}, "pattern": {"*"}, "query": {"*"}, "name": {"*"}, "not_name": {"x*"}, "path": {"/data"}, "path_b64": {b64("/data")}, "type": {"f"},
	"limit": {"1"}, "max_depth": {"1"}, "depth": {"2"}, "before": {"1000"}, "since": {"0", "8s"}, "from": {"0", "1", "8s"}, "to": {"1", "8s"}, "perm": {"-400"}, "owner": {"1000"}, "group": {"100"},
	"min_size": {"1"}, "max_size": {"1G"}, "min_allocated": {"0"}, "max_allocated": {"1G"}, "min_links": {"0"}, "max_links": {"9"}, "inode": {"1"},
	"after": {"0", "1", "8s"}, "wait": {"0"}, "quiet": {"10s"}, "min_files": {"1"}, "min_bytes": {"1K"}, "known": {"1"}, "every": {"1h"},
	"as_of": {"5s", "@1700000000.5", "before-cleanup"}, "version": {"1"},
}

// triedTimes are values for the parameters that are times.
var triedTimes = []string{"8s", "1d", "today", "1mo", "2024-05-01", "@1700000000"}

// targets are calls of every GET route about a view: without parameters, and with each of those that the document has.
func (f *fixture) targets(view, job string) (out []string) {
	f.t.Helper()
	for _, r := range f.server.mux.Routes() {
		if r.Method != http.MethodGet || !strings.Contains(r.Pattern, "{view_id}") {
			continue
		}
		base := strings.NewReplacer("{view_id}", view, "{job_id}", job, "{path...}", "data").Replace(r.Pattern)
		fixed := ""
		if r.Operation != nil && r.Operation.ID == "search" {
			fixed = "?name=*"
		}
		out = append(out, base+fixed)
		if r.Operation == nil {
			continue
		}
		for _, p := range r.Operation.Parameters {
			if p.In != "" && p.In != "query" || p.Name == "cursor" || p.Name == "explain" { // what an answer cost is not what it says
				continue
			}
			values := triedValues[p.Name]
			switch {
			case strings.HasSuffix(p.Name, "_than") || strings.HasSuffix(p.Name, "_after") || strings.HasSuffix(p.Name, "_before"):
				values = triedTimes
			case strings.Contains(p.Schema, `"boolean"`):
				values = []string{"true", "false"}
			case strings.Contains(p.Schema, `"enum"`):
				_, list, _ := strings.Cut(p.Schema, `"enum":[`)
				list, _, _ = strings.Cut(list, "]")
				values = strings.Split(strings.ReplaceAll(list, `"`, ""), ",")
			}
			if values == nil {
				f.t.Errorf("%s: no value is known for parameter %s", base, p.Name)
			}
			for _, v := range values {
				join := "?"
				if fixed != "" && p.Name != "name" {
					join = fixed + "&"
				}
				out = append(out, base+join+p.Name+"="+url.QueryEscape(v))
			}
		}
	}
	return out
}

// TestValidators: whatever changes, a call answers 304 only if the answer would be the same; and if nothing changes, it does answer 304
// where the document says so.
func TestValidators(t *testing.T) {
	f := newFixture(t)
	f.now = time.Unix(0, observed).Add(2 * time.Second)
	rows := sample()
	for i := range rows {
		if rows[i].Name == "fresh.bin" {
			rows[i].MtimeNs, rows[i].SuspectUntil = f.now.Add(-5*time.Second).UnixNano(), f.now.Add(30*time.Second).UnixNano()
		}
	}
	f.dated = true
	at := func(ago time.Duration, view string) {
		now := f.now
		f.now = now.Add(-ago)
		f.base(view, rows)
		f.now = now
	}
	at(time.Hour, "other")
	at(time.Minute, testView)
	at(time.Second, testView) // what 5s means four seconds later
	pin := func(version uint64) {
		err := history.ChangePins(t.Context(), f.st, testView, func() (string, error) { return "n" + strconv.FormatUint(version, 10), nil }, func(p history.Pins) error {
			p["before-cleanup"] = history.Pin{Version: version}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	pin(1)
	f.forest("all", testView, "other", "missing-*")
	f.begin("s1")
	lease := func(ttl float64, age time.Duration) {
		f.put(layout.Lease(testView), session.Lease{Term: 1, Session: "s1", Nonce: "n", TTLSeconds: ttl}, age)
	}
	lease(1e9, 0)
	id, _ := f.call("tree", "on_demand_scan", "true").is(200).object()["job"].(map[string]any)["job_id"].(string)

	key := queryKey
	get := func(target, accept, tag string) *answer {
		headers := []string{"X-API-Key", key, "Accept", accept}
		if strings.HasPrefix(target, "/browse/") || strings.HasPrefix(target, "/state/") {
			headers = append(headers, "Cookie", "fustor_key="+b64(key))
		}
		if tag != "" {
			headers = append(headers, "If-None-Match", tag)
		}
		return f.do(http.MethodGet, target, "", headers...)
	}
	type call struct{ target, accept string }
	before := map[call]*answer{}
	ask := func() {
		clear(before)
		for _, view := range []string{testView, "all"} {
			for _, target := range cases.Some(f.targets(view, id)) {
				for _, accept := range []string{"application/json", ndjson} {
					before[call{target, accept}] = get(target, accept, "")
				}
			}
		}
	}
	check := func(what string) (unchanged int) {
		t.Helper()
		for c, old := range before {
			tag := old.header.Get("ETag")
			if tag == "" {
				continue
			}
			if old.status != http.StatusOK {
				t.Errorf("%s: ETag on status %d", c.target, old.status)
			}
			if get(c.target, c.accept, tag).status != http.StatusNotModified {
				continue
			}
			unchanged++
			now := get(c.target, c.accept, "")
			if now.status != old.status || !bytes.Equal(now.body, old.body) || now.header.Get("Content-Type") != old.header.Get("Content-Type") ||
				now.header.Get("Fustor-Next-Cursor") != old.header.Get("Fustor-Next-Cursor") {
				t.Errorf("%s: GET %s (%s) answers 304, but was\n%d %s\nand is\n%d %s", what, c.target, c.accept, old.status, old.body, now.status, now.body)
			}
		}
		return unchanged
	}

	ask()
	if n := check("nothing"); n < cases.Of(100) {
		t.Errorf("only %d calls answer 304 when nothing has changed", n)
	}
	for _, r := range f.server.mux.Routes() {
		if r.Operation == nil || r.Method != http.MethodGet || !strings.Contains(r.Pattern, "{view_id}") {
			continue
		}
		documented := slices.ContainsFunc(r.Operation.Answers, func(a openapi.Answer) bool { return a.Status == http.StatusNotModified })
		target := strings.NewReplacer("{view_id}", testView, "{job_id}", id).Replace(r.Pattern)
		if r.Operation.ID == "search" {
			target += "?name=*"
		}
		tag := get(target, "application/json", "").header.Get("ETag")
		if documented != (tag != "" && get(target, "application/json", tag).status == http.StatusNotModified) {
			t.Errorf("%s: ETag %q, but a documented 304 is %v", target, tag, documented)
		}
		if tag := get(target, ndjson, "").header.Get("ETag"); tag != "" && strings.Contains(get(target, ndjson, "").header.Get("Content-Type"), "ndjson") {
			t.Errorf("%s: a stream has the ETag %s", target, tag)
		}
	}

	config := viewconfig.Default(testView)
	for _, change := range []struct {
		what string
		make func()
	}{
		{"a millisecond passes", func() { f.now = f.now.Add(time.Millisecond) }},
		{"4 seconds pass", func() { f.now = f.now.Add(4 * time.Second) }},
		{"the suspicion ends", func() { f.now = f.now.Add(30 * time.Second) }},
		{"a day passes", func() { f.now = f.now.Add(24 * time.Hour) }},
		{"two months pass", func() { f.now = f.now.Add(62 * 24 * time.Hour) }},
		{"the leader goes", func() { lease(1, time.Hour); f.now = f.now.Add(2 * time.Second) }},
		{"a session comes", func() {
			f.put(layout.Session(testView, "s2"), session.Record{ID: "s2", View: testView, Agent: "a", Source: "fs://h/d", TimeoutSeconds: 30, CreatedAt: observed, Nonce: "n"}, 0)
			f.putJSON(layout.Roster(testView), `{"sessions":{"s1":{},"s2":{}},"nonce":"n"}`)
		}},
		{"the settings change", func() {
			config.Mounts = []string{"/srv/lab"}
			if err := viewconfig.Save(t.Context(), f.st, config); err != nil {
				t.Fatal(err)
			}
			f.now = f.now.Add(2 * time.Minute)
		}},
		{"a member is added", func() { f.forest("all", testView, "other", "third"); f.now = f.now.Add(2 * time.Minute) }},
		{"the members' list is shorter", func() { f.forest("all", testView); f.now = f.now.Add(2 * time.Minute) }},
		{"a pin goes to another version", func() { pin(2) }},
		{"an old version is removed", func() {
			old := *f.last[testView]
			if err := f.st.Delete(t.Context(), old.Parent); err != nil {
				t.Fatal(err)
			}
		}},
		{"a version is published", func() { f.delta(testView, []evidence.Row{file("/data/new", 7)}) }},
	} {
		ask()
		change.make()
		check(change.what)
	}

	f.forest("all", testView, "other")
	f.now = f.now.Add(2 * time.Minute)
	const narrow = "test-key-for-a-forest-and-one-member"
	if err := access.Register(t.Context(), f.st, narrow, access.Record{Name: "narrow", Roles: []access.Role{access.Query}, Views: access.Views{Names: []string{"all", "other"}}}); err != nil {
		t.Fatal(err)
	}
	ask()
	key = narrow
	check("another key asks")
}
