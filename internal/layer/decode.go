package layer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"sync"
	"unsafe"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/format"
)

// Columns are decoded by our own code, for the few encodings that the writer uses (schema.go); anything else is errChunk.
// Other engines' Parquet files are never read. Everything decoded is checked against the number of rows, the size of
// the dictionary and the length of the page, so that damage is an error and never a wrong row or a panic.

var errChunk = errors.New("malformed column")

// decompressor is shared: DecodeAll keeps no state and is safe for concurrent use.
var decompressor = sync.OnceValues(func() (*zstd.Decoder, error) {
	return zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(maxPageBytes))
})

// decompressorSlack is how much longer than a page a buffer has to be for the decompressor to write whole words, which makes
// it half as fast again.
const decompressorSlack = 16

// payload is a page before compression.
func payload(raw []byte, p *page) ([]byte, error) { return appendPayload(nil, raw, p) }

// appendPayload is payload in a buffer, if that is large enough.
func appendPayload(buffer, raw []byte, p *page) ([]byte, error) {
	z, err := decompressor()
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	if size := min(p.plain, 64*p.compressed+4096) + decompressorSlack; cap(buffer) < size {
		buffer = make([]byte, 0, size)
	}
	b, err := z.DecodeAll(raw[:p.compressed], buffer[:0])
	if err != nil {
		return nil, fmt.Errorf("decompress: %w", err)
	}
	if len(b) != p.plain {
		return nil, fmt.Errorf("the page has %d bytes, its header says %d", len(b), p.plain)
	}
	return b, nil
}

// scratches are buffers for pages that are needed only while they are decoded.
var scratches = sync.Pool{New: func() any { return new([]byte) }}

// maxScratch is the largest buffer that is kept, bytes: twice a column of a full row group.
const maxScratch = 256 << 10

// withPayload calls use with a page before compression. It must keep nothing of it.
func withPayload(raw []byte, p *page, use func(data []byte) error) error {
	scratch := scratches.Get().(*[]byte)
	defer scratches.Put(scratch)
	data, err := appendPayload(*scratch, raw, p)
	if err != nil {
		return err
	}
	if cap(data) <= maxScratch {
		*scratch = data[:0]
	}
	return use(data)
}

// Numbers are a column of numbers, flags as 0 and 1.
type Numbers struct {
	dict   []int64
	codes  []uint16 // into dict; nil where all rows have dict[0]
	values []int64  // instead of both
}

// At is row i's value.
func (n *Numbers) At(i int) int64 {
	if n.values != nil {
		return n.values[i]
	}
	if n.codes == nil {
		return n.dict[0]
	}
	return n.dict[n.codes[i]]
}

// Constant reports whether all rows have the same value, as far as is known without looking at each.
func (n *Numbers) Constant() (v int64, ok bool) {
	if n.values == nil && n.codes == nil {
		return n.dict[0], true
	}
	return 0, false
}

// AppendTo appends the values of rows from to to-1.
func (n *Numbers) AppendTo(dst []int64, from, to int) []int64 {
	if n.values != nil {
		return append(dst, n.values[from:to]...)
	}
	if n.codes == nil {
		for range to - from {
			dst = append(dst, n.dict[0])
		}
		return dst
	}
	for _, c := range n.codes[from:to] {
		dst = append(dst, n.dict[c])
	}
	return dst
}

func (n *Numbers) bytes() int64 { return int64(8*len(n.dict) + 2*len(n.codes) + 8*len(n.values)) }

// Text is a column of strings with few distinct values.
type Text struct {
	dict  []string
	codes []uint16 // nil where all rows have dict[0]
	held  int      // bytes of the strings
}

// At is row i's value.
func (t *Text) At(i int) string {
	if t.codes == nil {
		return t.dict[0]
	}
	return t.dict[t.codes[i]]
}

func (t *Text) bytes() int64 { return int64(16*len(t.dict) + 2*len(t.codes) + t.held) }

// numbersOf decodes a column of numbers.
func numbersOf(raw []byte, c *chunk, s *columnSpec) (out *Numbers, err error) {
	err = withPayload(raw[c.data:], &c.dataSize, func(data []byte) (err error) {
		out, err = numbersIn(data, raw, c, s)
		return err
	})
	return out, err
}

// numbersIn decodes a column of numbers of which the data page is decompressed.
func numbersIn(data, raw []byte, c *chunk, s *columnSpec) (out *Numbers, err error) {
	n, values := c.dataSize.values, []int64(nil)
	switch c.dataSize.encoding {
	case format.RLEDictionary:
		if err := checkDictionary(c); err != nil {
			return nil, err
		}
		out = &Numbers{}
		err = withPayload(raw[c.dictionary:], &c.dictionarySize, func(dict []byte) (err error) {
			out.dict, err = s.entries(dict, c.dictionarySize.values)
			return err
		})
		if err == nil {
			out.codes, err = codesOf(data, n, len(out.dict))
		}
		return out, err
	case format.DeltaBinaryPacked:
		if s.physical != format.Int64 || deltaCount(data) != n {
			return nil, errChunk
		}
		var encoding delta.BinaryPackedEncoding
		if values, err = encoding.DecodeInt64(make([]int64, 0, n), data); err != nil {
			return nil, err
		}
	case format.Plain:
		if s.physical == format.Boolean {
			return flagsOf(data, n)
		}
		if values, err = s.plain(data, n); err != nil {
			return nil, err
		}
	}
	if len(values) != n {
		return nil, errChunk
	}
	return &Numbers{values: values}, nil
}

// flagsOf unpacks bits.
func flagsOf(data []byte, n int) (*Numbers, error) {
	if len(data) != (n+7)/8 {
		return nil, errChunk
	}
	out, set := &Numbers{dict: []int64{0, 1}, codes: make([]uint16, n)}, 0
	for i := range out.codes {
		out.codes[i] = uint16(data[i/8] >> (i % 8) & 1)
		set += int(out.codes[i])
	}
	if set == 0 || set == n {
		out.dict, out.codes = []int64{int64(min(set, 1))}, nil
	}
	return out, nil
}

// textOf decodes a column of strings in a dictionary.
func textOf(raw []byte, c *chunk) (*Text, error) {
	if c.dataSize.encoding != format.RLEDictionary {
		return nil, errChunk
	}
	dict, err := dictionaryOf(raw, c)
	if err != nil {
		return nil, err
	}
	out := &Text{held: len(dict)}
	if out.dict, err = stringsOf(dict, c.dictionarySize.values); err != nil {
		return nil, err
	}
	err = withPayload(raw[c.data:], &c.dataSize, func(data []byte) (err error) {
		out.codes, err = codesOf(data, c.dataSize.values, len(out.dict))
		return err
	})
	return out, err
}

func checkDictionary(c *chunk) error {
	if c.dictionary == 0 || c.dictionarySize.encoding != format.Plain || c.dictionarySize.values == 0 {
		return errChunk
	}
	return nil
}

func dictionaryOf(raw []byte, c *chunk) ([]byte, error) {
	if err := checkDictionary(c); err != nil {
		return nil, err
	}
	return payload(raw[c.dictionary:], &c.dictionarySize)
}

// stringsOf cuts a dictionary up without copying.
func stringsOf(dict []byte, n int) ([]string, error) {
	if n > len(dict)/4 {
		return nil, errChunk
	}
	out := make([]string, n)
	for i := range out {
		if len(dict) < 4 {
			return nil, errChunk
		}
		size := binary.LittleEndian.Uint32(dict)
		if dict = dict[4:]; uint64(size) > uint64(len(dict)) {
			return nil, errChunk
		}
		out[i] = textIn(dict[:size])
		dict = dict[size:]
	}
	if len(dict) != 0 {
		return nil, errChunk
	}
	return out, nil
}

// textIn is b as a string that shares its memory; b must never change.
func textIn(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// entries decodes the dictionary of a column of numbers.
func (s *columnSpec) entries(dict []byte, n int) ([]int64, error) {
	if s.form == formEnum {
		names, err := stringsOf(dict, n)
		if err != nil {
			return nil, err
		}
		out := make([]int64, n)
		for i, name := range names {
			if out[i] = s.number(name); out[i] < 0 {
				return nil, fmt.Errorf("unknown value %q", name)
			}
		}
		return out, nil
	}
	return s.plain(dict, n)
}

// plain decodes n numbers of 4 or 8 bytes.
func (s *columnSpec) plain(data []byte, n int) ([]int64, error) {
	out := make([]int64, n)
	switch {
	case s.physical == format.Int32 && len(data) == 4*n:
		for i := range out {
			out[i] = int64(int32(binary.LittleEndian.Uint32(data[4*i:])))
		}
	case s.physical == format.Int64 && len(data) == 8*n:
		for i := range out {
			out[i] = int64(binary.LittleEndian.Uint64(data[8*i:]))
		}
	default:
		return nil, errChunk
	}
	return out, nil
}

// number is which value of an enumeration has that name; -1 is none.
func (s *columnSpec) number(name string) int64 {
	for i, n := range s.names {
		if n == name {
			return int64(i)
		}
	}
	return -1
}

// codesOf undoes appendCodes and appendConstant: n codes below limit. It returns nil if all are 0.
func codesOf(data []byte, n, limit int) ([]uint16, error) {
	if len(data) == 0 || data[0] == 0 || data[0] > 16 || limit > 1<<16 {
		return nil, errChunk
	}
	width := int(data[0])
	data = data[1:]
	if size := binary.PutUvarint(make([]byte, binary.MaxVarintLen64), uint64(n)<<1); width == 1 && len(data) == size+1 && data[size] == 0 {
		if v, k := binary.Uvarint(data); k == size && v == uint64(n)<<1 {
			return nil, nil
		}
	}
	out := make([]uint16, 0, n+7)
	for len(out) < n {
		head, k := binary.Uvarint(data)
		if k <= 0 {
			return nil, errChunk
		}
		data = data[k:]
		count := head >> 1
		if head&1 == 1 {
			if count > uint64(n-len(out)+7)/8 || count*uint64(width) > uint64(len(data)) {
				return nil, errChunk
			}
			out = appendUnpacked(out, data[:int(count)*width], width, int(count)*8)
			data = data[int(count)*width:]
			continue
		}
		size := (width + 7) / 8
		if count == 0 || count > uint64(n-len(out)) || len(data) < size {
			return nil, errChunk
		}
		v := uint16(data[0])
		if size == 2 {
			v |= uint16(data[1]) << 8
		}
		for range count {
			out = append(out, v)
		}
		data = data[size:]
	}
	if len(data) != 0 {
		return nil, errChunk
	}
	out = out[:n]
	top := uint16(0)
	for _, c := range out {
		top = max(top, c)
	}
	if int(top) >= limit {
		return nil, errChunk
	}
	return out, nil
}

func appendUnpacked(out []uint16, data []byte, width, n int) []uint16 {
	mask := uint64(1)<<width - 1
	buffer, have, at := uint64(0), 0, 0
	for range n {
		for have < width {
			if at+4 <= len(data) {
				buffer |= uint64(binary.LittleEndian.Uint32(data[at:])) << have
				at, have = at+4, have+32
			} else {
				buffer |= uint64(data[at]) << have
				at, have = at+1, have+8
			}
		}
		out = append(out, uint16(buffer&mask))
		buffer, have = buffer>>width, have-width
	}
	return out
}

// deltaCount is how many values a DELTA_BINARY_PACKED sequence claims to have; -1 where it has no header.
// Its layout is checked too, as the decoder's work depends on it: blocks of 128 values in 4 miniblocks.
func deltaCount(data []byte) int {
	block, a := binary.Uvarint(data)
	if a <= 0 || block == 0 || block > 4096 || block%128 != 0 {
		return -1
	}
	miniblocks, b := binary.Uvarint(data[a:])
	if b <= 0 || miniblocks == 0 || bits.OnesCount64(miniblocks) != 1 || block/miniblocks < 32 {
		return -1
	}
	n, c := binary.Uvarint(data[a+b:])
	if c <= 0 || n > 1<<20 {
		return -1
	}
	return int(n)
}

// namesOf decodes the name column: all names one after the other, and where each begins.
func namesOf(raw []byte, c *chunk) (names []byte, offsets []uint32, err error) {
	offsets = make([]uint32, 0, c.dataSize.values+1)
	err = withPayload(raw[c.data:], &c.dataSize, func(data []byte) error {
		return decodeNames(data, c, &offsets, func(decoded []byte) { names = slices.Clone(decoded) }) // just as large as it is
	})
	return names, offsets, err
}

// offsetScratches are buffers for the offsets of names that are scanned.
var offsetScratches = sync.Pool{New: func() any { return new([]uint32) }}

// scanNames calls scan with what namesOf decodes, unless may says no. Both must keep nothing of what they get.
func scanNames(raw []byte, c *chunk, may func(*CodedNames) bool, scan func(text string, offsets []uint32)) error {
	return withPayload(raw[c.data:], &c.dataSize, func(data []byte) error {
		if may != nil && !checkCoded(data, c, may) {
			return nil
		}
		offsets := offsetScratches.Get().(*[]uint32)
		defer offsetScratches.Put(offsets)
		return decodeNames(data, c, offsets, func(decoded []byte) { scan(textIn(decoded), *offsets) })
	})
}

// decodeNames decodes the name column's data page, with offsets as a buffer, and calls use with the names.
func decodeNames(data []byte, c *chunk, offsets *[]uint32, use func(names []byte)) error {
	n := c.dataSize.values
	if c.dataSize.encoding != format.DeltaByteArray || deltaCount(data) != n {
		return errChunk
	}
	scratch := scratches.Get().(*[]byte)
	defer scratches.Put(scratch)
	var encoding delta.ByteArrayEncoding
	names, ends, err := encoding.DecodeByteArray(*scratch, data, (*offsets)[:0])
	if cap(names) <= maxScratch {
		*scratch = names[:0]
	}
	if err != nil {
		return err
	}
	if *offsets = ends; len(ends) != n+1 || int(ends[n]) != len(names) {
		return errChunk
	}
	use(names)
	return nil
}
