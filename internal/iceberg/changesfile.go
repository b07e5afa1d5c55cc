package iceberg

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/manifest"
)

// The columns of a table of changes, by their field ids. Those of a state come twice: before the change, and after it.
const (
	changeVersion = 1 + iota
	changeSince
	changePublished
	changeKind
	changeFields
	changeParent
	changeParentRaw
	changeName
	changeNameRaw
	changeType
	changeStates // the first column of the states
)

const (
	stateType = iota
	stateSize
	stateMtime
	stateMode
	stateUID
	stateGID
	stateTarget
	stateTargetRaw
	stateLinks
	stateAllocated
	stateCtime
	stateInode
	stateBirth
	stateACL
	stateColumns
)

// changesSchema is the one schema that a table of changes has. A state is NULL where there is none.
var changesSchema = sync.OnceValue(func() Schema {
	s := Schema{Type: "struct"}
	add := func(name, of, doc string, required bool) {
		s.Fields = append(s.Fields, SchemaField{ID: len(s.Fields) + 1, Name: name, Required: required, Type: of, Doc: doc})
	}
	add("version", "long", "the version that shows the change first", true)
	add("since_version", "long", "the version that it is compared with", true)
	add("published_at", "timestamptz", "when the version was folded", true)
	add("change", "string", "added, removed or changed", true)
	add("fields", "string", "of what is changed: what differs, such as size,mtime", true)
	add("parent", "string", "the path's directory, with a slash at the end", true)
	add("parent_raw", "binary", "its bytes, if they are not UTF-8", true)
	add("name", "string", "", true)
	add("name_raw", "binary", "its bytes, if they are not UTF-8", true)
	add("type", "string", "after the change, or else before it", true)
	for _, when := range [2]string{"before_", "after_"} {
		for _, c := range [stateColumns][2]string{
			stateType: {"type", "string"}, stateSize: {"size", "long"}, stateMtime: {"mtime_ns", "long"}, stateMode: {"mode", "int"}, stateUID: {"uid", "long"}, stateGID: {"gid", "long"},
			stateTarget: {"target", "string"}, stateTargetRaw: {"target_raw", "binary"}, stateLinks: {"links", "long"}, stateAllocated: {"allocated", "long"},
			stateCtime: {"ctime_ns", "long"}, stateInode: {"inode", "long"}, stateBirth: {"birth_ns", "long"}, stateACL: {"acl", "string"},
		} {
			add(when+c[0], c[1], "", false)
		}
	}
	return s
})

// newChangesForm is changesSchema in Parquet, and the place of each column there, by its field id: groups are sorted by name.
func newChangesForm() (*parquet.Schema, []int) {
	group, z := parquet.Group{}, newSmallWindow()
	var names []string
	for _, f := range changesSchema().Fields {
		var n parquet.Node
		switch f.Type {
		case "int":
			n = parquet.Int(32)
		case "long":
			n = parquet.Int(64)
		case "timestamptz":
			n = parquet.Timestamp(parquet.Microsecond)
		case "binary":
			n = parquet.Leaf(parquet.ByteArrayType)
		default:
			n = parquet.String()
		}
		switch f.Name[strings.LastIndexByte(f.Name, '_')+1:] {
		case "name", "size", "allocated", "inode", "ns":
			n = parquet.Encoded(n, &parquet.Plain)
		default:
			n = parquet.Encoded(n, &parquet.RLEDictionary)
		}
		if n = parquet.Compressed(n, z); !f.Required {
			n = parquet.Optional(n)
		}
		group[f.Name], names = parquet.FieldID(n, f.ID), append(names, f.Name)
	}
	slices.Sort(names)
	order := make([]int, len(changesSchema().Fields)+1)
	for _, f := range changesSchema().Fields {
		order[f.ID], _ = slices.BinarySearch(names, f.Name)
	}
	return parquet.NewSchema("table", group), order
}

const (
	// rowsPerChangesGroup bounds the rows of a row group.
	rowsPerChangesGroup = 1 << 15
	// changesPageBytes bounds a page before it is compressed: there is one in memory for each column.
	changesPageBytes = 64 << 10
)

// changesWriter makes a file of changes.
type changesWriter struct {
	out         bytes.Buffer
	w           *parquet.GenericWriter[any]
	order       []int // as newChangesForm has it
	row         parquet.Row
	batch       []parquet.Row // of copy
	rows        int64
	low, high   [changeSince + 1]int64 // of the versions, by field id
	first, last int64                  // µs
	dirs        [2]string              // the lowest parent, and the highest
}

func newChangesWriter() *changesWriter {
	schema, order := newChangesForm()
	w := &changesWriter{row: make(parquet.Row, len(changesSchema().Fields)), order: order}
	w.w = parquet.NewGenericWriter[any](&w.out, schema, parquet.CreatedBy("fustor", "3.0.0", "changes"),
		parquet.MaxRowsPerRowGroup(rowsPerChangesGroup), parquet.PageBufferSize(changesPageBytes))
	return w
}

// reset begins another file, in the memory of the one before.
func (w *changesWriter) reset() {
	w.out.Reset()
	w.w.Reset(&w.out)
	*w = changesWriter{out: w.out, w: w.w, order: w.order, row: w.row, batch: w.batch}
}

// set sets a column of the row.
func (w *changesWriter) set(id int, v parquet.Value) {
	at, level := w.order[id], 0
	if id >= changeStates {
		level = 1
	}
	w.row[at] = v.Level(0, level, at)
}

func (w *changesWriter) setText(id, raw int, s string) {
	shown, bytes := s, ""
	if !utf8.ValidString(s) {
		shown, bytes = strings.ToValidUTF8(s, string(utf8.RuneError)), s
	}
	w.set(id, parquet.ByteArrayValue([]byte(shown)))
	if raw != 0 {
		w.set(raw, parquet.ByteArrayValue([]byte(bytes)))
	}
}

// add adds a change of a version since another.
func (w *changesWriter) add(c *evidence.Change, before, after *manifest.Manifest) error {
	r := c.Row()
	w.set(changeVersion, parquet.Int64Value(int64(after.Version)))
	w.set(changeSince, parquet.Int64Value(int64(before.Version)))
	w.set(changePublished, parquet.Int64Value(after.FoldedAt/1000))
	w.setText(changeKind, 0, c.Kind())
	w.setText(changeFields, 0, strings.Join(c.Fields.Words(), ","))
	w.setText(changeParent, changeParentRaw, r.Parent)
	w.setText(changeName, changeNameRaw, r.Name)
	w.setText(changeType, 0, r.Type.String())
	w.setState(changeStates, c.Before)
	w.setState(changeStates+stateColumns, c.After)
	if _, err := w.w.WriteRows([]parquet.Row{w.row}); err != nil {
		return fmt.Errorf("write a file of changes: %w", err)
	}
	w.note(w.row)
	return nil
}

// setState sets the columns of what was before a change, or is after it.
func (w *changesWriter) setState(first int, r *evidence.Row) {
	for id := first; id < first+stateColumns; id++ {
		at := w.order[id]
		w.row[at] = parquet.Value{}.Level(0, 0, at)
	}
	if r == nil {
		return
	}
	number := func(column int, n int64) { w.set(first+column, parquet.Int64Value(n)) }
	w.setText(first+stateType, 0, r.Type.String())
	number(stateSize, r.Size)
	number(stateMtime, r.MtimeNs)
	w.set(first+stateMode, parquet.Int32Value(int32(r.Mode)))
	number(stateUID, int64(r.UID))
	number(stateGID, int64(r.GID))
	if r.Type == event.Symlink {
		w.setText(first+stateTarget, first+stateTargetRaw, r.Target)
	}
	if !r.Measured() {
		return
	}
	number(stateLinks, int64(r.Links))
	number(stateAllocated, r.Allocated)
	number(stateCtime, r.CtimeNs)
	if r.ID != 0 {
		number(stateInode, int64(r.ID))
	}
	if r.BirthS != 0 {
		number(stateBirth, r.BirthNs())
	}
	if r.ACL != "" {
		w.setText(first+stateACL, 0, r.ACL.String())
	}
}

// copy adds the rows of another file.
func (w *changesWriter) copy(body []byte) (err error) {
	file, err := parquet.OpenFile(bytes.NewReader(body), int64(len(body)))
	if err != nil {
		return err
	}
	if w.batch == nil {
		w.batch = make([]parquet.Row, 256)
	}
	for _, g := range file.RowGroups() {
		if err := w.copyGroup(g); err != nil {
			return err
		}
	}
	return nil
}

func (w *changesWriter) copyGroup(g parquet.RowGroup) (err error) {
	rows := g.Rows()
	defer func() { err = errors.Join(err, rows.Close()) }()
	for {
		n, end := rows.ReadRows(w.batch)
		if end != nil && !errors.Is(end, io.EOF) {
			return end
		}
		if _, err := w.w.WriteRows(w.batch[:n]); err != nil {
			return err
		}
		for _, row := range w.batch[:n] {
			w.note(row)
		}
		if end != nil {
			return nil
		}
	}
}

// note takes a row into the bounds.
func (w *changesWriter) note(row parquet.Row) {
	at, dir := row[w.order[changePublished]].Int64(), row[w.order[changeParent]].ByteArray()
	for id := changeVersion; id <= changeSince; id++ {
		v := row[w.order[id]].Int64()
		if w.rows == 0 {
			w.low[id], w.high[id] = v, v
		}
		w.low[id], w.high[id] = min(w.low[id], v), max(w.high[id], v)
	}
	if w.rows == 0 {
		w.first, w.last, w.dirs = at, at, [2]string{string(dir), string(dir)}
	}
	w.first, w.last = min(w.first, at), max(w.last, at)
	if string(dir) < w.dirs[0] {
		w.dirs[0] = string(dir)
	}
	if string(dir) > w.dirs[1] {
		w.dirs[1] = string(dir)
	}
	w.rows++
}

func (w *changesWriter) close() error {
	if err := w.w.Close(); err != nil {
		return fmt.Errorf("end a file of changes: %w", err)
	}
	return nil
}

// bounds are the lowest and the highest value of the columns that are never NULL, from the first field id on, as Iceberg has them; nil:
// it is not known.
func (w *changesWriter) bounds() (all [changeStates - 1][2][]byte) {
	pair := func(low, high int64) [2][]byte {
		return [2][]byte{binary.LittleEndian.AppendUint64(nil, uint64(low)), binary.LittleEndian.AppendUint64(nil, uint64(high))}
	}
	all[changeVersion-1] = pair(w.low[changeVersion], w.high[changeVersion])
	all[changeSince-1] = pair(w.low[changeSince], w.high[changeSince])
	all[changePublished-1] = pair(w.first, w.last)
	all[changeParent-1] = [2][]byte{[]byte(w.dirs[0]), []byte(w.dirs[1])}
	return all
}
