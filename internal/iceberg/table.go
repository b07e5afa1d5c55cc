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
	// Files and Manifest are of a table of changes: its data files, in the order of their changes, and the key of the manifest of Version.
	Files    []changesFile `json:"files,omitempty"`
	Manifest string        `json:"manifest,omitempty"`
}

const stateFormat = 1

// dataManifest is a manifest. Names of objects are those below the table's location. In a table of changes the numbers of snapshots stand
// for versions, and the names of files for the ids of layers.
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

// usedObject is an object and the first and the last snapshot that use it. Those between may, too.
type usedObject struct {
	Name  string `json:"name"`
	First uint64 `json:"first"`
	Last  uint64 `json:"last"`
}

// Load reads a view's table. The error is ErrNone where there is none.
func Load(ctx context.Context, st store.Store, view string) (*Table, error) {
	return loadPublished(ctx, st, layout.Iceberg(view), "view "+view)
}

// LoadChanges is Load for the table of a view's changes.
func LoadChanges(ctx context.Context, st store.Store, view string) (*Table, error) {
	return loadPublished(ctx, st, layout.IcebergChanges(view), "the changes of view "+view)
}

func loadPublished(ctx context.Context, st store.Store, table, what string) (*Table, error) {
	t, err := load(ctx, st, table)
	if err == nil && t.Body == nil {
		err = fmt.Errorf("%s: %w", what, ErrNone)
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

// load is Load for the table with a prefix, and returns a table without a body where there is none, or none any more.
func load(ctx context.Context, st store.Store, table string) (*Table, error) {
	t := &Table{}
	hint, err := st.Get(ctx, layout.IcebergHint(table))
	if errors.Is(err, store.ErrNotFound) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the table %s: %w", table, err)
	}
	t.hint = hint.ETag
	if t.Number, err = strconv.ParseUint(strings.TrimSpace(string(hint.Body)), 10, 31); err != nil {
		return nil, fmt.Errorf("%s: not the number of a table's metadata: %w: %w", layout.IcebergHint(table), ErrDamaged, err)
	}
	key := layout.IcebergMetadata(table, t.Number)
	o, err := st.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the table %s: %w", table, err)
	}
	t.Body = o.Body
	if err := json.Unmarshal(o.Body, &t.Metadata); err != nil {
		return nil, fmt.Errorf("%s: not a table's metadata: %w: %w", key, ErrDamaged, err)
	}
	return t, nil
}

// loadState reads the table's state. A table whose state this build does not know has an empty one, and is published anew.
func (t *Table) loadState(ctx context.Context, st store.Store, table string) error {
	name := t.Metadata.Properties[stateProperty]
	if t.Body == nil || name == "" {
		return nil
	}
	key := layout.IcebergObject(table, name)
	o, err := st.Get(ctx, key)
	if err != nil {
		return fmt.Errorf("read the state of the table %s: %w", table, err)
	}
	body, err := seal.Open(key, o.Body)
	if err != nil {
		return fmt.Errorf("read the state of the table %s: %w: %w", table, ErrDamaged, err)
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
func (t *Table) commit(ctx context.Context, st store.Store, table, nonce string) error {
	t.state.Format, t.state.Nonce = stateFormat, nonce
	name := "state/" + nonce + ".json"
	t.Metadata.Properties[stateProperty] = name
	body, err := seal.JSON(layout.IcebergObject(table, name), t.state)
	if err != nil {
		return fmt.Errorf("encode the table's state: %w", err)
	}
	if _, err := st.Put(ctx, layout.IcebergObject(table, name), body); err != nil {
		return fmt.Errorf("write the table's state: %w", err)
	}
	if t.Body, err = json.Marshal(t.Metadata); err != nil {
		return fmt.Errorf("encode the table's metadata: %w", err)
	}
	next := t.Number + 1
	_, err = store.Swap(ctx, st, layout.IcebergMetadata(table, next), t.Body, "")
	lost := errors.Is(err, store.ErrLost)
	if err != nil && !lost {
		return fmt.Errorf("write the table's metadata: %w", err)
	}
	// Whoever lost may have lost to a process that ended before it wrote the hint.
	meta, err := store.Swap(ctx, st, layout.IcebergHint(table), strconv.AppendUint(nil, next, 10), t.hint)
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
