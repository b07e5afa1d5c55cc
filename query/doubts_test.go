package query

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// doubtfulView is a base of rows, of which few are doubtful, and a delta that clears one mark and sets another.
func doubtfulView(t *testing.T, f *fixture, scale int) {
	t.Helper()
	var rows []evidence.Row
	for i := range 600 * scale {
		r := file(fmt.Sprintf("/d/f%05d", i), 1)
		switch i {
		case 100, 300 * scale, 590 * scale:
			r.AgentMissing = true
		case 200, 310 * scale:
			r.SuspectUntil = f.now.UnixNano() + 60e9
		}
		rows = append(rows, r)
	}
	f.base(testView, treeOf(rows...))
	cleared, gone, written := file(fmt.Sprintf("/d/f%05d", 300*scale), 2), file("/d/f00005", 1), file(fmt.Sprintf("/d/f%05d", 310*scale), 9)
	gone.Removed, gone.AgentMissing, gone.ObservedAt = true, true, observed+5e9
	f.delta(testView, []evidence.Row{gone, cleared, written})
}

func TestBlindSpots(t *testing.T) {
	f := newFixture(t)
	doubtfulView(t, f, 1)
	a := f.call("blind-spots").is(http.StatusOK).object()
	additions, deletions := a["additions"].([]any), a["deletions"].([]any)
	if a["additions_count"] != 2.0 || a["deletion_count"] != 1.0 || deletions[0] != "/d/f00005" {
		t.Fatalf("blind spots are %v", a)
	}
	equal(t, "additions", paths(t, additions), []string{"/d/f00100", "/d/f00590"})
	if found := a["deletion_details"].([]any)[0].(map[string]any)["found_at"]; found != float64(observed+5e9)/1e9 {
		t.Fatalf("the deletion was found at %v", found)
	}
	if stats := f.call("stats").object(); stats["has_blind_spot"] != true || stats["suspect_file_count"] != 1.0 {
		t.Fatalf("stats say %v", stats)
	}
	// Below a path, nothing else counts.
	if a := f.call("blind-spots", "path", "/d/f00100").object(); a["additions_count"] != 1.0 && a["additions_count"] != 0.0 {
		t.Fatalf("of a file: %v", a)
	}
}

// Pages are of one version, and between them hold everything once.
func TestBlindSpotPages(t *testing.T) {
	for limit := 1; limit <= 4; limit++ {
		f := newFixture(t)
		doubtfulView(t, f, 1)
		var found []string
		for cursor := ""; ; {
			params := []string{"limit", fmt.Sprint(limit)}
			if cursor != "" {
				params = append(params, "cursor", cursor)
			}
			a := f.call("blind-spots", params...).is(http.StatusOK).object()
			if a["additions_count"] != 2.0 || a["deletion_count"] != 1.0 {
				t.Fatalf("counts of a page: %v", a)
			}
			page := paths(t, a["additions"].([]any))
			for _, p := range a["deletions"].([]any) {
				page = append(page, "-"+p.(string))
			}
			if len(page) > limit || len(page) == 0 {
				t.Fatalf("a page of %d: %q", limit, page)
			}
			found = append(found, page...)
			f.delta(testView, []evidence.Row{file(fmt.Sprintf("/d/new%d", len(found)), 1)})
			next, more := a["next_cursor"].(string)
			if !more {
				break
			}
			cursor = next
		}
		equal(t, "blind spots", found, []string{"/d/f00100", "/d/f00590", "-/d/f00005"})
	}
}

func TestSuspectList(t *testing.T) {
	f := newFixture(t)
	doubtfulView(t, f, 1)
	a := f.call("suspect-list").is(http.StatusOK)
	if want := `"path":"/d/f00200"`; !strings.HasPrefix(string(a.body), "[{") || !strings.Contains(string(a.body), want) || strings.Count(string(a.body), `"path"`) != 1 {
		t.Fatalf("the list is %s", a.body)
	}
	if !strings.Contains(string(a.body), `"suspect_until":`) {
		t.Fatalf("the list is %s", a.body)
	}
	f.do(http.MethodPut, viewURL("suspect-list"), `{"updates":[{"path":"/d/f00200","mtime":5}]}`, "X-API-Key", queryKey).is(http.StatusOK)
	f.do(http.MethodPut, viewURL("suspect-list"), `{"updates":5}`, "X-API-Key", queryKey).problem(http.StatusBadRequest, "suspect update")
	f.now = f.now.Add(61e9)
	if a := f.call("suspect-list").is(http.StatusOK); string(a.body) != "[]" {
		t.Fatalf("after its time the list is %s", a.body)
	}
}

// Row groups without marks are not read: of eight in the base, and the delta's one, three have blind spots.
func TestDoubtsReadMarkedGroupsOnly(t *testing.T) {
	f := newFixture(t)
	doubtfulView(t, f, 100)
	f = serve(t, f.st)
	a := f.call("blind-spots").is(http.StatusOK)
	var gets, bytes int64
	if _, err := fmt.Sscanf(a.header.Get("Fustor-Cost"), "gets=%d, bytes=%d", &gets, &bytes); err != nil {
		t.Fatal(err)
	}
	// The head, the index, three row groups of the base and one of the delta; a group has some 60 KB.
	if gets > 7 {
		t.Fatalf("it took %s", a.header.Get("Fustor-Cost"))
	}
}

// A view that is to be live is not read while nobody leads it; who leads it can be asked all the same.
func TestLiveView(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	calls := []string{"tree", "list", "metadata", "stats", "suspect-list", "blind-spots"}
	for _, c := range calls {
		f.call(c).is(http.StatusOK)
	}
	if f.call("stats").object()["has_leader"] != false {
		t.Fatal("somebody leads")
	}
	f.commit(testView, func(m *manifest.Manifest) { m.Live = true })
	for _, c := range calls {
		if a := f.call(c); a.header.Get("Retry-After") == "" {
			t.Errorf("%s says nothing of when to try again", c)
		} else {
			a.problem(http.StatusServiceUnavailable, "live", "no agent leads")
		}
	}
	f.call("search", "pattern", "a").problem(http.StatusServiceUnavailable, "live")
	f.call("sessions").is(http.StatusOK)
	f.do(http.MethodGet, "/healthz", "").is(http.StatusOK)
	f.lead("s")
	for _, c := range calls {
		f.call(c).is(http.StatusOK)
	}
	if f.call("stats").object()["has_leader"] != true {
		t.Fatal("nobody leads")
	}
}

// Every answer says how old it is.
func TestFreshnessHeaders(t *testing.T) {
	f := newFixture(t)
	m := f.base(testView, sample())
	for _, c := range []string{"tree", "list", "metadata", "stats", "suspect-list", "blind-spots"} {
		for _, accept := range []string{"application/json", ndjson} {
			h := f.get(viewURL(c), "Accept", accept).is(http.StatusOK).header
			if h.Get("Fustor-Version") != fmt.Sprint(m.Version) || h.Get("Fustor-Observed-At") == "" {
				t.Errorf("%s: %v", c, h)
			}
		}
	}
}

// Partitions without a mark are not even looked at, so that the totals of everything cost the same however many there are.
func TestUnmarkedLayersAreNotRead(t *testing.T) {
	f := newFixture(t)
	var base []layer.Info
	var all []evidence.Row
	rng := rand.New(rand.NewPCG(1, 1)) // names without a pattern make indexes that do not fit into head
	for part := range 20 {
		for i := range 1200 {
			all = append(all, file(fmt.Sprintf("/d%02d/f%04d-%016x", part, i, rng.Uint64()), 1))
		}
	}
	marked := file("/d07/f0003", 1)
	marked.AgentMissing = true
	rows := treeOf(all...)
	for len(rows) > 0 {
		n := min(len(rows), 1200)
		base, rows = append(base, f.layer(testView, rows[:n])), rows[n:]
	}
	reads := func() uint64 {
		st := store.Count(f.st)
		s, err := New(Options{Store: st, Authenticator: f.server.keys})
		if err != nil {
			t.Fatal(err)
		}
		req := httptest.NewRequest("GET", viewURL("stats"), nil)
		req.Header.Set("X-API-Key", queryKey)
		answer := httptest.NewRecorder()
		s.Handler().ServeHTTP(answer, req)
		if want := `"has_blind_spot":` + fmt.Sprint(len(f.last[testView].Deltas) == 1); !strings.Contains(answer.Body.String(), want) {
			t.Fatalf("not %s: %s", want, answer.Body)
		}
		return st.Counts().Get
	}
	f.commit(testView, func(m *manifest.Manifest) { m.Base = base })
	if n := reads(); n > 4 {
		t.Errorf("%d reads without a mark", n)
	}
	f.delta(testView, []evidence.Row{marked})
	if n := reads(); n > 6 {
		t.Errorf("%d reads where a delta has a mark", n)
	}
	marked.AgentMissing = false
	f.delta(testView, []evidence.Row{marked})
	if n := reads(); n > 7 {
		t.Errorf("%d reads where a delta clears the mark of another", n)
	}
	// A version of before says nothing of marks: everything is looked at, and the answer is the same.
	f.commit(testView, func(m *manifest.Manifest) {
		m.Base = slices.Clone(m.Base)
		for i := range m.Base {
			m.Base[i].Marks = nil
		}
	})
	if n := reads(); n < 20 {
		t.Errorf("%d reads where layers do not say", n)
	}
}
