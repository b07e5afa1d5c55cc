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
	floor   Ends  // of the directory
}

func newEntry() *entry { return &entry{row: Row{Parent: "/", Name: "f"}} }

// say takes in what one batch says.
func (e *entry) say(all ...said) *ParentState {
	parent := &ParentState{Before: e.journal.journal, Floor: e.floor}
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
	gone, locals := rapid.Bool().Draw(t, "unlisted"), rapid.SampledFrom([]*rapid.Generator[bool]{rapid.Just(true), rapid.Just(false), rapid.Bool()}).Draw(t, "which are local")
	for i := range int64(n) {
		s := listed(at+10*i, at-300, event.Audit)
		if gone {
			s = unlisted(at+10*i, at-15)
		}
		if locals.Draw(t, "again local") {
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

// TestTombstonesThatRestOnListings: where the evidence that counts is a listing that only the directory's journal has, the row is to be written once the
// journal gives that listing up. So it does not stay gone by itself.
func TestTombstonesThatRestOnListings(t *testing.T) {
	early := local(listed(200, 7, event.Audit)) // of before the report, as its client may show an old state
	early.claim.Lag, early.listing.Lag = 120, 120
	for name, c := range map[string]struct {
		said []said
		at   int64
	}{
		"the last absence counts":               {[]said{put(100, 80), unlisted(150, 130), early, unlisted(400, 390)}, 150},
		"the last absence does not count":       {[]said{put(100, 80), unlisted(150, 130), early, unlisted(210, 7)}, 150},
		"the first absence does not count":      {[]said{put(100, 80), unlisted(120, 7), unlisted(150, 130), early, unlisted(400, 390)}, 150},
		"the last absence counts, and no other": {[]said{put(100, 80), unlisted(150, 7), unlisted(400, 390)}, 400},
	} {
		e := newEntry()
		for _, s := range c.said {
			e.say(s)
		}
		if !e.row.Removed {
			t.Fatalf("%s: %+v", name, e.row)
		}
		for i := range int64(3 * MaxObservations) {
			at := 1000 + 10*i
			stays, was := e.row.StaysGone(at, &ParentState{Before: e.journal.journal}), e.row
			if e.say(unlisted(at, at-15)); e.row != was && stays {
				t.Errorf("%s: it does not stay gone:\n%+v becomes\n%+v", name, was, e.row)
			}
			if e.row.ObservedAt != c.at || !e.row.AgentMissing {
				t.Fatalf("%s: after %d more listings: %+v", name, i+1, e.row)
			}
		}
	}
}

// TestJournals: a directory remembers its listings of the last hour, no more than a history holds, and of ranges of names until newer ones include them.
func TestJournals(t *testing.T) {
	listing := func(at int64, from, to string) Listing {
		return Listing{Provenance: Provenance{At: at, Evidence: event.Audit, Agent: "a", Source: "s"}, MtimeNs: at - 10, From: from, To: to}
	}
	for _, c := range []struct {
		name     string
		listings []Listing
		ends     Ends
		want     []int64
		outdated int
	}{
		{"in the order of times", []Listing{listing(30, "", ""), listing(10, "", ""), listing(20, "", "")}, Ends{}, []int64{10, 20, 30}, 0},
		{"the same one twice", []Listing{listing(30, "", ""), listing(10, "", ""), listing(30, "", ""), listing(10, "", "")}, Ends{}, []int64{10, 30}, 0},
		{"two ranges of one time", []Listing{listing(30, "c", ""), listing(30, "", "c"), listing(30, "c", "")}, Ends{}, []int64{30, 30}, 0},
		{"an hour old", []Listing{listing(10, "", ""), listing(10+Memory, "", "")}, Ends{}, []int64{10, 10 + Memory}, 0},
		{"more than an hour old", []Listing{listing(9, "", ""), listing(10+Memory, "", "")}, Ends{}, []int64{10 + Memory}, 1},
		{"old, of a range that newer ones do not include", []Listing{listing(9, "", "c"), listing(9, "c", ""), listing(10+Memory, "b", "")}, Ends{}, []int64{9, 10 + Memory}, 1},
		{"as many as it holds", func() (l []Listing) {
			for i := range int64(MaxObservations) {
				l = append(l, listing(10*i+10, "", ""))
			}
			return l
		}(), Ends{}, []int64{10, 20, 30, 40, 50, 60, 70, 80}, 0},
		{"one more", func() (l []Listing) {
			for i := range int64(MaxObservations) + 1 {
				l = append(l, listing(10*i+10, "", ""))
			}
			return l
		}(), Ends{}, []int64{20, 30, 40, 50, 60, 70, 80, 90}, 1},
		{"from before its end", []Listing{listing(10, "", ""), listing(20, "", ""), listing(30, "", "")}, Ends{Reported: 20}, []int64{30}, 0},
	} {
		s := state{}
		for _, l := range c.listings {
			s.addListing(l)
		}
		outdated := s.trimJournal(c.ends)
		var got []int64
		for _, l := range s.journal {
			got = append(got, l.At)
		}
		if !slices.Equal(got, c.want) || len(outdated) != c.outdated {
			t.Errorf("%s: %v, and %d are outdated", c.name, got, len(outdated))
		}
	}
}

// TestListingsOfOtherNames say nothing of a path: a listing of a range of names implies what is in it, and no more.
func TestListingsOfOtherNames(t *testing.T) {
	for _, c := range []struct {
		from, to string
		there    bool
	}{{"", "", true}, {"f", "g", true}, {"", "f", false}, {"g", "", false}, {"a", "f\x00", true}, {"f\x00", "", false}} {
		row, known := Row{Parent: "/", Name: "f"}, false
		by := sight(500, event.Audit)
		parent := &ParentState{Before: []Listing{{Provenance: by, MtimeNs: 490, From: c.from, To: c.to}}}
		parent.After = parent.Before
		known = testRules.Resolve(&row, known, []Claim{put(100, 5).claim}, false, &ParentState{}).Changed
		testRules.Resolve(&row, known, []Claim{gone(300).claim}, false, parent)
		if row.Removed == c.there {
			t.Errorf("listed from %q to %q: %+v", c.from, c.to, row)
		}
	}
}

// TestDirectoriesGiveListingsUp: a directory's row remembers its newest listings, and says which it gave up for newer ones.
func TestDirectoriesGiveListingsUp(t *testing.T) {
	row, known := Row{Parent: "/", Name: "f"}, false
	for i := range int64(MaxObservations + 3) {
		c := directory(1000+10*i, 900).claim
		o := testRules.Resolve(&row, known, []Claim{c}, true, &ParentState{})
		known = true
		if n := min(i+1, MaxObservations); int64(len(o.After)) != n || (len(o.Outdated) == 1) != (i >= MaxObservations) || o.After[n-1].At != c.At {
			t.Fatalf("listing %d: %+v", i, o)
		}
		if s := testRules.decode(&row, true, &ParentState{}); !slices.Equal(s.journal, o.After) {
			t.Fatalf("listing %d: %+v, remembered are %+v", i, o.After, s.journal)
		}
	}
}

// TestListingsProve as much as an earlier one did if they show no older state of anything.
func TestListingsProve(t *testing.T) {
	listing := func(at, lag, skew int64) Listing {
		return Listing{Provenance: Provenance{At: at, Lag: lag, Skew: skew}}
	}
	for _, c := range []struct {
		name         string
		newer, older Listing
		want         bool
	}{
		{"the same client", listing(110, 120, 5), listing(100, 120, 5), true},
		{"one that shows no old states", listing(101, 0, 5), listing(100, 120, 5), true},
		{"one that may, soon after one that does not", listing(219, 120, 5), listing(100, 0, 5), false},
		{"one that may no longer show what was before that", listing(220, 120, 5), listing(100, 0, 5), true},
		{"one by which the file server's clock is further ahead", listing(110, 120, 4), listing(100, 120, 5), false},
		{"that, so much later", listing(220, 120, 4), listing(100, 120, 5), true},
		{"one by which it is further behind", listing(110, 120, 6), listing(100, 120, 5), true},
		{"that, and it may show older states", listing(110, 121, 6), listing(100, 120, 5), false},
	} {
		if got := c.newer.proves(&c.older); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		draw := func(from int64) Listing {
			return listing(from+rapid.Int64Range(0, 200).Draw(t, "at"), rapid.Int64Range(0, 120).Draw(t, "lag"), rapid.Int64Range(-9, 9).Draw(t, "skew"))
		}
		older := draw(1000)
		newer, mtime := draw(older.At), rapid.Int64Range(700, 1500).Draw(t, "mtime")
		if newer.proves(&older) && newer.since(mtime) < older.since(mtime) {
			t.Fatalf("%+v proves no more than %d, and %+v did %d", newer, newer.since(mtime), older, older.since(mtime))
		}
	})
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
