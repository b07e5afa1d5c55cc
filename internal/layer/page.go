package layer

import (
	"encoding/binary"
	"errors"

	"github.com/parquet-go/parquet-go/format"
)

// A row group is the chunks of all columns, one after the other. A chunk is an optional dictionary page and one data
// page (version 2). So a row group tells all about itself: the footer's part of it is read off the page headers, and
// it can be copied into another file as it is. Every page is compressed, however small: readers such as parquet-go take
// the codec of a column's first chunk for that of all.
//
// Page headers are Thrift's compact protocol with exactly the fields below, in this order, which is all that
// Writer writes. Source: parquet-format, parquet.thrift, PageHeader.

// chunk is one column's part of a row group.
type chunk struct {
	start, end     int // in the row group's bytes
	dictionary     int // where the dictionary page's payload is; 0 without one
	dictionarySize page
	data           int // where the data page's payload is
	dataSize       page
	dataHeader     int // where the data page begins
	min, max       []byte
}

// page is what a page header says.
type page struct {
	dictionary         bool
	plain, compressed  int // payload bytes
	values             int
	encoding           format.Encoding
	hasBounds          bool
	minValue, maxValue []byte
}

// plainSize is the size of the chunk with its headers had it not been compressed.
func (c *chunk) plainSize() int {
	payload := c.dictionarySize.compressed + c.dataSize.compressed
	return c.end - c.start - payload + c.dictionarySize.plain + c.dataSize.plain
}

// Thrift compact field headers: the difference to the last field's id, then the type.
const (
	thriftI32    = 0x15 // the next field, i32
	thriftTrue   = 0x11
	thriftStop   = 0x00
	thriftDict   = 0x4c // field 7 of PageHeader after 3, struct
	thriftDataV2 = 0x5c // field 8 of PageHeader after 3, struct
	thriftStats  = 0x1c // field 8 of DataPageHeaderV2 after 7, struct
	thriftNulls  = 0x36 // field 3 of Statistics, i64
	thriftMax    = 0x28 // field 5 after 3, binary
	thriftMin    = 0x18 // field 6 after 5, binary
)

func appendI32(b []byte, v int) []byte {
	return binary.AppendUvarint(append(b, thriftI32), uint64(v)<<1)
}

// appendHeader writes p's header.
func (p *page) appendHeader(b []byte) []byte {
	kind := format.DataPageV2
	if p.dictionary {
		kind = format.DictionaryPage
	}
	b = appendI32(b, int(kind))
	b = appendI32(b, p.plain)
	b = appendI32(b, p.compressed)
	if p.dictionary {
		b = appendI32(append(b, thriftDict), p.values)
		b = appendI32(b, int(p.encoding))
		return append(b, thriftStop, thriftStop)
	}
	b = appendI32(append(b, thriftDataV2), p.values)
	b = appendI32(b, 0) // nulls
	b = appendI32(b, p.values)
	b = appendI32(b, int(p.encoding))
	b = appendI32(b, 0)       // bytes of definition levels
	b = appendI32(b, 0)       // bytes of repetition levels
	b = append(b, thriftTrue) // compressed
	if p.hasBounds {
		b = append(b, thriftStats, thriftNulls, 0, thriftMax)
		b = append(binary.AppendUvarint(b, uint64(len(p.maxValue))), p.maxValue...)
		b = append(b, thriftMin)
		b = append(binary.AppendUvarint(b, uint64(len(p.minValue))), p.minValue...)
		b = append(b, thriftStop)
	}
	return append(b, thriftStop, thriftStop)
}

var errPage = errors.New("malformed page header")

// headerReader reads a page header. After the first mismatch it only reports that.
type headerReader struct {
	b   []byte
	at  int
	bad bool
}

func (r *headerReader) expect(want ...byte) {
	for _, w := range want {
		if r.next() != w {
			r.bad = true
		}
	}
}

func (r *headerReader) next() byte {
	if r.at >= len(r.b) {
		r.bad = true
		return 0xff
	}
	r.at++
	return r.b[r.at-1]
}

func (r *headerReader) uvarint() uint64 {
	if r.bad {
		return 0
	}
	v, n := binary.Uvarint(r.b[r.at:])
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.at += n
	return v
}

func (r *headerReader) i32() int {
	r.expect(thriftI32)
	v := r.uvarint()
	if v&1 != 0 || v > 1<<32 {
		r.bad = true
		return 0
	}
	return int(v >> 1)
}

func (r *headerReader) binary() []byte {
	n := r.uvarint()
	if r.bad || n > uint64(len(r.b)-r.at) {
		r.bad = true
		return nil
	}
	r.at += int(n)
	return r.b[r.at-int(n) : r.at : r.at]
}

// page reads a header at r.at and leaves r.at at the payload.
func (r *headerReader) page() (p page) {
	kind := format.PageType(r.i32())
	p.plain, p.compressed = r.i32(), r.i32()
	switch kind {
	case format.DictionaryPage:
		r.expect(thriftDict)
		p.dictionary = true
		p.values, p.encoding = r.i32(), format.Encoding(r.i32())
		r.expect(thriftStop, thriftStop)
	case format.DataPageV2:
		r.expect(thriftDataV2)
		p.values = r.i32()
		nulls, rows := r.i32(), r.i32()
		p.encoding = format.Encoding(r.i32())
		definitions, repetitions := r.i32(), r.i32()
		r.expect(thriftTrue)
		if nulls != 0 || rows != p.values || definitions != 0 || repetitions != 0 {
			r.bad = true
		}
		if r.next() == thriftStats {
			r.expect(thriftNulls, 0, thriftMax)
			p.hasBounds, p.maxValue = true, r.binary()
			r.expect(thriftMin)
			p.minValue = r.binary()
			r.expect(thriftStop, thriftStop)
		} else {
			r.at--
			r.expect(thriftStop)
		}
		r.expect(thriftStop)
	default:
		r.bad = true
	}
	if p.compressed > len(r.b)-r.at || p.plain > maxPageBytes {
		r.bad = true
	}
	return p
}

// maxPageBytes bounds what a page may claim to be before compression.
const maxPageBytes = 1 << 30

// parseGroup finds the chunks of a row group of that many rows.
func parseGroup(raw []byte, rows int) (*[columns]chunk, error) {
	r := headerReader{b: raw}
	chunks := &[columns]chunk{}
	for i := range chunks {
		if c := Column(i); (c == columns1 || c == columns2 || c == columns3) && r.at == len(raw) { // of an earlier schema
			break
		}
		if err := r.chunk(&chunks[i], rows); err != nil {
			return nil, err
		}
	}
	if r.at != len(raw) {
		return nil, errPage
	}
	return chunks, nil
}

// parseNames finds the column of names in the keys of a row group.
func parseNames(keys []byte, rows int) (*chunk, error) {
	r := headerReader{b: keys}
	var c chunk
	for range ColumnName + 1 {
		c = chunk{}
		if err := r.chunk(&c, rows); err != nil {
			return nil, err
		}
	}
	return &c, nil
}

// chunk reads the column at r.at.
func (r *headerReader) chunk(c *chunk, rows int) error {
	c.start, c.dataHeader = r.at, r.at
	p := r.page()
	if p.dictionary && !r.bad {
		c.dictionary, c.dictionarySize = r.at, p
		r.at += p.compressed
		c.dataHeader = r.at
		p = r.page()
	}
	if r.bad || p.dictionary || p.values != rows {
		return errPage
	}
	c.data, c.dataSize = r.at, p
	r.at += p.compressed
	c.end = r.at
	if p.hasBounds {
		c.min, c.max = p.minValue, p.maxValue
	}
	return nil
}
