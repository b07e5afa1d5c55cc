package layer

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"fmt"

	"github.com/parquet-go/parquet-go/encoding/thrift"
	"github.com/parquet-go/parquet-go/format"
)

// Field is a column as other engines know it.
type Field struct {
	Name string
	ID   int
	// Type is string, binary, int, long, date or boolean.
	Type string
	// Later: layers of the first schema lack it.
	Later bool
}

// Fields are the columns of a layer, in the order of the file.
func Fields() []Field {
	out := make([]Field, 0, columns)
	for i := range specs {
		f := Field{Name: specs[i].name, ID: Column(i).FieldID(), Later: Column(i) >= columns1}
		switch specs[i].physical {
		case format.Int32:
			f.Type = "int"
			if _, date := specs[i].logical.(*format.DateType); date {
				f.Type = "date"
			}
		case format.Int64:
			f.Type = "long"
		case format.Boolean:
			f.Type = "boolean"
		default:
			f.Type = "binary"
			if specs[i].logical != nil {
				f.Type = "string"
			}
		}
		out = append(out, f)
	}
	return out
}

// Statistics are what a layer's Parquet footer says of one column.
type Statistics struct {
	Column Column
	Bytes  int64 // compressed
	// Min and Max are of all rows, tombstones included, in Parquet's plain encoding; nil where some row group does not say.
	Min, Max []byte
}

// Statistics reads the Parquet footer, with one GET, and the layer's index.
func (l *Layer) Statistics(ctx context.Context) ([]Statistics, error) {
	x, err := l.index(ctx)
	if err != nil {
		return nil, err
	}
	last := &x.groups[len(x.groups)-1]
	from := last.Offset + last.Bytes
	if x.search.span > 0 {
		for _, p := range x.search.pages[:pagesIn(x.search.version)] {
			from = max(from, p.offset+p.bytes)
		}
	}
	body, err := l.readRange(ctx, from, l.info.Bytes-from)
	if err != nil {
		return nil, err
	}
	const tail = 4 + len(parquetMagic)
	bad := func(reason string) ([]Statistics, error) {
		return nil, &FormatError{Object: l.object(), Reason: "its Parquet footer: " + reason}
	}
	if len(body) < tail || string(body[len(body)-len(parquetMagic):]) != parquetMagic {
		return bad("it does not end as a Parquet file")
	}
	n := int64(binary.LittleEndian.Uint32(body[len(body)-tail:]))
	if n > int64(len(body)-tail) {
		return bad("it is longer than what follows the row groups")
	}
	var meta format.FileMetaData
	if err := thrift.Unmarshal(&thrift.CompactProtocol{}, body[int64(len(body)-tail)-n:len(body)-tail], &meta); err != nil {
		return bad(err.Error())
	}
	return summed(meta.RowGroups), nil
}

// summed are the statistics of all row groups together.
func summed(groups []format.RowGroup) []Statistics {
	byName := map[string]Column{}
	for i := range specs {
		byName[specs[i].name] = Column(i)
	}
	var all [columns]*Statistics
	for g := range groups {
		for i := range groups[g].Columns {
			m := &groups[g].Columns[i].MetaData
			if len(m.PathInSchema) != 1 {
				continue
			}
			c, known := byName[m.PathInSchema[0]]
			if !known {
				continue
			}
			low, high := m.Statistics.MinValue, m.Statistics.MaxValue
			s := all[c]
			if s == nil {
				all[c] = &Statistics{Column: c, Bytes: m.TotalCompressedSize, Min: low, Max: high}
				continue
			}
			s.Bytes += m.TotalCompressedSize
			s.Min, s.Max = extreme(m.Type, s.Min, low, -1), extreme(m.Type, s.Max, high, 1)
		}
	}
	var out []Statistics
	for _, s := range all {
		if s != nil {
			if s.Min == nil || s.Max == nil {
				s.Min, s.Max = nil, nil
			}
			out = append(out, *s)
		}
	}
	return out
}

// extreme is the value of the two that lies further to a side, -1 or 1; nil if one is not known.
func extreme(t format.Type, a, b []byte, side int) []byte {
	if a == nil || b == nil {
		return nil
	}
	if c := comparePlain(t, a, b); c != 0 && (c < 0) == (side > 0) {
		return b
	}
	return a
}

// comparePlain compares two values in Parquet's plain encoding.
func comparePlain(t format.Type, a, b []byte) int {
	switch {
	case t == format.Int32 && len(a) == 4 && len(b) == 4:
		return cmp.Compare(int32(binary.LittleEndian.Uint32(a)), int32(binary.LittleEndian.Uint32(b)))
	case t == format.Int64 && len(a) == 8 && len(b) == 8:
		return cmp.Compare(int64(binary.LittleEndian.Uint64(a)), int64(binary.LittleEndian.Uint64(b)))
	}
	return bytes.Compare(a, b)
}

// String is the column's name in the file.
func (c Column) String() string {
	if c < 0 || c >= columns {
		return fmt.Sprintf("column %d", int(c))
	}
	return specs[c].name
}
