package iceberg

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/twmb/avro/ocf"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// ErrDamaged: an object of the table cannot be what was published.
var ErrDamaged = errors.New("the table is damaged")

// Damage is what is wrong with an object that a view's table needs.
type Damage struct{ Object, Problem string }

// Check looks whether the objects that the table of a view with a prefix needs are there, and as long as they were made. It reads the
// metadata, the state and the manifest lists whole, and asks sizes for the others; sizes have those of a listing, and what is not among
// them is asked for by itself. The lengths of delete files, and of files of changes, are known of the current snapshot alone. needed are
// the keys of all of them, none without a table.
func Check(ctx context.Context, st store.Store, view, table string, sizes map[string]int64) (found []Damage, needed map[string]bool, err error) {
	t, err := load(ctx, st, table)
	if errors.Is(err, ErrDamaged) {
		return []Damage{{layout.IcebergHint(table), err.Error()}}, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	if t.Body == nil && t.hint != "" {
		return []Damage{{layout.IcebergMetadata(table, t.Number), "the newest metadata of the table is missing"}}, nil, nil
	}
	if t.Body == nil {
		return nil, nil, nil
	}
	stateKey := layout.IcebergObject(table, t.Metadata.Properties[stateProperty])
	switch err := t.loadState(ctx, st, table); {
	case errors.Is(err, store.ErrNotFound), errors.Is(err, ErrDamaged):
		return []Damage{{stateKey, err.Error()}}, nil, nil
	case err != nil:
		return nil, nil, err
	case t.state.Format != stateFormat: // of a later build
		return nil, nil, nil
	}
	if needed, err = Objects(ctx, st, table); err != nil {
		return nil, nil, err
	}
	want := map[string]int64{} // lengths by name
	for _, s := range t.Metadata.Snapshots {
		name := strings.TrimPrefix(s.ManifestList, t.state.Location+"/")
		key := layout.IcebergObject(table, name)
		o, err := st.Get(ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return nil, nil, err
		}
		if err == nil {
			want[name] = int64(len(o.Body))
			err = manifestLengths(o.Body, t.state.Location+"/", want)
		}
		if err != nil {
			found = append(found, Damage{key, err.Error()})
		}
	}
	for _, d := range t.state.Deletes {
		want[d.Name] = d.Bytes
	}
	for _, f := range t.state.Files {
		want[f.Name] = f.Bytes
	}
	for _, o := range t.state.Objects {
		key := layout.IcebergObject(table, o.Name)
		if slices.ContainsFunc(found, func(d Damage) bool { return d.Object == key }) {
			continue
		}
		size, there := sizes[key]
		if !there {
			whole, err := st.Get(ctx, key) // it may be younger than the listing
			if errors.Is(err, store.ErrNotFound) {
				found = append(found, Damage{key, "it is missing"})
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			size = int64(len(whole.Body))
		}
		if length, known := want[o.Name]; known && size != length || size == 0 {
			found = append(found, Damage{key, fmt.Sprintf("it has %d bytes, not %d", size, length)})
		}
	}
	if table != layout.Iceberg(view) {
		return found, needed, nil
	}
	for _, d := range t.state.Data {
		for _, id := range d.Layers {
			key := layout.Layer(view, id)
			if _, there := sizes[key]; there {
				continue
			}
			if _, err := st.GetRange(ctx, key, 0, 1); errors.Is(err, store.ErrNotFound) {
				found = append(found, Damage{key, "the table's current snapshot needs this layer, and it is missing"})
			} else if err != nil {
				return nil, nil, err
			}
		}
	}
	return found, needed, nil
}

// manifestLengths reads a manifest list to its end, and notes how long its manifests are, by their names below the location.
func manifestLengths(list []byte, location string, to map[string]int64) error {
	r, err := ocf.NewReader(bytes.NewReader(list))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	for {
		var l listed
		if err := r.Decode(&l); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		to[strings.TrimPrefix(l.Path, location)] = l.Length
	}
}
