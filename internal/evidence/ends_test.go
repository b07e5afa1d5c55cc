package evidence

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
)

// What agents say of a tree; the agents' file systems show no old states, but those of network listings do.
func putAt(at int64, p string, kind event.Type) saw {
	return saw{by: Provenance{At: at, Evidence: event.Realtime, Skew: 4, Agent: "a", Source: "s"}, path: p, entry: &event.Entry{Type: kind, MtimeNs: at - 3}}
}

func deleteAt(at int64, p string) saw {
	s := putAt(at, p, event.File)
	s.entry = nil
	return s
}

// listAt is of a directory that was last changed 3 before; entries are files of that time, or directories if their names end with a slash.
func listAt(at int64, p string, entries ...string) saw {
	s := putAt(at, p, event.Directory)
	s.by.Evidence, s.lists = event.Audit, true
	for _, name := range entries {
		e := event.Entry{Name: name, Type: event.File, MtimeNs: at - 3}
		if n := len(name) - 1; name[n] == '/' {
			e.Name, e.Type = name[:n], event.Directory
		}
		s.entries = append(s.entries, e)
	}
	return s
}

// since is what a listing saw of files that were last changed at a time.
func since(mtime int64, s saw) saw {
	s.entries = slices.Clone(s.entries)
	for i := range s.entries {
		s.entries[i].MtimeNs = mtime
	}
	return s
}

// old is by a client that may show a state from up to 40 before: no change of the directory or its entries is newer.
func old(s saw) saw {
	s.by.Lag, s.entry.MtimeNs = treeRules.Staleness, 9
	s.entries = slices.Clone(s.entries)
	for i := range s.entries {
		s.entries[i].MtimeNs = 9
	}
	return s
}

// newer is a listing of a directory that has changed a little before, by which what it lacks is gone.
func newer(s saw) saw {
	e := *s.entry
	e.MtimeNs, s.entry = s.by.At-13, &e
	return s
}

// everyOrder is what a tree comes to, in all orders of the events with a fold for each, and in one fold.
func everyOrder(t *testing.T, all []saw) string {
	t.Helper()
	results := map[string]string{}
	note := func(tr tree, how string) {
		text := ""
		for _, p := range treePaths {
			if r := tr[p]; r != nil && !r.Removed {
				text += fmt.Sprintf("%s %s %d", p, r.Type, r.ObservedAt)
				if r.AgentMissing {
					text += " blind"
				}
				text += "; "
			}
		}
		results[text] = how
	}
	once := tree{}
	once.fold(all)
	note(once, "one fold")
	var permute func(done, rest []saw)
	permute = func(done, rest []saw) {
		if len(rest) == 0 {
			tr := tree{}
			for _, s := range done {
				tr.fold([]saw{s})
			}
			note(tr, fmt.Sprint(done))
		}
		for i := range rest {
			permute(append(slices.Clone(done), rest[i]), slices.Delete(slices.Clone(rest), i, i+1))
		}
	}
	permute(nil, all)
	if len(results) != 1 {
		t.Errorf("the order matters: %v", results)
	}
	for only := range results {
		return only
	}
	return ""
}

// TestEnds: what was there before a directory ended is gone, in whichever order that comes out, and what came after it stays.
func TestEnds(t *testing.T) {
	const file, dir = event.File, event.Directory
	for _, c := range []struct {
		name string
		said []saw
		want string
	}{
		{"a late put below a deleted directory", []saw{putAt(100, "/a", dir), deleteAt(300, "/a"), putAt(290, "/a/b", file)}, ""},
		{"a put below it afterwards: the directory is assumed", []saw{deleteAt(300, "/a"), putAt(290, "/a/b", file), putAt(310, "/a/d", file)}, "/ directory 0; /a directory 0; /a/d file 310; "},
		{"at the very moment of the end: it stands", []saw{deleteAt(300, "/a"), putAt(300, "/a/b", file)}, "/ directory 0; /a directory 0; /a/b file 300; "},
		{"at that moment, and listed before", []saw{listAt(150, "/a", "b"), deleteAt(300, "/a"), putAt(300, "/a/b", file)}, "/ directory 0; /a directory 0; /a/b file 300; "},
		{"a directory again does not bring back what was in it", []saw{putAt(100, "/a/b", file), deleteAt(200, "/a"), putAt(300, "/a", dir)}, "/ directory 0; /a directory 300; "},
		{"nor what was further below", []saw{putAt(100, "/a/b/c", file), deleteAt(200, "/a"), putAt(300, "/a/b", dir)}, "/ directory 0; /a directory 0; /a/b directory 300; "},
		{"a file in its place ends it, too", []saw{putAt(100, "/a/b", file), putAt(200, "/a", file), putAt(300, "/a", dir)}, "/ directory 0; /a directory 300; "},
		{"so does a file of before a second end", []saw{putAt(100, "/a/b", file), putAt(200, "/a", file), deleteAt(250, "/a"), putAt(300, "/a", dir)}, "/ directory 0; /a directory 300; "},
		{"a directory reported twice, after what is in it, ends nothing", []saw{putAt(200, "/a/b", file), putAt(250, "/a", dir), putAt(300, "/a", dir)}, "/ directory 0; /a directory 300; /a/b file 200; "},
		{"a listing that may show what was before the end, and a report of after it", []saw{deleteAt(200, "/a"), newer(old(listAt(230, "/a", "b"))), putAt(205, "/a/b", file)}, "/ directory 0; /a directory 230 blind; /a/b file 205; "},
		{"the same, and another listing lacks it, but is of before", []saw{deleteAt(200, "/a"), newer(old(listAt(230, "/a", "b"))), old(listAt(236, "/a")), putAt(205, "/a/b", file)}, "/ directory 0; /a directory 230 blind; /a/b file 205; "},
		{"reported before a scan that missed the directory, and listed later as it was before that", []saw{listAt(200, "/"), putAt(190, "/a/b", file), old(listAt(225, "/a", "b"))}, "/ directory 200 blind; /a directory 225 blind; "},
		{"a directory reported twice ends nothing", []saw{putAt(100, "/a", dir), putAt(200, "/a/b", file), putAt(300, "/a", dir)}, "/ directory 0; /a directory 300; /a/b file 200; "},
		{"a listing without it ends it", []saw{putAt(100, "/a", dir), putAt(110, "/a/b", file), listAt(200, "/"), putAt(150, "/a/d", file)}, "/ directory 200 blind; "},
		{"a listing of a file in its place ends it", []saw{putAt(110, "/a/b", file), listAt(200, "/", "a"), putAt(300, "/a", dir)}, "/ directory 200 blind; /a directory 300; "},
		{"reported after such a listing", []saw{listAt(200, "/"), putAt(210, "/a/d", file)}, "/ directory 200 blind; /a directory 0; /a/d file 210; "},
		{"listed before the directory ended", []saw{listAt(150, "/a", "b"), deleteAt(200, "/a"), putAt(300, "/a", dir)}, "/ directory 0; /a directory 300; "},
		{"listed after it ended", []saw{deleteAt(200, "/a"), listAt(250, "/a", "b", "d/")}, "/ directory 0; /a directory 250 blind; /a/b file 250 blind; /a/d directory 250 blind; "},
		{"listed after it, by a client that may show what was before", []saw{deleteAt(200, "/a"), old(listAt(230, "/a", "b"))}, ""},
		{"listed so much later that it may not", []saw{deleteAt(200, "/a"), old(listAt(241, "/a", "b"))}, "/ directory 0; /a directory 241 blind; /a/b file 241 blind; "},
		{"one scan misses the directory, and the next finds it as it was", []saw{putAt(100, "/a/b", file), listAt(200, "/"), listAt(250, "/", "a/"), listAt(251, "/a", "b")},
			"/ directory 250 blind; /a directory 251 blind; /a/b file 251 blind; "},
		{"a listing of an old state does not end what was reported within staleness before", []saw{putAt(190, "/a/b", file), old(listAt(200, "/"))}, "/ directory 200 blind; /a directory 0; /a/b file 190; "},
		{"what was in it long before does end", []saw{putAt(150, "/a/b", file), old(listAt(200, "/"))}, "/ directory 200 blind; "},
		{"nor does one of a file in its place", []saw{putAt(190, "/a/b", file), old(listAt(200, "/", "a"))}, "/ directory 200 blind; /a directory 0; /a/b file 190; "},
		{"the ends above and below count together", []saw{putAt(150, "/a/b/c", file), deleteAt(200, "/a/b"), deleteAt(100, "/a"), putAt(300, "/a/b", dir)}, "/ directory 0; /a directory 0; /a/b directory 300; "},
		{"gone in between, as a listing says", []saw{putAt(140, "/a/b", file), listAt(150, "/a"), since(137, listAt(200, "/a", "b"))}, "/ directory 0; /a directory 200 blind; /a/b file 200 blind; "},
		{"an assumed directory whose content ends is gone", []saw{putAt(100, "/a/b/c", file), deleteAt(200, "/a/b/c")}, ""},
	} {
		if got := everyOrder(t, c.said); got != c.want {
			t.Errorf("%s: it comes to %q\nwant %q", c.name, got, c.want)
		}
	}
}

// TestTombstonesBelowEnds: what ended with a directory says so: when, by which kind of evidence, and that it is no blind spot.
func TestTombstonesBelowEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		said []saw
		want Row
	}{
		{"deleted", []saw{putAt(110, "/a/b", event.File), deleteAt(200, "/a")}, Row{ObservedAt: 200, Evidence: event.Realtime, Watermark: 200}},
		{"not listed", []saw{putAt(110, "/a/b", event.File), listAt(200, "/")}, Row{ObservedAt: 200, Evidence: event.Audit, Watermark: 200}},
		{"not listed, and found by a scan", []saw{listAt(110, "/a", "b"), listAt(200, "/")}, Row{ObservedAt: 200, Evidence: event.Audit, Watermark: 200}},
		{"deleted, and found by a scan", []saw{listAt(110, "/a", "b"), deleteAt(200, "/a")}, Row{ObservedAt: 200, Evidence: event.Realtime, Watermark: 200}},
		{"deleted before", []saw{putAt(110, "/a/b", event.File), deleteAt(150, "/a/b"), deleteAt(200, "/a")}, Row{ObservedAt: 150, Evidence: event.Realtime, Watermark: 146}},
	} {
		tr := tree{}
		for _, s := range c.said {
			tr.fold([]saw{s})
		}
		got := *tr["/a/b"]
		if !got.Removed || got.AgentMissing || got.ObservedAt != c.want.ObservedAt || got.Evidence != c.want.Evidence || got.Watermark != c.want.Watermark || got.Path() != "/a/b" {
			t.Errorf("%s: %+v", c.name, got)
		}
	}
}

// TestEndsOutliveTheirReports: the hour in which evidence may come late is over, the report of the end is forgotten, and what was below it is still void.
func TestEndsOutliveTheirReports(t *testing.T) {
	const later = 300 + 2*Memory
	tr := tree{}
	for _, s := range []saw{deleteAt(300, "/a"), listAt(later, "/", "a/"), putAt(290, "/a/b", event.File), putAt(310, "/a/d", event.File)} {
		tr.fold([]saw{s})
	}
	if b, d := tr["/a/b"], tr["/a/d"]; tr["/a"].EndedAt != 300 || b != nil && !b.Removed || d == nil || d.Removed {
		t.Errorf("/a %+v, b %+v, d %+v", tr["/a"], b, d)
	}
}

// TestPathsAreKept: a path of which nothing is left has its names.
func TestPathsAreKept(t *testing.T) {
	tr := tree{}
	for _, s := range []saw{putAt(100, "/a/b/c", event.File), deleteAt(200, "/a/b/c")} {
		tr.fold([]saw{s})
	}
	for p, r := range tr {
		if r.Path() != p || !r.Removed {
			t.Errorf("%s: %+v", p, r)
		}
	}
}

// TestLawEarlierEndsChangeNothing: that a directory ended before all evidence on what is in it changes nothing.
func TestLawEarlierEndsChangeNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		never, ended := newEntry(), newEntry()
		ended.floor = rapid.SampledFrom([]Ends{{Reported: 500}, {Observed: 500}, {Reported: 500, Observed: 600}, {Reported: 600, Observed: 500}}).Draw(t, "ends")
		all := draw(t)
		for i := range all {
			all[i] = later(all[i], 1000)
			if e := all[i].claim.Entry; e != nil && rapid.IntRange(0, 3).Draw(t, "directory") == 0 {
				all[i] = aDirectory(all[i])
			}
		}
		if rapid.Bool().Draw(t, "an hour later") {
			all = append(all, again(t, 1400+Memory, 3)...)
		}
		for i, s := range all {
			never.say(s)
			ended.say(s)
			if never.known != ended.known || never.row != ended.row {
				t.Fatalf("after %+v\n%+v, and below an end\n%+v", all[:i+1], never.row, ended.row)
			}
		}
	})
}

// TestDirectoriesOfWhichNothingIsSaid: what is said of their entries is understood by their listings, which are as before.
func TestDirectoriesOfWhichNothingIsSaid(t *testing.T) {
	tr := tree{}
	tr.fold([]saw{listAt(100, "/a", "b")})
	row := *tr["/a"]
	o := treeRules.Resolve(&row, true, nil, true, &ParentState{})
	if o.Changed || o.Raised || len(o.Before) != 1 || !slices.Equal(o.Before, o.After) || len(o.Outdated) != 0 {
		t.Errorf("%+v", o)
	}
}

// TestRowsAfterEndsRememberNoMore: what came after a directory ended, in the same fold, is remembered as if it had not ended: the end is remembered above.
func TestRowsAfterEndsRememberNoMore(t *testing.T) {
	for _, c := range []struct {
		name string
		said []saw
	}{
		{"deleted", []saw{putAt(110, "/a/b", event.File), deleteAt(200, "/a"), listAt(250, "/", "a/"), listAt(252, "/a", "b")}},
		{"not listed", []saw{putAt(110, "/a/b", event.File), listAt(200, "/"), listAt(250, "/", "a/"), listAt(252, "/a", "b")}},
		{"not listed, and found by a scan", []saw{listAt(110, "/a", "b"), listAt(200, "/"), listAt(250, "/", "a/"), listAt(252, "/a", "b")}},
		{"not listed, and reported afterwards", []saw{listAt(110, "/a", "b"), listAt(200, "/"), putAt(250, "/a", event.Directory), putAt(252, "/a/b", event.File)}},
		{"deleted, and reported afterwards", []saw{listAt(110, "/a", "b"), deleteAt(200, "/a"), putAt(250, "/a", event.Directory), putAt(252, "/a/b", event.File)}},
		{"deleted, and there is a directory now", []saw{putAt(110, "/a/b/c", event.File), deleteAt(200, "/a"), putAt(250, "/a", event.Directory), putAt(252, "/a/b", event.Directory)}},
		{"not listed, and there is a directory now", []saw{putAt(110, "/a/b/c", event.File), listAt(200, "/"), putAt(250, "/a", event.Directory), putAt(252, "/a/b", event.Directory)}},
	} {
		tr := tree{}
		tr.fold(c.said)
		if b := tr["/a/b"]; b.Removed || b.ObservedAt != 252 || b.History != "" || b.EndedAt != 0 {
			t.Errorf("%s: %+v", c.name, b)
		}
	}
}

// TestLaterEvidenceRaisesNothing: what is said of a directory after the one above ended is no end of its own, below which all were to be resolved again.
func TestLaterEvidenceRaisesNothing(t *testing.T) {
	for _, floor := range []Ends{{Observed: 200}, {Reported: 200}, {Reported: 150, Observed: 200}} {
		row, parent := Row{Parent: "/", Name: "f"}, &ParentState{Floor: floor}
		for i, at := range []int64{200 + 2*testRules.Staleness, 300 + 2*testRules.Staleness} {
			o := testRules.Resolve(&row, i > 0, []Claim{aDirectory(put(at, at-50)).claim}, true, parent)
			if o.Ends != floor || o.Raised || row.EndedAt != 0 || row.History != "" || row.ObservedAt != at {
				t.Errorf("below %+v: ends %+v, raised: %v: %+v", floor, o.Ends, o.Raised, row)
			}
		}
	}
}

// TestVoidEvidenceMakesNoRow: where all that is said of a path is void, there is nothing to remember; unless it may come to something with what is said later.
func TestVoidEvidenceMakesNoRow(t *testing.T) {
	for _, first := range []saw{deleteAt(200, "/a"), listAt(200, "/")} {
		tr := tree{}
		tr.fold([]saw{first})
		for _, s := range []saw{putAt(110, "/a/b", event.File), listAt(120, "/a", "b")} {
			if tr.fold([]saw{s}); tr["/a/b"] != nil {
				t.Errorf("after %s, %s: %+v", first, s, tr["/a/b"])
			}
		}
	}
	tr := tree{}
	tr.fold([]saw{deleteAt(200, "/a")})
	tr.fold([]saw{newer(old(listAt(230, "/a", "b"))), old(listAt(236, "/a"))})
	tr.fold([]saw{putAt(205, "/a/b", event.File)})
	if b := tr["/a/b"]; b == nil || b.Removed || b.ObservedAt != 205 {
		t.Errorf("reported late after the end, and listed since as it was before: %+v", b)
	}
}
