package event

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/fustor/fustor/internal/event/segmentpb"
)

const formatName = "fustor.segment"

// FormatVersion is the version of the segment format that this build writes, and the only one that it reads.
const FormatVersion = 1

// Writer writes one segment after the other; Reset begins the next one without new allocations. Not for concurrent use.
//
// While events are gathered into one block, a goroutine encodes and compresses the block before it, so that those who add events wait
// for neither. Blocks are written in the order in which they were filled, and the bytes are the same as if they were written at once.
type Writer struct {
	block   *blockEncoder // being filled
	text    int64         // bytes of all events' texts before front-coding
	events  int
	entries int
	rows    rowCount
	blocks  int
	names   int
	err     error // nothing more can be added

	records *recordWriter
	written progress      // of records, when the Writer had it last
	behind  *blockEncoder // the block before: being written if busy, otherwise empty, or nil if there was none yet
	busy    bool          // records and behind belong to the goroutine, until it says that it is done
	done    chan string   // how it panicked; empty: it did not

	behindText, behindRows int // of behind, when the goroutine got it
}

var errWriterClosed = errors.New("the segment is closed")

// NewWriter begins a segment with its header. The bytes go to w as they are compressed, the last of them on Close. Until Close or Reset
// returns, w may be used by another goroutine.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	records, err := newRecordWriter()
	if err != nil {
		return nil, err
	}
	s := &Writer{records: records, block: newBlockEncoder(), done: make(chan string, 1)}
	if err := s.Reset(w, h); err != nil {
		return nil, err
	}
	return s, nil
}

// OnOwner has each owner and group of the events that are added handed to met, perhaps several times. It is to be set once.
func (s *Writer) OnOwner(met func(uid, gid uint32)) { s.block.met = met }

// Reset drops what was not closed and begins another segment.
func (s *Writer) Reset(w io.Writer, h Header) error {
	if err := checkHeader(&h); err != nil {
		s.err = err
		return err
	}
	_ = s.await() // whatever became of the segment before
	s.records.reset(w)
	s.block.reset()
	if s.behind != nil {
		s.behind.reset() // it is empty, unless its goroutine panicked
	}
	s.rows.reset()
	s.text, s.events, s.entries, s.blocks, s.names, s.err = 0, 0, 0, 0, 0, nil
	var skew *int64
	if h.SkewKnown {
		skew = &h.Skew
	}
	return s.writeRecord(&segmentpb.Record{Record: &segmentpb.Record_Header{Header: &segmentpb.Header{
		Format:      formatName,
		Version:     FormatVersion,
		View:        h.View,
		Session:     h.Session,
		Agent:       h.Agent,
		Source:      []byte(h.Source),
		Seq:         h.Seq,
		Term:        h.Term,
		CreatedAtNs: h.CreatedAt,
		Nonce:       h.Nonce,
		Local:       h.Local,

		LeaseUntilNs: h.LeaseUntil,
		SkewNs:       skew,
	}}})
}

// Add appends an event. Fields that do not count for its kind are not carried. An event that is refused, for what is
// wrong with it or with ErrFull, leaves the segment as it was; after an error of the underlying writer, which may show blocks later,
// all further calls return that. The event may be reused afterwards.
func (s *Writer) Add(ev *Event) error {
	if s.err != nil {
		return s.err
	}
	c, err := Check(ev)
	if err != nil {
		return err
	}
	return s.AddChecked(c)
}

// Checked is an event in which nothing is wrong.
type Checked struct {
	*Event
	text int // bytes
}

// Check says what is wrong with an event, as Add does. What it returns holds for as long as the event stays as it is.
func Check(ev *Event) (Checked, error) {
	text, err := check(ev, MaxListingEntries)
	return Checked{ev, text}, err
}

// AddChecked is Add of an event that was checked before.
func (s *Writer) AddChecked(c Checked) error {
	if s.err != nil {
		return s.err
	}
	ev, text := c.Event, c.text
	entries := listedEntries(ev)
	if s.text+int64(text) > MaxSegmentBytes || !s.fits(text, len(entries)+2) { // with the event and the trailer
		return ErrFull
	}
	if s.rows.rows += s.rows.directoriesOf(ev.Path); s.rows.rows+1+len(entries) > MaxSegmentRows && s.events > 0 {
		return ErrFull
	}
	s.rows.rows += 1 + len(entries)
	s.text += int64(text)
	s.events++
	s.entries += len(entries)
	s.block.addEvent(ev)
	for i := range entries {
		if s.block.full() {
			if err := s.flush(); err != nil {
				return err
			}
		}
		s.block.addListed(&entries[i])
	}
	if s.block.full() {
		return s.flush()
	}
	return nil
}

// rowBytes is more than the columns of an event or an entry can need, texts aside.
const rowBytes = 100

// fits reports whether rows with so much text stay within MaxSegmentBytes.
func (s *Writer) fits(text, rows int) bool {
	if s.busy && s.bound(text, rows) > MaxSegmentBytes {
		_ = s.await() // what it has come to may be less
	}
	return s.bound(text, rows) <= MaxSegmentBytes
}

// bound is how many bytes before compression the segment has at most, with these rows.
func (s *Writer) bound(text, rows int) int64 {
	pendingText, pendingRows := s.pending()
	return s.written.raw + int64(pendingText+text+(pendingRows+rows)*rowBytes)
}

// pending is what was added and is not known to be encoded.
func (s *Writer) pending() (text, rows int) {
	text, rows = s.block.text, s.block.rows
	if s.busy {
		text, rows = text+s.behindText, rows+s.behindRows
	}
	return text, rows
}

// listedEntries are the entries that count for the event's kind.
func listedEntries(ev *Event) []Entry {
	if ev.Kind != Listing {
		return nil
	}
	return ev.Entries
}

// Size is about how many bytes the segment has so far: those written, and an estimate for those not yet compressed. It depends on what was
// added alone, not on how far the compression is.
func (s *Writer) Size() int {
	const usualRow, usualRatio = 12, 3
	text, rows := s.pending()
	pending := s.written.raw - s.written.rawAtWrite + int64(text+rows*usualRow)
	return int(s.written.n + pending/usualRatio)
}

// Events is how many events the segment has so far.
func (s *Writer) Events() int { return s.events }

// Entries is how many entries the listings of the segment have so far.
func (s *Writer) Entries() int { return s.entries }

// Close writes what is pending and the trailer. The segment is complete when it returns nil. It does not close the
// underlying writer.
func (s *Writer) Close() error {
	if s.err != nil {
		return s.err
	}
	if err := s.finish(); err != nil {
		return err
	}
	trailer := &segmentpb.Trailer{
		Events:        uint64(s.events),
		ListedEntries: uint64(s.entries),
		Blocks:        uint64(s.blocks),
		Checksum:      s.records.hash.Sum64(),
	}
	if err := s.writeRecord(&segmentpb.Record{Record: &segmentpb.Record_Trailer{Trailer: trailer}}); err != nil {
		return err
	}
	if s.err = s.records.close(); s.err != nil {
		return s.err
	}
	s.err = errWriterClosed
	return nil
}

// flush hands the block over to be written, and begins the next one.
func (s *Writer) flush() error {
	if err := s.await(); err != nil {
		return err
	}
	if s.behind == nil {
		s.behind = newBlockEncoder()
		s.behind.met = s.block.met
	}
	s.block, s.behind = s.behind, s.block
	s.blocks++
	s.busy, s.behindText, s.behindRows = true, s.behind.text, s.behind.rows
	go func() {
		panicked := ""
		defer func() { s.done <- panicked }()
		defer func() {
			if v := recover(); v != nil {
				panicked = fmt.Sprintf("%v\n%s", v, debug.Stack())
			}
		}()
		s.records.writeBlock(s.behind)
	}()
	return nil
}

// finish returns once everything that was added is written.
func (s *Writer) finish() error {
	if err := s.await(); err != nil || s.block.empty() {
		return err
	}
	s.records.writeBlock(s.block)
	s.blocks++
	return s.await()
}

// await returns once the block before is written. A panic there is one here.
func (s *Writer) await() error {
	if s.busy {
		panicked := <-s.done
		s.busy = false
		if panicked != "" {
			s.err = errors.New("write segment: panic")
			panic(panicked)
		}
	}
	s.written = s.records.progress
	if s.err == nil {
		s.err = s.records.err
	}
	return s.err
}

// writeRecord writes a record that is no block. Everything before it must be written.
func (s *Writer) writeRecord(record *segmentpb.Record) error {
	s.records.write(record)
	return s.await()
}
