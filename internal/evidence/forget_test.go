package evidence

import (
	"slices"
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

// TestForgottenReportsStillDecide: what a report decided stays decided once it is forgotten. An observation that did not count, because it may show a
// state from before the report, does not count afterwards either; one that agreed with it is no blind spot.
func TestForgottenReportsStillDecide(t *testing.T) {
	const start, later = int64(1e15), int64(1e15) + Memory + 100
	for _, c := range []struct {
		name string
		said []said
		want string
	}{
		{"an hour later", []said{put(start, start-10), local(unlisted(start+20, start+10)), listed(start+40, 7, event.Audit), listed(later, later-400, event.Snapshot)}, "there"},
		{"across the hour", []said{put(start, start-10), local(unlisted(start+30, start+10)), listed(start+110, 7, event.Audit), listed(start+Memory+25, start-400, event.Snapshot)}, "there"},
		{"a report with no look", []said{put(start, start-10), gone(start + 20), listed(start+40, 7, event.Audit), listed(later, later-400, event.Snapshot)}, "there"},
		{"a look that does not count, across the hour", []said{put(start, start-10), listed(start+100, 7, event.Audit), local(listed(start+Memory+50, 8, event.Audit))}, "there, blind"},
		{"a listing that agreed, across the hour", []said{put(start, 7), local(listed(start+100, 7, event.Audit)), local(listed(start+Memory+50, 8, event.Audit))}, "there, blind"},
		{"a look that agreed", []said{put(start, 7), local(alone(start+100, 7, event.Audit)), local(listed(start+Memory+50, 8, event.Snapshot))}, "there"},
		{"gone, as an audit found", []said{put(start, 7), local(unlisted(start+100, start)), local(unlisted(start+Memory+200, start))}, "gone, blind"},
	} {
		e := newEntry()
		for _, s := range c.said {
			e.say(s)
		}
		shown := func() string {
			text := "there"
			if e.row.Removed {
				text = "gone"
			}
			if e.row.AgentMissing {
				text += ", blind"
			}
			return text
		}
		if shown() != c.want {
			t.Errorf("%s: %+v", c.name, e.row)
		}
		found, last := e.row, c.said[len(c.said)-1]
		for i := range int64(3) { // audits that see the same
			last.claim.At += 1000
			l := *last.listing
			l.At = last.claim.At
			last.claim.Evidence, l.Evidence, last.listing = event.Audit, event.Audit, &l
			if e.say(last); shown() != c.want || e.row.entry() != found.entry() {
				t.Errorf("%s: audit %d sees the same, and it is %+v", c.name, i, e.row)
			}
		}
	}
}

// TestWhatIsForgottenAndWhen: evidence is given up once it is more than an hour older than the newest, or beyond as much as a row holds, and not before.
func TestWhatIsForgottenAndWhen(t *testing.T) {
	const start = int64(1e15)
	look := func(at, mtime int64) said { return local(alone(at, mtime, event.Audit)) }
	looks := func(n int64) (all []said) {
		for i := range n {
			all = append(all, look(start+10*i, i+5))
		}
		return all
	}
	for _, c := range []struct {
		name   string
		said   []said
		report bool
		want   []int64 // when what is remembered was observed, since start
	}{
		{"as many as it holds", looks(MaxObservations), false, []int64{0, 10, 20, 30, 40, 50, 60, 70}},
		{"one more", looks(MaxObservations + 1), false, []int64{10, 20, 30, 40, 50, 60, 70, 80}},
		{"an hour old", []said{look(start, 5), look(start+Memory, 6)}, false, []int64{0, Memory}},
		{"more than an hour old", []said{look(start, 5), look(start+Memory+1, 6)}, false, []int64{Memory + 1}},
		{"three, of which the first is", []said{look(start, 5), look(start+10, 6), look(start+Memory+5, 7)}, false, []int64{10, Memory + 5}},
		{"a report an hour old", []said{put(start, 5), look(start+Memory, 6)}, true, []int64{Memory}},
		{"a report more than an hour old", []said{put(start, 5), look(start+Memory+1, 6)}, false, []int64{Memory + 1}},
		{"a look that agrees makes the report old, and not what it agrees with", []said{put(start, 5), look(start+10, 6), local(listed(start+Memory+20, 6, event.Audit))}, false, []int64{10}},
	} {
		e := newEntry()
		var parent *ParentState
		for _, s := range c.said {
			parent = e.say(s)
		}
		s := testRules.decode(&e.row, true, parent)
		var got []int64
		for _, l := range s.observations {
			got = append(got, l.At-start)
		}
		if !slices.Equal(got, c.want) || (s.report != nil) != c.report {
			t.Errorf("%s: a report %t, observations %v", c.name, s.report != nil, got)
		}
	}
}
