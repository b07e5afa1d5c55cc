package event

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/fustor/fustor/internal/event/segmentpb"
)

// blockDecoder turns the columns of one block back into events. Its slices are kept from block to block; the strings
// are not: those of a column share one allocation, which lives as long as any of them.
type blockDecoder struct {
	block    segmentpb.Block
	maxText  int // bytes of restored text that the block may have
	restored int // and has

	paths, from, to, messages, targets []string
	own, listed                        []Entry
	names                              []string

	observedAt                           int64
	event, ownAt, listing, rangeAt, mark int // how far each group of columns is consumed
	listedAt                             int
}

func (d *blockDecoder) resetMessage() {
	b := &d.block
	b.Kinds, b.Evidences = b.Kinds[:0], b.Evidences[:0]
	b.ObservedAtNsDeltas, b.ListedCounts = b.ObservedAtNsDeltas[:0], b.ListedCounts[:0]
	resetTexts(b.Paths)
	resetTexts(b.ListedNames)
	resetEntries(b.Own)
	resetEntries(b.Listed)
	if r := b.Ranges; r != nil {
		r.Listings = r.Listings[:0]
		resetTexts(r.From)
		resetTexts(r.To)
	}
	if m := b.Marks; m != nil {
		m.Kinds, m.Files, m.Directories, m.Others = m.Kinds[:0], m.Files[:0], m.Directories[:0], m.Others[:0]
		m.Bytes, m.Errors = m.Bytes[:0], m.Errors[:0]
		resetTexts(m.Messages)
	}
	if a := b.Attributes; a != nil {
		a.Types, a.Modes, a.Uids, a.Gids = a.Types[:0], a.Modes[:0], a.Uids[:0], a.Gids[:0]
		a.Acls = a.Acls[:0]
	}
}

// reset forgets the block, so that there is nothing left in it.
func (d *blockDecoder) reset() {
	d.resetMessage()
	d.restored, d.listed, d.names = 0, d.listed[:0], d.names[:0]
	d.observedAt, d.event, d.ownAt, d.listing, d.rangeAt, d.mark, d.listedAt = 0, 0, 0, 0, 0, 0, 0
}

// decode takes an encoded block, of which no more than maxText bytes of text may be made.
func (d *blockDecoder) decode(encoded []byte, maxText int) error {
	d.reset()
	// Merging into the emptied message keeps its slices.
	if err := (proto.UnmarshalOptions{Merge: true, DiscardUnknown: true}).Unmarshal(encoded, &d.block); err != nil {
		return fmt.Errorf("not a valid block: %w", err)
	}
	d.maxText = maxText
	if err := d.decodeColumns(); err != nil {
		return err
	}
	return d.checkColumns()
}

// decodeColumns restores all texts and entries.
func (d *blockDecoder) decodeColumns() (err error) {
	b := &d.block
	if d.paths, err = d.restore(d.paths, b.GetPaths()); err != nil {
		return fmt.Errorf("paths: %w", err)
	}
	if d.names, err = d.restore(d.names, b.GetListedNames()); err != nil {
		return fmt.Errorf("names: %w", err)
	}
	if d.from, err = d.restore(d.from, b.GetRanges().GetFrom()); err != nil {
		return fmt.Errorf("ranges: %w", err)
	}
	if d.to, err = d.restore(d.to, b.GetRanges().GetTo()); err != nil {
		return fmt.Errorf("ranges: %w", err)
	}
	if d.messages, err = d.restore(d.messages, b.GetMarks().GetMessages()); err != nil {
		return fmt.Errorf("messages: %w", err)
	}
	if d.own, err = d.entries(d.own, b.GetOwn()); err != nil {
		return fmt.Errorf("own entries: %w", err)
	}
	if d.listed, err = d.entries(d.listed, b.GetListed()); err != nil {
		return fmt.Errorf("listed entries: %w", err)
	}
	if len(d.names) != len(d.listed) {
		return fmt.Errorf("%d names for %d listed entries", len(d.names), len(d.listed))
	}
	for i, name := range d.names {
		d.listed[i].Name = name
	}
	return nil
}

// checkColumns checks that all columns have as many values as the events need.
func (d *blockDecoder) checkColumns() error {
	b := &d.block
	var own, listings, marks int
	for _, kind := range b.Kinds {
		switch kind {
		case segmentpb.Kind_KIND_LISTING:
			listings++
			own++
		case segmentpb.Kind_KIND_PUT, segmentpb.Kind_KIND_PUT_UNFINISHED, segmentpb.Kind_KIND_UNCHANGED:
			own++
		case segmentpb.Kind_KIND_MARK:
			marks++
		case segmentpb.Kind_KIND_DELETE:
		default:
			return fmt.Errorf("unknown kind of event %d", kind)
		}
	}
	if len(b.Kinds) == 0 && len(d.listed) == 0 {
		return errors.New("an empty block")
	}
	m, r := b.GetMarks(), b.GetRanges()
	for _, column := range [...]struct {
		name       string
		has, needs int
	}{
		{"evidences", len(b.Evidences), len(b.Kinds)},
		{"times", len(b.ObservedAtNsDeltas), len(b.Kinds)},
		{"paths", len(d.paths), len(b.Kinds)},
		{"own entries", len(d.own), own},
		{"listed counts", len(b.ListedCounts), listings},
		{"beginnings of ranges", len(d.from), len(r.GetListings())},
		{"ends of ranges", len(d.to), len(r.GetListings())},
		{"kinds of marks", len(m.GetKinds()), marks},
		{"files of marks", len(m.GetFiles()), marks},
		{"directories of marks", len(m.GetDirectories()), marks},
		{"others of marks", len(m.GetOthers()), marks},
		{"bytes of marks", len(m.GetBytes()), marks},
		{"errors of marks", len(m.GetErrors()), marks},
		{"messages of marks", len(d.messages), marks},
	} {
		if column.has != column.needs {
			return fmt.Errorf("%d %s where its events need %d", column.has, column.name, column.needs)
		}
	}
	return nil
}

// next fills in the block's next event, except its listed entries, and says how many it has. ok is false after the last.
func (d *blockDecoder) next(ev *Event) (listed int, ok bool) {
	i := d.event
	if i == len(d.block.Kinds) {
		return 0, false
	}
	d.event++
	d.observedAt += d.block.ObservedAtNsDeltas[i]
	*ev = Event{Evidence: evidence(d.block.Evidences[i]), ObservedAt: d.observedAt, Path: d.paths[i]}
	switch kind := d.block.Kinds[i]; kind {
	case segmentpb.Kind_KIND_PUT, segmentpb.Kind_KIND_PUT_UNFINISHED:
		ev.Kind = Put
		ev.Atomic = kind == segmentpb.Kind_KIND_PUT
		d.takeOwn(ev)
	case segmentpb.Kind_KIND_DELETE:
		ev.Kind = Delete
	case segmentpb.Kind_KIND_UNCHANGED:
		ev.Kind = Unchanged
		d.takeOwn(ev)
	case segmentpb.Kind_KIND_LISTING:
		ev.Kind = Listing
		d.takeOwn(ev)
		return d.takeListing(ev), true
	case segmentpb.Kind_KIND_MARK:
		ev.Kind = Marked
		d.takeMark(ev)
	}
	return 0, true
}

func (d *blockDecoder) takeOwn(ev *Event) {
	ev.Entry = d.own[d.ownAt]
	_, ev.Entry.Name = Split(ev.Path)
	d.ownAt++
}

func (d *blockDecoder) takeListing(ev *Event) (listed int) {
	ranges := d.block.GetRanges().GetListings()
	if d.rangeAt < len(ranges) && int(ranges[d.rangeAt]) == d.listing {
		ev.From, ev.To = d.from[d.rangeAt], d.to[d.rangeAt]
		d.rangeAt++
	}
	listed = int(min(d.block.ListedCounts[d.listing], math.MaxInt32)) // int may have 32 bits
	d.listing++
	return listed
}

func (d *blockDecoder) takeMark(ev *Event) {
	m, i := d.block.Marks, d.mark
	d.mark++
	ev.Mark = Mark{
		Kind: markKind(m.Kinds[i]), Message: d.messages[i],
		Files: m.Files[i], Directories: m.Directories[i], Others: m.Others[i], Bytes: m.Bytes[i], Errors: m.Errors[i],
	}
}

// takeListed takes at most n of the block's listed entries.
func (d *blockDecoder) takeListed(n int) []Entry {
	end := min(len(d.listed), d.listedAt+n)
	taken := d.listed[d.listedAt:end:end]
	d.listedAt = end
	return taken
}

// left says what of the block no event has taken, once there are no more events.
func (d *blockDecoder) left() error {
	if n := len(d.listed) - d.listedAt; n > 0 {
		return fmt.Errorf("%d listed entries that belong to no listing", n)
	}
	if n := len(d.block.GetRanges().GetListings()) - d.rangeAt; n > 0 {
		return fmt.Errorf("%d ranges that belong to no listing", n)
	}
	return nil
}

func evidence(e segmentpb.Evidence) Evidence {
	if e < 0 || e > segmentpb.Evidence_EVIDENCE_ON_DEMAND {
		return 0
	}
	return Evidence(e)
}

func markKind(k segmentpb.MarkKind) MarkKind {
	if k < 0 || k > segmentpb.MarkKind_MARK_KIND_COVERAGE_LIMITED {
		return 0
	}
	return MarkKind(k)
}
