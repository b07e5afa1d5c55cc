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
	t, err := load(ctx, p.Store, view)
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
	if err := t.loadState(ctx, p.Store, view); err != nil {
		return false, err
	}
	m.Snapshots = slices.DeleteFunc(m.Snapshots, func(s Snapshot) bool { return !kept(uint64(s.ID)) })
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
	return true, p.commit(ctx, t, view)
}

// Objects are the keys of a view's table that its newest metadata needs. Without a table, there are none.
func Objects(ctx context.Context, st store.Store, view string) (map[string]bool, error) {
	t, err := load(ctx, st, view)
	if err != nil {
		return nil, err
	}
	needed := map[string]bool{}
	if t.hint != "" {
		needed[layout.IcebergHint(view)] = true
	}
	if t.Body == nil {
		return needed, nil
	}
	if err := t.loadState(ctx, st, view); err != nil {
		return nil, err
	}
	needed[layout.IcebergMetadata(view, t.Number)] = true
	// Of a process that ended before it wrote the hint; whoever publishes next takes it up.
	needed[layout.IcebergMetadata(view, t.Number+1)] = true
	needed[layout.IcebergObject(view, t.Metadata.Properties[stateProperty])] = true
	for _, o := range t.state.Objects {
		needed[layout.IcebergObject(view, o.Name)] = true
	}
	return needed, nil
}

// Withdraw takes a view's table back. Its metadata goes first, so that nobody takes it up again; what else there is of it the
// compactor's retention removes later, as queries may be under way.
func Withdraw(ctx context.Context, st store.Store, view string) error {
	prefix := layout.Iceberg(view) + "metadata/v"
	err := store.Each(ctx, st, prefix, func(i store.Item, _ time.Duration) error {
		if i.Key == layout.IcebergHint(view) {
			return nil
		}
		return st.Delete(ctx, i.Key)
	})
	if err == nil {
		err = st.Delete(ctx, layout.IcebergHint(view))
	}
	if err != nil {
		return fmt.Errorf("withdraw the table of view %s: %w", view, err)
	}
	return nil
}
