package compactor

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/sim"
)

// timed is a kept version of that hour.
func timed(number uint64, hour int) history.Kept {
	return history.Kept{Published: manifest.Published{Version: number, Key: fmt.Sprint(number), At: time.Unix(0, 0).Add(time.Duration(hour) * time.Hour)}}
}

// TestLayersThatAreAskedFor: those written since retention ran last, and those that only versions which went since may have. By either of their times.
func TestLayersThatAreAskedFor(t *testing.T) {
	c := &Compactor{o: Options{Grace: time.Hour, JobLimit: time.Minute}}
	hour := func(h int, d time.Duration) time.Time { return time.Unix(0, 0).Add(time.Duration(h)*time.Hour + d) }
	kept := func(hours ...int) (all []history.Kept) {
		for _, h := range hours {
			all = append(all, timed(uint64(h), h))
		}
		return all
	}
	for _, c2 := range []struct {
		what      string
		last, now []history.Kept
		at        time.Time
		asked     bool
	}{
		{"nothing went", kept(10, 20, 30), kept(10, 20, 30, 40), hour(15, 0), false},
		{"nothing went, and it was published late", kept(10, 20, 30), kept(10, 20, 30), hour(20, 0), false},
		{"nothing went, and it is new", kept(10, 20, 30), kept(10, 20, 30), hour(50, 1), true},
		{"nothing went, and it was there", kept(10, 20, 30), kept(10, 20, 30), hour(50, 0), false},
		{"of the version that went", kept(10, 20, 30), kept(10, 30), hour(15, 0), true},
		{"of the version that went, at the earliest", kept(10, 20, 30), kept(10, 30), hour(9, -clocks), true},
		{"before what the kept one before it has not", kept(10, 20, 30), kept(10, 30), hour(9, -clocks-1), false},
		{"of the version that went, at the latest", kept(10, 20, 30), kept(10, 30), hour(20, clocks), true},
		{"after the version that went", kept(10, 20, 30), kept(10, 30), hour(20, clocks+1), false},
		{"of the first one that went", kept(10, 20, 30), kept(20, 30), hour(1, 0), true},
		{"of the first one that went, at the latest", kept(10, 20, 30), kept(20, 30), hour(10, clocks), true},
		{"after the first one that went", kept(10, 20, 30), kept(20, 30), hour(10, clocks+1), false},
		{"of the last one that went", kept(10, 20, 30), kept(10, 20), hour(29, 0), true},
		{"before the last one that went", kept(10, 20, 30), kept(10, 20), hour(18, 0), false},
		{"of one that is kept between two that went", kept(10, 20, 30, 40), kept(20, 40), hour(15, 0), false},
		{"all went", kept(10, 20), nil, hour(20, 0), true},
		{"one was kept that the last run did not know", kept(10, 20, 30), kept(10, 15, 30), hour(13, 0), false},
		{"one was kept that the last run did not know, and it is of the one that went", kept(10, 20, 30), kept(10, 15, 30), hour(16, 0), true},
	} {
		r := &retention{c: c, last: retentionDone{kept: c2.last, swept: hour(50, 0)}, kept: c2.now}
		asked := r.toAsk()
		l := oldLayer{Item: store.Item{LastModified: c2.at}, times: []time.Time{c2.at}}
		if got := asked(l); got != c2.asked {
			t.Errorf("%s: is asked for: %v", c2.what, got)
		}
		if c2.at.Before(hour(50, 0)) {
			l.times = []time.Time{hour(49, 0), c2.at} // its name says so
			if got := asked(l); got != c2.asked {
				t.Errorf("%s, by its name: is asked for: %v", c2.what, got)
			}
		}
	}
	if r := (&retention{c: c}); !r.toAsk()(oldLayer{}) {
		t.Error("the first run asks for all")
	}
}

// TestVersionsThatAreAskedForALayer: the first one after it was written, and those that may be before that by the clocks; of several of one time, all. A
// version that went meanwhile says nothing.
func TestVersionsThatAreAskedForALayer(t *testing.T) {
	const writing = time.Hour
	at := func(d time.Duration) time.Time { return time.Unix(0, 0).Add(100*time.Hour + d) }
	type of struct {
		at  time.Duration
		has string // "yes", "no", "gone"; "never": it is not asked
	}
	for _, c := range []struct {
		what     string
		versions []of
		times    []time.Duration
		needed   bool
	}{
		{"the first one has it", []of{{1, "yes"}, {2, "never"}}, []time.Duration{0}, true},
		{"it is older", []of{{-clocks - 1, "never"}, {1, "yes"}}, []time.Duration{0}, true},
		{"it may be newer, by its clock", []of{{-clocks, "yes"}}, []time.Duration{0}, true},
		{"the second one has it, as it was written for long", []of{{writing + clocks, "no"}, {writing + clocks + 1, "yes"}}, []time.Duration{0}, true},
		{"the first one after all were made lacks it", []of{{writing + clocks, "no"}, {writing + clocks + 1, "no"}, {writing + clocks + 2, "never"}}, []time.Duration{0}, false},
		{"two of one time", []of{{writing + clocks + 1, "no"}, {writing + clocks + 1, "yes"}}, []time.Duration{0}, true},
		{"two of one time, which lack it", []of{{writing + clocks + 1, "no"}, {writing + clocks + 1, "no"}, {writing + clocks + 2, "never"}}, []time.Duration{0}, false},
		{"one that went", []of{{2 * writing, "gone"}, {3 * writing, "yes"}}, []time.Duration{0}, true},
		{"all went", []of{{2 * writing, "gone"}, {3 * writing, "gone"}}, []time.Duration{0}, false},
		{"by the other one of its times", []of{{2 * writing, "no"}, {9 * writing, "yes"}}, []time.Duration{0, 8 * writing}, true},
		{"nothing is kept", nil, []time.Duration{0}, false},
	} {
		r := &retention{c: &Compactor{o: Options{Grace: writing}}}
		m := manifestReader{r: r, known: map[string]map[string]bool{}}
		for i, v := range c.versions {
			k := timed(uint64(i), 0)
			k.At = at(v.at)
			r.kept = append(r.kept, k)
			switch v.has {
			case "yes", "never":
				m.known[k.Key] = map[string]bool{"l": true}
			case "no":
				m.known[k.Key] = map[string]bool{"other": true}
			case "gone":
				m.known[k.Key] = nil
			}
		}
		l := oldLayer{id: "l"}
		for _, d := range c.times {
			l.times = append(l.times, at(d))
		}
		if needed, err := m.needs(l); err != nil || needed != c.needed {
			t.Errorf("%s: is needed: %v, %v", c.what, needed, err)
		}
	}
	ids := idsOf(&manifest.Manifest{Names: "n", Leaves: []manifest.Leaf{{ID: "f"}}, Base: []layer.Info{{ID: "b"}}, Deltas: []layer.Info{{ID: "d"}}})
	if fmt.Sprint(ids) != "map[b:true d:true f:true n:true]" {
		t.Errorf("ids of a version: %v", ids)
	}
}

// TestFewManifestsAreHeld while layers are looked up in them, and each is read once by those that come one after the other.
func TestFewManifestsAreHeld(t *testing.T) {
	h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(time.Now)}
	h.c = h.compactor(Options{})
	var keys []string
	for i := range manifestsHeld + 4 {
		m := &manifest.Manifest{Format: manifest.Format, View: viewName, Version: uint64(i + 1), FoldedAt: 1, Nonce: manifest.Nonce(1, "a"), Base: []layer.Info{{ID: fmt.Sprint("l", i)}}}
		body, err := m.Encode()
		if err == nil && i%2 == 0 { // the others went
			_, err = h.store.Put(h.ctx, m.Key(), body)
		}
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, m.Key())
	}
	counted := store.Count(h.store)
	h.store = counted
	h.c = h.compactor(Options{})
	m := manifestReader{r: &retention{c: h.c, ctx: h.ctx, view: viewName}, known: map[string]map[string]bool{}}
	for i, key := range keys {
		before := counted.Counts().Get
		for range 2 {
			ids, err := m.ids(key)
			if err != nil || (ids == nil) != (i%2 != 0) || ids != nil && !ids[fmt.Sprint("l", i)] {
				t.Fatalf("version %d has %v, %v", i, ids, err)
			}
		}
		if n := counted.Counts().Get - before; n != 1 {
			t.Errorf("%d requests for one manifest", n)
		}
		if len(m.known) != min(i+1, manifestsHeld) {
			t.Fatalf("after %d manifests %d are held", i+1, len(m.known))
		}
	}
	if _, ok := m.known[keys[3]]; ok {
		t.Error("an old one is held")
	}
	if _, ok := m.known[keys[4]]; !ok {
		t.Error("a newer one is not held")
	}
}

// TestRetentionIsDueAgain with the first of what was too young, and a grace later, so that what goes with one change goes at once; never, if nothing was.
func TestRetentionIsDueAgain(t *testing.T) {
	now, at := time.Unix(5e5, 0), time.Unix(4e5, 0)
	c := &Compactor{o: Options{Grace: time.Hour, JobLimit: 2 * time.Hour, Now: func() time.Time { return now }}, retained: map[string]retentionDone{}}
	for _, due := range [][]int64{nil, {7}, {7, 9}, {9, 7}} {
		r := &retention{c: c, view: viewName, now: at, head: version{Manifest: &manifest.Manifest{Version: 3}}, policy: history.Policy{Within: 4 * time.Hour}, asked: history.Policy{Daily: 1}, kept: []history.Kept{timed(1, 1)}}
		for _, s := range due {
			r.later(time.Unix(s, 0))
		}
		r.done()
		d := c.lastRetention(viewName)
		want := time.Time{}
		if due != nil {
			want = time.Unix(7, 0).Add(time.Hour)
		}
		if !d.due.Equal(want) || d.version != 3 || d.policy.Daily != 1 || !d.at.Equal(now) || len(d.kept) != 1 || !d.swept.Equal(at.Add(-7*time.Hour)) {
			t.Errorf("due %v: %+v", due, d)
		}
		r.policy.Within = history.Unlimited
		if r.done(); !c.lastRetention(viewName).swept.IsZero() {
			t.Error("where all versions are kept, no layers are looked at")
		}
	}
}

// TestViewIsTendedWhenDue: retention runs where there may be something to remove, and a while after it ran last; what a new version supersedes waits.
func TestViewIsTendedWhenDue(t *testing.T) {
	now := time.Unix(1e6, 0)
	const grace = time.Hour
	const runs, waits, nothing = "retention runs", "it is put off for two hours", "nothing"
	h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(func() time.Time { return now })}
	h.c = h.compactor(Options{Grace: grace, Now: func() time.Time { return now }})
	if err := h.c.Tend(h.ctx, viewName); err != nil || len(h.c.retained) > 0 { // there is nothing yet
		t.Errorf("%v, %+v", err, h.c.retained)
	}
	keep := viewconfig.Default(viewName).Keep()
	other := keep
	other.Daily++
	long := now.Add(-10 * time.Hour)
	for _, head := range []uint64{1, 2} {
		if _, err := h.c.publish(h.ctx, h.head(), "fold", func(*manifest.Manifest) error { return nil }); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(0, h.c.clock.Now()) // which is the store's to the second
		soon := at.Add(2 * grace)
		for _, c := range []struct {
			what string
			last retentionDone
			does string
		}{
			{"it never ran", retentionDone{}, runs},
			{"it ran before there was a version", retentionDone{policy: keep, at: long}, runs},
			{"a new version", retentionDone{version: 3 - head, policy: keep, at: long}, waits},
			{"a new version, and more is due late", retentionDone{version: 3 - head, policy: keep, at: long, due: soon.Add(1)}, waits},
			{"a new version, and more is due soon", retentionDone{version: 3 - head, policy: keep, at: long, due: soon}, runs},
			{"a new version, and other settings", retentionDone{version: 3 - head, policy: other, at: long}, runs},
			{"nothing new", retentionDone{version: head, policy: keep, at: long}, nothing},
			{"nothing new, and more is due", retentionDone{version: head, policy: keep, at: long, due: at}, runs},
			{"nothing new, and more is due later", retentionDone{version: head, policy: keep, at: long, due: at.Add(1)}, nothing},
			{"other settings", retentionDone{version: head, policy: other, at: long}, runs},
			{"it ran lately", retentionDone{version: head, policy: other, at: now.Add(-grace / 4)}, nothing},
			{"it ran not so lately", retentionDone{version: head, policy: other, at: now.Add(-grace/4 - 1)}, runs},
		} {
			h.c.setRetention(viewName, c.last)
			if err := h.c.tend(h.ctx, viewName); err != nil {
				t.Fatal(err)
			}
			does, d := nothing, h.c.lastRetention(viewName)
			switch {
			case d.at.Equal(now):
				does = runs
			case d.version == head && d.due.Equal(soon) && d.at.Equal(c.last.at):
				does = waits
			case d.version != c.last.version || !d.due.Equal(c.last.due):
				does = fmt.Sprintf("%+v", d)
			}
			if does != c.does {
				t.Errorf("%s: %s, want %s", c.what, does, c.does)
			}
		}
	}
	fresh := h.compactor(Options{})
	if err := fresh.tend(h.ctx, viewName); err != nil || fresh.tables[viewName].seen != 2 {
		t.Errorf("its table may be due for version %d, %v", fresh.tables[viewName].seen, err)
	}
}

// TestFoldedToTheEnd: a session may be forgotten if all of its segments are folded, or none will be; when in doubt it may not.
func TestFoldedToTheEnd(t *testing.T) {
	const whole, more, fresh, broken, many = "01ARZ3NDEKTSV4RRFFQ69G5FA0", "01ARZ3NDEKTSV4RRFFQ69G5FA1", "01ARZ3NDEKTSV4RRFFQ69G5FA2", "01ARZ3NDEKTSV4RRFFQ69G5FA3", "01ARZ3NDEKTSV4RRFFQ69G5FA4"
	h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(time.Now)}
	h.c = h.compactor(Options{})
	for id, segments := range map[string]int{whole: 2, more: 3, fresh: 1, broken: 3, many: 1001} {
		for seq := range segments {
			if _, err := h.store.Put(h.ctx, layout.Segment(viewName, id, uint64(seq)), nil); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, id := range []string{whole, "none"} {
		if _, err := h.store.Put(h.ctx, layout.Segments(viewName, id)+"zz", nil); err != nil { // no segment
			t.Fatal(err)
		}
	}
	if h.c.foldedToEnd(h.ctx, viewName, "none") {
		t.Error("a view without a version has folded a session")
	}
	if _, err := h.c.publish(h.ctx, h.head(), "fold", func(m *manifest.Manifest) error {
		m.Sessions = map[string]manifest.Progress{whole: {Next: 2}, more: {Next: 2}, broken: {Next: 1, Broken: true}, many: {Next: 2000}}
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]bool{whole: true, more: false, fresh: false, broken: true, many: false, "none": true} {
		if got := h.c.foldedToEnd(h.ctx, viewName, id); got != want {
			t.Errorf("session %s is folded: %v", id, got)
		}
	}
}

// TestRetentionOfVersions: as many pages are listed as have versions that may go. What lost a race goes, and so does what was never published, once nobody
// can publish it any more. A view without head loses nothing.
func TestRetentionOfVersions(t *testing.T) {
	begin := time.Unix(1e6, 0)
	now := begin
	st := sim.NewStore(func() time.Time { return now })
	counted := store.Count(st)
	h := &harness{tb: t, ctx: t.Context(), store: counted}
	h.c = h.compactor(Options{Grace: time.Hour, Now: func() time.Time { return now }})
	manifestOf := func(number uint64, at time.Time, random string) string {
		key := layout.Manifest(viewName, number, manifest.Nonce(at.UnixNano(), random))
		if _, err := h.store.Put(h.ctx, key, []byte("m")); err != nil {
			t.Fatal(err)
		}
		return key
	}
	const versions = 2500 // a minute each
	at := func(number uint64) time.Time { return begin.Add(time.Duration(number) * time.Minute) }
	for number := uint64(1); number < versions; number++ {
		now = at(number)
		manifestOf(number, now, "a")
	}
	now = at(versions)
	head := &manifest.Manifest{Format: manifest.Format, View: viewName, Version: versions, FoldedAt: now.UnixNano(), Nonce: manifest.Nonce(now.UnixNano(), "a")}
	head.Parent = layout.Manifest(viewName, versions-1, manifest.Nonce(at(versions-1).UnixNano(), "a"))
	body, err := head.Encode()
	for _, key := range []string{head.Key(), layout.Head(viewName)} {
		if err == nil {
			_, err = h.store.Put(h.ctx, key, body)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	retain := func(c *Compactor, within time.Duration) *retention {
		t.Helper()
		r := &retention{c: c, ctx: h.ctx, view: viewName, dry: true, policy: history.Policy{Within: within}}
		if err := r.versions(); err != nil {
			t.Fatal(err)
		}
		if !r.now.Equal(now) || r.head.Version != versions {
			t.Errorf("it is %v, with version %d", r.now, r.head.Version)
		}
		return r
	}
	for _, c := range []struct {
		within time.Duration
		lists  uint64
		goes   int
		due    time.Time
	}{
		{time.Hour, 3, versions - 61, at(versions - 59).Add(time.Hour)},
		{499 * time.Minute, 3, versions - 500, at(versions - 498).Add(499 * time.Minute)}, // the last one that is kept was superseded just then
		{500 * time.Minute, 2, versions - 501, now},                                       // the second page ends with that one; what follows is not listed, and was superseded later
		{501 * time.Minute, 2, versions - 502, at(versions - 500).Add(501 * time.Minute)},
		{2 * versions * time.Minute, 1, 0, at(2).Add(2 * versions * time.Minute)}, {history.Unlimited, 1, 0, time.Time{}},
	} {
		before := counted.Counts().List
		r := retain(h.c, c.within)
		if lists := counted.Counts().List - before - 1; lists != c.lists || len(r.removed) != c.goes || !r.due.Equal(c.due) { // one proves head
			t.Errorf("within %v: %d lists, want %d; %d go, want %d; more is due at %v, want %v", c.within, lists, c.lists, len(r.removed), c.goes, r.due, c.due)
		}
	}
	if err := h.store.Delete(h.ctx, layout.Head(viewName)); err != nil {
		t.Fatal(err)
	}
	r := &retention{c: h.compactor(Options{}), ctx: h.ctx, view: viewName, policy: history.Policy{Within: time.Hour}}
	if err := r.versions(); !errors.Is(err, manifest.ErrWentBack) || len(r.removed) > 0 {
		t.Errorf("without head: %v, and %d go", err, len(r.removed))
	}
	none := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(time.Now)}
	r = &retention{c: none.compactor(Options{}), ctx: h.ctx, view: viewName}
	if err := r.versions(); err != nil || !r.due.IsZero() {
		t.Errorf("a view that has nothing: %v, more is due at %v", err, r.due)
	}
	if _, err := none.store.Put(h.ctx, layout.Manifest(viewName, 1, "n"), nil); err != nil {
		t.Fatal(err)
	}
	if err := r.versions(); !errors.Is(err, manifest.ErrWentBack) {
		t.Errorf("one version and no head: %v", err)
	}
}

// TestRetentionOfWhatWasNeverPublished: what lost a race goes at once, and what may yet become head once nobody can publish it any more.
func TestRetentionOfWhatWasNeverPublished(t *testing.T) {
	begin := time.Unix(1e6, 0)
	now := begin
	h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(func() time.Time { return now })}
	h.c = h.compactor(Options{Grace: time.Hour, Now: func() time.Time { return now }})
	for range 2 {
		if _, err := h.c.publish(h.ctx, h.head(), "fold", func(*manifest.Manifest) error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	strays := map[string]string{}
	for number, name := range map[uint64]string{1: "lost", 2: "lost to head", 3: "next"} {
		m := &manifest.Manifest{Format: manifest.Format, View: viewName, Version: number, Nonce: manifest.Nonce(begin.UnixNano(), "stray")}
		body, err := m.Encode()
		if err == nil {
			_, err = h.store.Put(h.ctx, m.Key(), body)
		}
		if err != nil {
			t.Fatal(err)
		}
		strays[m.Key()] = name
	}
	for _, c := range []struct {
		after time.Duration
		goes  string
	}{{0, "[lost lost to head]"}, {time.Hour, "[lost lost to head]"}, {time.Hour + 1, "[lost lost to head next]"}} {
		now = begin.Add(c.after)
		r := &retention{c: h.c, ctx: h.ctx, view: viewName, dry: true, policy: history.Policy{Within: 9 * time.Hour}}
		if err := r.versions(); err != nil {
			t.Fatal(err)
		}
		var goes []string
		for _, o := range r.removed {
			if o.Age != c.after || o.Bytes == 0 || o.Why == "" {
				t.Errorf("%+v", o)
			}
			goes = append(goes, strays[o.Key])
		}
		due := begin.Add(time.Hour)
		if c.after > time.Hour {
			due = begin.Add(9 * time.Hour)
		}
		if fmt.Sprint(goes) != c.goes || r.due.Sub(due).Abs() > time.Second {
			t.Errorf("after %v these go: %q, want %s; more is due at %v, want %v", c.after, goes, c.goes, r.due, due)
		}
	}
}

// TestRetentionGoesByTheSettings, but for no less than the grace; a dry run leaves no trace.
func TestRetentionGoesByTheSettings(t *testing.T) {
	for _, within := range []time.Duration{0, 30 * time.Minute, 10 * time.Hour, history.Unlimited} {
		now := time.Unix(1e6, 0)
		h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(func() time.Time { return now })}
		h.c = h.compactor(Options{Grace: time.Hour, Now: func() time.Time { return now }})
		h.keep(history.Policy{Within: within})
		for range 3 {
			if _, err := h.c.publish(h.ctx, h.head(), "fold", func(*manifest.Manifest) error { return nil }); err != nil {
				t.Fatal(err)
			}
			now = now.Add(30 * time.Minute)
		}
		for _, later := range []time.Duration{0, 100 * time.Hour} {
			now = now.Add(later)
			removed, err := h.c.Retention(h.ctx, viewName, true)
			want := 0
			if later > 0 && within != history.Unlimited {
				want = 2
			}
			if err != nil || len(removed) != want || h.c.lastRetention(viewName).version != 0 {
				t.Errorf("within %v, after %v: %+v, %v", within, later, removed, err)
			}
		}
		if _, err := h.c.Retention(h.ctx, viewName, false); err != nil || h.c.lastRetention(viewName).version != 3 {
			t.Errorf("it is not known that retention ran: %v", err)
		}
		// What retention has looked at is not asked for again.
		last := h.c.lastRetention(viewName)
		if _, err := h.store.Put(h.ctx, layout.Layer(viewName, "looked at"), nil); err != nil {
			t.Fatal(err)
		}
		last.swept, now = now, now.Add(100*time.Hour)
		h.c.setRetention(viewName, last)
		if removed, err := h.c.Retention(h.ctx, viewName, true); err != nil || len(removed) > 0 {
			t.Errorf("removed: %+v, %v", removed, err)
		}
	}
}
