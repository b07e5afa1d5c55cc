package iceberg

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/store"
)

// Table is a view's table as it was read.
type Table struct {
	Number   uint64 // of its metadata, from 1 on
	Metadata Metadata
	Body     []byte // of the metadata's object
	hint     string // the ETag of the hint; empty: there is none
	state    state
}

// state is what the next publication needs to know of the ones before. It is an object beside the metadata, which names it.
type state struct {
	Format   int            `json:"format"`
	Nonce    string         `json:"nonce"`
	Location string         `json:"location"`
	Version  uint64         `json:"version"` // of the view, which data and deletes are of
	Data     []dataManifest `json:"data"`
	Deletes  []deleteFile   `json:"deletes,omitempty"`
	// DeleteManifest has the entries of Deletes; its name is empty if there are none.
	DeleteManifest dataManifest `json:"delete_manifest"`
	// Objects are all that the table's snapshots use.
	Objects []usedObject `json:"objects"`
}

const stateFormat = 1

// dataManifest is a manifest. Names of objects are those below the table's location.
type dataManifest struct {
	Name     string   `json:"name"`
	Bytes    int64    `json:"bytes"`
	Version  uint64   `json:"version"`          // that it was first made for
	Minimum  int64    `json:"min_sequence"`     // of its entries
	Layers   []string `json:"layers,omitempty"` // the ids of those that it names
	Deltas   bool     `json:"deltas,omitempty"`
	Added    int32    `json:"added"`
	Existing int32    `json:"existing,omitempty"`
	Rows     int64    `json:"rows"` // of the added ones
	OldRows  int64    `json:"existing_rows,omitempty"`
}

// deleteFile is a position-delete file. It holds whatever else is in the view: rows of Targets that Of supersedes, and Of's tombstones;
// or, where Of is empty, the tombstones of each target. So it counts in every version that has Of and a target.
type deleteFile struct {
	Name    string   `json:"name"`
	Bytes   int64    `json:"bytes"`
	Rows    int64    `json:"rows"`
	Version uint64   `json:"version"`
	Of      string   `json:"of,omitempty"`
	Targets []string `json:"targets"`
}

// usedObject is an object and the first and the last version whose snapshots use it. Those between may, too.
type usedObject struct {
	Name  string `json:"name"`
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Load reads a view's table. The error is ErrNone where there is none.
func Load(ctx context.Context, st store.Store, view string) (*Table, error) {
	t, err := load(ctx, st, view)
	if err == nil && t.Body == nil {
		err = fmt.Errorf("view %s: %w", view, ErrNone)
	}
	return t, err
}

// Has reports whether the table has a snapshot of a version.
func (t *Table) Has(version uint64) bool { return t.Metadata.snapshot(version) != nil }

// Current is the table's current snapshot; nil if there is none.
func (t *Table) Current() *Snapshot {
	return t.Metadata.snapshot(uint64(max(0, t.Metadata.CurrentSnapshotID)))
}

// OnlyRefs is the table's metadata without the snapshots that no branch or tag names.
func (t *Table) OnlyRefs() ([]byte, error) {
	var members map[string]json.RawMessage
	err := json.Unmarshal(t.Body, &members)
	if err != nil {
		return nil, fmt.Errorf("not a table's metadata: %w", err)
	}
	named := map[int64]bool{}
	for _, r := range t.Metadata.Refs {
		named[r.SnapshotID] = true
	}
	left := slices.DeleteFunc(slices.Clone(t.Metadata.Snapshots), func(s Snapshot) bool { return !named[s.ID] })
	if members["snapshots"], err = json.Marshal(left); err != nil {
		return nil, fmt.Errorf("encode the table's snapshots: %w", err)
	}
	return json.Marshal(members)
}

// load is Load, and returns a table without a body where there is none, or none any more.
func load(ctx context.Context, st store.Store, view string) (*Table, error) {
	t := &Table{}
	hint, err := st.Get(ctx, layout.IcebergHint(view))
	if errors.Is(err, store.ErrNotFound) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the table of view %s: %w", view, err)
	}
	t.hint = hint.ETag
	if t.Number, err = strconv.ParseUint(strings.TrimSpace(string(hint.Body)), 10, 31); err != nil {
		return nil, fmt.Errorf("%s: not the number of a table's metadata: %w: %w", layout.IcebergHint(view), ErrDamaged, err)
	}
	key := layout.IcebergMetadata(view, t.Number)
	o, err := st.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the table of view %s: %w", view, err)
	}
	t.Body = o.Body
	if err := json.Unmarshal(o.Body, &t.Metadata); err != nil {
		return nil, fmt.Errorf("%s: not a table's metadata: %w: %w", key, ErrDamaged, err)
	}
	return t, nil
}

// loadState reads the table's state. A table whose state this build does not know has an empty one, and is published anew.
func (t *Table) loadState(ctx context.Context, st store.Store, view string) error {
	name := t.Metadata.Properties[stateProperty]
	if t.Body == nil || name == "" {
		return nil
	}
	key := layout.IcebergObject(view, name)
	o, err := st.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("read the state of the table of view %s: %w", view, err)
	}
	body, err := seal.Open(key, o.Body)
	if err != nil {
		return fmt.Errorf("read the state of the table of view %s: %w: %w", view, ErrDamaged, err)
	}
	var s state
	if err := json.Unmarshal(body, &s); err != nil {
		return fmt.Errorf("%s: %w: %w", key, ErrDamaged, err)
	}
	if s.Format == stateFormat {
		t.state = s
	}
	return nil
}

// errOvertaken: another process published first.
var errOvertaken = fmt.Errorf("another process published the table first: %w", store.ErrLost)

// commit makes the table's next metadata, and the hint that names it.
func (t *Table) commit(ctx context.Context, st store.Store, view, nonce string) error {
	t.state.Format, t.state.Nonce = stateFormat, nonce
	name := "state/" + nonce + ".json"
	t.Metadata.Properties[stateProperty] = name
	body, err := seal.JSON(layout.IcebergObject(view, name), t.state)
	if err != nil {
		return fmt.Errorf("encode the table's state: %w", err)
	}
	if _, err := st.Put(ctx, layout.IcebergObject(view, name), body); err != nil {
		return fmt.Errorf("write the table's state: %w", err)
	}
	if t.Body, err = json.Marshal(t.Metadata); err != nil {
		return fmt.Errorf("encode the table's metadata: %w", err)
	}
	next := t.Number + 1
	_, err = store.Swap(ctx, st, layout.IcebergMetadata(view, next), t.Body, "")
	lost := errors.Is(err, store.ErrLost)
	if err != nil && !lost {
		return fmt.Errorf("write the table's metadata: %w", err)
	}
	// Whoever lost may have lost to a process that ended before it wrote the hint.
	meta, err := store.Swap(ctx, st, layout.IcebergHint(view), strconv.AppendUint(nil, next, 10), t.hint)
	if lost {
		return errOvertaken
	}
	if errors.Is(err, store.ErrLost) { // one who built upon this has written it
		return nil
	}
	if err != nil {
		return fmt.Errorf("write the table's hint: %w", err)
	}
	t.Number, t.hint = next, meta.ETag
	return nil
}
