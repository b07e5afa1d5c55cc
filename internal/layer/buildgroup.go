package layer

import (
	"math"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// encode appends the builder's rows to to as a row group and says what it is, all but its Offset. from is what origin returns.
func (b *builder) encode(e *encoder, to []byte, from *Block) ([]byte, Group) {
	start := len(to)
	g := b.describe()
	for i := range specs {
		s := &specs[i]
		if from != nil && b.unchanged(from, Column(i)) {
			to = append(to, from.chunk(Column(i))...)
			continue
		}
		switch Column(i) {
		case ColumnParent:
			to = b.encodeText(e, to, s, &b.parents)
		case ColumnName:
			to = b.encodeNames(e, to)
		case ColumnTarget:
			to = b.encodeText(e, to, s, &b.target)
		case ColumnAgent:
			to = b.encodeText(e, to, s, &b.agent)
		case ColumnSource:
			to = b.encodeText(e, to, s, &b.source)
		case ColumnHistory:
			to = e.textChunk(to, s, b.history.dict, b.history.codes)
		case ColumnACL:
			to = e.textChunk(to, s, b.acl.dict, b.acl.codes)
		case columnParentRaw:
			to = b.encodeRaw(e, to, s, b.parents.at)
		case columnNameRaw:
			to = b.encodeRaw(e, to, s, b.name)
		case columnTargetRaw:
			to = b.encodeRaw(e, to, s, b.target.at)
		case columnSourceRaw:
			to = b.encodeRaw(e, to, s, b.source.at)
		default:
			to = e.numbersChunk(to, s, b.numbers[i])
		}
	}
	g.Bytes = int64(len(to) - start)
	g.Hash = xxhash.Sum64(to[start:])
	return to, g
}

// at is row i's value, and name row i's name.
func (t *textBuilder) at(i int) string { return t.dict[t.codes[i]] }
func (b *builder) name(i int) string   { return string(b.names[b.offsets[i]:b.offsets[i+1]]) }

// encodeText appends a column of strings in their readable form.
func (b *builder) encodeText(e *encoder, to []byte, s *columnSpec, t *textBuilder) []byte {
	if !b.notUTF8 {
		return e.textChunk(to, s, t.dict, t.codes)
	}
	shown := textBuilder{}
	for i := range b.rows {
		shown.add(readable(t.at(i)))
	}
	return e.textChunk(to, s, shown.dict, shown.codes)
}

// encodeRaw appends the bytes of the values that are not UTF-8, and empty ones for the rest.
func (b *builder) encodeRaw(e *encoder, to []byte, s *columnSpec, value func(int) string) []byte {
	if !b.notUTF8 {
		return e.textChunk(to, s, []string{""}, b.parents.codes)
	}
	raw := textBuilder{}
	for i := range b.rows {
		v := value(i)
		if readable(v) == v {
			v = ""
		}
		raw.add(v)
	}
	return e.textChunk(to, s, raw.dict, raw.codes)
}

func (b *builder) encodeNames(e *encoder, to []byte) []byte {
	if !b.notUTF8 {
		low, high := b.nameBounds()
		return e.namesChunk(to, &specs[ColumnName], b.names, b.offsets, low, high)
	}
	var names []byte
	offsets := []uint32{0}
	low, high := readable(b.name(0)), ""
	for i := range b.rows {
		shown := readable(b.name(i))
		low, high = min(low, shown), max(high, shown)
		names = append(names, shown...)
		offsets = append(offsets, uint32(len(names)))
	}
	return e.namesChunk(to, &specs[ColumnName], names, offsets, low, high)
}

// nameBounds are the smallest and the largest name. Names are in order where the parent is the same.
func (b *builder) nameBounds() (low, high string) {
	low = b.name(0)
	for i := 0; i < b.rows; {
		low = min(low, b.name(i))
		for i++; i < b.rows && b.parents.codes[i] == b.parents.codes[i-1]; i++ {
		}
		high = max(high, b.name(i-1))
	}
	return low, high
}

// describe is what the index says about the group, but for its offset and hash.
func (b *builder) describe() Group {
	first, last := b.key(0), b.key(b.rows-1)
	g := Group{
		First: Key{strings.Clone(first.Parent), first.Name}, Last: Key{strings.Clone(last.Parent), last.Name},
		Rows: b.rows, NotUTF8: b.notUTF8,
		MinMtimeSec: math.MaxInt64, MaxMtimeSec: math.MinInt64, MinSize: math.MaxInt64,
	}
	minMtime, maxMtime := int64(math.MaxInt64), int64(math.MinInt64)
	removed, sizes := b.numbers[ColumnRemoved], b.numbers[ColumnSize]
	types, owners := b.numbers[ColumnType], b.numbers[ColumnUID]
	for i, mtime := range b.numbers[ColumnMtimeNs] {
		g.Removed += int(removed[i])
		if removed[i] == 0 {
			minMtime, maxMtime = min(minMtime, mtime), max(maxMtime, mtime)
			g.MinSize, g.MaxSize = min(g.MinSize, sizes[i]), max(g.MaxSize, sizes[i])
			g.Types |= 1 << types[i]
			g.Owners |= OwnerBit(uint32(owners[i]))
		}
	}
	for _, v := range b.numbers[ColumnAgentMissing] {
		g.AgentMissing += int(v)
	}
	for _, v := range b.numbers[ColumnSuspectUntilNs] {
		g.SuspectUntilNs = max(g.SuspectUntilNs, v)
	}
	g.MinMtimeSec, g.MaxMtimeSec = floorSeconds(minMtime), floorSeconds(maxMtime)+1
	g.round()
	return g
}

func floorSeconds(ns int64) int64 {
	s := ns / 1e9
	if ns%1e9 < 0 {
		s--
	}
	return s
}
