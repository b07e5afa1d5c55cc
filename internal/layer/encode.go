package layer

import (
	"encoding/binary"
	"fmt"
	"math/bits"
	"strings"
	"unicode/utf8"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/format"
)

// encoder writes chunks. Its buffers are reused from one to the next.
type encoder struct {
	zstd, fastest  *zstd.Encoder
	fast           bool   // time counts more than size
	dict, data     []byte // payloads before compression
	packed         []byte // one of them after
	codes          []uint16
	numbers        numberSet
	minVal, maxVal []byte
}

func newEncoder() (*encoder, error) {
	// No checksum: the index has one of the row group as a whole. The level below makes 0.4 bytes a row more, mtimes for the
	// most part, in a twentieth less time.
	e := &encoder{}
	for level, z := range map[zstd.EncoderLevel]**zstd.Encoder{zstd.SpeedBetterCompression: &e.zstd, zstd.SpeedFastest: &e.fastest} {
		options := []zstd.EOption{
			zstd.WithEncoderLevel(level), zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false), zstd.WithLowerEncoderMem(true),
		}
		var err error
		if *z, err = zstd.NewWriter(nil, options...); err != nil { // takes its memory when it is first used
			return nil, fmt.Errorf("set up zstd: %w", err)
		}
	}
	return e, nil
}

// chunk appends e.dict, if it holds values, and e.data as one chunk.
func (e *encoder) chunk(to []byte, s *columnSpec, dictValues, values int, encoding format.Encoding) []byte {
	if dictValues > 0 {
		e.packed = e.compress(e.packed[:0], s, e.dict, format.Plain)
		p := page{dictionary: true, plain: len(e.dict), compressed: len(e.packed), values: dictValues, encoding: format.Plain}
		to = append(p.appendHeader(to), e.packed...)
	}
	e.packed = e.compress(e.packed[:0], s, e.data, encoding)
	p := page{
		plain: len(e.data), compressed: len(e.packed), values: values, encoding: encoding,
		hasBounds: s.bounds && len(e.minVal) <= maxBound && len(e.maxVal) <= maxBound, minValue: e.minVal, maxValue: e.maxVal,
	}
	return append(p.appendHeader(to), e.packed...)
}

// compress appends a page's payload as a Zstandard frame.
func (e *encoder) compress(to []byte, s *columnSpec, plain []byte, encoding format.Encoding) []byte {
	switch {
	case len(plain) <= storedBytes || e.fast && e.packs(s, len(plain), encoding):
		return appendStored(to, plain)
	case s.noise || e.fast:
		return e.fastest.EncodeAll(plain, to)
	}
	return e.zstd.EncodeAll(plain, to)
}

const (
	// storedBytes is up to which length compression saves nothing, storedNumbers up to which length it saves too little
	// of numbers where time counts more.
	storedBytes, storedNumbers = 64, 512
	// maxStored is what one block of a Zstandard frame may hold.
	maxStored = 128 << 10
)

// packs reports whether numbers are short, or packed as they are, so that compression would be slow and save little.
func (e *encoder) packs(s *columnSpec, n int, encoding format.Encoding) bool {
	return s.form > formText && (n <= storedNumbers || encoding == format.DeltaBinaryPacked && n <= maxStored)
}

// appendStored appends a Zstandard frame of one block that is not compressed, of at most maxStored bytes. Source: RFC 8878, 3.1.1.
func appendStored(to, plain []byte) []byte {
	to = append(to, 0x28, 0xb5, 0x2f, 0xfd)
	switch n := len(plain); { // one segment, and how long it is
	case n < 256:
		to = append(to, 0x20, byte(n))
	default:
		to = binary.LittleEndian.AppendUint32(append(to, 0xa0), uint32(n))
	}
	block := uint32(len(plain))<<3 | 1 // the last one, raw
	to = append(to, byte(block), byte(block>>8), byte(block>>16))
	return append(to, plain...)
}

// maxBound is the length from which on a minimum or maximum is left out rather than cut short.
const maxBound = 512

// numbersChunk appends a column of numbers.
func (e *encoder) numbersChunk(to []byte, s *columnSpec, values []int64) []byte {
	low, high := values[0], values[0]
	for _, v := range values {
		low, high = min(low, v), max(high, v)
	}
	e.minVal, e.maxVal = s.appendPlain(e.minVal[:0], low), s.appendPlain(e.maxVal[:0], high)
	if s.form == formEnum {
		e.enumBounds(s, values)
	}
	switch {
	case s.form == formFlag:
		e.data = appendBits(e.data[:0], values)
		return e.chunk(to, s, 0, len(values), format.Plain)
	case low == high:
		e.dict = s.appendEntry(e.dict[:0], low)
		e.data = appendConstant(e.data[:0], len(values))
		return e.chunk(to, s, 1, len(values), format.RLEDictionary)
	case s.form == formDelta, e.fast && s.form == formPlain && s.physical == format.Int64:
		var encoding delta.BinaryPackedEncoding
		e.data, _ = encoding.EncodeInt64(e.data[:0], values) // cannot fail on a slice of int64
		return e.chunk(to, s, 0, len(values), format.DeltaBinaryPacked)
	case s.form == formPlain:
		e.data = e.data[:0]
		for _, v := range values {
			e.data = s.appendPlain(e.data, v)
		}
		return e.chunk(to, s, 0, len(values), format.Plain)
	}
	e.numbers.reset(len(values))
	e.codes = e.codes[:0]
	for _, v := range values {
		e.codes = append(e.codes, e.numbers.code(v))
	}
	e.dict = e.dict[:0]
	for _, v := range e.numbers.values {
		e.dict = s.appendEntry(e.dict, v)
	}
	n := len(e.numbers.values)
	e.data = appendCodes(e.data[:0], e.codes, n)
	return e.chunk(to, s, n, len(values), format.RLEDictionary)
}

// enumBounds sets the bounds as the file has them: by name.
func (e *encoder) enumBounds(s *columnSpec, values []int64) {
	seen := uint64(0)
	for _, v := range values {
		seen |= 1 << uint(v)
	}
	first := true
	for i, name := range s.names {
		if seen>>uint(i)&1 == 0 {
			continue
		}
		if first || name < string(e.minVal) {
			e.minVal = append(e.minVal[:0], name...)
		}
		if first || name > string(e.maxVal) {
			e.maxVal = append(e.maxVal[:0], name...)
		}
		first = false
	}
}

// appendPlain writes v as the column's statistics have it.
func (s *columnSpec) appendPlain(b []byte, v int64) []byte {
	switch s.physical {
	case format.Boolean:
		return append(b, byte(v))
	case format.Int32:
		return binary.LittleEndian.AppendUint32(b, uint32(v))
	}
	return binary.LittleEndian.AppendUint64(b, uint64(v))
}

// appendEntry writes v as an entry of the column's dictionary.
func (s *columnSpec) appendEntry(b []byte, v int64) []byte {
	if s.form == formEnum {
		return appendText(b, s.names[v])
	}
	return s.appendPlain(b, v)
}

func appendText(b []byte, s string) []byte {
	return append(binary.LittleEndian.AppendUint32(b, uint32(len(s))), s...)
}

// textChunk appends a column of strings, given as codes into dict.
func (e *encoder) textChunk(to []byte, s *columnSpec, dict []string, codes []uint16) []byte {
	low, high := dict[0], dict[0]
	e.dict = e.dict[:0]
	for _, v := range dict {
		low, high = min(low, v), max(high, v)
		e.dict = appendText(e.dict, v)
	}
	e.minVal, e.maxVal = append(e.minVal[:0], low...), append(e.maxVal[:0], high...)
	if len(dict) == 1 {
		e.data = appendConstant(e.data[:0], len(codes))
	} else {
		e.data = appendCodes(e.data[:0], codes, len(dict))
	}
	return e.chunk(to, s, len(dict), len(codes), format.RLEDictionary)
}

// namesChunk appends the name column; bounds are its smallest and largest value.
func (e *encoder) namesChunk(to []byte, s *columnSpec, names []byte, offsets []uint32, low, high string) []byte {
	var encoding delta.ByteArrayEncoding
	e.data, _ = encoding.EncodeByteArray(e.data[:0], names, offsets) // cannot fail on increasing offsets
	e.minVal, e.maxVal = append(e.minVal[:0], low...), append(e.maxVal[:0], high...)
	return e.chunk(to, s, 0, len(offsets)-1, format.DeltaByteArray)
}

// appendConstant writes n times code 0.
func appendConstant(b []byte, n int) []byte {
	b = binary.AppendUvarint(append(b, 1), uint64(n)<<1)
	return append(b, 0)
}

// appendBits packs flags, the lowest bit first.
func appendBits(b []byte, values []int64) []byte {
	start := len(b)
	b = append(b, make([]byte, (len(values)+7)/8)...)
	for i, v := range values {
		b[start+i/8] |= byte(v&1) << (i % 8)
	}
	return b
}

// appendCodes writes dictionary codes below n in Parquet's hybrid of runs and packed bits: runs of eight or more as
// such, the rest packed in groups of eight. Source: parquet-format, Encodings.md.
func appendCodes(b []byte, codes []uint16, n int) []byte {
	width := max(1, bits.Len(uint(n-1)))
	b = append(b, byte(width))
	packed := 0 // codes from there up to i wait to be packed; a multiple of eight of them
	for i := 0; i < len(codes); {
		run := 1
		for i+run < len(codes) && codes[i+run] == codes[i] {
			run++
		}
		// What waits must be filled up to eight first.
		if fill := (8 - (i-packed)%8) % 8; run-fill >= 8 {
			i, run = i+fill, run-fill
			b = appendPacked(b, codes[packed:i], width)
			b = binary.AppendUvarint(b, uint64(run)<<1)
			b = append(b, byte(codes[i]))
			if width > 8 {
				b = append(b, byte(codes[i]>>8))
			}
			i += run
			packed = i
			continue
		}
		i += run
	}
	return appendPacked(b, codes[packed:], width)
}

func appendPacked(b []byte, codes []uint16, width int) []byte {
	if len(codes) == 0 {
		return b
	}
	groups := (len(codes) + 7) / 8
	b = binary.AppendUvarint(b, uint64(groups)<<1|1)
	end := len(b) + groups*width
	buffer, have := uint64(0), 0
	for _, c := range codes {
		buffer |= uint64(c) << have
		for have += width; have >= 8; have -= 8 {
			b = append(b, byte(buffer))
			buffer >>= 8
		}
	}
	if have > 0 {
		b = append(b, byte(buffer))
	}
	for len(b) < end {
		b = append(b, 0)
	}
	return b
}

// readable is what the text columns have for a string that is not UTF-8; the column of the same name with _raw has
// its bytes.
func readable(s string) string { return strings.ToValidUTF8(s, string(utf8.RuneError)) }

// numberSet gives distinct numbers codes in the order of their first appearance.
type numberSet struct {
	slots  []uint32 // code + 1; the length is a power of two
	values []int64
	last   int64
	code0  uint16
}

// reset empties the set and makes room for n distinct numbers.
func (s *numberSet) reset(n int) {
	size := 1 << bits.Len(uint(2*n))
	if len(s.slots) < size {
		s.slots = make([]uint32, size)
	} else {
		clear(s.slots)
	}
	s.values = s.values[:0]
}

func (s *numberSet) code(v int64) uint16 {
	if len(s.values) > 0 && v == s.last {
		return s.code0
	}
	mask := uint64(len(s.slots) - 1)
	at := uint64(v) * 0x9e3779b97f4a7c15 >> 20 & mask
	for s.slots[at] != 0 && s.values[s.slots[at]-1] != v {
		at = (at + 1) & mask
	}
	if s.slots[at] == 0 {
		s.values = append(s.values, v)
		s.slots[at] = uint32(len(s.values))
	}
	s.last, s.code0 = v, uint16(s.slots[at]-1)
	return s.code0
}
