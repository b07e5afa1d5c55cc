package compactor

import (
	"errors"
	"maps"
	"path"
	"slices"
	"sort"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/iceberg"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// Which layers may go follows from a few manifests, however long the history:
//
//	written   first version      last version
//	   │  ≤ writing │ ◀── has it ──▶ │
//	───┴────────────┴────────────────┴──────▶ versions
//
// The versions that have a layer follow each other without a gap, and the first of them was published soon after the layer was
// written. So the first kept version after that time has the layer, or no kept version has. Names of owners and leaves live like layers.
// It is asked only of layers that head does not have: those that are new since retention ran last, and those of versions that went
// since.

// oldLayer is an object of layers/ that head does not have.
type oldLayer struct {
	store.Item
	age   time.Duration
	id    string
	times []time.Time // when it was written: what the store says and what its name says, as one of them may be wrong
}

// layers removes the layers, the leaves and the names of owners that no kept version has.
func (r *retention) layers() error {
	if r.policy.Within == history.Unlimited {
		return nil
	}
	inHead := idsOf(r.head.Manifest)
	asked := r.toAsk()
	var old []oldLayer
	err := store.Each(r.ctx, r.c.o.Store, layout.Layers(r.view), func(i store.Item, _ time.Duration) error {
		age := r.now.Sub(i.LastModified)
		name := path.Base(i.Key)
		l := oldLayer{Item: i, age: age, id: strings.TrimSuffix(name, path.Ext(name)), times: []time.Time{i.LastModified}}
		if u, err := ulid.ParseStrict(l.id); err == nil {
			l.times = append(l.times, ulid.Time(u.Time()))
		}
		switch {
		case inHead[l.id]:
		case age <= r.spare():
			r.later(i.LastModified.Add(r.spare()))
		case asked(l):
			old = append(old, l)
		}
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortStableFunc(old, func(a, b oldLayer) int { return a.LastModified.Compare(b.LastModified) })
	read := manifestReader{r: r, known: map[string]map[string]bool{}}
	for _, l := range old {
		needed, err := read.needs(l)
		if err != nil {
			return err
		}
		if needed {
			continue
		}
		if err := r.remove(Removal{l.Key, l.Size, l.age, "layer of no kept version"}); err != nil {
			return err
		}
	}
	return nil
}

// idsOf are the layers of a version, its leaves, and its names of owners.
func idsOf(m *manifest.Manifest) map[string]bool {
	ids := map[string]bool{m.Names: true}
	for i := range m.Leaves {
		ids[m.Leaves[i].ID] = true
	}
	for _, infos := range [][]layer.Info{m.Base, m.Deltas} {
		for _, i := range infos {
			ids[i.ID] = true
		}
	}
	return ids
}

// toAsk says which layers may have become unneeded since retention ran last in this process: those that were too young then, and those
// written between a version that went since, whoever removed it, and the kept one before it. What that one has is needed.
func (r *retention) toAsk() func(oldLayer) bool {
	if r.last.swept.IsZero() {
		return func(oldLayer) bool { return true }
	}
	type span struct{ from, to time.Time }
	var spans []span
	at, before := 0, time.Time{}
	for _, k := range r.last.kept {
		for at < len(r.kept) && r.kept[at].Version < k.Version {
			before = r.kept[at].At
			at++
		}
		if at == len(r.kept) || r.kept[at].Version != k.Version {
			spans = append(spans, span{before.Add(-r.c.writing() - clocks), k.At.Add(clocks)}) // without one before it, from the year 1 on
		}
	}
	return func(l oldLayer) bool {
		return l.LastModified.After(r.last.swept) || slices.ContainsFunc(spans, func(s span) bool {
			return slices.ContainsFunc(l.times, func(t time.Time) bool { return !t.Before(s.from) && !t.After(s.to) })
		})
	}
}

// clocks is how far the times of one store's objects may be apart from each other.
const clocks = time.Minute

// manifestReader reads the kept versions that have layers of some time. Layers come in the order of time, so it keeps few of them.
type manifestReader struct {
	r     *retention
	known map[string]map[string]bool // ids, by the manifest's key; nil: it is gone
	order []string
}

const manifestsHeld = 16

// needs reports whether a kept version has a layer, by each of the times when it may have been written.
func (m *manifestReader) needs(l oldLayer) (bool, error) {
	kept := m.r.kept
	for _, t := range l.times {
		for i := sort.Search(len(kept), func(i int) bool { return !kept[i].At.Before(t.Add(-clocks)) }); i < len(kept); i++ {
			ids, err := m.ids(kept[i].Key)
			if err != nil || ids[l.id] {
				return true, err
			}
			last := i+1 == len(kept) || kept[i+1].At.After(kept[i].At) // of those of one time
			if ids != nil && last && kept[i].At.Sub(t) > m.r.c.writing()+clocks {
				break
			}
		}
	}
	return false, nil
}

// ids are those of a version; nil if another compactor has removed it meanwhile.
func (m *manifestReader) ids(key string) (map[string]bool, error) {
	if ids, ok := m.known[key]; ok {
		return ids, nil
	}
	of, err := m.r.c.leaves.LoadKey(m.r.ctx, m.r.c.o.Store, m.r.view, key)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, err
	}
	if len(m.order) == manifestsHeld {
		delete(m.known, m.order[0])
		m.order = m.order[1:]
	}
	m.known[key], m.order = nil, append(m.order, key)
	if err == nil {
		m.known[key] = idsOf(of)
	}
	return m.known[key], nil
}

// table takes the versions that are not kept out of the view's table, before they and their layers go. If its current snapshot is one of
// them, head is published first. A table that the view's settings no longer ask for, or of which no version is complete any more, is
// withdrawn.
func (r *retention) table() error {
	p := r.c.publisher()
	if r.dry || p == nil {
		return nil
	}
	kept := map[uint64]bool{}
	for _, k := range r.kept {
		kept[k.Version] = true
	}
	listed := uint64(0)
	if n := len(r.kept); n > 0 {
		listed = r.kept[n-1].Version
	}
	isKept := func(version uint64) bool { return kept[version] || version > listed }
	if r.config.IcebergInterval() > 0 {
		fine, err := p.Expire(r.ctx, r.view, isKept)
		if err != nil || fine {
			return err
		}
		if r.head.Ready() {
			if _, err := r.c.PublishTable(r.ctx, r.view); err != nil {
				return err
			}
			if fine, err = p.Expire(r.ctx, r.view, isKept); err != nil || fine {
				return err
			}
		}
	} else if _, err := iceberg.Load(r.ctx, r.c.o.Store, r.view); errors.Is(err, iceberg.ErrNone) {
		return nil
	}
	return r.c.withdraw(r.ctx, r.view)
}

// tableObjects removes the objects of the view's tables that their metadata does not need. They are listed before that is read.
func (r *retention) tableObjects() error {
	var old []store.Item
	err := store.Each(r.ctx, r.c.o.Store, layout.Iceberg(r.view), func(i store.Item, _ time.Duration) error {
		old = append(old, i)
		return nil
	})
	if err != nil || len(old) == 0 {
		return err
	}
	changes := layout.IcebergHint(layout.IcebergChanges(r.view))
	if _, wanted := r.config.IcebergChanges(); !wanted && !r.dry && slices.ContainsFunc(old, func(i store.Item) bool { return i.Key == changes }) {
		if err := iceberg.Withdraw(r.ctx, r.c.o.Store, layout.IcebergChanges(r.view)); err != nil {
			return err
		}
	}
	needed := map[string]bool{}
	for _, table := range iceberg.Tables(r.view) {
		objects, err := iceberg.Objects(r.ctx, r.c.o.Store, table)
		if err != nil {
			return err
		}
		maps.Copy(needed, objects)
	}
	for _, i := range old {
		if needed[i.Key] {
			continue
		}
		age := r.now.Sub(i.LastModified)
		if age <= r.c.o.Grace {
			r.later(i.LastModified.Add(r.c.o.Grace))
			continue
		}
		if err := r.remove(Removal{i.Key, i.Size, age, "file of the view's table that no snapshot needs"}); err != nil {
			return err
		}
	}
	return nil
}
