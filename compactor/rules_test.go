package compactor

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/testkit/sim"
)

// TestMarksOfAnOlderTerm: what a leader of an older term says about its scan changes nothing; what any session says of its own queue and its own
// errors counts. An end counts for the beginning that it belongs to.
func TestMarksOfAnOlderTerm(t *testing.T) {
	mark := func(term uint64, at int64, kind event.MarkKind) reportedMark {
		return reportedMark{by: &origin{term: term}, path: "/bad", observedAt: at, mark: event.Mark{Kind: kind, Message: "EIO"}}
	}
	tell := func(marks ...reportedMark) *manifest.Manifest {
		m := &manifest.Manifest{Term: 5, Full: &manifest.Full{Names: 1}}
		for _, s := range marks {
			addMark(m, s)
		}
		return m
	}
	read := manifest.ScanError{Path: []byte("/bad"), Message: "EIO", ObservedAt: 1}
	for _, c := range []struct {
		what  string
		marks []reportedMark
		want  manifest.Scan
		full  bool // it still says so
	}{
		{"a snapshot", []reportedMark{mark(5, 10, event.SnapshotBegin), mark(5, 20, event.SnapshotEnd)}, manifest.Scan{SnapshotTerm: 5, SnapshotDone: 5, SnapshotStartedAt: 10, SnapshotFinishedAt: 20}, false},
		{"a snapshot of an older term", []reportedMark{mark(4, 10, event.SnapshotBegin), mark(4, 20, event.SnapshotEnd)}, manifest.Scan{}, true},
		{"the end of a snapshot that another leader began", []reportedMark{mark(5, 10, event.SnapshotBegin), mark(4, 20, event.SnapshotEnd)}, manifest.Scan{SnapshotTerm: 5, SnapshotStartedAt: 10}, false},
		{"the end of a snapshot that nobody began", []reportedMark{mark(5, 20, event.SnapshotEnd)}, manifest.Scan{}, true},
		{"a later term", []reportedMark{mark(6, 10, event.SnapshotBegin), mark(6, 20, event.SnapshotEnd)}, manifest.Scan{SnapshotTerm: 6, SnapshotDone: 6, SnapshotStartedAt: 10, SnapshotFinishedAt: 20}, false},
		{"an audit", []reportedMark{mark(5, 10, event.AuditBegin), mark(5, 20, event.AuditEnd)}, manifest.Scan{AuditStartedAt: 10, AuditFinishedAt: 20, Audits: 1}, true},
		{"an audit of an older term", []reportedMark{mark(4, 10, event.AuditBegin), mark(4, 20, event.AuditEnd)}, manifest.Scan{}, true},
		{"an audit that another leader ends", []reportedMark{mark(5, 10, event.AuditBegin), mark(4, 20, event.AuditEnd)}, manifest.Scan{AuditStartedAt: 10}, true},
		{"an audit that ends twice", []reportedMark{mark(5, 10, event.AuditBegin), mark(5, 20, event.AuditEnd), mark(5, 30, event.AuditEnd)}, manifest.Scan{AuditStartedAt: 10, AuditFinishedAt: 20, Audits: 1}, true},
		{"an error", []reportedMark{mark(4, 1, event.SubtreeError)}, manifest.Scan{Errors: []manifest.ScanError{read}, ErrorCount: 1}, true},
		{"an error before a scan", []reportedMark{mark(5, 1, event.SubtreeError), mark(5, 10, event.AuditBegin)}, manifest.Scan{AuditStartedAt: 10}, true},
		{"an error before a snapshot", []reportedMark{mark(5, 1, event.SubtreeError), mark(5, 10, event.SnapshotBegin)}, manifest.Scan{SnapshotTerm: 5, SnapshotStartedAt: 10}, false},
		{"an error before a scan of an older term", []reportedMark{mark(5, 1, event.SubtreeError), mark(4, 10, event.AuditBegin)}, manifest.Scan{Errors: []manifest.ScanError{read}, ErrorCount: 1}, true},
	} {
		m := tell(c.marks...)
		if fmt.Sprintf("%+v", m.Scan) != fmt.Sprintf("%+v", c.want) || (m.Full != nil) != c.full {
			t.Errorf("%s: %+v, full: %v", c.what, m.Scan, m.Full != nil)
		}
	}
	begun := &manifest.Manifest{Term: 5, Scan: manifest.Scan{SnapshotTerm: 4, SnapshotStartedAt: 10}}
	if addMark(begun, mark(4, 20, event.SnapshotEnd)); begun.Scan.SnapshotDone != 0 {
		t.Errorf("a snapshot of term 4 was completed in term 5: %+v", begun.Scan)
	}
	if m := tell(mark(5, 20, event.AuditEnd)); m.Scan.Audits != 0 || m.Scan.AuditFinishedAt != 0 {
		t.Errorf("an audit that nobody began ended: %+v", m.Scan)
	}
	if m := tell(slices.Repeat([]reportedMark{mark(5, 1, event.SubtreeError)}, manifest.MaxScanErrors+2)...); len(m.Scan.Errors) != manifest.MaxScanErrors || m.Scan.ErrorCount != manifest.MaxScanErrors+2 {
		t.Errorf("%d errors of %d", len(m.Scan.Errors), m.Scan.ErrorCount)
	}
	if m := tell(mark(4, 1, event.Overflow), mark(5, 1, event.Overflow)); m.Counted.Overflows != 2 {
		t.Errorf("%d overflows", m.Counted.Overflows)
	}
}

// TestTombstonesLeaveTheView: a tombstone stays for the time that the view's settings say, one of a blind spot for a week at least.
func TestTombstonesLeaveTheView(t *testing.T) {
	const hour, week = int64(time.Hour), int64(7 * 24 * time.Hour)
	for _, c := range []struct {
		ttl, age int64
		missing  bool
		want     bool
	}{
		{hour, hour, false, false}, {hour, hour + 1, false, true}, {hour, hour + 1, true, false}, {hour, week, true, false}, {hour, week + 1, true, true},
		{2 * week, week + 1, true, false}, {2 * week, 2 * week, true, false}, {2 * week, 2*week + 1, true, true}, {2 * week, week + 1, false, false},
	} {
		g := merger{horizon: 1e18, ttl: c.ttl}
		row := evidence.Row{Removed: true, AgentMissing: c.missing, ObservedAt: 1e18 - c.age}
		if g.mayForget(&row) != c.want {
			t.Errorf("after %v of %v, of a blind spot: %v: goes: %v", time.Duration(c.age), time.Duration(c.ttl), c.missing, !c.want)
		}
		if row.Removed = false; g.mayForget(&row) {
			t.Error("a row that is no tombstone goes")
		}
	}
}

// TestFoldsOfTheSame: work that was done for one version fits a later one only if no fold came between them.
func TestFoldsOfTheSame(t *testing.T) {
	of := func() *manifest.Manifest {
		m := &manifest.Manifest{Term: 3, Sessions: map[string]manifest.Progress{"s": {Next: 2, Events: 1}}}
		m.Counted.Segments = 2
		return m
	}
	for what, change := range map[string]func(*manifest.Manifest){
		"a segment":              func(m *manifest.Manifest) { m.Sessions["s"] = manifest.Progress{Next: 3} },
		"a part of one":          func(m *manifest.Manifest) { m.Sessions["s"] = manifest.Progress{Next: 2, Events: 2} },
		"one that is refused":    func(m *manifest.Manifest) { m.Sessions["s"] = manifest.Progress{Next: 2, Events: 1, Broken: true} },
		"the end of a session":   func(m *manifest.Manifest) { delete(m.Sessions, "s") },
		"another term":           func(m *manifest.Manifest) { m.Term++ },
		"what the view has seen": func(m *manifest.Manifest) { m.Counted.Segments++ },
	} {
		m := of()
		change(m)
		if sameFold(m, of()) || sameFold(of(), m) {
			t.Errorf("%s counts as nothing", what)
		}
	}
	m := of()
	m.Version, m.FoldedAt, m.Reason = 9, 9, "merge"
	if !sameFold(m, of()) {
		t.Error("a merge counts as a fold")
	}
}

// TestRetentionOfSegments: a segment goes once it is folded, or nobody will fold it, and is older than the grace; the next one that a session may
// have folded stays, however old it is. So does what a live session keeps of an audit. A claim on a merge goes once it is older than the grace.
func TestRetentionOfSegments(t *testing.T) {
	written := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	now := written
	h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(func() time.Time { return now })}
	h.c = h.compactor(Options{Grace: time.Hour, Now: func() time.Time { return now }})
	const folded, broken, fresh, old, gone, ended = "01ARZ3NDEKTSV4RRFFQ69G5FA0", "01ARZ3NDEKTSV4RRFFQ69G5FA1", "01ARZ3NDEKTSV4RRFFQ69G5FA2", "01ARZ3NDEKTSV4RRFFQ69G5FA3", "01ARZ3NDEKTSV4RRFFQ69G5FA4", "01ARZ3NDEKTSV4RRFFQ69G5FA5"
	h.overwrite(layout.Roster(viewName), session.Roster{Epoch: "now", Sessions: map[string]session.RosterEntry{
		folded: {Epoch: "now"}, broken: {Epoch: "now"}, fresh: {Epoch: "now"}, old: {Epoch: "before"}, ended: {Epoch: "now", Ended: true},
	}})
	head := version{Manifest: &manifest.Manifest{Sessions: map[string]manifest.Progress{folded: {Next: 2}, broken: {Next: 1, Broken: true}}}}
	var goes []string
	for _, c := range []struct {
		id   string
		seq  uint64
		goes bool
	}{
		{folded, 0, true}, {folded, 1, true}, {folded, 2, false}, {folded, 3, false}, {broken, 0, true}, {broken, 1, true}, {broken, 2, true},
		{fresh, 0, false}, {old, 0, true}, {gone, 0, true}, {ended, 0, false},
	} {
		key := layout.Segment(viewName, c.id, c.seq)
		if _, err := h.store.Put(h.ctx, key, []byte("s")); err != nil {
			t.Fatal(err)
		}
		if c.goes {
			goes = append(goes, key)
		}
	}
	for id, of := range map[string]bool{folded: false, old: true, gone: true, ended: true} {
		key := layout.AllStaging(viewName) + id + "/rows"
		if _, err := h.store.Put(h.ctx, key, []byte("s")); err != nil {
			t.Fatal(err)
		}
		if of {
			goes = append(goes, key)
		}
	}
	for _, prefix := range []string{layout.AllSegments(viewName), layout.AllStaging(viewName)} {
		if _, err := h.store.Put(h.ctx, prefix+"note", []byte("none of these")); err != nil {
			t.Fatal(err)
		}
	}
	claim := layout.MergeClaim(viewName, "c")
	if _, err := h.store.Put(h.ctx, claim, []byte("c")); err != nil {
		t.Fatal(err)
	}
	goes = append(goes, claim)
	check := func(age time.Duration, goes []string) {
		t.Helper()
		r := &retention{c: h.c, ctx: h.ctx, view: viewName, now: written.Add(age), head: head, dry: true}
		for _, step := range []func() error{r.segments, r.staging, r.mergeClaims} {
			r.due = time.Time{}
			if err := step(); err != nil {
				t.Fatal(err)
			}
			if age <= time.Hour && !r.due.Equal(written.Add(time.Hour)) || age > time.Hour && !r.due.IsZero() {
				t.Errorf("at %v more is due at %v", age, r.due)
			}
		}
		var got []string
		for _, o := range r.removed {
			got = append(got, o.Key)
			if o.Age != age || o.Bytes != 1 || o.Why == "" {
				t.Errorf("%+v", o)
			}
		}
		var want []string
		if age > time.Hour {
			want = goes
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("after %v these go:\n%s\nwant\n%s", age, strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
	}
	for _, age := range []time.Duration{0, time.Hour, time.Hour + 1} {
		check(age, goes)
	}
	// A roster of earlier builds has no epochs. Without a roster, nothing that is not known is kept.
	h.overwrite(layout.Roster(viewName), session.Roster{Sessions: map[string]session.RosterEntry{folded: {}, broken: {}, fresh: {}, old: {}, ended: {Ended: true}}})
	check(time.Hour+1, slices.DeleteFunc(slices.Clone(goes), func(key string) bool { return strings.Contains(key, old) }))
	if err := h.store.Delete(h.ctx, layout.Roster(viewName)); err != nil {
		t.Fatal(err)
	}
	check(time.Hour+1, append(slices.Clone(goes), layout.Segment(viewName, fresh, 0), layout.Segment(viewName, ended, 0), layout.AllStaging(viewName)+folded+"/rows"))
}

// TestRetentionOfLayers: a layer stays as long as head or a kept version has it, and goes once none has it and it is older than any version that may
// still come to need it.
func TestRetentionOfLayers(t *testing.T) {
	written := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	now := written
	h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(func() time.Time { return now })}
	h.c = h.compactor(Options{Grace: time.Hour, Now: func() time.Time { return now }})
	const ofHead, ofFirst, ofSecond, names, ofNone = "01ARZ3NDEKTSV4RRFFQ69G5FA0", "01ARZ3NDEKTSV4RRFFQ69G5FA1", "01ARZ3NDEKTSV4RRFFQ69G5FA2", "01ARZ3NDEKTSV4RRFFQ69G5FA3", "01ARZ3NDEKTSV4RRFFQ69G5FA4"
	for _, id := range []string{ofHead, ofFirst, ofSecond, names, ofNone} {
		if _, err := h.store.Put(h.ctx, layout.Layer(viewName, id), []byte("l")); err != nil {
			t.Fatal(err)
		}
	}
	var kept []history.Kept
	for i, m := range []*manifest.Manifest{{Base: []layer.Info{{ID: ofFirst}}}, {Deltas: []layer.Info{{ID: ofSecond}}, Names: names}} {
		at := written.Add(time.Duration(i+1) * time.Minute)
		m.Format, m.View, m.Version, m.FoldedAt, m.Nonce = manifest.Format, viewName, uint64(i+1), at.UnixNano(), manifest.Nonce(at.UnixNano(), "a")
		body, err := m.Encode()
		if err == nil {
			_, err = h.store.Put(h.ctx, m.Key(), body)
		}
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, history.Kept{Published: manifest.Published{Version: m.Version, Key: m.Key(), At: at}})
	}
	head := version{Manifest: &manifest.Manifest{Version: 3, Deltas: []layer.Info{{ID: ofHead}}}}
	for _, c := range []struct {
		age  time.Duration
		kept []history.Kept
		goes []string
	}{
		{3 * time.Hour, kept, nil}, // within the policy's two hours, and the grace
		{3*time.Hour + 1, kept, []string{ofNone}},
		{3*time.Hour + 1, kept[1:], []string{ofFirst, ofNone}},
		{3*time.Hour + 1, nil, []string{ofFirst, ofSecond, names, ofNone}},
	} {
		r := &retention{c: h.c, ctx: h.ctx, view: viewName, now: written.Add(c.age), policy: history.Policy{Within: 2 * time.Hour}, head: head, kept: c.kept, dry: true}
		if err := r.layers(); err != nil {
			t.Fatal(err)
		}
		var goes []string
		for _, o := range r.removed {
			goes = append(goes, o.Key)
			if o.Age != c.age || o.Bytes != 1 || o.Why == "" {
				t.Errorf("%+v", o)
			}
		}
		if due := written.Add(3 * time.Hour); c.age == 3*time.Hour && !r.due.Equal(due) || c.age > 3*time.Hour && !r.due.IsZero() {
			t.Errorf("after %v more is due at %v", c.age, r.due)
		}
		var want []string
		for _, id := range c.goes {
			want = append(want, layout.Layer(viewName, id))
		}
		slices.Sort(goes)
		if !slices.Equal(goes, want) {
			t.Errorf("after %v, with %d kept: %q, want %q", c.age, len(c.kept), goes, want)
		}
	}
	all := &retention{c: h.c, ctx: h.ctx, view: viewName, now: written.Add(9 * time.Hour), policy: history.Policy{Within: history.Unlimited}, head: head, dry: true}
	if err := all.layers(); err != nil || len(all.removed) > 0 {
		t.Errorf("where all versions are kept these go: %+v, %v", all.removed, err)
	}
	// In a store that was copied all layers are as old as the copy; their names say when they were made.
	copied := written.Add(time.Hour)
	now = copied
	id := ulid.MustNew(ulid.Timestamp(written), bytes.NewReader(make([]byte, 10))).String()
	if _, err := h.store.Put(h.ctx, layout.Layer(viewName, id), []byte("l")); err != nil {
		t.Fatal(err)
	}
	m := &manifest.Manifest{Format: manifest.Format, View: viewName, Version: 9, FoldedAt: written.Add(time.Minute).UnixNano(), Nonce: manifest.Nonce(written.Add(time.Minute).UnixNano(), "a"), Base: []layer.Info{{ID: id}}}
	body, err := m.Encode()
	if err == nil {
		_, err = h.store.Put(h.ctx, m.Key(), body)
	}
	if err != nil {
		t.Fatal(err)
	}
	r := &retention{c: h.c, ctx: h.ctx, view: viewName, now: copied.Add(9 * time.Hour), policy: history.Policy{Within: 2 * time.Hour}, head: head, dry: true,
		kept: []history.Kept{{Published: manifest.Published{Version: 9, Key: m.Key(), At: written.Add(time.Minute)}}}}
	if err := r.layers(); err != nil {
		t.Fatal(err)
	}
	for _, o := range r.removed {
		if o.Key == layout.Layer(viewName, id) {
			t.Error("a layer of a store that was copied goes, which a kept version has")
		}
	}
}

// TestSegmentUnderAnotherName: a whole segment that lies where another one should, of another number, session or view, is refused, and ends the
// session, and nothing of it is in the view.
func TestSegmentUnderAnotherName(t *testing.T) {
	for what, change := range map[string]func(h *event.Header, another string){
		"number":                    func(h *event.Header, _ string) { h.Seq++ },
		"session":                   func(h *event.Header, _ string) { h.Session = "01ARZ3NDEKTSV4RRFFQ69G5FAV" },
		"session of the same agent": func(h *event.Header, another string) { h.Session = another },
		"view":                      func(h *event.Header, _ string) { h.View = "w" },
	} {
		h := newHarness(t, t.TempDir(), 0, Options{})
		w := newWorld()
		s := h.teller("s")
		s.tell(w.listEvent("/", event.Snapshot))
		s.send()
		h.once()
		w.put("/f", event.Entry{Type: event.File, MtimeNs: 1})
		header := event.Header{View: viewName, Session: s.id, Agent: s.agent, Source: "fs://" + s.agent + "/data", Seq: s.seq, Term: s.term, CreatedAt: 1, Nonce: "n"}
		another := h.enrol("another")
		another.rename(s.agent)
		change(&header, another.id)
		var b bytes.Buffer
		writer, err := event.NewWriter(&b, header)
		if err != nil {
			t.Fatal(err)
		}
		put := w.putEvent("/f")
		if err := writer.Add(&put); err != nil {
			t.Fatal(err)
		}
		if err := writer.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := h.store.Create(h.ctx, layout.Segment(viewName, s.id, s.seq), b.Bytes()); err != nil {
			t.Fatal(err)
		}
		h.once()
		if m := h.head(); !m.Sessions[s.id].Broken || m.Sessions[s.id].Next != s.seq || len(m.Refused) != 1 {
			t.Errorf("a segment of another %s: %+v, %+v", what, m.Sessions, m.Refused)
		}
		if _, there := h.present()["/f"]; there {
			t.Errorf("a segment of another %s was folded", what)
		}
	}
}

// TestSkewOfASegment: a tombstone has the time at which the file server's clock had the deletion. Agents that know how far that is off say so; for
// others the view's own estimate counts.
func TestSkewOfASegment(t *testing.T) {
	for said, want := range map[int64]int64{0: 0, 5e9: 5e9} {
		h := newHarness(t, t.TempDir(), 0, Options{})
		w := newWorld()
		s := h.teller("s")
		w.put("/f", event.Entry{Type: event.File, MtimeNs: 1})
		s.tell(w.listEvent("/", event.Snapshot))
		s.send()
		h.once()
		var b bytes.Buffer
		writer, err := event.NewWriter(&b, event.Header{View: viewName, Session: s.id, Agent: s.agent, Source: "fs://" + s.agent + "/data", Seq: s.seq, Term: s.term, CreatedAt: 1, Nonce: "n",
			SkewKnown: said != 0, Skew: 5e9})
		if err != nil {
			t.Fatal(err)
		}
		at := w.tick()
		if err := writer.Add(&event.Event{Kind: event.Delete, Evidence: event.Realtime, ObservedAt: at, Path: "/f"}); err != nil {
			t.Fatal(err)
		}
		if err := writer.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := h.store.Create(h.ctx, layout.Segment(viewName, s.id, s.seq), b.Bytes()); err != nil {
			t.Fatal(err)
		}
		h.once()
		if row := h.rows()["/f"]; !row.Removed || row.ObservedAt-row.Watermark != want {
			t.Errorf("the agent says %d: %+v", said, row)
		}
	}
}
