package evidence

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
)

// TestLawShortcuts: what Resolve decides from a few columns, it decides as it does otherwise. inside makes it take the long way.
func TestLawShortcuts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		row, known, journal := Row{Parent: "/", Name: "f"}, false, state{}
		floor := Ends{Reported: rapid.SampledFrom([]int64{0, 0, 0, 150}).Draw(t, "reported"), Observed: rapid.SampledFrom([]int64{0, 0, 130, 200}).Draw(t, "observed")}
		all := draw(t)
		if rapid.IntRange(0, 3).Draw(t, "again") == 0 {
			all = append(all, again(t, 500, MaxObservations+4)...)
		}
		varied := rapid.Bool().Draw(t, "varied")
		for i := range all {
			if e := all[i].claim.Entry; varied && e != nil && all[i].claim.At < 500 {
				e.Type = rapid.SampledFrom([]event.Type{event.File, event.File, event.File, event.Symlink, event.Directory}).Draw(t, "type")
				e.Mode, e.Target = rapid.SampledFrom([]uint32{0o644, 0o600}).Draw(t, "mode"), rapid.SampledFrom([]string{"", "x"}).Draw(t, "target")
				e.Size = rapid.Int64Range(0, 1).Draw(t, "size")
				if rapid.IntRange(0, 9).Draw(t, "V2") == 0 {
					all[i] = byV2(all[i])
				}
			}
		}
		hourLater := rapid.IntRange(0, 3).Draw(t, "an hour later") == 0
		if hourLater {
			for _, s := range draw(t) {
				all = append(all, later(s, Memory+500))
			}
		}
		for len(all) > 0 {
			raised := rapid.IntRange(0, 5).Draw(t, "another end") == 0
			if raised {
				floor = floor.Max(Ends{Reported: rapid.Int64Range(0, 350).Draw(t, "reported then"), Observed: rapid.Int64Range(0, 350).Draw(t, "observed then")})
			}
			n := rapid.IntRange(1, min(2, len(all))).Draw(t, "batch")
			parent := &ParentState{Before: journal.journal, Floor: floor}
			var claims []Claim
			for _, s := range all[:n] {
				if claims = append(claims, s.claim); s.listing != nil {
					journal.addListing(*s.listing)
				}
			}
			all = all[n:]
			parent.Outdated = journal.trimJournal(Ends{})
			parent.After = journal.journal
			brief := Row{Parent: row.Parent, Name: row.Name, Type: row.Type, Size: row.Size, MtimeNs: row.MtimeNs, Removed: row.Removed, ObservedAt: row.ObservedAt,
				EndedAt: row.EndedAt, History: row.History}
			stays := known && !raised && !slices.ContainsFunc(claims, func(c Claim) bool { return c.Verb != Unlisted })
			for _, c := range claims {
				stays = stays && brief.StaysGone(c.At, parent)
			}
			was, long := row, row
			short, full := testRules.Resolve(&row, known, claims, false, parent), testRules.Resolve(&long, known, claims, true, parent)
			if short.Changed != full.Changed || row != long {
				t.Fatalf("%+v: changed %t\n%+v\nand the long way, changed %t\n%+v", claims, short.Changed, row, full.Changed, long)
			}
			if stays && full.Changed && !hourLater { // then it may forget
				t.Fatalf("below an end %+v: %+v\n%+v\nwas to stay gone, and is\n%+v", floor, claims, was, row)
			}
			known = known || full.Changed
		}
	})
}

// TestShortcutsOfEnds: a row that remembers an end of its own, and rests on something later, takes the long way, which forgets an end that a report implies.
func TestShortcutsOfEnds(t *testing.T) {
	const start = int64(1e15)
	e := newEntry()
	for _, s := range []said{gone(start), local(listed(start+Memory+100, 7, event.Audit))} {
		e.say(s)
	}
	if e.row.Removed || e.row.EndedAt != start || e.row.History != "" {
		t.Fatalf("%+v, history %x", e.row, e.row.History)
	}
	for name, last := range map[string]said{"put": put(start+Memory+200, 8), "deleted": gone(start + Memory + 200)} {
		again := *e
		if again.say(last); again.row.ObservedAt != last.claim.At || again.row.EndedAt != 0 {
			t.Errorf("%s: %+v", name, again.row)
		}
	}
}
