package compactor

import (
	"bytes"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/sim"
)

// TestOptions: what is not given has its default, and what is given stays.
func TestOptions(t *testing.T) {
	numbers := func(o *Options) string {
		return fmt.Sprint(o.Memory, o.CacheBytes, o.BatchClaims, o.PartitionRows, o.ClaimRows, o.MaxDeltas, o.PollMax, o.Grace, o.JobLimit)
	}
	st := sim.NewStore(time.Now)
	for _, c := range []struct {
		o    Options
		want string
	}{
		{Options{}, fmt.Sprint(256<<20, 32<<20, 128<<10, 1<<20, 256<<10, 8, time.Second, DefaultGrace, 15*time.Minute)},
		{Options{Memory: 1}, fmt.Sprint(MinMemory, MinMemory/8, MinMemory/2048, 1<<20, 256<<10, 8, time.Second, DefaultGrace, 15*time.Minute)},
		{Options{Memory: 1 << 30, CacheBytes: 1, BatchClaims: 2, PartitionRows: 3, ClaimRows: 4, MaxDeltas: 5, PollMax: 6, Grace: 7, JobLimit: 8}, fmt.Sprint(1<<30, 1, 2, 3, 4, 5, time.Duration(6), time.Duration(7), time.Duration(8))},
	} {
		c.o.Store = st
		made, err := New(c.o)
		if err != nil {
			t.Fatal(err)
		}
		if got := numbers(&made.o); got != c.want {
			t.Errorf("%+v: %s, want %s", c.o, got, c.want)
		}
		if made.o.Logger == nil || made.o.Now == nil || made.o.Random == nil || made.o.OnCommit == nil {
			t.Errorf("%+v: something is missing", made.o)
		}
	}
	now, told := time.Unix(1, 0), 0
	made, err := New(Options{Store: st, Now: func() time.Time { return now }, Random: bytes.NewReader([]byte("0123456789")), OnCommit: func(*manifest.Manifest) { told++ }})
	if err != nil {
		t.Fatal(err)
	}
	if nonce, err := made.newNonce(); err != nil || nonce != "30313233343536373839" || !made.o.Now().Equal(now) {
		t.Errorf("the clock says %v, the source of nonces %q, %v", made.o.Now(), nonce, err)
	}
	if made.o.OnCommit(nil); told != 1 {
		t.Error("nobody is told")
	}
	if _, err := New(Options{}); err == nil {
		t.Error("without a store")
	}
}

// TestDraftIsItsOwn: whatever becomes of the draft of a version, the version that it begins with stays as it is, as readers and other jobs have it.
func TestDraftIsItsOwn(t *testing.T) {
	c, err := New(Options{Store: sim.NewStore(time.Now)})
	if err != nil {
		t.Fatal(err)
	}
	at := layer.Key{Name: "a"}
	of := func() *manifest.Manifest {
		return &manifest.Manifest{View: viewName, Version: 3, Nonce: "n", Sessions: map[string]manifest.Progress{"s": {Next: 1}}, Base: []layer.Info{{ID: "b"}}, Deltas: []layer.Info{{ID: "d"}},
			Merged: []manifest.Merged{{To: &at, Delta: "d"}}, Scan: manifest.Scan{Errors: []manifest.ScanError{{Message: "EIO"}}}}
	}
	v := version{Manifest: of()}
	m, err := c.next(v, "fold")
	if err != nil {
		t.Fatal(err)
	}
	if m.Version != 4 || m.Parent != v.Key() || m.Reason != "fold" || m.FoldedAt == 0 || m.Nonce == v.Nonce {
		t.Errorf("the draft: %+v", m)
	}
	m.Sessions["s"], m.Base[0].ID, m.Deltas[0].ID, m.Merged[0].Delta, m.Scan.Errors[0].Message = manifest.Progress{Next: 2}, "x", "x", "x", "x"
	if fmt.Sprintf("%+v", v.Manifest) != fmt.Sprintf("%+v", of()) {
		t.Errorf("the version became %+v", v.Manifest)
	}
	if m, err := c.next(version{Manifest: &manifest.Manifest{View: viewName, Parent: "x"}}, "fold"); err != nil || m.Version != 1 || m.Parent != "" {
		t.Errorf("the first one: %+v, %v", m, err)
	}
}

// TestHeadIsProvedOnce: a process holds head against the manifests beside it once, and each time that there is none. Where there were versions, a view without
// head begins anew only in another epoch, and whoever finds that out begins with what is current then.
func TestHeadIsProvedOnce(t *testing.T) {
	for _, versions := range []uint64{1, 2} {
		st := sim.NewStore(time.Now)
		counted := store.Count(st)
		h := &harness{tb: t, ctx: t.Context(), store: counted}
		var told []uint64
		o := Options{OnCommit: func(m *manifest.Manifest) { told = append(told, m.Version) }}
		h.c = h.compactor(o)
		publish := func(c *Compactor, v version) error {
			_, err := c.publish(h.ctx, v, "fold", func(m *manifest.Manifest) error { m.Epoch = "e"; return nil })
			return err
		}
		lists := func(c *Compactor, want uint64) {
			t.Helper()
			before := counted.Counts().List
			if err := publish(c, h.head()); err != nil {
				t.Fatal(err)
			}
			if n := counted.Counts().List - before; n != want {
				t.Errorf("version %d took %d lists, want %d", h.head().Version, n, want)
			}
		}
		lists(h.c, 1)
		if versions == 2 {
			lists(h.c, 0)
		}
		if v := h.c.known[viewName]; v.Manifest == nil || v.Version != versions || v.etag == "" || h.c.tables[viewName].seen != versions || h.c.figures.views[viewName].seen.number != versions {
			t.Errorf("of what was published is known: %+v, %+v, %+v", v, h.c.tables[viewName], h.c.figures.views[viewName].seen)
		}
		if uint64(len(told)) != versions || told[versions-1] != versions {
			t.Errorf("told: %d", told)
		}
		if err := h.store.Delete(h.ctx, layout.Head(viewName)); err != nil {
			t.Fatal(err)
		}
		none := h.head()
		if none.Epoch = "f"; !errors.Is(publish(h.c, none), errReset) {
			t.Error("an epoch begins upon another")
		}
		if none.Epoch = "e"; versions == 2 && !errors.Is(publish(h.c, none), manifest.ErrWentBack) {
			t.Error("a view that lost its head begins anew")
		}
	}
	// Another process proves it, too, before it builds on it, and finds one that is old.
	h := &harness{tb: t, ctx: t.Context(), store: sim.NewStore(time.Now)}
	h.c = h.compactor(Options{})
	var heads []store.Object
	for range 3 {
		_, err := h.c.publish(h.ctx, h.head(), "fold", func(*manifest.Manifest) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		head, err := h.store.Get(h.ctx, layout.Head(viewName))
		if err != nil {
			t.Fatal(err)
		}
		heads = append(heads, head)
	}
	prove := func(head int) error {
		if _, err := h.store.Put(h.ctx, layout.Head(viewName), heads[head].Body); err != nil {
			t.Fatal(err)
		}
		c := h.compactor(Options{})
		v, err := c.current(h.ctx, viewName)
		if err != nil {
			t.Fatal(err)
		}
		err = c.prove(h.ctx, v, "")
		if c.proved[viewName] != (err == nil) {
			t.Errorf("it is proved: %v, %v", c.proved[viewName], err)
		}
		return err
	}
	if err := prove(0); !errors.Is(err, manifest.ErrWentBack) {
		t.Errorf("version 1 of 3: %v", err)
	}
	if err := prove(2); err != nil {
		t.Errorf("version 3 of 3: %v", err)
	}
}

// TestFailedCommitsAreNotTriedAgain, unless another compactor was first: then the change is made to its version, if that is of the same epoch.
func TestFailedCommitsAreNotTriedAgain(t *testing.T) {
	full := &fullStore{Store: sim.NewStore(time.Now)}
	h := &harness{tb: t, ctx: t.Context(), store: full}
	h.c = h.compactor(Options{})
	tries := 0
	publish := func(from version, epoch string) (*manifest.Manifest, error) {
		tries = 0
		return h.c.publish(h.ctx, from, "fold", func(m *manifest.Manifest) error {
			if tries++; tries > 3 {
				t.Fatal("it is tried for ever")
			}
			m.Epoch = epoch
			return nil
		})
	}
	none := h.head()
	full.full = true
	if _, err := publish(none, "e"); !refusedWrite(err) || tries != 1 {
		t.Errorf("a full store: %v, %d tries", err, tries)
	}
	full.full = false
	if m, err := publish(none, ""); err != nil || m.Version != 1 || tries != 1 {
		t.Fatalf("%+v, %v, %d tries", m, err, tries)
	}
	one := h.head()
	for want := uint64(2); want < 4; want++ {
		if m, err := publish(one, ""); err != nil || m.Version != want || tries != int(min(2, want-1)) {
			t.Errorf("%+v, %v, %d tries", m, err, tries)
		}
	}
	if _, err := publish(h.head(), "e"); err != nil {
		t.Fatal(err)
	}
	if _, err := publish(one, ""); !errors.Is(err, errOvertaken) || tries != 1 {
		t.Errorf("upon another epoch: %v, %d tries", err, tries)
	}
}
