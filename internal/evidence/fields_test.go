package evidence

import (
	"testing"

	"github.com/fustor/fustor/internal/event"
)

// fields are those of an entry, each with a change of it, and whether kernels report such a change.
var fields = []struct {
	name     string
	change   func(*event.Entry)
	reported bool
}{
	{"type", func(e *event.Entry) { e.Type = event.Symlink }, true},
	{"size", func(e *event.Entry) { e.Size++ }, true},
	{"mtime", func(e *event.Entry) { e.MtimeNs++ }, true},
	{"mode", func(e *event.Entry) { e.Mode++ }, true},
	{"uid", func(e *event.Entry) { e.UID++ }, true},
	{"gid", func(e *event.Entry) { e.GID++ }, true},
	{"target", func(e *event.Entry) { e.Target = "elsewhere" }, true},
	{"last access", func(e *event.Entry) { e.AtimeDay++ }, false},
	{"links", func(e *event.Entry) { e.Links++ }, false},
	{"allocated", func(e *event.Entry) { e.Allocated++ }, false},
	{"ctime", func(e *event.Entry) { e.CtimeNs++ }, false},
	{"inode", func(e *event.Entry) { e.ID++ }, false},
	{"birth", func(e *event.Entry) { e.BirthS++ }, false},
	{"acl", func(e *event.Entry) { e.ACL = event.NoACL }, false},
}

// full is a claim of an entry that says something of every field.
func full(s said) said {
	s = native(s)
	e := s.claim.Entry
	e.Size, e.AtimeDay = 5, 3
	e.Inode = event.Inode{Links: 2, Allocated: 4096, CtimeNs: 50, ID: 12, BirthS: 1, ACL: "acl"}
	return s
}

func changed(s said, change func(*event.Entry)) said {
	s = full(s)
	change(s.claim.Entry)
	return s
}

// TestEveryFieldCounts: whichever field a listing shows otherwise, the row has it; it is a blind spot if a kernel would have reported it.
func TestEveryFieldCounts(t *testing.T) {
	for _, c := range fields {
		for _, before := range [][]said{{full(put(100, 50))}, {full(put(100, 50)), full(listed(500, 50, event.Audit))}, {full(listed(100, 50, event.Snapshot))}} {
			e := newEntry()
			for _, s := range before {
				e.say(s)
			}
			s := changed(listed(1000, 50, event.Audit), c.change)
			e.say(s)
			want := *s.claim.Entry
			want.Name = ""
			if e.row.entry() != want || e.row.ObservedAt != 1000 || e.row.AgentMissing != c.reported {
				t.Errorf("%s: after %d events: %+v", c.name, len(before), e.row)
			}
			e.say(changed(listed(2000, 50, event.Audit), c.change))
			if e.row.ObservedAt != 1000 {
				t.Errorf("%s: seen again, it changes: %+v", c.name, e.row)
			}
		}
	}
	// Scans themselves read directories and links, and what is not measured has no day.
	for name, change := range map[string]func(*event.Entry){
		"directory": func(e *event.Entry) { e.Type = event.Directory }, "symlink": func(e *event.Entry) { e.Type = event.Symlink }, "not measured": func(e *event.Entry) { e.Inode = event.Inode{} }} {
		e := newEntry()
		e.say(changed(put(100, 50), change))
		e.say(changed(listed(1000, 50, event.Audit), func(e *event.Entry) { change(e); e.AtimeDay++ }))
		if e.row.ObservedAt != 100 || e.row.AtimeDay != 3 {
			t.Errorf("%s: the day of the last access changes it: %+v", name, e.row)
		}
	}
}

// TestReportsOfOneInstant come to the same row in either order, in whichever field they differ: a put stands against a deletion, a closed
// file against an open one.
func TestReportsOfOneInstant(t *testing.T) {
	base := full(put(100, 50))
	others := map[string]said{"gone": gone(100), "open": full(writing(100, 50)), "agent": by(full(put(100, 50)), "b"),
		"source": func() said { s := base; s.claim.Source = "z"; return s }()}
	for _, c := range fields {
		others[c.name] = changed(put(100, 50), c.change)
	}
	for name, other := range others {
		for _, before := range [][]said{nil, {full(put(60, 40))}, {gone(60)}, {full(listed(60, 40, event.Audit))}} {
			one, two := newEntry(), newEntry()
			for _, s := range before {
				one.say(s)
				two.say(s)
			}
			one.say(base)
			one.say(other)
			two.say(other)
			two.say(base)
			if one.row != two.row {
				t.Errorf("%s: %+v\nin the other order %+v", name, one.row, two.row)
			}
			if (name == "gone" || name == "open") && (one.row.Removed || one.row.SuspectUntil != 0) {
				t.Errorf("%s: %+v", name, one.row)
			}
		}
	}
	// What there was before a deletion is no part of it.
	for _, before := range [][]said{nil, {full(put(60, 40))}, {full(put(60, 40)), full(put(70, 50))}} {
		for _, agents := range [][]string{{"a", "0"}, {"0", "a"}} {
			e := newEntry()
			for _, s := range before {
				e.say(s)
			}
			for _, agent := range agents {
				e.say(by(gone(100), agent))
			}
			if !e.row.Removed || e.row.Agent != "a" {
				t.Errorf("after %d puts, by %v: %+v", len(before), agents, e.row)
			}
		}
	}
}

// TestRowsOfColumnsAlone: a row without a history is understood from its columns: listings that agree leave it as it is, whatever it rests on and
// whatever the view has learned of clocks since.
func TestRowsOfColumnsAlone(t *testing.T) {
	for _, how := range []event.Evidence{event.Realtime, event.Snapshot, event.Audit, event.OnDemand} {
		for _, c := range []struct{ removed, blind bool }{{false, false}, {false, true}, {true, false}, {true, true}} {
			if c.blind && how == event.Realtime {
				continue
			}
			row := Row{Parent: "/", Name: "f", Type: event.File, Mode: 0o644, Size: 1, MtimeNs: 50, ObservedAt: 500, Evidence: how, AgentMissing: c.blind, Agent: "a", Source: "s"}
			if row.Removed = c.removed; c.removed {
				row.Watermark = 493
			}
			claim := listed(1000, 50, event.Audit)
			claim.claim.Entry.Mode = 0o644
			if c.removed {
				claim = unlisted(1000, 900)
			}
			was := row
			for _, at := range []int64{1000, 2000} {
				claim.claim.At, claim.listing.At = at, at
				testRules.Resolve(&row, true, []Claim{claim.claim}, true, &ParentState{After: []Listing{*claim.listing}})
				row.History = ""
				if row != was {
					t.Errorf("%s: %+v becomes\n%+v", how, was, row)
				}
			}
		}
	}
}

// TestRemovedDirectoriesHoldNothing: what ends has no totals, and is not open to anybody.
func TestRemovedDirectoriesHoldNothing(t *testing.T) {
	for name, s := range map[string]said{"deleted": gone(300), "not listed": local(unlisted(300, 290)), "a file": put(300, 290)} {
		row := Row{Parent: "/", Name: "f", Type: event.Directory, MtimeNs: 50, ObservedAt: 100, Evidence: event.Realtime, Agent: "a", Source: "s", Sub: Totals{Files: 3}, Open: true}
		parent := &ParentState{}
		if s.listing != nil {
			parent.After = []Listing{*s.listing}
		}
		testRules.Resolve(&row, true, []Claim{s.claim}, false, parent)
		if row.Sub != (Totals{}) || row.Open {
			t.Errorf("%s: %+v", name, row)
		}
	}
}

// TestAssumedDirectories: a directory that was assumed keeps when something at its path ended, and is assumed no longer once it is reported.
func TestAssumedDirectories(t *testing.T) {
	row := Row{Parent: "/", Name: "f", Type: event.File, ObservedAt: 100, Evidence: event.Realtime, Agent: "a", Source: "s", Removed: true, Watermark: 90, EndedAt: 120}
	testRules.Assume(&row, true, &ParentState{})
	if s := testRules.decode(&row, true, &ParentState{}); row.EndedAt != 120 || row.Removed || row.Type != event.Directory || !s.assumed || s.report == nil || !s.report.Gone {
		t.Errorf("%+v has %+v", row, s)
	}
	d := put(300, 290).claim
	d.Entry.Type = event.Directory
	o := testRules.Resolve(&row, true, []Claim{d}, true, &ParentState{})
	if s := testRules.decode(&row, true, &ParentState{}); s.assumed || row.ObservedAt != 300 || o.Ends.Reported != 120 {
		t.Errorf("%+v has %+v", row, s)
	}
}

// remembered is what a row's evidence comes to, as its directory is now.
func remembered(row *Row, parent *ParentState) (verdict, state) {
	now := &ParentState{Before: parent.After, After: parent.After}
	s := testRules.decode(row, true, now)
	s.recall(testRules, row.Name, now.Before)
	s.complete()
	return s.judge(), s
}
