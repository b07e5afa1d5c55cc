package event

import (
	"github.com/fustor/fustor/internal/event/segmentpb"
)

// A block is cut at whichever comes first. One event's own texts can add 4*MaxText to blockText, and a row of columns
// needs less than 100 bytes, so a block stays below MaxBlockBytes whatever it holds.
const (
	blockRows = 4096      // events and listed entries
	blockText = 256 << 10 // bytes of text before front-coding
)

// attributes is what most entries of a directory have in common.
type attributes struct {
	kind Type
	mode uint32
	uid  uint32
	gid  uint32
	acl  ACL
}

// blockEncoder gathers events into the columns of one block. Its slices are kept from block to block.
type blockEncoder struct {
	block segmentpb.Block
	rows  int // events and listed entries
	text  int // bytes of text before front-coding

	observedAt                      int64
	paths, names, from, to, message textEncoder
	own, listed                     entriesEncoder

	met    func(uid, gid uint32) // unless nil, is told of owners
	known  map[attributes]uint32
	recent [8]recentAttributes // the last found there, by slot
	acls   [][]byte            // of the attributes, if any tell of theirs
}

// recentAttributes are attributes that the block has at index-1; index 0: none.
type recentAttributes struct {
	attributes
	index uint32
}

// slot spreads what occurs side by side: a directory, its files, and its links.
func (a *attributes) slot() uint32 { return (uint32(a.kind) + a.mode>>6 + a.uid) % 8 }

func newBlockEncoder() *blockEncoder {
	b := &blockEncoder{known: make(map[attributes]uint32)}
	b.block.Paths = &b.paths.pb
	b.block.ListedNames = &b.names.pb
	b.block.Own = &b.own.pb
	b.block.Listed = &b.listed.pb
	b.own.pb.Targets = &b.own.targets.pb
	b.listed.pb.Targets = &b.listed.targets.pb
	b.block.Attributes = &segmentpb.Attributes{}
	b.block.Ranges = &segmentpb.Ranges{From: &b.from.pb, To: &b.to.pb}
	b.block.Marks = &segmentpb.Marks{Messages: &b.message.pb}
	return b
}

func (b *blockEncoder) reset() {
	b.rows, b.text, b.observedAt = 0, 0, 0
	b.block.Kinds = b.block.Kinds[:0]
	b.block.Evidences = b.block.Evidences[:0]
	b.block.ObservedAtNsDeltas = b.block.ObservedAtNsDeltas[:0]
	b.block.ListedCounts = b.block.ListedCounts[:0]
	for _, t := range [...]*textEncoder{&b.paths, &b.names, &b.from, &b.to, &b.message} {
		t.reset()
	}
	b.own.reset()
	b.listed.reset()
	a := b.block.Attributes
	a.Types, a.Modes, a.Uids, a.Gids = a.Types[:0], a.Modes[:0], a.Uids[:0], a.Gids[:0]
	a.Acls, b.acls = nil, b.acls[:0]
	clear(b.known)
	clear(b.recent[:])
	b.block.Ranges.Listings = b.block.Ranges.Listings[:0]
	m := b.block.Marks
	m.Kinds, m.Files, m.Directories, m.Others = m.Kinds[:0], m.Files[:0], m.Directories[:0], m.Others[:0]
	m.Bytes, m.Errors = m.Bytes[:0], m.Errors[:0]
}

func (b *blockEncoder) full() bool  { return b.rows >= blockRows || b.text >= blockText }
func (b *blockEncoder) empty() bool { return b.rows == 0 }

// addEvent adds an event that passed check, without its listed entries.
func (b *blockEncoder) addEvent(ev *Event) {
	b.rows++
	b.text += len(ev.Path)
	kind := segmentpb.Kind(ev.Kind)
	if ev.Kind == Put && !ev.Atomic {
		kind = segmentpb.Kind_KIND_PUT_UNFINISHED
	}
	b.block.Kinds = append(b.block.Kinds, kind)
	b.block.Evidences = append(b.block.Evidences, segmentpb.Evidence(ev.Evidence))
	b.block.ObservedAtNsDeltas = append(b.block.ObservedAtNsDeltas, ev.ObservedAt-b.observedAt)
	b.observedAt = ev.ObservedAt
	b.paths.add(ev.Path)
	switch ev.Kind {
	case Put, Unchanged:
		b.addEntry(&b.own, &ev.Entry)
	case Listing:
		b.addEntry(&b.own, &ev.Entry)
		b.addListing(ev)
	case Marked:
		b.addMark(&ev.Mark)
	}
}

func (b *blockEncoder) addListing(ev *Event) {
	if ev.From != "" || ev.To != "" {
		r := b.block.Ranges
		r.Listings = append(r.Listings, uint32(len(b.block.ListedCounts)))
		b.from.add(ev.From)
		b.to.add(ev.To)
		b.text += len(ev.From) + len(ev.To)
	}
	b.block.ListedCounts = append(b.block.ListedCounts, uint32(len(ev.Entries)))
}

func (b *blockEncoder) addMark(mark *Mark) {
	m := b.block.Marks
	m.Kinds = append(m.Kinds, segmentpb.MarkKind(mark.Kind))
	m.Files = append(m.Files, mark.Files)
	m.Directories = append(m.Directories, mark.Directories)
	m.Others = append(m.Others, mark.Others)
	m.Bytes = append(m.Bytes, mark.Bytes)
	m.Errors = append(m.Errors, mark.Errors)
	b.message.add(mark.Message)
	b.text += len(mark.Message)
}

// addListed adds one entry of the newest listing.
func (b *blockEncoder) addListed(e *Entry) {
	b.rows++
	b.text += len(e.Name)
	b.names.add(e.Name)
	b.addEntry(&b.listed, e)
}

func (b *blockEncoder) addEntry(to *entriesEncoder, e *Entry) {
	to.add(e, b.attributesIndex(attributes{e.Type, e.Mode, e.UID, e.GID, e.ACL}))
	b.text += len(e.Target)
}

func (b *blockEncoder) attributesIndex(a attributes) uint32 {
	to := b.block.Attributes
	recent := &b.recent[a.slot()]
	if recent.index > 0 && a == recent.attributes {
		return recent.index - 1
	}
	index, known := b.known[a]
	if !known {
		index = uint32(len(to.Types))
		b.known[a] = index
		if b.met != nil {
			b.met(a.uid, a.gid)
		}
		to.Types = append(to.Types, segmentpb.Type(a.kind))
		to.Modes = append(to.Modes, a.mode)
		to.Uids = append(to.Uids, a.uid)
		to.Gids = append(to.Gids, a.gid)
		if b.acls = append(b.acls, []byte(a.acl)); a.acl != "" || to.Acls != nil {
			to.Acls = b.acls // of entries that tell of none it is left out
		}
		b.text += len(a.acl)
	}
	*recent = recentAttributes{a, index + 1}
	return index
}
