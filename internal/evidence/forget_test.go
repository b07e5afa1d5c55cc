package evidence

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
)

// TestLawRowsRememberWhatTheyShow: whatever a row has forgotten, what it remembers comes to what it shows, and to no more than it may hold.
func TestLawRowsRememberWhatTheyShow(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e, at := newEntry(), int64(1e15)
		for range rapid.IntRange(1, 24).Draw(t, "n") {
			at += rapid.SampledFrom([]int64{20, 150, 150, Memory / 3, Memory, Memory + 1}).Draw(t, "gap")
			mtime, how := at-rapid.SampledFrom([]int64{15, 45, 400}).Draw(t, "age"), rapid.SampledFrom([]event.Evidence{event.Snapshot, event.Audit}).Draw(t, "how")
			when := at
			if rapid.IntRange(0, 4).Draw(t, "late") == 0 {
				when -= rapid.SampledFrom([]int64{190, 1000, Memory - 10}).Draw(t, "by") + 1
			}
			s := rapid.SampledFrom([]said{put(when, mtime), writing(when, mtime), gone(when), listed(when, mtime, how), listed(when, 7, how), listed(when, 7, how),
				unlisted(when, mtime), unlisted(when, mtime), alone(when, mtime, how)}).Draw(t, "said")
			if rapid.Bool().Draw(t, "local") && s.claim.Evidence != event.Realtime {
				s = local(s)
			}
			parent := e.say(s)
			if !e.known {
				continue
			}
			v, state := remembered(&e.row, parent)
			shown := e.row
			state.show(&shown, &v)
			shown.EndedAt, shown.History = e.row.EndedAt, e.row.History
			if e.row.Removed && shown.Removed { // what was there before may be forgotten
				shown.Type, shown.Size, shown.MtimeNs = e.row.Type, e.row.Size, e.row.MtimeNs
			}
			if state.base != nothing || e.row.Removed { // and which of several scans that agree was the first
				shown.ObservedAt, shown.Watermark, shown.Evidence, shown.SuspectUntil = e.row.ObservedAt, e.row.Watermark, e.row.Evidence, e.row.SuspectUntil
			}
			if shown != e.row {
				t.Fatalf("%+v\nremembers %+v, which comes to\n%+v", e.row, state, shown)
			}
			if stored := testRules.decode(&e.row, true, parent); len(stored.observations) > MaxObservations {
				t.Fatalf("it holds %d observations", len(stored.observations))
			}
		}
	})
}

// TestForgottenReportsStillDecide: an observation that did not count, because it may show a state from before a report, does not count once the report
// is forgotten either.
func TestForgottenReportsStillDecide(t *testing.T) {
	const start, later = int64(1e15), int64(1e15) + Memory + 100
	for name, said := range map[string][]said{
		"an hour later":         {put(start, start-10), local(unlisted(start+20, start+10)), listed(start+40, 7, event.Audit), listed(later, later-400, event.Snapshot)},
		"across the hour":       {put(start, start-10), local(unlisted(start+30, start+10)), listed(start+110, 7, event.Audit), listed(start+Memory+25, start-400, event.Snapshot)},
		"a report with no look": {put(start, start-10), gone(start + 20), listed(start+40, 7, event.Audit), listed(later, later-400, event.Snapshot)},
	} {
		e := newEntry()
		for _, s := range said {
			e.say(s)
		}
		found := e.row
		if found.Removed || found.AgentMissing {
			t.Errorf("%s: a new leader's scan found it, and it is %+v", name, found)
		}
		last := *said[3].claim.Entry
		for i := range int64(3) {
			e.say(listed(said[3].claim.At+1000*(i+1), last.MtimeNs, event.Audit))
			if e.row.AgentMissing || e.row.entry() != found.entry() || e.row.Removed {
				t.Errorf("%s: audit %d sees the same, and it is %+v", name, i, e.row)
			}
		}
	}
}
