package layer

import (
	"unicode/utf8"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
)

// builder gathers the rows of one row group, by column.
type builder struct {
	rows    int
	text    int // bytes of parents, names and targets
	parents textBuilder
	names   []byte
	offsets []uint32 // of each name, and the end
	numbers [columns][]int64
	target  textBuilder
	agent   textBuilder
	source  textBuilder
	history textBuilder
	acl     textBuilder
	notUTF8 bool // some parent, name, target or source is not
	// copied remembers how the dictionaries of the last block map to those here.
	copied struct {
		from                                *Block
		target, agent, source, history, acl textMap
	}
}

// textBuilder gathers a column of strings with few distinct values.
type textBuilder struct {
	dict  []string
	codes []uint16
	index map[string]uint16
}

func (t *textBuilder) code(s string) (code uint16, added bool) {
	if n := len(t.codes); n > 0 && t.dict[t.codes[n-1]] == s {
		return t.codes[n-1], false
	}
	code, ok := t.index[s]
	if !ok {
		if t.index == nil {
			t.index = map[string]uint16{}
		}
		code = uint16(len(t.dict))
		t.dict = append(t.dict, s)
		t.index[s] = code
	}
	return code, !ok
}

// add appends a value and reports whether it was not there yet.
func (t *textBuilder) add(s string) (added bool) {
	code, added := t.code(s)
	t.codes = append(t.codes, code)
	return added
}

func (t *textBuilder) reset() {
	clear(t.dict)
	t.dict, t.codes = t.dict[:0], t.codes[:0]
	clear(t.index)
}

// textMap is how the codes of a block's column map to a builder's: code + 1, 0 where that is not known yet.
type textMap []uint32

func (b *builder) reset() {
	b.rows, b.text, b.notUTF8 = 0, 0, false
	b.parents.reset()
	b.target.reset()
	b.agent.reset()
	b.source.reset()
	b.history.reset()
	b.acl.reset()
	b.names, b.offsets = b.names[:0], append(b.offsets[:0], 0)
	for i := range b.numbers {
		b.numbers[i] = b.numbers[i][:0]
	}
	b.copied.from = nil
}

// add appends a row. Its strings are kept until reset.
func (b *builder) add(r *evidence.Row) {
	if b.parents.add(r.Parent) {
		b.text += len(r.Parent)
		b.notUTF8 = b.notUTF8 || !utf8.ValidString(r.Parent)
	}
	b.names = append(b.names, r.Name...)
	b.offsets = append(b.offsets, uint32(len(b.names)))
	b.notUTF8 = b.notUTF8 || !utf8.ValidString(r.Name)
	if b.target.add(r.Target) {
		b.text += len(r.Target)
		b.notUTF8 = b.notUTF8 || !utf8.ValidString(r.Target)
	}
	b.agent.add(r.Agent)
	if b.source.add(r.Source) {
		b.notUTF8 = b.notUTF8 || !utf8.ValidString(r.Source)
	}
	if b.history.add(r.History) {
		b.text += len(r.History)
	}
	acl := storedACL(r.Type, r.ACL)
	if b.acl.add(acl) {
		b.text += len(acl)
	}
	b.text += len(r.Name)
	b.rows++

	b.put(ColumnType, int64(r.Type))
	b.put(ColumnMode, int64(r.Mode))
	b.put(ColumnUID, int64(r.UID))
	b.put(ColumnGID, int64(r.GID))
	b.put(ColumnAtimeDay, int64(r.AtimeDay))
	b.put(ColumnSize, r.Size)
	b.put(ColumnMtimeNs, r.MtimeNs)
	b.put(ColumnRemoved, asNumber(r.Removed))
	b.put(ColumnObservedAtNs, r.ObservedAt)
	b.put(ColumnEvidence, int64(r.Evidence))
	b.put(ColumnAgentMissing, asNumber(r.AgentMissing))
	b.put(ColumnSuspectUntilNs, r.SuspectUntil)
	b.put(ColumnWatermarkNs, r.Watermark)
	b.put(ColumnEndedAtNs, r.EndedAt)
	b.put(ColumnLinks, int64(r.Links))
	excess, ctime, birth := int64(0), int64(asMtime), int64(noBirth)
	if r.Measured() {
		excess = r.Allocated - event.Rounded(r.Size)
		if r.CtimeNs != r.MtimeNs {
			ctime = r.CtimeNs
		}
		if r.BirthS != 0 {
			birth = r.BirthBefore()
		}
	}
	b.put(ColumnAllocatedExcess, excess)
	b.put(ColumnCtimeNs, ctime)
	b.put(ColumnInode, int64(r.ID))
	b.put(ColumnBirth, birth)
	sub := evidence.Totals{}
	if r.Type == event.Directory {
		sub = r.Sub
	}
	b.put(ColumnSubFiles, sub.Files)
	b.put(ColumnSubDirectories, sub.Directories)
	b.put(ColumnSubOthers, sub.Others)
	b.put(ColumnSubBytes, sub.Bytes)
	b.put(ColumnSubLatestMtimeNs, sub.LatestMtimeNs)
	b.put(ColumnSubAllocated, sub.Allocated)
	b.put(ColumnSubLinkedAllocated, sub.LinkedAllocated)
	b.put(ColumnSubUnmeasured, sub.Unmeasured)
	b.put(ColumnSubClosed, asNumber(r.Type == event.Directory && !r.Open))
}

func (b *builder) put(c Column, v int64) { b.numbers[c] = append(b.numbers[c], v) }

func asNumber(v bool) int64 {
	if v {
		return 1
	}
	return 0
}

// addBlock appends rows from to to-1 of a block, column by column.
func (b *builder) addBlock(block *Block, from, to int) error {
	all, err := block.loadAll()
	if err != nil {
		return err
	}
	if b.copied.from != block {
		b.copied.from = block
		for _, m := range []*textMap{&b.copied.target, &b.copied.agent, &b.copied.source, &b.copied.history, &b.copied.acl} {
			clear(*m)
		}
	}
	for i := from; i < to; {
		run := int(block.parentOf[i])
		end := min(to, block.runEnd(run))
		if b.parents.add(block.parents[run]) {
			b.text += len(block.parents[run])
		}
		code := b.parents.codes[len(b.parents.codes)-1]
		for i++; i < end; i++ {
			b.parents.codes = append(b.parents.codes, code)
		}
	}
	start, base := block.offsets[from], uint32(len(b.names))
	b.names = append(b.names, block.names[start:block.offsets[to]]...)
	for _, o := range block.offsets[from+1 : to+1] {
		b.offsets = append(b.offsets, o-start+base)
	}
	b.text += len(b.names) - int(base)
	b.text += b.target.addFrom(all.target, &b.copied.target, from, to)
	b.agent.addFrom(all.agent, &b.copied.agent, from, to)
	b.source.addFrom(all.source, &b.copied.source, from, to)
	b.text += b.history.addFrom(all.history, &b.copied.history, from, to)
	b.text += b.acl.addFrom(all.acl, &b.copied.acl, from, to)
	b.notUTF8 = b.notUTF8 || block.group.NotUTF8
	for c, n := range all.numbers {
		if n != nil {
			b.numbers[c] = n.AppendTo(b.numbers[c], from, to)
		}
	}
	b.rows += to - from
	return nil
}

// addFrom appends values of a block's column; added is the bytes of those that were not there yet.
func (t *textBuilder) addFrom(from *Text, known *textMap, first, end int) (added int) {
	if len(*known) < len(from.dict) {
		*known = append(*known, make([]uint32, len(from.dict)-len(*known))...)
	}
	for i := first; i < end; i++ {
		c := uint16(0)
		if from.codes != nil {
			c = from.codes[i]
		}
		if (*known)[c] == 0 {
			code, isNew := t.code(from.dict[c])
			if isNew {
				added += len(from.dict[c])
			}
			(*known)[c] = uint32(code) + 1
		}
		t.codes = append(t.codes, uint16((*known)[c]-1))
	}
	return added
}

// key is the key of row i.
func (b *builder) key(i int) Key {
	return Key{b.parents.dict[b.parents.codes[i]], string(b.names[b.offsets[i]:b.offsets[i+1]])}
}
