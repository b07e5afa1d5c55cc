package evidence

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
)

// entry is one path in a directory whose journal is kept as the directory's own row keeps it.
type entry struct {
	row     Row
	known   bool
	journal state // of the directory
	changes int   // of the row
}

func newEntry() *entry { return &entry{row: Row{Parent: "/", Name: "f"}} }

// say takes in what one batch says.
func (e *entry) say(all ...said) *ParentState {
	parent := &ParentState{Before: e.journal.journal}
	var claims []Claim
	for _, s := range all {
		if s.listing != nil {
			e.journal.addListing(*s.listing)
		}
		claims = append(claims, s.claim)
	}
	parent.Outdated = e.journal.trimJournal(Ends{})
	parent.After = e.journal.journal
	o := testRules.Resolve(&e.row, e.known, claims, false, parent)
	e.known = e.known || o.Changed
	if o.Changed {
		e.changes++
	}
	return parent
}

// again is what listings, from a time on, say of a path that stays as it is.
func again(t *rapid.T, at int64, n int) (all []said) {
	gone, isLocal := rapid.Bool().Draw(t, "unlisted"), rapid.Bool().Draw(t, "again local")
	for i := range int64(n) {
		s := listed(at+10*i, at-300, event.Audit)
		if gone {
			s = unlisted(at+10*i, at-15)
		}
		if isLocal {
			s = local(s)
		}
		all = append(all, s)
	}
	return all
}

// TestListingsThatSayTheSameChangeNoRow often listings say the same of a path: once that is known its row stays as it is.
func TestListingsThatSayTheSameChangeNoRow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := newEntry()
		for _, s := range draw(t) {
			e.say(s)
		}
		gap := rapid.SampledFrom([]int64{0, 0, Memory / 2, Memory, 3 * Memory}).Draw(t, "gap")
		same := again(t, 1000+gap, 40)
		const first = 20 // old evidence may be given up meanwhile
		for _, s := range same[:first] {
			e.say(s)
		}
		row := e.row
		for rest := same[first:]; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(t, "batch")
			e.say(rest[:n]...)
			rest = rest[n:]
			if e.row != row {
				t.Fatalf("listings that say the same change\n%+v to\n%+v", row, e.row)
			}
		}
	})
}

// TestTombstonesStayGone StaysGone says so, Resolve changes nothing.
func TestTombstonesStayGone(t *testing.T) {
	stayed := 0
	rapid.Check(t, func(t *rapid.T) {
		e := newEntry()
		for _, s := range draw(t) {
			e.say(s)
		}
		for i := range rapid.Int64Range(1, 20).Draw(t, "more") {
			at := 400 + 10*i
			parent := &ParentState{Before: e.journal.journal}
			s := unlisted(at, at-rapid.Int64Range(10, 200).Draw(t, "age"))
			if rapid.Bool().Draw(t, "local") {
				s = local(s)
			}
			brief := Row{Parent: e.row.Parent, Name: e.row.Name, Type: e.row.Type, Size: e.row.Size, MtimeNs: e.row.MtimeNs, Removed: e.row.Removed,
				ObservedAt: e.row.ObservedAt, EndedAt: e.row.EndedAt, History: e.row.History}
			stays, was := e.known && brief.StaysGone(at, parent), e.row
			if e.say(s); stays {
				stayed++
				if e.row != was {
					t.Fatalf("it does not stay gone:\n%+v becomes\n%+v", was, e.row)
				}
			}
		}
	})
	if stayed == 0 {
		t.Error("no case was one")
	}
}

// TestLawOutdatedListingsDoNotMatter: also when a directory was listed so often that its journal gave listings up, a path comes to the same in any order, if those
// that were given up said what newer ones say.
func TestLawOutdatedListingsDoNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := append(draw(t), again(t, 1000, MaxObservations+6)...)
		shown := func(e *entry) string {
			if !e.known || e.row.Removed {
				return "nothing there"
			}
			return fmt.Sprint(e.row.Type, e.row.MtimeNs, e.row.Size)
		}
		one, other := newEntry(), newEntry()
		for _, s := range all {
			one.say(s)
		}
		seed := rapid.Uint64().Draw(t, "order")
		rng := rand.New(rand.NewPCG(seed, seed))
		shuffled := slices.Clone(all)
		rng.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		for len(shuffled) > 0 {
			n := min(len(shuffled), cmp.Or(rng.IntN(4), 1))
			other.say(shuffled[:n]...)
			shuffled = shuffled[n:]
		}
		if shown(one) != shown(other) {
			t.Fatalf("in one order it comes to\n%s\nin another to\n%s\nof %+v", shown(one), shown(other), all)
		}
	})
}
