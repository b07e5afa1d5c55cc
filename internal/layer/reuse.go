package layer

import "slices"

// A merge that changes rows of a row group, and adds none, leaves most of its columns as they were, the names among them, which cost the
// most to compress. The chunks of such columns are copied. Whether a column is as it was is decided by its values, not by where they
// came from; so whatever was done to the rows meanwhile, a copied chunk has exactly the values that were gathered.

// origin is the block that the rows were copied from, if it has exactly their keys; otherwise nil.
func (b *builder) origin() *Block {
	from := b.copied.from
	if from == nil || from.Len() != b.rows || from.group.NotUTF8 || b.notUTF8 || from.chunks[columns-1].end == 0 {
		return nil // an earlier schema lacks columns
	}
	if textIn(b.names) != from.names || !slices.Equal(b.offsets, from.offsets) ||
		!slices.Equal(b.parents.codes, from.parentOf) || !slices.Equal(b.parents.dict, from.parents) {
		return nil
	}
	return from
}

// unchanged reports whether the rows have in a column what the block has that origin returned, and so whether its chunk can be copied.
func (b *builder) unchanged(from *Block, c Column) bool {
	all := from.full.Load()
	switch c {
	case ColumnParent, ColumnName, columnParentRaw, columnNameRaw, columnTargetRaw, columnSourceRaw:
		return true // the same keys; and all that is not UTF-8 is in the last two, here nothing
	case ColumnTarget:
		return b.target.holds(all.target)
	case ColumnAgent:
		return b.agent.holds(all.agent)
	case ColumnSource:
		return b.source.holds(all.source)
	case ColumnHistory:
		return b.history.holds(all.history)
	case ColumnACL:
		return b.acl.holds(all.acl)
	}
	return all.numbers[c].are(b.numbers[c])
}

// chunk is a column as the row group has it.
func (b *Block) chunk(c Column) []byte { return b.raw[b.chunks[c].start:b.chunks[c].end] }

// holds reports whether the values gathered are those of a block's column. Where it has them in another order of codes, the answer may be no.
func (t *textBuilder) holds(of *Text) bool {
	if of.codes == nil {
		return len(t.dict) == 1 && t.dict[0] == of.dict[0]
	}
	return slices.Equal(t.codes, of.codes) && slices.Equal(t.dict, of.dict)
}

// are reports whether the column's values are these.
func (n *Numbers) are(these []int64) bool {
	if n.values != nil {
		return slices.Equal(n.values, these)
	}
	for i, v := range these {
		if v != n.At(i) {
			return false
		}
	}
	return true
}
