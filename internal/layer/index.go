package layer

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
	"sync"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"

	"github.com/fustor/fustor/internal/event"
)

// Group is what a layer's index says about one row group. Readers decide by it which row groups to read at all, so every
// bound must hold for all rows: it may be wider than the rows, never narrower.
type Group struct {
	First, Last   Key
	Offset, Bytes int64 // where it is in the layer's Parquet object
	Rows          int
	Removed       int // tombstones
	AgentMissing  int // rows with the mark, removed ones included
	// SuspectUntilNs is the latest of its rows; 0 if none ever was suspect.
	SuspectUntilNs int64
	// MinMtimeSec <= mtime <= MaxMtimeSec in seconds, and MinSize <= size <= MaxSize, of all rows that are not
	// removed. The bounds are rounded outwards. A group of tombstones has minima above its maxima.
	MinMtimeSec, MaxMtimeSec int64
	MinSize, MaxSize         int64
	// NotUTF8: some text in it is not UTF-8.
	NotUTF8 bool
	// Types and Owners have a bit for each event.Type and each owner (see OwnerBit) of the rows that are not removed, and
	// may have others. From an index of version 1, which lacks them, all are set.
	Types  uint8
	Owners uint64
	// Hash is the xxHash64 of the row group's bytes, KeysHash that of the first Keys of them, which are the columns parent and
	// name. Keys is 0 where that is not known, as in indexes of before version 5.
	Hash     uint64
	Keys     int64
	KeysHash uint64
}

// Flat reports whether none of its rows that are not removed is a directory, so that the bounds hold for everything at or
// below them. With an index of version 1 that is not known, and false.
func (g *Group) Flat() bool { return g.Types&(1<<event.Directory) == 0 }

// Covers reports whether k lies between the group's first and last key.
func (g *Group) Covers(k Key) bool { return g.First.Compare(k) <= 0 && k.Compare(g.Last) <= 0 }

// OwnerBit is the bit that a uid sets in Group.Owners. Several uids share it.
func OwnerBit(uid uint32) uint64 { return 1 << (uid * 0x9e3779b1 >> 26) }

// index is a layer's index: where its row groups are, and what may be in them. No look-up reads a Parquet footer.
// docs/formats-layer.md has its encoding.
//
// To change it: raise IndexVersion, keep reading every earlier version (fieldsOf, pagesIn), and let what an earlier
// version lacks mean "may have anything".
type index struct {
	id     string
	bytes  int64 // of the Parquet object
	rows   int64
	groups []Group
	search searchSection
}

const (
	indexMagic = "FXLI"
	// IndexVersion is what is written. Version 1 lacks types, owners and the search index; version 2 has sizes as their
	// bit lengths, and only trigrams in the search index; the one of version 3 has no parts.
	// Version 4 has no bridges in it, and does not say where the keys end. Version 5 has names beyond ASCII in lower case, not folded.
	IndexVersion = 6
	// SchemaVersion changes when row groups of older layers must not be copied into new ones any more. Those of version 1 have
	// columns1 columns, those of version 2 columns2, those of version 3 columns3.
	SchemaVersion = 4
	// MaxInlineIndex is how long an index may be, in bytes, to be kept in Info rather than as an object.
	MaxInlineIndex = 2 << 10
	// maxIndexBytes bounds an index before compression.
	maxIndexBytes = 256 << 20
)

const (
	groupNotUTF8 = 1 << iota
	groupAllRemoved
)

// body is the index before compression, as a version has it.
func (x *index) body(version byte) []byte {
	b := binary.AppendUvarint(nil, SchemaVersion)
	b = appendString(b, x.id)
	b = binary.AppendUvarint(b, uint64(x.bytes))
	b = binary.AppendUvarint(b, uint64(len(x.groups)))
	// By column, as like things compress better together.
	for _, field := range fieldsOf(version) {
		for i := range x.groups {
			b = binary.AppendUvarint(b, field.get(&x.groups[i]))
		}
	}
	last := Key{}
	for i := range x.groups {
		g := &x.groups[i]
		b = appendKey(b, last, g.First)
		b = appendKey(b, g.First, g.Last)
		last = g.Last
	}
	if version > 1 {
		b = binary.AppendUvarint(b, uint64(x.search.span))
	}
	if version > 1 && x.search.span > 0 {
		pages := x.search.pages[:pagesIn(version)]
		for i := range pages {
			b = binary.AppendUvarint(b, uint64(pages[i].bytes))
		}
		for i := range pages {
			b = binary.LittleEndian.AppendUint64(b, pages[i].hash)
		}
	}
	for i := range x.groups {
		b = binary.LittleEndian.AppendUint64(b, x.groups[i].Hash)
	}
	if version >= keysVersion {
		for i := range x.groups {
			b = binary.LittleEndian.AppendUint64(b, x.groups[i].KeysHash)
		}
	}
	return b
}

// indexCompressor is shared, as it is megabytes large and an index mostly small. EncodeAll is safe for concurrent use.
var indexCompressor = sync.OnceValues(func() (*zstd.Encoder, error) {
	return zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false),
		zstd.WithEncoderLevel(zstd.SpeedBetterCompression), zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true))
})

// encode writes the index: magic, version, xxHash64 of the rest, and the rest with zstd.
func (x *index) encode() ([]byte, error) {
	z, err := indexCompressor()
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	packed := z.EncodeAll(x.body(IndexVersion), nil)
	out := append([]byte(indexMagic), IndexVersion)
	out = binary.LittleEndian.AppendUint64(out, xxhash.Sum64(packed))
	return append(out, packed...), nil
}

// groupField is a number of a group, as it is stored.
type groupField struct {
	get func(*Group) uint64
	set func(*Group, uint64)
}

// groupFields are all of them.
var groupFields = []groupField{
	{func(g *Group) uint64 { return uint64(g.Bytes) }, func(g *Group, v uint64) { g.Bytes = int64(v) }},
	{func(g *Group) uint64 { return uint64(g.Rows) }, func(g *Group, v uint64) { g.Rows = int(v) }},
	{func(g *Group) uint64 { return uint64(g.Removed) }, func(g *Group, v uint64) { g.Removed = int(v) }},
	{func(g *Group) uint64 { return uint64(g.AgentMissing) }, func(g *Group, v uint64) { g.AgentMissing = int(v) }},
	{(*Group).flags, func(g *Group, v uint64) { g.NotUTF8 = v&groupNotUTF8 != 0 }},
	{func(g *Group) uint64 { return zigzag(g.SuspectUntilNs) }, func(g *Group, v uint64) { g.SuspectUntilNs = unzigzag(v) }},
	{func(g *Group) uint64 { return zigzag(g.MinMtimeSec) }, func(g *Group, v uint64) { g.MinMtimeSec = unzigzag(v) }},
	{func(g *Group) uint64 { return zigzag(g.MaxMtimeSec) }, func(g *Group, v uint64) { g.MaxMtimeSec = unzigzag(v) }},
	{func(g *Group) uint64 { return sizeCode(g.MinSize) }, func(g *Group, v uint64) { g.MinSize, _ = sizesOf(v) }},
	{func(g *Group) uint64 { return sizeCode(g.MaxSize) }, func(g *Group, v uint64) { _, g.MaxSize = sizesOf(v) }},
	// from version 2 on
	{func(g *Group) uint64 { return uint64(g.Types) }, func(g *Group, v uint64) { g.Types = uint8(v) }},
	{func(g *Group) uint64 { return g.Owners }, func(g *Group, v uint64) { g.Owners = v }},
	// from version 5 on
	{func(g *Group) uint64 { return uint64(g.Keys) }, func(g *Group, v uint64) { g.Keys = int64(v) }},
}

// groupFields1 is how many of groupFields version 1 has, groupFields2 those up to version 4; sizeFields is where the two
// sizes are among them. From keysVersion on the index says where a row group's keys end.
const (
	groupFields1 = 10
	groupFields2 = 12
	sizeFields   = 8
	keysVersion  = 5
)

// fieldsOf are the fields that a version has. Before version 3 sizes were stored as their bit lengths.
func fieldsOf(version byte) []groupField {
	if version >= keysVersion {
		return groupFields
	}
	if version > 2 {
		return groupFields[:groupFields2]
	}
	fields := slices.Clone(groupFields[:groupFields2])
	fields[sizeFields] = groupField{
		func(g *Group) uint64 { return uint64(bits.Len64(uint64(g.MinSize))) }, func(g *Group, v uint64) { g.MinSize = int64(uint64(1) << v >> 1) }}
	fields[sizeFields+1] = groupField{
		func(g *Group) uint64 { return uint64(bits.Len64(uint64(g.MaxSize))) }, func(g *Group, v uint64) { g.MaxSize = 1<<v - 1 }}
	if version == 1 {
		fields = fields[:groupFields1]
	}
	return fields
}

// sizeBits is how many leading bits of a size the index has.
const sizeBits = 8

// sizeCode is a size rounded to its leading bits: below 256 itself, then 128 codes for each bit of length.
func sizeCode(size int64) uint64 {
	shift := max(0, bits.Len64(uint64(size))-sizeBits)
	return uint64(shift)<<(sizeBits-1) + uint64(size)>>shift
}

// sizesOf are the smallest and the largest size with a code.
func sizesOf(code uint64) (smallest, largest int64) {
	if code < 1<<sizeBits {
		return int64(code), int64(code)
	}
	shift := code>>(sizeBits-1) - 1
	leading := code&(1<<(sizeBits-1)-1) | 1<<(sizeBits-1)
	return int64(leading << shift), int64((leading+1)<<shift - 1)
}

func (g *Group) flags() (f uint64) {
	if g.NotUTF8 {
		f |= groupNotUTF8
	}
	if g.Removed == g.Rows {
		f |= groupAllRemoved
	}
	return f
}

// round widens the bounds to what the index can store, so that a group is the same before and after it.
func (g *Group) round() {
	if g.Removed == g.Rows {
		g.MinMtimeSec, g.MaxMtimeSec, g.MinSize, g.MaxSize = math.MaxInt64, math.MinInt64, math.MaxInt64, 0
		g.Types, g.Owners = 0, 0
		return
	}
	g.MinSize, _ = sizesOf(sizeCode(g.MinSize))
	_, g.MaxSize = sizesOf(sizeCode(g.MaxSize))
}

func zigzag(v int64) uint64   { return uint64(v)<<1 ^ uint64(v>>63) }
func unzigzag(v uint64) int64 { return int64(v>>1) ^ -int64(v&1) }

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// appendKey writes k as what it shares with the key before it and the rest, parent and name each.
func appendKey(b []byte, before, k Key) []byte {
	for _, s := range [2][2]string{{before.Parent, k.Parent}, {before.Name, k.Name}} {
		n := 0
		for n < len(s[0]) && n < len(s[1]) && s[0][n] == s[1][n] {
			n++
		}
		b = appendString(binary.AppendUvarint(b, uint64(n)), s[1][n:])
	}
	return b
}

var errIndex = errors.New("malformed")

// decodeIndex undoes encode, and checks that the index is consistent and belongs to info.
func decodeIndex(b []byte, info *Info) (*index, error) {
	head := len(indexMagic) + 1 + 8
	if len(b) < head || string(b[:len(indexMagic)]) != indexMagic {
		return nil, errors.New("it is not the index of a layer")
	}
	version := b[len(indexMagic)]
	if version == 0 || version > IndexVersion {
		return nil, fmt.Errorf("unknown index version %d; this build reads versions up to %d", version, IndexVersion)
	}
	if xxhash.Sum64(b[head:]) != binary.LittleEndian.Uint64(b[head-8:]) {
		return nil, errors.New("the index is damaged: its checksum differs")
	}
	z, err := decompressor()
	if err != nil {
		return nil, fmt.Errorf("set up zstd: %w", err)
	}
	var frame zstd.Header
	if err := frame.Decode(b[head:]); err != nil || frame.FrameContentSize > maxIndexBytes {
		return nil, errIndex
	}
	plain, err := z.DecodeAll(b[head:], nil)
	if err != nil {
		return nil, fmt.Errorf("decompress the index: %w", err)
	}
	x, err := parseIndex(plain, version)
	if err != nil {
		return nil, err
	}
	return x, x.check(info)
}

// indexReader reads the index's body. After the first fault it returns zeros, and bad is set.
type indexReader struct {
	b   []byte
	bad bool
}

func (r *indexReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *indexReader) string() string {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.bad, n = true, 0
	}
	s := string(r.b[:n])
	r.b = r.b[n:]
	return s
}

func (r *indexReader) after(before string) string {
	n := r.uvarint()
	if n > uint64(len(before)) {
		r.bad, n = true, 0
	}
	return before[:n] + r.string()
}

func (r *indexReader) key(before Key) Key {
	return Key{Parent: r.after(before.Parent), Name: r.after(before.Name)}
}

func parseIndex(plain []byte, version byte) (*index, error) {
	r := &indexReader{b: plain}
	if v := r.uvarint(); v == 0 || v > SchemaVersion {
		return nil, fmt.Errorf("unknown schema version %d of a layer; this build reads versions up to %d", v, SchemaVersion)
	}
	x := &index{id: r.string(), bytes: int64(r.uvarint())}
	n := r.uvarint()
	if n > uint64(len(r.b))/8 { // each has a hash at least
		return nil, errIndex
	}
	x.groups = make([]Group, n)
	if version == 1 {
		for i := range x.groups {
			x.groups[i].Types, x.groups[i].Owners = math.MaxUint8, math.MaxUint64
		}
	}
	for _, field := range fieldsOf(version) {
		for i := range x.groups {
			field.set(&x.groups[i], r.uvarint())
		}
	}
	last := Key{}
	for i := range x.groups {
		g := &x.groups[i]
		g.First = r.key(last)
		g.Last = r.key(g.First)
		last = g.Last
	}
	if version > 1 {
		x.search.version = version
		r.search(&x.search, int(n))
	}
	hashes := n
	if version >= keysVersion {
		hashes = 2 * n
	}
	if r.bad || uint64(len(r.b)) != 8*hashes {
		return nil, errIndex
	}
	offset := int64(len(parquetMagic))
	for i := range x.groups {
		g := &x.groups[i]
		g.Hash = binary.LittleEndian.Uint64(r.b[8*i:])
		if version >= keysVersion {
			g.KeysHash = binary.LittleEndian.Uint64(r.b[8*(int(n)+i):])
		}
		g.round()
		if g.Keys < 0 || g.Keys > g.Bytes || g.Bytes <= 0 || g.Rows <= 0 || g.Rows > MaxRowsPerGroup || g.Removed > g.Rows || g.Bytes > x.bytes-offset {
			return nil, errIndex
		}
		g.Offset = offset
		offset += g.Bytes
		x.rows += int64(g.Rows)
	}
	if x.search.span > 0 && !x.search.setOffsets(offset, x.bytes) {
		return nil, errIndex
	}
	return x, nil
}

// search reads the part about the search index of n row groups.
func (r *indexReader) search(s *searchSection, n int) {
	span := r.uvarint()
	if span == 0 {
		return
	}
	if span > maxGroups || n == 0 {
		r.bad, r.b = true, nil
		return
	}
	s.span = int(span)
	pages := s.pages[:pagesIn(s.version)]
	for i := range pages {
		pages[i].bytes = int64(r.uvarint())
	}
	if len(r.b) < 8*len(pages) {
		r.bad, r.b = true, nil
		return
	}
	for i := range pages {
		pages[i].hash = binary.LittleEndian.Uint64(r.b[8*i:])
	}
	r.b = r.b[8*len(pages):]
}

// setOffsets places the pages one after the other from offset on, and reports whether they end before end.
func (s *searchSection) setOffsets(offset, end int64) bool {
	pages := s.pages[:pagesIn(s.version)]
	for i := range pages {
		p := &pages[i]
		if p.bytes <= 0 || p.bytes > end-offset {
			return false
		}
		p.offset = offset
		offset += p.bytes
	}
	return true
}

// check compares the index with what the manifest says about the layer.
func (x *index) check(info *Info) error {
	if x.id != info.ID {
		return fmt.Errorf("it is the index of another layer, %q", strings.ToValidUTF8(x.id, "?"))
	}
	removed, marks := int64(0), Marks{}
	for i := range x.groups {
		g := &x.groups[i]
		removed += int64(g.Removed)
		marks.add(g)
		if g.First.Compare(g.Last) > 0 || i > 0 && x.groups[i-1].Last.Compare(g.First) >= 0 {
			return errors.New("the index is out of order")
		}
	}
	if len(x.groups) == 0 || x.rows != info.Rows || removed != info.Removed || x.bytes != info.Bytes ||
		x.groups[0].First != info.First || x.groups[len(x.groups)-1].Last != info.Last {
		return errors.New("the index does not match the layer's entry in the manifest")
	}
	if info.Marks != nil && marks != *info.Marks {
		return errors.New("the index does not match the layer's marks in the manifest")
	}
	return nil
}
