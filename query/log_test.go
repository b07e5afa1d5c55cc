package query

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/testkit/cases"
)

// life is a view whose versions a test publishes one by one, a day apart, over a turned clock.
type life struct {
	*past
	rows      []evidence.Row
	published map[uint64]*manifest.Manifest
}

func newLife(t *testing.T) *life {
	return &life{past: newPast(t, 1), rows: []evidence.Row{file("/data/other", 3)}, published: map[uint64]*manifest.Manifest{}}
}

// publish makes the next version: what it has, but for the path, and then the rows.
func (l *life) publish(without string, rows ...evidence.Row) {
	l.t.Helper()
	l.rows = slices.DeleteFunc(l.rows, func(r evidence.Row) bool {
		return r.Path() == without || slices.ContainsFunc(rows, func(n evidence.Row) bool { return n.Path() == r.Path() })
	})
	l.rows = append(l.rows, rows...)
	m := l.base(testView, treeOf(l.rows...))
	l.published[m.Version] = m
	l.now = l.now.Add(24 * time.Hour)
}

// thin removes versions, as retention does.
func (l *life) thin(versions ...uint64) {
	l.t.Helper()
	for _, n := range versions {
		if err := l.st.Delete(l.t.Context(), l.published[n].Key()); err != nil {
			l.t.Fatal(err)
		}
	}
}

// log is what the log of a path says, a line an entry.
func (l *life) log(path string, params ...string) (lines []string) {
	l.t.Helper()
	for _, e := range l.call("log", append(params, "path", path)...).is(200).object()["entries"].([]any) {
		lines = append(lines, l.line(e.(map[string]any)))
	}
	return lines
}

// line is an entry in short: change, version, the one before, the fields, and of each side size, uid and files below.
func (l *life) line(e map[string]any) string {
	l.t.Helper()
	version := uint64(e["version"].(float64))
	if at := float64(l.published[version].FoldedAt/1e9) - e["published_at"].(float64); at > 1 || at < -1 {
		l.t.Errorf("version %d was not published at %v", version, e["published_at"])
	}
	side := func(name string) string {
		s, there := e[name].(map[string]any)
		if !there {
			return "-"
		}
		if sub, isDir := s["subtree"].(map[string]any); isDir {
			return fmt.Sprintf("%v files %v bytes", sub["files"], sub["bytes"])
		}
		return fmt.Sprintf("%v of %v", s["size"], s["uid"])
	}
	return fmt.Sprintf("%s %d %v %v %s > %s", e["change"], version, e["previous_version"], e["fields"], side("before"), side("after"))
}

// TestLog: a file is made, grows, changes its owner, changes and changes back, goes and comes again; versions are thinned.
func TestLog(t *testing.T) {
	l := newLife(t)
	// The first scan is not complete in the first version, whatever that has.
	half := treeOf(append(l.rows, file("/data/x", 1))...)
	info := l.layer(testView, half)
	l.published[1] = l.commit(testView, func(m *manifest.Manifest) {
		m.Base, m.Totals, m.Scan.SnapshotDone = []layer.Info{info}, half[0].Sub, 0
	})
	l.now = l.now.Add(24 * time.Hour)

	x := func(size int64, uid uint32) evidence.Row {
		r := file("/data/x", size)
		r.UID, r.MtimeNs = uid, observed
		return r
	}
	l.publish("")                            // 2
	l.publish("", x(5, 1000))                // 3
	l.publish("", file("/data/other", 4))    // 4
	l.publish("", x(50, 1000))               // 5
	l.publish("", x(50, 1001))               // 6
	l.publish("/data/x")                     // 7
	l.publish("", file("/data/other", 4444)) // 8
	l.publish("", x(7, 1001))                // 9
	l.publish("", x(8, 1001))                // 10
	l.publish("", x(7, 1001))                // 11
	whole := []string{
		"changed 11 10 [size] 8 of 1001 > 7 of 1001",
		"changed 10 9 [size] 7 of 1001 > 8 of 1001",
		"added 9 8 <nil> - > 7 of 1001",
		"removed 7 6 <nil> 50 of 1001 > -",
		"changed 6 5 [uid] 50 of 1000 > 50 of 1001",
		"changed 5 4 [size] 5 of 1000 > 50 of 1000",
		"added 3 2 <nil> - > 5 of 1000",
	}
	equal(t, "log", l.log("/data/x"), whole)
	equal(t, "log of the directory", l.log("/data"), []string{
		"changed 11 10 [subtree] 2 files 4452 bytes > 2 files 4451 bytes",
		"changed 10 9 [subtree] 2 files 4451 bytes > 2 files 4452 bytes",
		"changed 9 8 [subtree] 1 files 4444 bytes > 2 files 4451 bytes",
		"changed 8 7 [subtree] 1 files 4 bytes > 1 files 4444 bytes",
		"changed 7 6 [subtree] 2 files 54 bytes > 1 files 4 bytes",
		"changed 5 4 [subtree] 2 files 9 bytes > 2 files 54 bytes",
		"changed 4 3 [subtree] 2 files 8 bytes > 2 files 9 bytes",
		"changed 3 2 [subtree] 1 files 3 bytes > 2 files 8 bytes",
		"existing 2 <nil> <nil> - > 1 files 3 bytes",
	})

	for limit := 1; limit < 12; limit++ {
		var lines []string
		looked := 0
		for before := ""; ; {
			params := []string{"path", "/data/x", "limit", fmt.Sprint(limit)}
			if before != "" {
				params = append(params, "before", before)
			}
			page := l.call("log", params...).is(200).object()
			for _, e := range page["entries"].([]any) {
				lines = append(lines, l.line(e.(map[string]any)))
			}
			looked += int(page["versions"].(float64))
			next, more := page["next_before"].(float64)
			if !more {
				break
			}
			before = fmt.Sprint(uint64(next))
		}
		equal(t, fmt.Sprint("pages of ", limit), lines, whole)
		if looked != 10 {
			t.Errorf("pages of %d looked at %d versions, not 10", limit, looked)
		}
	}

	l.call("log", "path", "/none").problem(404, "/none")
	if a := l.call("log", "path", "/none", "limit", "3").is(200).object(); a["found"] != false || a["next_before"] == nil {
		t.Errorf("a log of which only a part was looked at says %v", a)
	}
	l.base("other", sample())
	l.of("all", "log").problem(409, "forest")
	l.call("log", "limit", "0").problem(400, "limit")

	l.now = l.now.Add(-time.Hour)
	trend := func(path string, params ...string) (lines []string) {
		t.Helper()
		for _, e := range l.call("reports/trend", append(params, "path", path)...).is(200).object()["entries"].([]any) {
			e := e.(map[string]any)
			lines = append(lines, fmt.Sprint(e["version"], " ", e["exists"], " ", e["files"], " ", e["directories"], " ", e["bytes"]))
		}
		return lines
	}
	equal(t, "trend", trend("/data/x", "limit", "5"), []string{"7 false 0 0 0", "8 false 0 0 0", "9 true 1 0 7", "10 true 1 0 8", "11 true 1 0 7"})
	equal(t, "trend of the directory", trend("/data", "limit", "3"), []string{"9 true 2 1 4451", "10 true 2 1 4452", "11 true 2 1 4451"})
	if got := trend("/data/x"); len(got) != 10 || got[0] != "2 false 0 0 0" {
		t.Errorf("the whole trend is %q", got) // without version 1, whose scan was not complete
	}
	// Version 3 was published on day 19783 since 1970, the last of 4.
	equal(t, "trend by 4 days", trend("/data/x", "every", "4d"), []string{"3 true 1 0 5", "7 false 0 0 0", "11 true 1 0 7"})
	if a := l.call("reports/trend", "every", "4d", "limit", "2").is(200).object(); a["count"] != 2.0 || a["more"] != 1.0 {
		t.Errorf("a part of the trend says %v", a)
	}
	l.call("reports/trend", "path", "/none").problem(404, "/none")
	l.call("reports/trend", "every", "soon").problem(400, "every")
	l.call("reports/trend", "by", "extension").problem(400, "by")
	if a := l.call("reports/trend", "path", "/data/x", "limit", "3", "by", "owner").is(200).object(); fmt.Sprint(a["entries"].([]any)[0].(map[string]any)["shares"]) != "[map[allocated:0 bytes:7 directories:0 files:1 owner:1001 uid:1001 unmeasured:1]]" {
		t.Errorf("the trend of a file by owner is %v", a)
	}

	l.thin(5, 6, 10)
	equal(t, "log of what is kept", l.log("/data/x"), []string{
		"added 9 8 <nil> - > 7 of 1001",
		"removed 7 4 <nil> 5 of 1000 > -",
		"added 3 2 <nil> - > 5 of 1000",
	})
	l.thin(1, 2, 3)
	equal(t, "log without the beginning", l.log("/data/x"), []string{
		"added 9 8 <nil> - > 7 of 1001",
		"removed 7 4 <nil> 5 of 1000 > -",
		"existing 4 <nil> <nil> - > 5 of 1000",
	})
}

// comparedFields are the members of a node that a log compares; of subtree, all but latest_mtime.
var comparedFields = []string{"type", "size", "mtime_ns", "mode", "uid", "gid", "target", "allocated", "links", "ctime_ns", "inode"}

// TestLogAgainstMetadata: over random histories a log says what asking for the node in each kept version says.
func TestLogAgainstMetadata(t *testing.T) {
	for seed := range uint64(cases.Of(4)) {
		p := newPast(t, 100+seed)
		p.live()
		var kept []uint64 // the newest first
		for _, v := range p.call("versions", "limit", "1000").is(200).object()["versions"].([]any) {
			kept = append(kept, uint64(v.(map[string]any)["version"].(float64)))
		}
		if len(kept) < 5 {
			t.Fatalf("only versions %v are kept", kept)
		}
		for _, path := range []string{"/", "/data", "/data/a.dat", "/data/b.dat", "/data/c.dat", "/readme.txt", "/nothing"} {
			nodes := make([]string, len(kept)) // empty: there is none
			found := false
			for i, version := range kept {
				a := p.call("metadata", "path", path, "version", fmt.Sprint(version))
				if a.status == 404 {
					continue
				}
				node, compared := a.is(200).object(), map[string]any{}
				for _, name := range comparedFields {
					compared[name] = node[name]
				}
				if sub, ok := node["subtree"].(map[string]any); ok {
					compared["below"] = []any{sub["files"], sub["directories"], sub["others"], sub["bytes"], sub["allocated"]}
				}
				text, _ := json.Marshal(compared)
				nodes[i], found = string(text), true
			}
			var want, got []string
			for i, version := range kept {
				before := ""
				if i+1 < len(kept) {
					before = nodes[i+1]
				}
				change := "changed"
				switch {
				case nodes[i] == before:
					continue
				case i+1 == len(kept):
					change = "existing"
				case before == "":
					change = "added"
				case nodes[i] == "":
					change = "removed"
				}
				want = append(want, fmt.Sprint(change, " ", version))
			}
			a := p.call("log", "path", path)
			if !found {
				a.problem(404, path)
				continue
			}
			for _, e := range a.is(200).object()["entries"].([]any) {
				e := e.(map[string]any)
				got = append(got, fmt.Sprint(e["change"], " ", e["version"]))
			}
			equal(t, fmt.Sprint("seed ", seed, ": log of ", path), got, want)
		}
	}
}
