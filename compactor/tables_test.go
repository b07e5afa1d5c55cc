package compactor

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/admin"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/iceberg"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
)

// named is a store with a name that engines understand, which counts what is written of tables.
type named struct {
	store.Store
	puts *int
}

func (n named) String() string { return "file:///store" }

func (n named) count(key string) {
	if strings.HasPrefix(key, layout.Iceberg(viewName)) {
		*n.puts++
	}
}

func (n named) Put(ctx context.Context, key string, body []byte) (store.Meta, error) {
	n.count(key)
	return n.Store.Put(ctx, key, body)
}

func (n named) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	n.count(key)
	return n.Store.Create(ctx, key, body)
}

func (n named) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	n.count(key)
	return n.Store.Replace(ctx, key, body, etag)
}

// tabled is a view with a table.
type tabled struct {
	*past
	puts int
}

func newTabled(t *testing.T) *tabled {
	p := &tabled{past: newPast(t, 3)}
	p.changes = 6 * time.Hour
	p.policy = history.Policy{Within: time.Hour, Hourly: 5, Daily: 3}
	p.keep(p.policy)
	p.c = p.another(named{p.store, &p.puts})
	s := p.teller("one")
	mark := func(kind event.MarkKind) event.Event {
		return event.Event{Kind: event.Marked, Evidence: event.Snapshot, ObservedAt: p.w.tick(), Path: "/", Mark: event.Mark{Kind: kind}}
	}
	s.tell(mark(event.SnapshotBegin), p.w.listEvent("/", event.Snapshot), mark(event.SnapshotEnd))
	s.send()
	p.job(p.c)
	return p
}

// tend lets time pass and does what is due.
func (p *tabled) tend(d time.Duration) {
	p.Helper()
	p.pass(d)
	if err := p.c.Tend(p.ctx, viewName); err != nil {
		p.Fatalf("%v", err)
	}
}

// needed are the keys of what the table and that of its changes need.
func (p *tabled) needed() map[string]bool {
	p.Helper()
	all := map[string]bool{}
	for _, prefix := range iceberg.Tables(viewName) {
		keys, err := iceberg.Objects(p.ctx, p.store, prefix)
		if err != nil {
			p.Fatalf("%v", err)
		}
		last := ""
		for key := range keys { // the next metadata, which need not be there
			if strings.HasPrefix(key, prefix+"metadata/v") && strings.HasSuffix(key, ".metadata.json") && (len(key) > len(last) || len(key) == len(last) && key > last) {
				last = key
			}
		}
		delete(keys, last)
		maps.Copy(all, keys)
	}
	return all
}

// table reads the table, and checks that all that it refers to is there.
func (p *tabled) table() *iceberg.Table {
	p.Helper()
	t, err := iceberg.Load(p.ctx, p.store, viewName)
	if err != nil {
		p.Fatalf("%v", err)
	}
	needed := p.needed()
	for key := range needed {
		if _, err := p.store.Get(p.ctx, key); err != nil {
			p.Fatalf("the tables need %v", err)
		}
	}
	chain, _ := p.chain()
	for _, s := range t.Metadata.Snapshots {
		i := slices.IndexFunc(chain, func(v manifest.Published) bool { return v.Version == uint64(s.ID) })
		if i < 0 {
			p.Fatalf("the table has a snapshot of version %d, which is not kept", s.ID)
		}
		m, err := manifest.NewLeaves(0, 0).LoadKey(p.ctx, p.store, viewName, chain[i].Key)
		if err == nil {
			_, err = p.read(m)
		}
		if err != nil {
			p.Fatalf("%v", err)
		}
		if !needed[layout.Iceberg(viewName)+"metadata/"+path.Base(s.ManifestList)] {
			p.Fatalf("%s is needed", s.ManifestList)
		}
	}
	return t
}

// TestTableFollowsTheHistory: while a view changes its table has a snapshot of each five minutes and of each version that is kept for
// longer, and never refers to anything that is gone. At rest nothing is written.
func TestTableFollowsTheHistory(t *testing.T) {
	p := newTabled(t)
	p.change(p.c)
	p.tend(time.Second)
	began := uint64(p.table().Metadata.CurrentSnapshotID)
	if p.puts == 0 || began != p.head().Version {
		t.Fatalf("the table is at %d after %d writes", began, p.puts)
	}
	a, err := admin.New(admin.Options{Store: p.store, Now: p.clock, Random: zeros{}})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 30 {
		for range 1 + p.random.IntN(8) {
			p.pass(time.Duration(p.random.IntN(90)) * time.Second)
			p.change(p.c)
		}
		if i%5 == 4 { // a version that is the last of its hour, and is not the newest for long
			p.pass(p.clock().Truncate(time.Hour).Add(time.Hour - time.Second).Sub(p.clock()))
			p.change(p.c)
			p.pass(2 * time.Second)
			p.change(p.c)
		}
		if i == 25 {
			if _, err := a.Pin(p.ctx, viewName, "kept", p.head().Version, 0); err != nil {
				t.Fatal(err)
			}
			p.change(p.c) // the pinned one is not the newest when the table is published again
		}
		for range p.random.IntN(12) {
			p.tend(time.Minute)
		}
		if i%40 == 0 {
			p.table()
		}
	}
	for range 6 {
		p.tend(time.Minute)
	}
	table := p.table()
	if got := uint64(table.Metadata.CurrentSnapshotID); got != p.head().Version {
		t.Errorf("the table is at %d, the view at %d", got, p.head().Version)
	}
	list, now, err := manifest.List(p.ctx, p.store, viewName, 0, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	chain, _, err := manifest.Chain(p.ctx, p.store, p.head().Manifest, list)
	if err != nil {
		t.Fatal(err)
	}
	pins, _, err := history.ReadPins(p.ctx, p.store, viewName)
	if err != nil {
		t.Fatal(err)
	}
	lasting := 0
	for _, k := range p.policy.All(chain, p.head().Manifest, pins, now) {
		if k.Lasting() && k.Version > began {
			if lasting++; !table.Has(k.Version) {
				t.Errorf("the table lacks version %d, which is kept: %v %v", k.Version, k.Why, k.Pins)
			}
		}
	}
	if ref := table.Metadata.Refs["kept"]; lasting < 4 || ref.Type != "tag" || ref.SnapshotID != int64(pins["kept"].Version) {
		t.Errorf("%d kept versions; the pin is %+v", lasting, ref)
	}
	for range 24 * 5 {
		p.tend(time.Hour)
	}
	if n := len(p.table().Metadata.Snapshots); n != 2 {
		t.Errorf("five days later the table has %d snapshots", n)
	}
	journal, err := iceberg.LoadChanges(p.ctx, p.store, viewName)
	if err != nil || journal.Current().Summary["fustor.version"] != strconv.FormatUint(p.head().Version, 10) {
		t.Errorf("the table of changes is at %v: %v", journal.Current(), err)
	}
	before := p.puts
	for range 24 * 60 {
		p.tend(time.Minute)
	}
	if p.puts != before {
		t.Errorf("%d writes on a day of a view at rest", p.puts-before)
	}
	page, err := p.store.List(p.ctx, layout.Iceberg(viewName), "", 0)
	if err != nil {
		t.Fatal(err)
	}
	if needed := p.needed(); len(page.Items) != len(needed) {
		t.Errorf("%d objects, %d needed", len(page.Items), len(needed))
	}
}

// TestTableCatchesUpBeforeVersionsGo: where nobody published for long, retention does before it removes what the table refers to.
func TestTableCatchesUpBeforeVersionsGo(t *testing.T) {
	p := newTabled(t)
	p.keep(history.Policy{})
	p.change(p.c)
	p.tend(time.Second)
	p.c = p.another(named{p.store, &p.puts}) // retention of an administrator, who tends nothing
	p.change(p.c)
	p.pass(5 * time.Hour)
	if _, err := p.c.Retain(p.ctx, viewName); err != nil {
		t.Fatal(err)
	}
	if m := p.table().Metadata; m.CurrentSnapshotID != int64(p.head().Version) || len(m.Snapshots) != 1 {
		t.Errorf("the table is at %d with %d snapshots, the view at %d", m.CurrentSnapshotID, len(m.Snapshots), p.head().Version)
	}
}

// TestTableIsWithdrawn: the setting takes the table back, and makes it again.
func TestTableIsWithdrawn(t *testing.T) {
	p := newTabled(t)
	p.change(p.c)
	p.tend(time.Second)
	p.table()
	set := func(seconds float64) {
		config := viewconfig.Default(viewName)
		config.IcebergIntervalSeconds = seconds
		p.overwrite(layout.ViewConfig(viewName), config)
	}
	set(0)
	p.pass(2 * time.Minute)
	p.change(p.c)
	p.tend(2 * time.Minute)
	if _, err := iceberg.Load(p.ctx, p.store, viewName); !errors.Is(err, iceberg.ErrNone) {
		t.Errorf("the table is there: %v", err)
	}
	set(60)
	p.pass(2 * time.Minute)
	p.change(p.c)
	p.tend(2 * time.Minute)
	p.table()
}

// zeros is no randomness.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }
