package iceberg

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// Expire takes snapshots of versions that are not kept out of a view's table, before their layers are removed. It reports whether the
// table's current snapshot is of a kept version: if not, nothing is changed, and a version that is kept must be published first, or the
// table withdrawn. Without a table, there is nothing to do.
func (p *Publisher) Expire(ctx context.Context, view string, kept func(version uint64) bool) (fine bool, err error) {
	for try := 1; ; try++ {
		fine, err := p.expire(ctx, view, kept)
		if err == nil || !errors.Is(err, store.ErrLost) || try == tries {
			if err != nil {
				err = fmt.Errorf("take versions out of the table of view %s: %w", view, err)
			}
			return fine, err
		}
	}
}

func (p *Publisher) expire(ctx context.Context, view string, kept func(version uint64) bool) (fine bool, err error) {
	table := layout.Iceberg(view)
	t, err := load(ctx, p.Store, table)
	if err != nil || t.Body == nil {
		return err == nil, err
	}
	m := &t.Metadata
	if !slices.ContainsFunc(m.Snapshots, func(s Snapshot) bool { return !kept(uint64(s.ID)) }) {
		return true, nil
	}
	if m.CurrentSnapshotID >= 0 && !kept(uint64(m.CurrentSnapshotID)) {
		return false, nil
	}
	if err := t.loadState(ctx, p.Store, table); err != nil {
		return false, err
	}
	t.drop(func(s Snapshot) bool { return !kept(uint64(s.ID)) })
	return true, p.commit(ctx, t, table)
}

// drop takes snapshots out of a table, and notes which objects are no longer used.
func (t *Table) drop(which func(Snapshot) bool) {
	m := &t.Metadata
	m.Snapshots = slices.DeleteFunc(m.Snapshots, which)
	for name, ref := range m.Refs {
		if m.snapshot(uint64(ref.SnapshotID)) == nil {
			delete(m.Refs, name)
		}
	}
	for i := range m.Snapshots {
		if m.snapshot(uint64(m.Snapshots[i].Parent)) == nil {
			m.Snapshots[i].Parent = 0
		}
	}
	m.setLog()
	t.state.Objects = slices.DeleteFunc(t.state.Objects, func(o usedObject) bool {
		return !slices.ContainsFunc(m.Snapshots, func(s Snapshot) bool { return o.First <= uint64(s.ID) && uint64(s.ID) <= o.Last })
	})
}

// Tables are the prefixes of the tables that a view may have: of its rows, and of its changes.
func Tables(view string) []string { return []string{layout.Iceberg(view), layout.IcebergChanges(view)} }

// Objects are the keys that the newest metadata of the table with a prefix needs. Without a table, there are none.
func Objects(ctx context.Context, st store.Store, table string) (map[string]bool, error) {
	t, err := load(ctx, st, table)
	if err != nil {
		return nil, err
	}
	needed := map[string]bool{}
	if t.hint != "" {
		needed[layout.IcebergHint(table)] = true
	}
	if t.Body == nil {
		return needed, nil
	}
	if err := t.loadState(ctx, st, table); err != nil {
		return nil, err
	}
	needed[layout.IcebergMetadata(table, t.Number)] = true
	// Of a process that ended before it wrote the hint; whoever publishes next takes it up.
	needed[layout.IcebergMetadata(table, t.Number+1)] = true
	needed[layout.IcebergObject(table, t.Metadata.Properties[stateProperty])] = true
	for _, o := range t.state.Objects {
		needed[layout.IcebergObject(table, o.Name)] = true
	}
	return needed, nil
}

// Withdraw takes the table with a prefix back. Its metadata goes first, so that nobody takes it up again; what else there is of it the
// compactor's retention removes later, as queries may be under way.
func Withdraw(ctx context.Context, st store.Store, table string) error {
	prefix := table + "metadata/v"
	err := store.Each(ctx, st, prefix, func(i store.Item, _ time.Duration) error {
		if i.Key == layout.IcebergHint(table) {
			return nil
		}
		return st.Delete(ctx, i.Key)
	})
	if err == nil {
		err = st.Delete(ctx, layout.IcebergHint(table))
	}
	if err != nil {
		return fmt.Errorf("withdraw the table %s: %w", table, err)
	}
	return nil
}
