package evidence

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
)

// treeRules count in units of their own. Times are even and mtimes are odd, so that no two of them are the same.
var treeRules = Rules{Hot: 120, Staleness: 40, Skew: 4}

// tree is a small tree of rows, which folds change by the rules, as the compactor does with a view (compactor/walk.go).
type tree map[string]*Row

// saw is what an event says: a report of the path, or a listing of it.
type saw struct {
	by      Provenance
	path    string
	entry   *event.Entry // of a put, or of the listed directory; nil: a deletion
	lists   bool
	entries []event.Entry
}

func (s saw) claim() Claim {
	c := Claim{Provenance: s.by, Verb: Gone, Entry: s.entry}
	switch {
	case s.lists:
		l := s.listing()
		c.Verb, c.Listing = Listed, &l
	case s.entry != nil:
		c.Verb = Exists
	}
	return c
}

// String is the event as a failure shows it.
func (s saw) String() string {
	if s.entry == nil {
		return fmt.Sprintf("%d: delete %s", s.by.At, s.path)
	}
	text := fmt.Sprintf("%d: %s %s mtime %d", s.by.At, s.by.Evidence, s.path, s.entry.MtimeNs)
	if !s.lists {
		return text + " " + s.entry.Type.String()
	}
	text += fmt.Sprintf(" lag %d:", s.by.Lag)
	for _, e := range s.entries {
		text += fmt.Sprintf(" %s %s %d", e.Name, e.Type, e.MtimeNs)
	}
	return text
}

func (s saw) listing() Listing { return Listing{Provenance: s.by, MtimeNs: s.entry.MtimeNs} }

var treePaths = []string{"/", "/a", "/a/b", "/a/b/c", "/a/d", "/e"}

// fold takes in a batch of events.
func (tr tree) fold(batch []saw) { tr.visit("/", batch, &ParentState{}, false) }

func (tr tree) row(p string) (row Row, known bool) {
	if r := tr[p]; r != nil {
		return *r, true
	}
	if p == "/" {
		return Row{}, false
	}
	parent, name := path.Split(p)
	return Row{Parent: parent, Name: name}, false
}

func isDir(r *Row, known bool) bool { return known && !r.Removed && r.Type == event.Directory }

// visit resolves a path and what is in it. raised says that something above it ended.
func (tr tree) visit(p string, batch []saw, place *ParentState, raised bool) {
	row, known := tr.row(p)
	var claims []Claim
	inside := false
	for _, s := range batch {
		if s.path == p {
			claims = append(claims, s.claim())
		}
		inside = inside || s.path == p && s.lists || s.path != p && strings.HasPrefix(s.path, strings.TrimSuffix(p, "/")+"/")
	}
	claimed := len(claims) > 0
	var lack []Claim
	for _, s := range batch {
		if !s.lists || s.path != path.Dir(p) || p == "/" {
			continue
		}
		if i := slices.IndexFunc(s.entries, func(e event.Entry) bool { return e.Name == path.Base(p) }); i >= 0 {
			claims, claimed = append(claims, Claim{Provenance: s.by, Verb: Listed, Entry: &s.entries[i]}), true
		} else {
			lack = append(lack, Claim{Provenance: s.by, Verb: Unlisted, DirMtimeNs: s.entry.MtimeNs})
		}
	}
	if known || claimed || inside {
		claims = append(claims, lack...)
	}
	if len(claims) == 0 && !inside && !(raised && known) {
		return
	}
	wasDir := isDir(&row, known)
	o := treeRules.Resolve(&row, known, claims, inside, place)
	known = known || o.Changed
	if inside || (o.Changed || o.Raised || raised) && (wasDir || isDir(&row, known)) {
		below := ParentState{Before: o.Before, After: o.After, Outdated: o.Outdated, Floor: o.Ends}
		holds := false
		for _, q := range treePaths {
			if path.Dir(q) == p && q != "/" {
				tr.visit(q, batch, &below, (raised || o.Raised) && (wasDir || isDir(&row, known)))
				r, there := tr.row(q)
				holds = holds || there && !r.Removed
			}
		}
		if holds && !isDir(&row, known) {
			treeRules.Assume(&row, known, &ParentState{Before: place.After, After: place.After, Floor: place.Floor})
			known = true
		}
	}
	if known {
		tr[p] = &row
	}
}

// visible is what readers see.
func (tr tree) visible() map[string]string {
	seen := map[string]string{}
	for p, r := range tr {
		if !r.Removed {
			seen[p] = fmt.Sprintf("%s mtime=%d size=%d missing=%v suspect=%d", r.Type, r.MtimeNs, r.Size, r.AgentMissing, r.SuspectUntil)
		}
	}
	return seen
}

// drawTree draws any events at all: nothing makes them agree with each other. There are no more listings of a path than a history holds.
func drawTree(t *rapid.T) (all []saw) {
	times := rapid.Permutation(slices.Collect(func(yield func(int64) bool) {
		for i := range int64(60) {
			if !yield(2000 + 2*i) {
				return
			}
		}
	})).Draw(t, "times")
	looks := map[string]int{}
	for _, at := range times[:rapid.IntRange(1, 12).Draw(t, "n")] {
		entry := func(name string, kinds ...event.Type) event.Entry {
			return event.Entry{Name: name, Type: rapid.SampledFrom(kinds).Draw(t, "type"), Size: rapid.Int64Range(0, 2).Draw(t, "size"),
				MtimeNs: at - rapid.SampledFrom([]int64{7, 15, 85}).Draw(t, "age")}
		}
		s := saw{by: Provenance{At: at, Evidence: event.Realtime, Skew: 4, Agent: "a", Source: "s"}}
		switch rapid.SampledFrom([]string{"put", "put", "delete", "list", "list", "list"}).Draw(t, "what") {
		case "put":
			s.path = rapid.SampledFrom(treePaths[1:]).Draw(t, "path")
			e := entry(path.Base(s.path), event.File, event.Directory, event.Symlink)
			s.entry = &e
		case "delete":
			s.path = rapid.SampledFrom([]string{"/a", "/a/b", "/a/b/c", "/e"}).Draw(t, "path")
		default:
			s.path, s.lists = rapid.SampledFrom([]string{"/", "/", "/a", "/a", "/a/b"}).Draw(t, "path"), true
			if looks[s.path]++; max(looks["/"]+looks["/a"], looks["/a"]+looks["/a/b"]) > MaxObservations {
				looks[s.path]--
				continue
			}
			s.by.Evidence = rapid.SampledFrom([]event.Evidence{event.Snapshot, event.Audit, event.OnDemand}).Draw(t, "evidence")
			if !rapid.Bool().Draw(t, "local") {
				s.by.Lag = treeRules.Staleness
			}
			e := entry(path.Base(s.path), event.Directory)
			s.entry = &e
			for _, q := range treePaths {
				if q != "/" && path.Dir(q) == s.path && rapid.Bool().Draw(t, "listed") {
					s.entries = append(s.entries, entry(path.Base(q), event.File, event.Directory))
				}
			}
		}
		all = append(all, s)
	}
	return all
}

// TestLawTreesInAnyOrder: what a whole tree comes to, ends of directories and what is assumed included, does not depend on the order in which
// events come, nor on the folds that take them in.
func TestLawTreesInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := drawTree(t)
		want := tree{}
		want.fold(all)
		seed := rapid.Uint64().Draw(t, "order")
		rng := rand.New(rand.NewPCG(seed, seed))
		for range 20 {
			rest, got := slices.Clone(all), tree{}
			rng.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] })
			var folds strings.Builder
			for len(rest) > 0 {
				n := 1 + rng.IntN(min(3, len(rest)))
				got.fold(rest[:n])
				fmt.Fprintf(&folds, "%v\n", rest[:n])
				rest = rest[n:]
			}
			if one, two := want.visible(), got.visible(); !maps.Equal(one, two) {
				t.Fatalf("in one fold it comes to\n%v\nin several to\n%v\nof these folds:\n%s", one, two, folds.String())
			}
		}
	})
}
