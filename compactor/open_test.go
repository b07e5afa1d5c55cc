package compactor

import (
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/permission"
	"github.com/fustor/fustor/testkit/sim"
)

// TestOpenFollowsFromWhatChanged: whether a directory is open follows from its rights and those of what is in it, whatever of that changes and whatever of
// it is looked at: what was, what goes, what comes, what is no directory any more, and a directory that is assumed for what is in it.
func TestOpenFollowsFromWhatChanged(t *testing.T) {
	h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(time.Now)}
	h.c = h.compactor(Options{})
	rapid.Check(t, func(t *rapid.T) {
		directory := func(label string) evidence.Row {
			r := evidence.Row{Type: event.Directory, Mode: rapid.SampledFrom([]uint32{0o755, 0o700, 0o40755, 0}).Draw(t, label+" mode"), Open: true}
			if r.Mode != 0 { // else it has the rights of what is none
				r.UID = rapid.SampledFrom([]uint32{1, 2}).Draw(t, label+" user")
			}
			return r
		}
		// What may be under a name: a directory, which may keep others out of what is in it, something else, or nothing, of which a row may remember what it was.
		entry := func(label string) (r evidence.Row) {
			switch rapid.SampledFrom([]string{"directory", "directory", "file", "gone", "none"}).Draw(t, label) {
			case "directory":
				r = directory(label)
				r.Open = rapid.Bool().Draw(t, label+" is open")
			case "file":
				r.Type = event.File
			case "gone":
				r = evidence.Row{Type: event.Directory, Removed: true}
			}
			return r
		}
		there := func(r *evidence.Row) bool { return r.Type != 0 }
		lets := func(r *evidence.Row, above evidence.Row) bool {
			return !isDir(r, there(r)) || r.Open && (r.Mode&0o777 == 0o755 || r.Mode&0o777 == 0o700 && above.Mode&0o777 == 0o700 && r.UID == above.UID || above.Mode&0o777 == 0)
		}
		n := &node{row: directory("now"), known: true, wasDir: rapid.IntRange(0, 3).Draw(t, "it was there") > 0, whole: rapid.IntRange(0, 3).Draw(t, "whole") == 0}
		n.row.Parent, n.row.Name = "/", "n"
		is := n.row
		if n.wasDir {
			n.was = n.row
			if rapid.IntRange(0, 3).Draw(t, "it changed") == 0 {
				n.was = directory("was")
			}
		}
		if rapid.IntRange(0, 7).Draw(t, "assumed") == 0 {
			n.row.Removed = rapid.Bool().Draw(t, "it is gone")
			n.known = n.row.Removed
			is.Mode, is.UID = 0, 0
		}
		type change struct{ was, is evidence.Row }
		changes := map[string]change{}
		open, directories := true, int64(1)
		out := h.c.newDelta(h.ctx, viewName)
		if err := out.append(&evidence.Row{Parent: "/m/", Name: "x", Type: event.Directory}); err != nil { // beside it
			t.Fatal(err)
		}
		for _, name := range []string{"a", "b", "c"} {
			c := change{is: entry(name)}
			if n.wasDir {
				if c.was = c.is; rapid.Bool().Draw(t, name+" changes") {
					c.was = entry(name + " before")
				}
			}
			for _, r := range []*evidence.Row{&c.was, &c.is} {
				r.Parent, r.Name = "/n/", name
			}
			changes[name] = c
			n.was.Open = n.was.Open && lets(&c.was, n.was)
			open = open && lets(&c.is, is)
			if isDir(&c.is, true) {
				directories++
			}
			if there(&c.was) {
				if err := out.append(&c.was); err != nil {
					t.Fatal(err)
				}
			}
		}
		if err := out.append(&evidence.Row{Parent: "/n/a/", Name: "x", Type: event.Directory}); err != nil { // below it
			t.Fatal(err)
		}
		layers, err := out.finish()
		if err != nil {
			t.Fatal(err)
		}
		view, err := layer.OpenView(h.store, viewName, nil, layers, h.c.cache)
		if err != nil {
			t.Fatal(err)
		}
		for name, c := range changes {
			same := c.was == c.is
			switch {
			case same && !n.whole && rapid.Bool().Draw(t, name+" is not looked at"):
			case same && rapid.Bool().Draw(t, name+" is looked at only"):
				if isDir(&c.is, there(&c.is)) {
					n.keepsClosed(&c.is)
				}
			default:
				n.noteOpen(&node{row: c.is, was: c.was, known: there(&c.is), wasDir: isDir(&c.was, there(&c.was))})
			}
		}
		n.row, n.known = is, true
		n.row.Parent, n.row.Name, n.row.Sub.Directories = "/", "n", directories
		w := &walk{ctx: h.ctx, view: view}
		if got, err := w.open(n, "/n/"); err != nil || got != open {
			t.Fatalf("%+v, was %+v, with %+v: open: %v, %v", n.row, n.was, changes, got, err)
		}
	})
}

// TestRightsOf a row: those of the directory that it is; nothing else has any.
func TestRightsOf(t *testing.T) {
	row := evidence.Row{Type: event.Directory, Mode: 0o41750, UID: 1, GID: 2, Inode: event.Inode{ACL: "acl"}}
	if got := rightsOf(&row, true); got != (permission.Directory{UID: 1, GID: 2, Mode: 0o750, ACL: "acl"}) {
		t.Errorf("%+v", got)
	}
	removed, file := row, row
	removed.Removed, file.Type = true, event.File
	for _, r := range []struct {
		row   evidence.Row
		known bool
	}{{row, false}, {removed, true}, {file, true}} {
		if got := rightsOf(&r.row, r.known); got != (permission.Directory{}) {
			t.Errorf("%+v, known: %v: %+v", r.row, r.known, got)
		}
	}
}

// TestOpenHeals: that a row of an earlier build does not say that its directory is open counts no more once all that is in it is known.
func TestOpenHeals(t *testing.T) {
	for _, whole := range []bool{false, true} {
		n := &node{row: evidence.Row{Type: event.Directory, Mode: 0o755, Sub: evidence.Totals{Directories: 1}}, known: true, wasDir: true, whole: whole}
		if n.was = n.row; whole {
			n.row.Sub.Directories = 2
		}
		if open, err := (&walk{}).open(n, "/n/"); err != nil || !open {
			t.Errorf("all is visited: %v: open: %v, %v", whole, open, err)
		}
	}
}
