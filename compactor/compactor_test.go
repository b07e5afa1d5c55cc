package compactor

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
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
