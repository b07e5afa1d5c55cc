package compactor

import (
	"fmt"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
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
