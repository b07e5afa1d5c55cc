package evidence

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
)

// The rules under test count in units of their own, not in ns: the file server's clock is 10 behind the store's.
var testRules = Rules{Hot: 60, Staleness: 120, Skew: 10}

// said is a claim on one path, and the listing that makes it.
type said struct {
	claim   Claim
	listing *Listing
}

func sight(at int64, how event.Evidence) Provenance {
	s := Provenance{At: at, Evidence: how, Skew: testRules.Skew, Agent: "a", Source: "s"}
	if how != event.Realtime {
		s.Lag = testRules.Staleness
	}
	return s
}

func file(mtime int64) *event.Entry {
	return &event.Entry{Name: "f", Type: event.File, MtimeNs: mtime, Size: 1}
}

func put(at, mtime int64) said {
	return said{claim: Claim{Provenance: sight(at, event.Realtime), Verb: Exists, Atomic: true, Entry: file(mtime)}}
}

func writing(at, mtime int64) said {
	s := put(at, mtime)
	s.claim.Atomic = false
	return s
}

func gone(at int64) said {
	return said{claim: Claim{Provenance: sight(at, event.Realtime), Verb: Gone}}
}

func listed(at, mtime int64, how event.Evidence) said {
	return said{Claim{Provenance: sight(at, how), Verb: Listed, Entry: file(mtime)}, &Listing{Provenance: sight(at, how), MtimeNs: at - 10}}
}

// unlisted is by a listing of a directory that was last changed at dirMtime.
func unlisted(at, dirMtime int64) said {
	by := sight(at, event.Audit)
	return said{Claim{Provenance: by, Verb: Unlisted, DirMtimeNs: dirMtime}, &Listing{Provenance: by, MtimeNs: dirMtime}}
}

// alone is a look at the path that is no listing's.
func alone(at, mtime int64, how event.Evidence) said {
	s := listed(at, mtime, how)
	s.listing = nil
	return s
}

// aDirectory is said of a directory.
func aDirectory(s said) said {
	e := *s.claim.Entry
	e.Type, s.claim.Entry = event.Directory, &e
	return s
}

// later is said some time later, of what had changed later.
func later(s said, by int64) said {
	move := func(p *Provenance) { p.At += by }
	move(&s.claim.Provenance)
	if s.claim.DirMtimeNs += by; s.claim.Entry != nil {
		e := *s.claim.Entry
		e.MtimeNs, s.claim.Entry = e.MtimeNs+by, &e
	}
	if s.listing != nil {
		l := *s.listing
		move(&l.Provenance)
		l.MtimeNs, s.listing = l.MtimeNs+by, &l
	}
	return s
}

// local is said by an agent whose file system never shows an old state.
func local(s said) said {
	s.claim.Lag = 0
	if s.listing != nil {
		l := *s.listing
		l.Lag = 0
		s.listing = &l
	}
	return s
}

// come is what becomes of the path when all is said, one fold for each.
func come(t interface{ Fatalf(string, ...any) }, all ...said) string {
	row, known, parent := Row{Parent: "/", Name: "f"}, false, ParentState{}
	for _, s := range all {
		parent.After = slices.Clone(parent.Before)
		if s.listing != nil {
			parent.After = append(parent.After, *s.listing)
			slices.SortFunc(parent.After, func(a, b Listing) int { return int(a.At - b.At) })
		}
		o := testRules.Resolve(&row, known, []Claim{s.claim}, false, &parent)
		known = known || o.Changed
		again := row
		if testRules.Resolve(&again, known, []Claim{s.claim}, false, &ParentState{Before: parent.After, After: parent.After}); again != row && known {
			t.Fatalf("said twice, it changes\n%+v to\n%+v", row, again)
		}
		parent.Before = parent.After
	}
	return summary(&row, known)
}

func summary(r *Row, known bool) string {
	if !known {
		return "nothing"
	}
	s := fmt.Sprintf("%s mtime %d", r.Type, r.MtimeNs)
	if r.Removed {
		s = "gone"
	}
	s += fmt.Sprintf(", %s at %d", r.Evidence, r.ObservedAt)
	if r.AgentMissing {
		s += ", blind"
	}
	if r.SuspectUntil != 0 {
		s += fmt.Sprintf(", suspect until %d", r.SuspectUntil)
	}
	return s
}

// TestRules line is a line of the rules of evidence (docs/concepts.md): what was said of a path, and what it comes to.
func TestRules(t *testing.T) {
	for _, c := range []struct {
		name string
		said []said
		want string
	}{
		{"realtime put, nothing known", []said{put(100, 9)}, "file mtime 9, realtime at 100"},
		{"realtime put of a row observed later", []said{put(200, 5), put(100, 9)}, "file mtime 5, realtime at 200"},
		{"realtime put of a tombstone observed later", []said{gone(200), put(100, 9)}, "gone, realtime at 200"},
		{"realtime put with an old mtime (cp -p)", []said{put(100, 50), put(200, 3)}, "file mtime 3, realtime at 200"},
		{"realtime put clears a blind spot", []said{listed(100, 5, event.Audit), put(200, 5)}, "file mtime 5, realtime at 200"},
		{"realtime put, being written, is suspect for hot", []said{writing(100, 40)}, "file mtime 40, realtime at 100, suspect until 160"},
		{"realtime put, open and unchanged for longer, is suspect for as long again", []said{writing(100, 9)}, "file mtime 9, realtime at 100, suspect until 181"},
		{"realtime put, open, with an mtime in the future", []said{writing(100, 500)}, "file mtime 500, realtime at 100, suspect until 160"},
		{"realtime put, atomic, clears suspect", []said{writing(100, 9), put(110, 9)}, "file mtime 9, realtime at 110"},
		{"realtime delete of a row observed later", []said{put(200, 5), gone(100)}, "file mtime 5, realtime at 200"},
		{"realtime delete", []said{put(100, 5), gone(200)}, "gone, realtime at 200"},
		{"realtime delete, nothing known, is remembered", []said{gone(200), put(150, 5)}, "gone, realtime at 200"},
		{"listed, row observed after the scan", []said{put(200, 5), listed(100, 9, event.Audit)}, "file mtime 5, realtime at 200"},
		{"listed, tombstone observed after the scan, whatever the mtime", []said{gone(200), listed(100, 1e9, event.Audit)}, "gone, realtime at 200"},
		{"listed, tombstone, mtime not beyond the watermark, soon", []said{gone(100), listed(220, 90, event.Snapshot)}, "gone, realtime at 100"},
		{"listed, tombstone, mtime beyond the watermark: reborn", []said{gone(100), listed(110, 91, event.Snapshot)},
			"file mtime 91, snapshot at 110, suspect until 161"},
		{"listed, tombstone, later than any cache: reborn", []said{gone(100), listed(221, 3, event.Snapshot)}, "file mtime 3, snapshot at 221"},
		{"listed, tombstone, on a local file system: reborn", []said{gone(100), local(listed(101, 3, event.Snapshot))}, "file mtime 3, snapshot at 101"},
		{"listed, row with a later mtime, within staleness", []said{put(100, 89), listed(220, 9, event.Audit)}, "file mtime 89, realtime at 100"},
		{"listed, row with a later mtime, after staleness", []said{put(100, 89), listed(221, 9, event.Audit)}, "file mtime 9, audit at 221, blind"},
		{"listed, row with a later mtime, on a local file system", []said{put(100, 89), local(listed(101, 9, event.Snapshot))}, "file mtime 9, snapshot at 101"},
		{"listed by snapshot, nothing known", []said{listed(1000, 9, event.Snapshot)}, "file mtime 9, snapshot at 1000"},
		{"listed by audit, nothing known: blind spot", []said{listed(1000, 9, event.Audit)}, "file mtime 9, audit at 1000, blind"},
		{"listed on demand, nothing known: blind spot", []said{listed(1000, 9, event.OnDemand)}, "file mtime 9, on-demand at 1000, blind"},
		{"listed by audit, changed: blind spot", []said{put(100, 5), listed(1000, 9, event.Audit)}, "file mtime 9, audit at 1000, blind"},
		{"listed by audit, now a directory: blind spot", []said{put(100, 5), aDirectory(listed(1000, 5, event.Audit))}, "directory mtime 5, audit at 1000, blind"},
		{"listed by audit, a directory with another mtime", []said{aDirectory(put(100, 5)), aDirectory(listed(1000, 9, event.Audit))}, "directory mtime 9, audit at 1000"},
		{"listed by snapshot, changed", []said{put(100, 5), listed(1000, 9, event.Snapshot)}, "file mtime 9, snapshot at 1000"},
		{"listed by audit, as known", []said{put(100, 5), listed(1000, 5, event.Audit)}, "file mtime 5, realtime at 100"},
		{"listed by audit, as the snapshot saw it", []said{listed(100, 5, event.Snapshot), listed(1000, 5, event.Audit)}, "file mtime 5, snapshot at 100"},
		{"a blind spot survives further audits", []said{listed(100, 5, event.Audit), listed(1000, 5, event.Audit), listed(2000, 5, event.Audit)},
			"file mtime 5, audit at 100, blind"},
		{"a blind spot survives a new leader's snapshot", []said{listed(100, 5, event.Audit), listed(1000, 9, event.Snapshot)},
			"file mtime 9, snapshot at 1000, blind"},
		{"late word from the kernel clears a blind spot", []said{listed(100, 5, event.Audit), put(90, 5)}, "file mtime 5, realtime at 90"},
		{"late word from the kernel of another state does not", []said{local(listed(100, 5, event.Audit)), put(90, 4)}, "file mtime 5, audit at 100, blind"},
		{"a look at the path alone, changed: blind spot", []said{put(100, 5), alone(1000, 9, event.Audit)}, "file mtime 9, audit at 1000, blind"},
		{"listed, hot: suspect until watermark - mtime is hot", []said{listed(100, 60, event.Snapshot)}, "file mtime 60, snapshot at 100, suspect until 130"},
		{"listed, mtime in the future: suspect for hot, no longer", []said{listed(100, 1e15, event.Snapshot)},
			"file mtime 1000000000000000, snapshot at 100, suspect until 160"},
		{"listed as known: suspect ends by itself", []said{listed(100, 60, event.Snapshot), listed(140, 60, event.Audit)},
			"file mtime 60, snapshot at 100, suspect until 130"},
		{"not listed, row observed at the scan", []said{put(100, 5), unlisted(100, 90)}, "file mtime 5, realtime at 100"},
		{"not listed: a blind-spot deletion", []said{put(99, 5), unlisted(110, 95)}, "gone, audit at 110, blind"},
		{"not listed, as the kernel said", []said{put(90, 5), gone(99), unlisted(110, 95)}, "gone, realtime at 99"},
		{"not listed, but the directory looks as it did before the put: stale", []said{put(99, 5), unlisted(110, 80)}, "file mtime 5, realtime at 99"},
		{"not listed by a stale listing later than any cache", []said{put(99, 5), unlisted(220, 80)}, "gone, audit at 220, blind"},
		{"not listed, and put before the scan, as comes out later", []said{unlisted(110, 95), put(99, 5)}, "gone, audit at 110, blind"},
		{"not listed, nothing known", []said{unlisted(100, 90)}, "nothing"},
		{"deleted before a scan that saw it, as comes out later", []said{local(listed(100, 5, event.Snapshot)), local(listed(300, 5, event.Audit)), gone(200)},
			"file mtime 5, audit at 300, blind"},
		{"looked at and as known, and deleted before that, as comes out later", []said{put(100, 5), local(alone(300, 5, event.Audit)), gone(200)}, "file mtime 5, audit at 300, blind"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := come(t, c.said...); got != c.want {
				t.Fatalf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestLongestOpen: a report that a file is open makes it suspect for half an hour at the most, or for as long as is hot.
func TestLongestOpen(t *testing.T) {
	const at, longest = int64(1e15), int64(LongestOpen)
	for unchanged, want := range map[int64]int64{100: 100, longest - 1: longest - 1, longest: longest, longest + 1: longest, 24 * longest: longest, 0: testRules.Hot, -longest: testRules.Hot} {
		row := Row{Parent: "/", Name: "f"}
		testRules.Resolve(&row, false, []Claim{writing(at, at-testRules.Skew-unchanged).claim}, false, &ParentState{})
		if row.SuspectUntil-at != want {
			t.Errorf("unchanged for %d: suspect for %d, want %d", unchanged, row.SuspectUntil-at, want)
		}
	}
}

// TestTombstonesShowWhatWasThere: the last that was known of the path, also where that comes out late.
func TestTombstonesShowWhatWasThere(t *testing.T) {
	for name, all := range map[string][]said{
		"in the order of times": {put(90, 4), put(99, 5), unlisted(110, 95)},
		"as comes out late":     {put(90, 4), unlisted(110, 95), put(99, 5)},
		"nothing was known":     {unlisted(110, 95), put(99, 5)},
	} {
		row, _ := rowOf(all)
		if !row.Removed || row.ObservedAt != 110 || row.Type != event.File || row.MtimeNs != 5 || row.Size != 1 {
			t.Errorf("%s: %+v", name, row)
		}
	}
}

func draw(t *rapid.T) []said {
	var all []said
	times := rapid.Permutation([]int64{100, 130, 160, 190, 220, 250, 280, 310, 340}).Draw(t, "times")
	for _, at := range times[:rapid.IntRange(1, 7).Draw(t, "n")] {
		mtime := at - 10 - rapid.SampledFrom([]int64{5, 35, 400}).Draw(t, "age")
		how := rapid.SampledFrom([]event.Evidence{event.Snapshot, event.Audit, event.OnDemand}).Draw(t, "how")
		s := rapid.SampledFrom([]said{put(at, mtime), writing(at, mtime), gone(at), listed(at, mtime, how), listed(at, 7, how),
			unlisted(at, mtime), alone(at, mtime, how)}).Draw(t, "said")
		if rapid.Bool().Draw(t, "local") && s.claim.Evidence != event.Realtime {
			s = local(s)
		}
		all = append(all, s)
	}
	return all
}

// TestLawOrderDoesNotMatter: what a path comes to depends on what is said of it, not on the order in which it is said.
func TestLawOrderDoesNotMatter(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := draw(t)
		want := come(t, all...)
		shuffled := slices.Clone(all)
		seed := rapid.Uint64().Draw(t, "order")
		rand.New(rand.NewPCG(seed, seed)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if got := come(t, shuffled...); got != want && !(got == "nothing" || want == "nothing") {
			t.Fatalf("in one order it comes to\n%s\nin another to\n%s\nof %+v", want, got, all)
		}
	})
}

// TestLawRealtimeStands: no look undoes what the kernel told later, nor, on a file system that may show old states, what it told within
// staleness before, unless the look itself proves to be newer.
func TestLawRealtimeStands(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := draw(t)
		var last said
		for _, s := range all {
			if s.claim.Evidence == event.Realtime && s.claim.At > last.claim.At {
				last = s
			}
		}
		if last.claim.Verb == 0 {
			t.Skip("nothing was told")
		}
		for _, s := range all {
			if s.claim.Evidence != event.Realtime && s.claim.At > last.claim.At {
				t.Skip("a look came later")
			}
		}
		if got, want := come(t, all...), come(t, last); got != want {
			t.Fatalf("the last word is\n%s\nbut it comes to\n%s\nof %+v", want, got, all)
		}
	})
}
