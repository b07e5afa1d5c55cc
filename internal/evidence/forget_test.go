package evidence

import (
	"reflect"
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
		{"a look at the very time of a report", []said{put(start, 5), look(start, 6)}, true, nil},
		{"a look that did not count, after which the report is all there is to remember", []said{put(start, 5), alone(start+10, 4, event.Audit), local(listed(start+Memory+100, 5, event.Audit))}, true, nil},
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

// TestForgottenEnds: when something at a path ended is remembered however often what it ended with is forgotten, as it voids what was below.
func TestForgottenEnds(t *testing.T) {
	const start = int64(1e15)
	directory := func(n, mtime int64) said { return local(aDirectory(alone(start+n*(Memory+100), mtime, event.Audit))) }
	for name, c := range map[string]struct {
		said []said
		want Ends
	}{
		"a look found a file":      {[]said{local(alone(start, 5, event.Audit)), directory(1, 6), directory(2, 7), directory(3, 8)}, Ends{Observed: start}},
		"a file was reported":      {[]said{put(start, 5), directory(1, 6), directory(2, 7), directory(3, 8)}, Ends{Reported: start}},
		"its end was reported":     {[]said{aDirectory(put(start-10, 5)), gone(start), directory(1, 6), directory(2, 7), directory(3, 8)}, Ends{Reported: start}},
		"both, in the same hour":   {[]said{put(start, 5), local(alone(start+20, 6, event.Audit)), directory(1, 7), directory(2, 8), directory(3, 9)}, Ends{Reported: start, Observed: start + 20}},
		"it was always one":        {[]said{directory(0, 5), directory(1, 6), directory(2, 7), directory(3, 8)}, Ends{}},
		"a later look ended it so": {[]said{gone(start), directory(1, 6), local(alone(start+2*(Memory+100), 7, event.Audit)), directory(3, 8)}, Ends{Reported: start, Observed: start + 2*(Memory+100)}},
	} {
		e := newEntry()
		var parent *ParentState
		for _, s := range c.said {
			parent = e.say(s)
		}
		s := testRules.decode(&e.row, true, parent)
		if e.row.Type != event.Directory || e.row.Removed || len(s.observations) != 1 || s.allEnds() != c.want {
			t.Errorf("%s: %+v: ends %+v, want %+v", name, e.row, s.allEnds(), c.want)
		}
	}
}

// TestListingsThatProveLess: a listing by a client that shows no old states counts though so many others came since that a directory does not remember
// them all, if those may show a state from before it. So it does not matter when a report of the time between comes.
func TestListingsThatProveLess(t *testing.T) {
	more := func(mtime int64, all ...said) []said {
		for i := range int64(MaxObservations) {
			all = append(all, listed(210+10*i, mtime, event.Audit)) // as of 160 at the latest
		}
		return all
	}
	lacked := local(unlisted(200, 190))
	for name, c := range map[string]struct {
		all  []said
		late said
		want string
	}{
		"it saw what was known":               {more(5, put(100, 5), local(listed(200, 5, event.Audit))), gone(195), "file mtime 5, audit at 200, blind"},
		"and a look that is no listing's did": {more(5, put(100, 5), local(listed(200, 5, event.Audit)), local(alone(205, 5, event.Audit))), gone(195), "file mtime 5, audit at 200, blind"},
		"the others saw what was before":      {more(5, put(190, 185), listed(200, 185, event.Audit)), gone(193), "file mtime 185, audit at 200, blind, suspect until 255"},
		"the same, and a look saw it, too":    {more(5, put(190, 185), listed(200, 185, event.Audit), alone(205, 185, event.Audit)), gone(193), "file mtime 185, audit at 200, blind, suspect until 255"},
		"it lacked the file":                  {more(5, put(100, 5), lacked), put(195, 5), "gone, audit at 200, blind"},
		"it lacked it, as was known":          {append([]said{gone(100), lacked}, again200()...), put(195, 5), "gone, audit at 200, blind"},
	} {
		for at := range len(c.all) + 1 {
			e := newEntry()
			for _, s := range slices.Insert(slices.Clone(c.all), at, c.late) {
				e.say(s)
			}
			if got := summary(&e.row, e.known); got != c.want {
				t.Errorf("%s, and the report comes after %d of %d: %s, want %s", name, at, len(c.all), got, c.want)
			}
		}
	}
}

// again200 are listings after 200 of old states, without the file.
func again200() (all []said) {
	for i := range int64(MaxObservations) {
		all = append(all, unlisted(210+10*i, 7))
	}
	return all
}

// TestRememberedTombstonesStayGone: a tombstone whose latest evidence counts need not be decoded when listings lack it again, though it has a history.
func TestRememberedTombstonesStayGone(t *testing.T) {
	for name, all := range map[string][]said{
		"a report and an absence":            {put(100, 5), unlisted(130, 120)},
		"a report, a look and an absence":    {put(100, 5), local(alone(120, 7, event.Audit)), unlisted(150, 140)},
		"a look of before, and an absence":   {put(100, 90), listed(150, 7, event.Audit), unlisted(400, 390)},
		"a report of its end, and of before": {put(100, 5), local(alone(120, 7, event.Audit)), unlisted(150, 140), unlisted(160, 150)},
	} {
		e := newEntry()
		for _, s := range all {
			e.say(s)
		}
		if !e.row.Removed || e.row.History == "" || !e.row.StaysGone(500, &ParentState{Before: e.journal.journal}) {
			t.Errorf("%s: %+v", name, e.row)
		}
	}
}

// TestTombstonesRememberTheirBase: a tombstone of which only the absence is left remembers what was known before it.
func TestTombstonesRememberTheirBase(t *testing.T) {
	row := Row{Parent: "/", Name: "f", Type: event.File, Removed: true, AgentMissing: true, ObservedAt: 300, Evidence: event.Audit, Agent: "a", Source: "s", Watermark: 290}
	for _, base := range []base{unmarked, marked} {
		by := sight(300, event.Audit)
		s, parent := state{base: base, observations: []fact{{Provenance: by, Since: by.since(290), Gone: true}}}, &ParentState{Before: []Listing{{Provenance: by, MtimeNs: 290}}}
		parent.After = parent.Before
		r := row
		if s.encode(&r, parent); !reflect.DeepEqual(testRules.decode(&r, true, parent), s) {
			t.Errorf("%+v was written, and %+v read", s, testRules.decode(&r, true, parent))
		}
	}
}

// TestDamagedHistoriesKeepEnds, which are in a column.
func TestDamagedHistoriesKeepEnds(t *testing.T) {
	row, parent := rowOf(earlier[0].said)
	row.EndedAt, row.History = 70, row.History[:len(row.History)-1]
	if s := testRules.decode(&row, true, &parent); s.ends != (Ends{Reported: 70}) {
		t.Errorf("%+v", s)
	}
}

// TestReportsLeaveNoBase: what was known before a report is of no interest, and is not remembered.
func TestReportsLeaveNoBase(t *testing.T) {
	const start = int64(1e15)
	for name, last := range map[string]said{"put": put(start+Memory+100, start), "deleted": gone(start + Memory + 100)} {
		e := newEntry()
		for _, s := range []said{local(alone(start, 5, event.Audit)), local(alone(start+10, 6, event.Audit)), local(alone(start+Memory+5, 7, event.Audit)), last} {
			e.say(s)
		}
		if e.row.History != "" || e.row.ObservedAt != last.claim.At {
			t.Errorf("%s: %+v, history %x", name, e.row, e.row.History)
		}
	}
}
