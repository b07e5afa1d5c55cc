package event

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	"github.com/fustor/fustor/internal/event/segmentpb"
)

const (
	formatName    = "fustor.segment"
	formatVersion = 1
)

// Writer writes one segment after the other; Reset begins the next one without new allocations. Not for concurrent use.
type Writer struct {
	compressor *zstd.Encoder
	output     countingWriter
	hash       *xxhash.Digest
	block      *blockEncoder
	record     segmentpb.Record // holds block
	buffer     []byte

	raw     int64 // bytes given to the compressor
	text    int64 // bytes of all events' texts before front-coding
	events  int
	entries int
	rows    rowCount
	blocks  int
	names   int
	err     error // of a write: nothing more can be added
}

var errWriterClosed = errors.New("the segment is closed")

// NewWriter begins a segment with its header. The bytes go to w as they are compressed, the last of them on Close.
func NewWriter(w io.Writer, h Header) (*Writer, error) {
	compressor, err := zstd.NewWriter(nil,
		zstd.WithWindowSize(Window),
		zstd.WithEncoderConcurrency(1),
		zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithLowerEncoderMem(true))
	if err != nil {
		return nil, fmt.Errorf("set up compression: %w", err)
	}
	s := &Writer{compressor: compressor, hash: xxhash.New(), block: newBlockEncoder()}
	s.record.Record = &segmentpb.Record_Block{Block: &s.block.block}
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
	s.output = countingWriter{w: w, writer: s}
	s.compressor.Reset(&s.output)
	s.hash.Reset()
	s.block.reset()
	s.rows.reset()
	s.raw, s.text, s.events, s.entries, s.blocks, s.names, s.err = 0, 0, 0, 0, 0, 0, nil
	var skew *int64
	if h.SkewKnown {
		skew = &h.Skew
	}
	return s.writeRecord(&segmentpb.Record{Record: &segmentpb.Record_Header{Header: &segmentpb.Header{
		Format:      formatName,
		Version:     formatVersion,
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
// wrong with it or with ErrFull, leaves the segment as it was; after an error of the underlying writer all further
// calls return that. The event may be reused afterwards.
func (s *Writer) Add(ev *Event) error {
	if s.err != nil {
		return s.err
	}
	text, err := check(ev, MaxListingEntries)
	if err != nil {
		return err
	}
	entries := listedEntries(ev)
	rows := s.block.rows + len(entries) + 2 // with the event and the trailer
	if s.text+int64(text) > MaxSegmentBytes || s.raw+int64(s.block.text+text+rows*rowBytes) > MaxSegmentBytes {
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

// listedEntries are the entries that count for the event's kind.
func listedEntries(ev *Event) []Entry {
	if ev.Kind != Listing {
		return nil
	}
	return ev.Entries
}

// Size is about how many bytes the segment has so far: those written, and an estimate for those not yet compressed.
func (s *Writer) Size() int {
	const usualRow, usualRatio = 12, 3
	pending := s.raw - s.output.rawAtWrite + int64(s.block.text+s.block.rows*usualRow)
	return int(s.output.n + pending/usualRatio)
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
	if !s.block.empty() {
		if err := s.flush(); err != nil {
			return err
		}
	}
	trailer := &segmentpb.Trailer{
		Events:        uint64(s.events),
		ListedEntries: uint64(s.entries),
		Blocks:        uint64(s.blocks),
		Checksum:      s.hash.Sum64(),
	}
	if err := s.writeRecord(&segmentpb.Record{Record: &segmentpb.Record_Trailer{Trailer: trailer}}); err != nil {
		return err
	}
	if err := s.compressor.Close(); err != nil {
		s.err = fmt.Errorf("write segment: %w", err)
		return s.err
	}
	s.err = errWriterClosed
	return nil
}

func (s *Writer) flush() error {
	err := s.writeRecord(&s.record)
	s.block.reset()
	s.blocks++
	return err
}

// writeRecord writes a record and its length.
func (s *Writer) writeRecord(record *segmentpb.Record) error {
	// The length is known only once the record is encoded: leave room for it in front.
	buffer, err := proto.MarshalOptions{}.MarshalAppend(append(s.buffer[:0], make([]byte, binary.MaxVarintLen64)...), record)
	if err != nil {
		s.err = fmt.Errorf("encode segment: %w", err)
		return s.err
	}
	s.buffer = buffer
	var length [binary.MaxVarintLen64]byte
	n := binary.PutUvarint(length[:], uint64(len(buffer)-len(length)))
	framed := buffer[len(length)-n:]
	copy(framed, length[:n])
	_, _ = s.hash.Write(framed) // never fails
	s.raw += int64(len(framed))
	if _, err := s.compressor.Write(framed); err != nil {
		s.err = fmt.Errorf("write segment: %w", err)
		return s.err
	}
	return nil
}

// countingWriter knows how much of what the compressor was given has come out of it.
type countingWriter struct {
	w          io.Writer
	writer     *Writer
	n          int64
	rawAtWrite int64
}

func (c *countingWriter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.rawAtWrite = c.writer.raw
	return n, err
}
