package evidence

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
)

// Times of the table, in seconds; apply turns them into ns.
var tableRules = Rules{Hot: 60, Staleness: 120, Skew: 10}

// Each line is a line of the rules of evidence (docs/concepts.md): what is known of a path, what is claimed of it, and
// what follows.
func TestRules(t *testing.T) {
	file := func(mtime int64) *event.Entry { return &event.Entry{Type: event.File, MtimeNs: mtime, Size: 1} }
	row := func(observed, mtime int64, how event.Evidence) *Row {
		return &Row{Type: event.File, Size: 1, ObservedAt: observed, MtimeNs: mtime, Evidence: how}
	}
	grave := func(observed, watermark int64, how event.Evidence) *Row {
		return &Row{Removed: true, Type: event.File, ObservedAt: observed, Watermark: watermark, EndedAt: observed, Evidence: how}
	}
	missing := func(r *Row) *Row { r.AgentMissing = true; return r }
	suspect := func(r *Row, until int64) *Row { r.SuspectUntil = until; return r }
	put := func(at, mtime int64) Claim {
		return Claim{Verb: Exists, Evidence: event.Realtime, ObservedAt: at, Atomic: true, Entry: file(mtime)}
	}
	listed := func(at, mtime int64, how event.Evidence) Claim {
		return Claim{Verb: Listed, Evidence: how, ObservedAt: at, Entry: file(mtime)}
	}
	gone := func(at int64) Claim { return Claim{Verb: Gone, Evidence: event.Realtime, ObservedAt: at} }
	unlisted := func(at int64) Claim { return Claim{Verb: Unlisted, Evidence: event.Audit, ObservedAt: at} }

	for _, c := range []struct {
		name  string
		was   *Row // nil: nothing is known
		claim Claim
		want  *Row // nil: nothing changes
	}{
		{"realtime put of a row observed later", row(200, 5, event.Realtime), put(100, 9), nil},
		{"realtime put of a tombstone observed later", grave(200, 190, event.Realtime), put(100, 9), nil},
		{"realtime put, nothing known", nil, put(100, 9), row(100, 9, event.Realtime)},
		{"realtime put with an old mtime (cp -p)", row(100, 50, event.Realtime), put(200, 3), row(200, 3, event.Realtime)},
		{"realtime put clears a blind spot", missing(row(100, 50, event.Audit)), put(200, 50), row(200, 50, event.Realtime)},
		{"realtime put, atomic, clears suspect", suspect(row(100, 50, event.Realtime), 160), put(110, 50), row(110, 50, event.Realtime)},
		{"realtime put, being written, is suspect for hot", nil,
			Claim{Verb: Exists, Evidence: event.Realtime, ObservedAt: 100, Entry: file(9)}, suspect(row(100, 9, event.Realtime), 160)},
		{"realtime delete of a row observed later keeps the row", row(200, 5, event.Realtime), gone(100),
			&Row{Type: event.File, Size: 1, ObservedAt: 200, MtimeNs: 5, Evidence: event.Realtime, EndedAt: 100}},
		{"realtime delete leaves a tombstone with the watermark", row(100, 5, event.Realtime), gone(200),
			&Row{Removed: true, Type: event.File, Size: 1, MtimeNs: 5, ObservedAt: 200, Watermark: 190, EndedAt: 200, Evidence: event.Realtime}},
		{"realtime delete, nothing known, leaves a tombstone", nil, gone(200),
			&Row{Removed: true, ObservedAt: 200, Watermark: 190, EndedAt: 200, Evidence: event.Realtime}},
		{"listed, row observed after the scan", row(200, 5, event.Realtime), listed(100, 9, event.Audit), nil},
		{"listed, tombstone observed after the scan, whatever the mtime", grave(200, 190, event.Realtime), listed(100, 1e9, event.Audit), nil},
		{"listed, tombstone, mtime not beyond the watermark, soon", grave(100, 90, event.Realtime), listed(220, 90, event.Snapshot), nil},
		{"listed, tombstone, mtime beyond the watermark: reborn", grave(100, 90, event.Realtime), listed(110, 91, event.Snapshot),
			suspect(&Row{Type: event.File, Size: 1, MtimeNs: 91, ObservedAt: 110, Evidence: event.Snapshot, EndedAt: 100}, 161)},
		{"listed, tombstone, later than any cache: reborn", grave(100, 90, event.Realtime), listed(221, 3, event.Snapshot),
			&Row{Type: event.File, Size: 1, MtimeNs: 3, ObservedAt: 221, Evidence: event.Snapshot, EndedAt: 100}},
		{"listed, row with a later mtime, within staleness", row(100, 99, event.Realtime), listed(220, 9, event.Audit), nil},
		{"listed, row with a later mtime, after staleness", row(100, 99, event.Realtime), listed(221, 9, event.Audit), missing(row(221, 9, event.Audit))},
		{"listed by snapshot, nothing known", nil, listed(1000, 9, event.Snapshot), row(1000, 9, event.Snapshot)},
		{"listed by audit, nothing known: blind spot", nil, listed(1000, 9, event.Audit), missing(row(1000, 9, event.Audit))},
		{"listed on demand, nothing known: blind spot", nil, listed(1000, 9, event.OnDemand), missing(row(1000, 9, event.OnDemand))},
		{"listed by audit, changed: blind spot", row(100, 5, event.Realtime), listed(1000, 9, event.Audit), missing(row(1000, 9, event.Audit))},
		{"listed by audit, as known", row(100, 5, event.Realtime), listed(1000, 5, event.Audit), nil},
		{"listed by audit, as known: the blind spot stays", missing(row(100, 5, event.Audit)), listed(1000, 5, event.Audit), nil},
		{"listed, hot: suspect until watermark - mtime is hot", nil, listed(100, 60, event.Snapshot), suspect(row(100, 60, event.Snapshot), 130)},
		{"listed, mtime in the future: suspect for hot, no longer", nil, listed(100, 1e15, event.Snapshot), suspect(row(100, 1e15, event.Snapshot), 160)},
		{"not listed, row observed at the scan", row(100, 5, event.Realtime), unlisted(100), nil},
		{"not listed: a blind-spot deletion", row(99, 5, event.Realtime), unlisted(100),
			missing(&Row{Removed: true, Type: event.File, Size: 1, MtimeNs: 5, ObservedAt: 100, Watermark: 90, EndedAt: 100, Evidence: event.Audit})},
		{"not listed by a doubtful listing, known by realtime within staleness", row(99, 5, event.Realtime),
			Claim{Verb: Unlisted, Evidence: event.Audit, ObservedAt: 100, Doubtful: true}, nil},
		{"listed on a local file system, row with a later mtime", row(100, 99, event.Realtime),
			Claim{Verb: Listed, Evidence: event.Snapshot, ObservedAt: 101, Entry: file(9), Local: true}, row(101, 9, event.Snapshot)},
		{"listed on a local file system, tombstone", grave(100, 90, event.Realtime),
			Claim{Verb: Listed, Evidence: event.Snapshot, ObservedAt: 101, Entry: file(3), Local: true},
			suspect(&Row{Type: event.File, Size: 1, MtimeNs: 3, ObservedAt: 101, Evidence: event.Snapshot, EndedAt: 100}, 0)},
		{"not listed, nothing known", nil, unlisted(100), nil},
		{"swept with its directory", row(99, 5, event.Realtime), Claim{Verb: Swept, Evidence: event.Realtime, ObservedAt: 100},
			&Row{Removed: true, Type: event.File, Size: 1, MtimeNs: 5, ObservedAt: 100, Watermark: 90, EndedAt: 100, Evidence: event.Realtime}},
		{"swept, but observed later", row(200, 5, event.Realtime), Claim{Verb: Swept, Evidence: event.Realtime, ObservedAt: 100}, nil},
		{"swept, nothing known", nil, Claim{Verb: Swept, Evidence: event.Realtime, ObservedAt: 100}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got Row
			if c.was != nil {
				got = *c.was
			}
			before := got
			changed := tableRules.Apply(&got, c.was != nil, c.claim)
			switch {
			case c.want == nil && (changed || got != before):
				t.Fatalf("changed to %+v", got)
			case c.want != nil && (!changed || got != *c.want):
				t.Fatalf("changed %v, got\n%+v, want\n%+v", changed, got, *c.want)
			}
		})
	}
}

func TestTrust(t *testing.T) {
	dir := func(observed, mtime int64) *Row {
		return &Row{Type: event.Directory, ObservedAt: observed, MtimeNs: mtime}
	}
	for _, c := range []struct {
		name            string
		dir             *Row
		mtime, observed int64
		local           bool
		want            Trust
	}{
		{"known to be later, on a local file system", dir(50, 6), 5, 100, true, Fresh},
		{"nothing known", nil, 5, 100, false, Fresh},
		{"as known", dir(50, 5), 5, 100, false, Fresh},
		{"later than known", dir(50, 5), 6, 100, false, Fresh},
		{"known to be later when it looked", dir(50, 6), 5, 100, false, Stale},
		{"known to be later, beyond any cache", dir(50, 6), 5, 171, false, Fresh},
		{"known to be later, since it looked", dir(101, 6), 5, 100, false, Doubtful},
		{"a tombstone", &Row{Type: event.Directory, Removed: true, ObservedAt: 50, MtimeNs: 6}, 5, 100, false, Fresh},
	} {
		var row Row
		if c.dir != nil {
			row = *c.dir
		}
		if got := tableRules.Trust(&row, c.dir != nil, Claim{Entry: &event.Entry{MtimeNs: c.mtime}, ObservedAt: c.observed, Local: c.local}); got != c.want {
			t.Errorf("%s: %d, want %d", c.name, got, c.want)
		}
	}
}

// No look undoes what the kernel reported after it.
func TestNoListingUndoesLaterRealtime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		looked := rapid.Int64Range(0, 1000).Draw(t, "looked")
		row := Row{Type: event.File, Size: 7, MtimeNs: rapid.Int64Range(0, 1000).Draw(t, "mtime"), Evidence: event.Realtime,
			ObservedAt: looked + rapid.Int64Range(1, 1000).Draw(t, "later"), Removed: rapid.Bool().Draw(t, "removed")}
		before := row
		c := Claim{Verb: rapid.SampledFrom([]Verb{Listed, Unlisted, Swept}).Draw(t, "verb"), ObservedAt: looked,
			Evidence: rapid.SampledFrom([]event.Evidence{event.Snapshot, event.Audit, event.OnDemand}).Draw(t, "evidence"),
			Entry:    &event.Entry{Type: event.File, MtimeNs: rapid.Int64Range(-10, 2000).Draw(t, "entry mtime")}}
		if tableRules.Apply(&row, true, c) || row != before {
			t.Fatalf("%+v became %+v", before, row)
		}
	})
}

func TestSkewIsTheModeOfTheLastSamples(t *testing.T) {
	var c Clock
	if c.Skew() != 0 {
		t.Fatal("without samples")
	}
	c = c.Add([]Sample{{5e9, 3e9}, {5e9, 4e9}, {6e9, 5e9}, {9e9, 7e9}})
	if got := c.Skew(); got != 1e9 { // 2, 1, 1, 2 seconds: a tie
		t.Fatalf("skew %d", got)
	}
	if got := (Clock{}).Add([]Sample{{0, 1}}).Skew(); got != -1e9 {
		t.Fatalf("half a second ahead is %d", got)
	}
	many := make([]Sample, ClockSamples)
	for i := range many {
		many[i] = Sample{ObservedAt: 30e9}
	}
	old := c
	c = c.Add(many)
	if c.Skew() != 30e9 || len(c.Runs) != 1 || c.Runs[0][1] != ClockSamples {
		t.Fatalf("old samples stay: %v", c.Runs)
	}
	if len(old.Runs) != 3 {
		t.Fatalf("Add changed its receiver: %v", old.Runs)
	}
}
