package layer

import (
	"fmt"
	"sort"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/fustor/fustor/internal/casefold"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/values"
)

// Block is a row group in memory. Its columns are decoded when they are first asked for; its content never changes, and it
// is safe for concurrent use. Strings share the block's memory, so keeping one keeps the block.
//
// Keys are decoded at once by Layer.Block; of a block that Fetch read they may be missing until LoadKeys. Parent, Name, Key,
// Names, Parents, ParentEnd, Search and SearchFrom need them.
//
// A block's size in memory grows with the columns that are decoded, and the cache is notified (grown). Which columns a caller
// causes to be decoded is most of the cost of a read: Brief (what a fold compares) takes a third of Row, Shown (what readers
// show) lies between.
type Block struct {
	object string
	raw    []byte
	group  Group
	chunks *[columns]chunk
	grams  *slotSet // of its names, and maybe others, if it was read to be copied; else nil

	keyed    atomic.Bool  // the fields up to offsets are set
	parents  []string     // the distinct ones, in order
	starts   []uint32     // the first row of each
	parentOf []uint16     // per row, into parents
	names    string       // all of them, one after the other
	offsets  []uint32     // where each begins, and the end
	high     atomic.Int32 // whether names have bytes beyond ASCII: 0 until somebody asks, then -1 (none) or 1

	mu      sync.Mutex // held while a column is decoded
	numbers [columns]atomic.Pointer[Numbers]
	texts   [columns]atomic.Pointer[Text]
	full    atomic.Pointer[blockRows]
	shown   atomic.Pointer[blockRows]
	brief   atomic.Pointer[blockRows]
	size    atomic.Int64 // bytes in memory
	grown   func(*Block) // called after the size has grown; may be nil
}

// blockRows are the decoded columns but for the keys: all of them for Row and AppendBlock, those of Shown, or those of Brief.
type blockRows struct {
	numbers                             [columns]*Numbers // nil where the column has no numbers
	target, agent, source, history, acl *Text
}

// openBlock checks a row group's checksum, and decodes nothing.
func openBlock(raw RawGroup) (*Block, error) {
	chunks, err := raw.chunks()
	if err != nil {
		return nil, err
	}
	b := &Block{object: raw.object, raw: raw.Data, group: raw.Group, chunks: chunks, grams: raw.grams}
	b.size.Store(int64(len(b.raw)) + 1024)
	return b, nil
}

// decodeBlock decodes a row group's keys.
func decodeBlock(raw RawGroup) (*Block, error) {
	b, err := openBlock(raw)
	if err != nil {
		return nil, err
	}
	return b, b.LoadKeys()
}

// LoadKeys decodes the keys, if they are not there yet. They are half of what decoding a row group costs.
func (b *Block) LoadKeys() error {
	if b.keyed.Load() {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.keyed.Load() {
		return nil
	}
	held, err := b.decodeKeys()
	if err != nil {
		return b.fault(ColumnParent, err)
	}
	b.keyed.Store(true)
	b.grow(int64(held + len(b.names) + 4*len(b.offsets) + 2*len(b.parentOf) + 20*len(b.parents)))
	return nil
}

// ScanNames calls scan with all names, in the form of Names, without loading the keys. Before, it calls may with the names as
// they are stored, and leaves scan out if may says no; that saves a third, and ScanNames as a whole half of LoadKeys. What is
// decoded is not kept, and neither function may keep any of it. If the names are decoded already, or may is nil, it is not asked.
func (b *Block) ScanNames(may func(*CodedNames) bool, scan func(text string, offsets []uint32)) error {
	if !b.Keyed() && b.group.NotUTF8 { // the names are in two columns
		if err := b.LoadKeys(); err != nil {
			return err
		}
	}
	if b.Keyed() {
		scan(b.Names())
		return nil
	}
	if err := scanNames(b.raw, &b.chunks[ColumnName], may, scan); err != nil {
		return b.fault(ColumnName, err)
	}
	return nil
}

// Detached is a copy of the block that the cache does not know, so that what is decoded for it is not kept; b itself if its
// keys are loaded. Names are those that ScanNames passed, copied. It is for reading a few rows where the cache has no room
// for a decoded row group, which is five times as large.
func (b *Block) Detached(names string, offsets []uint32) *Block {
	if b.Keyed() {
		return b
	}
	detached := &Block{object: b.object, raw: b.raw, group: b.group, chunks: b.chunks, names: names, offsets: offsets}
	detached.size.Store(b.size.Load())
	return detached
}

// Keyed reports whether the keys are there.
func (b *Block) Keyed() bool { return b.keyed.Load() }

func (b *Block) fault(c Column, err error) error {
	return &FormatError{Object: b.object, Reason: fmt.Sprintf("column %s of the row group at %d+%d: %v", specs[c].name, b.group.Offset, b.group.Bytes, err)}
}

// decodeKeys returns how many bytes of memory the parents' texts take.
func (b *Block) decodeKeys() (held int, err error) {
	parents, err := textOf(b.raw, &b.chunks[ColumnParent])
	if err != nil {
		return 0, err
	}
	if b.offsets == nil {
		names, offsets, err := namesOf(b.raw, &b.chunks[ColumnName])
		if err != nil {
			return 0, err
		}
		b.names, b.offsets = textIn(names), offsets
	}
	if b.group.NotUTF8 {
		if parents, err = b.decodeRawKeys(parents); err != nil {
			return 0, err
		}
	}
	b.parents, b.parentOf = parents.dict, parents.codes
	if b.parentOf == nil {
		b.parentOf = make([]uint16, b.group.Rows)
	}
	return parents.held, b.findRuns()
}

// findRuns finds where each parent's rows begin, and checks that parents come one after the other.
func (b *Block) findRuns() error {
	b.starts = make([]uint32, 0, len(b.parents))
	for i, run := range b.parentOf {
		if i == 0 || run != b.parentOf[i-1] {
			if int(run) != len(b.starts) {
				return errChunk
			}
			b.starts = append(b.starts, uint32(i))
		}
	}
	if len(b.starts) != len(b.parents) || b.Key(0) != b.group.First || b.Key(b.Len()-1) != b.group.Last {
		return errChunk
	}
	return nil
}

// decodeRawKeys puts the exact bytes of names and parents in place of the readable ones.
func (b *Block) decodeRawKeys(shown *Text) (*Text, error) {
	rawParents, err := textOf(b.raw, &b.chunks[columnParentRaw])
	if err != nil {
		return nil, err
	}
	rawNames, err := textOf(b.raw, &b.chunks[columnNameRaw])
	if err != nil {
		return nil, err
	}
	parents := &Text{held: shown.held + rawParents.held, codes: make([]uint16, b.group.Rows)}
	var names strings.Builder
	offsets := make([]uint32, 1, len(b.offsets))
	for i := range b.group.Rows {
		parent, name := rawParents.At(i), rawNames.At(i)
		if parent == "" {
			parent = shown.At(i)
		}
		if name == "" {
			name = b.names[b.offsets[i]:b.offsets[i+1]]
		}
		if n := len(parents.dict); n == 0 || parents.dict[n-1] != parent {
			parents.dict = append(parents.dict, parent)
		}
		parents.codes[i] = uint16(len(parents.dict) - 1)
		names.WriteString(name)
		offsets = append(offsets, uint32(names.Len()))
	}
	b.names, b.offsets = names.String(), offsets
	return parents, nil
}

// Len is the number of rows.
func (b *Block) Len() int { return b.group.Rows }

// Group is what the index says about the row group.
func (b *Block) Group() Group { return b.group }

// Parent is row i's parent.
func (b *Block) Parent(i int) string { return b.parents[b.parentOf[i]] }

// Name is row i's name.
func (b *Block) Name(i int) string { return b.names[b.offsets[i]:b.offsets[i+1]] }

// Key is row i's key.
func (b *Block) Key(i int) Key { return Key{b.Parent(i), b.Name(i)} }

// Names are all names, one after the other, and where each begins: name i is text[offsets[i]:offsets[i+1]].
func (b *Block) Names() (text string, offsets []uint32) { return b.names, b.offsets }

// ASCII reports whether all names are ASCII.
func (b *Block) ASCII() bool {
	if b.high.Load() == 0 {
		high := int32(-1)
		if casefold.IndexNonASCII(b.names, 0) < len(b.names) {
			high = 1
		}
		b.high.Store(high)
	}
	return b.high.Load() < 0
}

// Parents are the distinct parents in key order, and the first row of each.
func (b *Block) Parents() (parents []string, starts []uint32) { return b.parents, b.starts }

// runEnd is the row after the last of a parent.
func (b *Block) runEnd(run int) int {
	if run+1 < len(b.starts) {
		return int(b.starts[run+1])
	}
	return b.Len()
}

// ParentEnd is the first row at or after i+1 that has another parent than row i, or Len.
func (b *Block) ParentEnd(i int) int { return b.runEnd(int(b.parentOf[i])) }

// Search is the first row whose key is k or comes after it; Len if there is none.
func (b *Block) Search(k Key) int { return b.SearchFrom(0, k) }

// SearchFrom is Search among the rows from i on. It is fast where the answer is near.
func (b *Block) SearchFrom(i int, k Key) int {
	if i >= b.Len() {
		return i
	}
	run := int(b.parentOf[i])
	if c := strings.Compare(b.parents[run], k.Parent); c > 0 {
		return i
	} else if c < 0 {
		step := 1
		low := run + 1 // all before come before k.Parent
		for low+step < len(b.parents) && b.parents[low+step] < k.Parent {
			low, step = low+step, 2*step
		}
		high := min(len(b.parents), low+step+1)
		run = low + sort.Search(high-low, func(j int) bool { return b.parents[low+j] >= k.Parent })
		if run == len(b.parents) {
			return b.Len()
		}
		i = int(b.starts[run])
		if b.parents[run] != k.Parent {
			return i
		}
	}
	end := b.runEnd(run)
	low, step := i, 1
	for low+step < end && b.Name(low+step) < k.Name {
		low, step = low+step, 2*step
	}
	high := min(end, low+step+1)
	return low + sort.Search(high-low, func(j int) bool { return b.Name(low+j) >= k.Name })
}

// Numbers is a column of numbers: types and evidence as their values in package event, flags as 0 and 1. A column
// that has none is an error.
func (b *Block) Numbers(c Column) (*Numbers, error) {
	if n := b.numbers[c].Load(); n != nil {
		return n, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := b.numbers[c].Load(); n != nil {
		return n, nil
	}
	if f := specs[c].form; f == formKey || f == formText {
		return nil, fmt.Errorf("column %s has no numbers", specs[c].name)
	}
	n, err := b.decodeNumbers(c)
	if err != nil {
		return nil, b.fault(c, err)
	}
	b.numbers[c].Store(n)
	b.grow(n.bytes())
	return n, nil
}

func (b *Block) decodeNumbers(c Column) (*Numbers, error) {
	if c >= columns1 && c < columns2 && b.chunks[c].end == 0 {
		return b.unmeasured(c)
	}
	if c >= columns3 && b.chunks[c].end == 0 {
		return &Numbers{dict: []int64{1}}, nil // no directory is known to be open
	}
	if c >= columns2 && b.chunks[c].end == 0 {
		return &Numbers{dict: []int64{noBirth}}, nil
	}
	n, err := numbersOf(b.raw, &b.chunks[c], &specs[c])
	if err == nil && (c == ColumnSubBytes || c == ColumnSubAllocated || c == ColumnSubLinkedAllocated) {
		n.unwrap()
	}
	return n, err
}

// unwrap saturates sums of bytes of earlier builds, which let them wrap around.
func (n *Numbers) unwrap() {
	for _, list := range [...][]int64{n.dict, n.values} {
		for i, v := range list {
			list[i] = values.Unwrapped(v)
		}
	}
}

// unmeasured is what a row group of schema 1 has in place of a column that it lacks: nothing is known of any inode, so all entries of
// a subtree are unmeasured.
func (b *Block) unmeasured(c Column) (*Numbers, error) {
	if c != ColumnSubUnmeasured {
		return &Numbers{dict: []int64{0}}, nil
	}
	sum := &Numbers{values: make([]int64, b.group.Rows)}
	for _, part := range [...]Column{ColumnSubFiles, ColumnSubDirectories, ColumnSubOthers} {
		n, err := numbersOf(b.raw, &b.chunks[part], &specs[part])
		if err != nil {
			return nil, err
		}
		for i := range sum.values {
			sum.values[i] += n.At(i)
		}
	}
	return sum, nil
}

// Text is one of the columns target, agent, source, history and ACL.
func (b *Block) Text(c Column) (*Text, error) {
	if t := b.texts[c].Load(); t != nil {
		return t, nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if t := b.texts[c].Load(); t != nil {
		return t, nil
	}
	if specs[c].form != formText {
		return nil, fmt.Errorf("column %s has no texts", specs[c].name)
	}
	if c == ColumnACL && b.chunks[c].end == 0 { // of an earlier schema
		t := &Text{dict: []string{unknownACL}}
		b.texts[c].Store(t)
		return t, nil
	}
	t, err := textOf(b.raw, &b.chunks[c])
	if err == nil && b.group.NotUTF8 && (c == ColumnTarget || c == ColumnSource) {
		t, err = b.exact(t, c)
	}
	if err != nil {
		return nil, b.fault(c, err)
	}
	b.texts[c].Store(t)
	b.grow(t.bytes())
	return t, nil
}

// exact puts the exact bytes in place of the readable ones.
func (b *Block) exact(shown *Text, c Column) (*Text, error) {
	rawColumn := columnTargetRaw
	if c == ColumnSource {
		rawColumn = columnSourceRaw
	}
	raw, err := textOf(b.raw, &b.chunks[rawColumn])
	if err != nil {
		return nil, err
	}
	exact := textBuilder{}
	for i := range b.group.Rows {
		v := raw.At(i)
		if v == "" {
			v = shown.At(i)
		}
		exact.add(v)
	}
	return &Text{dict: exact.dict, codes: exact.codes, held: shown.held + raw.held}, nil
}

func (b *Block) grow(n int64) {
	b.size.Add(n)
	if b.grown != nil {
		b.grown(b)
	}
}

// shownColumns are the columns of numbers that Shown has, those of directories' totals apart.
var shownColumns = [...]Column{ColumnType, ColumnMode, ColumnUID, ColumnGID, ColumnSize, ColumnMtimeNs, ColumnRemoved,
	ColumnAgentMissing, ColumnSuspectUntilNs, ColumnLinks, ColumnAllocatedExcess, ColumnCtimeNs, ColumnInode, ColumnBirth}

// loadShown decodes the columns of Shown.
func (b *Block) loadShown() (*blockRows, error) {
	if f := b.full.Load(); f != nil {
		return f, nil
	}
	if f := b.shown.Load(); f != nil {
		return f, nil
	}
	f, err := &blockRows{}, b.LoadKeys()
	if err != nil {
		return nil, err
	}
	for _, c := range shownColumns {
		if f.numbers[c], err = b.Numbers(c); err != nil {
			return nil, err
		}
	}
	if f.target, err = b.Text(ColumnTarget); err != nil {
		return nil, err
	}
	if f.agent, err = b.Text(ColumnAgent); err != nil {
		return nil, err
	}
	if f.source, err = b.Text(ColumnSource); err != nil {
		return nil, err
	}
	if f.acl, err = b.Text(ColumnACL); err != nil {
		return nil, err
	}
	b.shown.Store(f)
	return f, nil
}

// Shown sets r to row i as readers show it. It leaves out what only folds use: atime, when and by what evidence the row was
// observed, its watermark, what ended, and its history. Strings share the block's memory.
func (b *Block) Shown(i int, r *evidence.Row) error {
	f, err := b.loadShown()
	if err != nil {
		return err
	}
	n := &f.numbers
	*r = evidence.Row{
		Parent: b.Parent(i), Name: b.Name(i),
		Type: event.Type(n[ColumnType].At(i)), Mode: uint32(n[ColumnMode].At(i)),
		UID: uint32(n[ColumnUID].At(i)), GID: uint32(n[ColumnGID].At(i)),
		Size: n[ColumnSize].At(i), MtimeNs: n[ColumnMtimeNs].At(i),
		Target: f.target.At(i), Removed: n[ColumnRemoved].At(i) != 0,
		AgentMissing: n[ColumnAgentMissing].At(i) != 0, SuspectUntil: n[ColumnSuspectUntilNs].At(i),
		Agent: f.agent.At(i), Source: f.source.At(i),
	}
	f.inode(i, r)
	if r.Type == event.Directory {
		return b.Subtree(i, r)
	}
	return nil
}

// Subtree adds the totals of the directory in row i, and whether it is open.
func (b *Block) Subtree(i int, r *evidence.Row) error {
	closed, err := b.Numbers(ColumnSubClosed)
	if err != nil {
		return err
	}
	r.Open = closed.At(i) == 0
	return b.totals(i, &r.Sub)
}

// Atime adds to what Shown set the day of the last access, and when the row was observed.
func (b *Block) Atime(i int, r *evidence.Row) error {
	days, err := b.Numbers(ColumnAtimeDay)
	if err != nil {
		return err
	}
	observed, err := b.Numbers(ColumnObservedAtNs)
	if err != nil {
		return err
	}
	r.AtimeDay, r.ObservedAt = int32(days.At(i)), observed.At(i)
	return nil
}

// totals are those of the directory in row i.
func (b *Block) totals(i int, t *evidence.Totals) error {
	for _, field := range [...]struct {
		to *int64
		of Column
	}{
		{&t.Files, ColumnSubFiles}, {&t.Directories, ColumnSubDirectories}, {&t.Others, ColumnSubOthers},
		{&t.Bytes, ColumnSubBytes}, {&t.LatestMtimeNs, ColumnSubLatestMtimeNs},
		{&t.Allocated, ColumnSubAllocated}, {&t.LinkedAllocated, ColumnSubLinkedAllocated}, {&t.Unmeasured, ColumnSubUnmeasured},
	} {
		n, err := b.Numbers(field.of)
		if err != nil {
			return err
		}
		*field.to = n.At(i)
	}
	return nil
}

// Access sets r to the key, type, mode, owner, group and ACL of row i, and to whether it is removed: what decides on the rights to a
// directory. The rest is zero.
func (b *Block) Access(i int, r *evidence.Row) error {
	var n [6]*Numbers
	for at, c := range [...]Column{ColumnType, ColumnMode, ColumnUID, ColumnGID, ColumnRemoved, ColumnLinks} {
		var err error
		if n[at], err = b.Numbers(c); err != nil {
			return err
		}
	}
	acl, err := b.Text(ColumnACL)
	if err != nil {
		return err
	}
	*r = evidence.Row{Parent: b.Parent(i), Name: b.Name(i), Type: event.Type(n[0].At(i)), Mode: uint32(n[1].At(i)), UID: uint32(n[2].At(i)),
		GID: uint32(n[3].At(i)), Removed: n[4].At(i) != 0}
	if n[5].At(i) != 0 { // as for Row: of what is not measured, nobody tells
		r.ACL = aclOf(r.Type, acl.At(i))
	}
	return nil
}

// loadAll decodes every column.
func (b *Block) loadAll() (*blockRows, error) {
	if f := b.full.Load(); f != nil {
		return f, nil
	}
	f, err := &blockRows{}, b.LoadKeys()
	if err != nil {
		return nil, err
	}
	for c := range specs {
		if form := specs[c].form; form == formKey || form == formText {
			continue
		}
		if f.numbers[c], err = b.Numbers(Column(c)); err != nil {
			return nil, err
		}
	}
	if f.target, err = b.Text(ColumnTarget); err != nil {
		return nil, err
	}
	if f.agent, err = b.Text(ColumnAgent); err != nil {
		return nil, err
	}
	if f.source, err = b.Text(ColumnSource); err != nil {
		return nil, err
	}
	if f.history, err = b.Text(ColumnHistory); err != nil {
		return nil, err
	}
	if f.acl, err = b.Text(ColumnACL); err != nil {
		return nil, err
	}
	b.full.Store(f)
	return f, nil
}

// Prepare decodes the columns that Brief needs.
func (b *Block) Prepare() error {
	_, err := b.loadBrief()
	return err
}

// loadBrief decodes the columns of Brief, which takes a third of the time of all.
func (b *Block) loadBrief() (*blockRows, error) {
	if f := b.brief.Load(); f != nil {
		return f, nil
	}
	f, err := &blockRows{}, b.LoadKeys()
	if err != nil {
		return nil, err
	}
	for _, c := range [...]Column{ColumnType, ColumnSize, ColumnMtimeNs, ColumnRemoved, ColumnObservedAtNs, ColumnEndedAtNs,
		ColumnLinks, ColumnAllocatedExcess} {
		if f.numbers[c], err = b.Numbers(c); err != nil {
			return nil, err
		}
	}
	if f.history, err = b.Text(ColumnHistory); err != nil {
		return nil, err
	}
	b.brief.Store(f)
	return f, nil
}

// Brief sets r to what a fold needs to decide whether the row matters: the key, type, size, mtime, whether it is removed,
// when it was observed and ended, its links and what it occupies, and the history. The rest is zero.
func (b *Block) Brief(i int, r *evidence.Row) error {
	f, err := b.loadBrief()
	if err != nil {
		return err
	}
	n := &f.numbers
	*r = evidence.Row{
		Parent: b.Parent(i), Name: b.Name(i),
		Type: event.Type(n[ColumnType].At(i)), Size: n[ColumnSize].At(i), MtimeNs: n[ColumnMtimeNs].At(i),
		Removed: n[ColumnRemoved].At(i) != 0, ObservedAt: n[ColumnObservedAtNs].At(i), EndedAt: n[ColumnEndedAtNs].At(i),
		History: f.history.At(i),
	}
	f.allocated(i, r)
	return nil
}

// allocated sets the links of row i, and what it occupies.
func (f *blockRows) allocated(i int, r *evidence.Row) {
	if r.Links = uint32(f.numbers[ColumnLinks].At(i)); r.Measured() {
		r.Allocated = event.Rounded(r.Size) + f.numbers[ColumnAllocatedExcess].At(i)
	}
}

// inode sets all that row i has of its inode.
func (f *blockRows) inode(i int, r *evidence.Row) {
	f.allocated(i, r)
	if !r.Measured() {
		return
	}
	r.ID = uint64(f.numbers[ColumnInode].At(i))
	r.CtimeNs = ctimeOf(f.numbers[ColumnCtimeNs].At(i), r.MtimeNs)
	if before := f.numbers[ColumnBirth].At(i); before != noBirth {
		r.SetBirthBefore(before)
	}
	r.ACL = aclOf(r.Type, f.acl.At(i))
}

// Row sets r to row i. Its strings share the block's memory.
func (b *Block) Row(i int, r *evidence.Row) error {
	f := b.full.Load()
	if f == nil {
		var err error
		if f, err = b.loadAll(); err != nil {
			return err
		}
	}
	n := &f.numbers
	*r = evidence.Row{
		Parent: b.Parent(i), Name: b.Name(i),
		Type: event.Type(n[ColumnType].At(i)), Mode: uint32(n[ColumnMode].At(i)),
		UID: uint32(n[ColumnUID].At(i)), GID: uint32(n[ColumnGID].At(i)),
		AtimeDay: int32(n[ColumnAtimeDay].At(i)), Size: n[ColumnSize].At(i), MtimeNs: n[ColumnMtimeNs].At(i),
		Target: f.target.At(i), Removed: n[ColumnRemoved].At(i) != 0,
		ObservedAt: n[ColumnObservedAtNs].At(i), Evidence: event.Evidence(n[ColumnEvidence].At(i)),
		AgentMissing: n[ColumnAgentMissing].At(i) != 0,
		SuspectUntil: n[ColumnSuspectUntilNs].At(i), Watermark: n[ColumnWatermarkNs].At(i),
		EndedAt: n[ColumnEndedAtNs].At(i),
		Agent:   f.agent.At(i), Source: f.source.At(i),
		History: f.history.At(i),
	}
	f.inode(i, r)
	if r.Type == event.Directory {
		r.Sub = evidence.Totals{
			Files: n[ColumnSubFiles].At(i), Directories: n[ColumnSubDirectories].At(i), Others: n[ColumnSubOthers].At(i),
			Bytes: n[ColumnSubBytes].At(i), LatestMtimeNs: n[ColumnSubLatestMtimeNs].At(i),
			Allocated: n[ColumnSubAllocated].At(i), LinkedAllocated: n[ColumnSubLinkedAllocated].At(i), Unmeasured: n[ColumnSubUnmeasured].At(i),
		}
		r.Open = n[ColumnSubClosed].At(i) == 0
	}
	return nil
}
