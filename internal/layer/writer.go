package layer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
	"github.com/parquet-go/parquet-go/format"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

const (
	// RowsPerGroup is the usual size of a row group: about 125 KB, the unit of a cold read. It leaves most of them below
	// maxGroupBytes: one that is longer is encoded three times.
	RowsPerGroup = 7 << 10
	// DeltaRowsPerGroup is better for deltas: a cold lookup reads a row group of each, and their rows, which have
	// little in common, take two to three times the space.
	DeltaRowsPerGroup = 512
	// MaxRowsPerGroup bounds WriterOptions.RowsPerGroup.
	MaxRowsPerGroup = 64 << 10
	// maxGroupText ends a row group early, bytes of distinct parents, names and targets.
	maxGroupText = 4 << 20
	// maxGroupBytes is how long a row group of more than one row may be: a cold list reads three of them, and half a
	// megabyte at most. One in a hundred has names, sizes and times that compress so badly.
	maxGroupBytes = 160 << 10
)

// WriterOptions say how a layer is written.
type WriterOptions struct {
	// ID names the layer, a ULID.
	ID string
	// RowsPerGroup; 0 is RowsPerGroup. Smaller groups make cold reads cheaper and the layer larger.
	RowsPerGroup int
	// SearchSpan is how many row groups a column of the search index stands for; 0: as many as have RowsPerGroup rows.
	SearchSpan int
	// Fast packs and compresses less: for layers that soon become part of others.
	Fast bool
	// SizeHint is how long Data may become, bytes; it saves copying.
	SizeHint int64
}

// Writer makes one layer of rows that come in key order. It holds the encoded layer and one row group.
type Writer struct {
	o       WriterOptions
	encoder *encoder
	pending builder
	data    []byte
	groups  []Group
	footer  []format.RowGroup
	columns []*slotSet // of the search index
	rows    int64      // in groups
	removed int64
	last    Key // of everything appended
	any     bool
	err     error
	from    *Block // whose rows are being appended, until GroupEnds
	most    int    // rows of a row group meanwhile
	density int64  // of the last row group that was encoded: bytes for 1,024 rows
}

// NewWriter begins a layer.
func NewWriter(o WriterOptions) *Writer {
	if o.RowsPerGroup <= 0 {
		o.RowsPerGroup = RowsPerGroup
	}
	o.RowsPerGroup = min(o.RowsPerGroup, MaxRowsPerGroup)
	if o.SearchSpan <= 0 {
		o.SearchSpan = max(1, RowsPerGroup/o.RowsPerGroup)
	}
	w := &Writer{o: o, data: make([]byte, 0, max(o.SizeHint, 1<<16))}
	w.data = append(w.data, parquetMagic...)
	if w.encoder, w.err = newEncoder(); w.err == nil {
		w.encoder.fast = o.Fast
	}
	w.pending.reset()
	return w
}

// Rows is how many rows were appended.
func (w *Writer) Rows() int64 { return w.rows + int64(w.pending.rows) }

// Bytes is how long the layer is so far, without the row group being gathered and without the footer.
func (w *Writer) Bytes() int64 { return int64(len(w.data)) }

// Append adds a row, which must come after all before it. The row's strings are kept for a while: they must not
// change. Sub is written for directories only and reads as zero otherwise.
func (w *Writer) Append(r *evidence.Row) error {
	k := Key{r.Parent, r.Name}
	if err := w.after(k); err != nil {
		return err
	}
	if err := check(r); err != nil {
		w.err = fmt.Errorf("row %q: %w", k.Path(), err)
		return w.err
	}
	w.pending.add(r)
	w.last, w.any = k, true
	if w.full() {
		return w.flush()
	}
	return nil
}

// check says what of a row a layer cannot hold.
func check(r *evidence.Row) error {
	switch {
	case r.Type > event.Other:
		return fmt.Errorf("unknown type %d", r.Type)
	case r.Evidence > event.OnDemand:
		return fmt.Errorf("unknown evidence %d", r.Evidence)
	case r.Mode > math.MaxInt32:
		return fmt.Errorf("mode %#o", r.Mode)
	case r.Size < 0:
		return fmt.Errorf("negative size %d", r.Size)
	case !utf8.ValidString(r.Agent):
		return errors.New("the agent's id is not UTF-8")
	case len(r.Parent) > 1<<16 || len(r.Name) > 1<<16 || len(r.Target) > 1<<16:
		return errors.New("a text is longer than 64 KiB")
	}
	return nil
}

// after checks that k comes after everything appended.
func (w *Writer) after(k Key) error {
	if w.err == nil && w.any && k.Compare(w.last) <= 0 {
		w.err = fmt.Errorf("%w: %q after %q", ErrOrder, k.Path(), w.last.Path())
	}
	return w.err
}

func (w *Writer) full() bool {
	return w.pending.rows >= w.limit() || w.pending.text >= maxGroupText
}

// limit is how many rows the row group that is being gathered may have.
func (w *Writer) limit() int {
	if w.from != nil {
		return w.most
	}
	return min(w.o.RowsPerGroup, fit(maxGroupBytes*31/32, w.density)) // the rows to come are not quite those before
}

// fit is how many rows of a density, bytes for 1,024 of them, are no more than some bytes together; one at least.
func fit(bytes, density int64) int { return int(max(1, bytes<<10/max(1, density))) }

// groupBegins says that rows of a row group will be appended. One that is made of another may be larger by a quarter than usual: if it
// were cut where it has the usual size, all those that follow would be cut elsewhere than before, and no column of them would be as it
// was. One that will be too long becomes several of one size.
func (w *Writer) groupBegins(b *Block) {
	if w.from == b {
		return
	}
	w.from = b
	w.most = min(w.o.RowsPerGroup+w.o.RowsPerGroup/4, fit(maxGroupBytes, max(w.density, b.group.Bytes<<10/int64(b.Len()))))
	if rows := w.pending.rows + b.Len(); rows > w.most {
		parts := (rows + w.most - 1) / w.most
		w.most = (rows + parts - 1) / parts
	}
}

// GroupEnds says that all rows of the row group whose rows were passed to AppendBlock have been appended, or what has become of them. What
// was gathered becomes a row group, unless it is less than half of one.
func (w *Writer) GroupEnds() error {
	w.from = nil
	if w.pending.rows < w.o.RowsPerGroup/2 {
		return w.err
	}
	return w.flush()
}

// AppendBlock adds rows from to to-1 of a block as Append would, much faster. GroupEnds should follow the last of them.
func (w *Writer) AppendBlock(b *Block, from, to int) error {
	if from < 0 || from > to || to > b.Len() {
		return fmt.Errorf("rows %d to %d of a row group of %d", from, to, b.Len())
	}
	if from == to {
		return w.err
	}
	if err := w.after(b.Key(from)); err != nil {
		return err
	}
	w.groupBegins(b)
	for from < to {
		end := min(to, from+max(1, w.limit()-w.pending.rows))
		if err := w.pending.addBlock(b, from, end); err != nil {
			w.err = err
			return err
		}
		from = end
		w.last, w.any = b.Key(end-1), true
		if w.full() {
			if err := w.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// RawGroup is a row group as its layer's object has it.
type RawGroup struct {
	Group
	Data   []byte
	object string   // where it comes from
	grams  *slotSet // of its names, and maybe others; nil if its layer has no search index
}

// AppendGroup adds another layer's row group without decoding it. Rows gathered before become a group of their own,
// however few they are.
func (w *Writer) AppendGroup(raw RawGroup) error {
	if err := w.after(raw.First); err != nil {
		return err
	}
	chunks, err := raw.chunks()
	if err != nil {
		w.err = err
		return err
	}
	if chunks[columns-1].end == 0 { // of an earlier schema: a file has one
		return w.appendDecoded(raw)
	}
	w.from = nil
	if err := w.flush(); err != nil {
		return err
	}
	if raw.grams != nil {
		w.column().merge(raw.grams)
	} else {
		b, err := decodeBlock(raw)
		if err != nil {
			w.err = err
			return err
		}
		w.column().addNames(b.Names())
	}
	w.data = append(w.data, raw.Data...)
	w.last, w.any = raw.Last, true
	w.add(raw.Group, chunks)
	return w.err
}

// appendDecoded adds a row group of an earlier schema in today's.
func (w *Writer) appendDecoded(raw RawGroup) error {
	b, err := decodeBlock(raw)
	if err != nil {
		w.err = err
		return err
	}
	if err := w.AppendBlock(b, 0, b.Len()); err != nil {
		return err
	}
	return w.GroupEnds()
}

// chunks checks the bytes and finds the columns in them.
func (raw *RawGroup) chunks() (*[columns]chunk, error) {
	if int64(len(raw.Data)) != raw.Bytes || xxhash.Sum64(raw.Data) != raw.Hash {
		return nil, &FormatError{Object: raw.object, Reason: fmt.Sprintf("the row group at %d+%d is damaged: its checksum differs", raw.Offset, raw.Bytes)}
	}
	chunks, err := parseGroup(raw.Data, raw.Rows)
	if err != nil {
		return nil, &FormatError{Object: raw.object, Reason: fmt.Sprintf("the row group at %d+%d: %v", raw.Offset, raw.Bytes, err)}
	}
	return chunks, nil
}

// flush makes a row group of what was gathered.
func (w *Writer) flush() error {
	if w.err != nil || w.pending.rows == 0 {
		return w.err
	}
	start := len(w.data)
	from := w.pending.origin()
	data, g := w.pending.encode(w.encoder, w.data, from)
	w.data = data
	chunks, err := parseGroup(w.data[start:], g.Rows)
	if err != nil {
		w.err = fmt.Errorf("encode a row group: %w", err)
		return w.err
	}
	density := g.Bytes << 10 / int64(g.Rows)
	if g.Rows < w.o.RowsPerGroup/4 {
		density = min(density, w.density) // what every row group has counts for too much in one of few rows
	}
	w.density = density
	if g.Bytes > maxGroupBytes && g.Rows > 1 {
		raw := RawGroup{Group: g, Data: bytes.Clone(w.data[start:])}
		w.data = w.data[:start]
		return w.halve(raw)
	}
	if from != nil && from.grams != nil {
		w.column().merge(from.grams)
	} else {
		w.column().addNames(textIn(w.pending.names), w.pending.offsets)
	}
	w.pending.reset()
	w.add(g, chunks)
	return w.err
}

// halve makes two row groups of one that is too long.
func (w *Writer) halve(raw RawGroup) error {
	w.pending.reset()
	b, err := decodeBlock(raw)
	for from, half := 0, raw.Rows/2; err == nil && from < raw.Rows; from, half = half, raw.Rows {
		if err = w.pending.addBlock(b, from, half); err == nil {
			err = w.flush()
		}
	}
	w.err = err
	return err
}

// column is the search index's column of the next row group.
func (w *Writer) column() *slotSet {
	i := len(w.groups) / w.o.SearchSpan
	if i == len(w.columns) {
		w.columns = append(w.columns, &slotSet{})
	}
	return w.columns[i]
}

// appendSearch writes the search index after the row groups, where Parquet's readers ignore it.
func (w *Writer) appendSearch() (s searchSection) {
	if len(w.columns) < minSearchColumns {
		return s
	}
	s.span, s.version = w.o.SearchSpan, IndexVersion
	z := w.encoder.zstd
	if w.o.Fast {
		z = w.encoder.fastest
	}
	for i := range s.pages {
		start := len(w.data)
		w.data = z.EncodeAll(transposed(w.columns, i), w.data)
		s.pages[i] = searchPage{offset: int64(start), bytes: int64(len(w.data) - start), hash: xxhash.Sum64(w.data[start:])}
	}
	return s
}

// add adds a row group whose bytes are the last of data.
func (w *Writer) add(g Group, chunks *[columns]chunk) {
	if len(w.groups) == maxGroups {
		w.err = fmt.Errorf("more than %d row groups in a layer", maxGroups)
		return
	}
	g.Offset = int64(len(w.data)) - g.Bytes
	g.Keys = int64(chunks[ColumnName].end)
	g.KeysHash = xxhash.Sum64(w.data[g.Offset : g.Offset+g.Keys])
	w.footer = append(w.footer, rowGroup(chunks, &g, len(w.groups)))
	w.groups = append(w.groups, g)
	w.rows += int64(g.Rows)
	w.removed += int64(g.Removed)
}

// Built is a finished layer.
type Built struct {
	Info  Info
	Data  []byte // the Parquet object
	Index []byte // the index object; empty where it is in Info
}

// Finish ends the layer, which must have a row. The writer is of no more use.
func (w *Writer) Finish() (Built, error) {
	if err := w.flush(); err != nil {
		return Built{}, err
	}
	if len(w.groups) == 0 {
		return Built{}, errors.New("a layer without rows")
	}
	search := w.appendSearch()
	data, err := appendFooter(w.data, w.footer, w.rows, w.o.ID)
	if err != nil {
		return Built{}, err
	}
	out := Built{Data: data, Info: Info{
		ID: w.o.ID, First: w.groups[0].First.clone(), Last: w.groups[len(w.groups)-1].Last.clone(),
		Rows: w.rows, Removed: w.removed, Bytes: int64(len(data)), Marks: &Marks{}, Hash: fmt.Sprintf("%016x", xxhash.Sum64(data)),
	}}
	for i := range w.groups {
		out.Info.Marks.add(&w.groups[i])
	}
	x := index{id: w.o.ID, bytes: out.Info.Bytes, rows: w.rows, groups: w.groups, search: search}
	encoded, err := x.encode()
	if err != nil {
		return Built{}, fmt.Errorf("encode the index: %w", err)
	}
	if len(encoded) <= MaxInlineIndex {
		out.Info.Index = encoded
	} else {
		out.Index, out.Info.IndexBytes = encoded, int64(len(encoded))
	}
	w.err = errors.New("the layer is finished already")
	return out, nil
}

// Publish writes a layer's objects. Nothing refers to them before a manifest does.
func Publish(ctx context.Context, st store.Store, view string, b Built) error {
	if len(b.Index) > 0 {
		if _, err := st.Put(ctx, layout.LayerIndex(view, b.Info.ID), b.Index); err != nil {
			return fmt.Errorf("publish layer %s: write its index: %w", b.Info.ID, err)
		}
	}
	if _, err := st.Put(ctx, layout.Layer(view, b.Info.ID), b.Data); err != nil {
		return fmt.Errorf("publish layer %s: %w", b.Info.ID, err)
	}
	return nil
}
