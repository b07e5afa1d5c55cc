package event

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/fustor/fustor/internal/event/segmentpb"
)

// Trailer is what the end of a segment says of it. A Reader has verified it.
type Trailer struct {
	Events   uint64
	Entries  uint64 // in listings
	Blocks   uint64
	Checksum uint64 // XXH64 of all uncompressed bytes before the trailer
}

// Reader reads one segment after the other; Reset begins the next one and keeps what was allocated. It believes
// nothing: what it returns has passed the checks that Writer.Add makes. Its memory is bounded by the limits, whatever
// the input (some 30 MiB with the defaults, for a segment made to be costly; 3 MiB for usual ones). Not for concurrent use.
type Reader struct {
	object string
	limits Limits
	source source
	zstd   *zstd.Decoder
	input  *bufio.Reader
	hash   *xxhash.Digest

	offset   int64 // bytes of the uncompressed segment that were read
	recordAt int64 // where the current record begins
	buffer   []byte
	block    blockDecoder
	text     int64 // bytes that the blocks' texts have
	blocks   uint64
	events   uint64
	entries  uint64
	rows     rowCount

	header  Header
	trailer Trailer
	names   []OwnerName
	event   Event
	spill   []Entry // a listing that is spread over several blocks
	missing int     // the entries that it still lacks
	err     error   // the end, or what is wrong
}

// NewReader begins to read the segment in r and returns once its header is read. The object's name is for errors: a
// *FormatError for what is wrong with the segment, others as r returned them.
func NewReader(object string, r io.Reader, limits Limits) (*Reader, error) {
	decoder, err := zstd.NewReader(nil,
		zstd.WithDecoderConcurrency(1), // no goroutines, so nothing to close
		zstd.WithDecoderLowmem(true),
		zstd.WithDecoderMaxWindow(Window))
	if err != nil {
		return nil, fmt.Errorf("set up decompression: %w", err)
	}
	s := &Reader{zstd: decoder, input: bufio.NewReaderSize(nil, 64<<10), hash: xxhash.New()}
	if err := s.Reset(object, r, limits); err != nil {
		return nil, err
	}
	return s, nil
}

// Reset begins to read another segment, as NewReader does.
func (s *Reader) Reset(object string, r io.Reader, limits Limits) error {
	s.object, s.limits, s.source = object, limits.withDefaults(), source{r: r}
	s.offset, s.recordAt, s.text, s.blocks, s.events, s.entries = 0, 0, 0, 0, 0, 0
	s.header, s.trailer, s.missing, s.err = Header{}, Trailer{}, 0, nil
	s.names = nil
	s.rows.reset()
	s.block.reset()
	s.hash.Reset()
	if err := s.zstd.Reset(&s.source); err != nil {
		return s.fail(err)
	}
	s.input.Reset(s.zstd)
	field, payload, err := s.readRecord()
	if err != nil {
		return s.fail(err)
	}
	if field != headerField {
		return s.fail(errors.New("not a segment: it does not begin with a header"))
	}
	return s.fail(s.takeHeader(payload))
}

// Header is whose the segment is.
func (s *Reader) Header() Header { return s.header }

// Trailer is valid once Next has returned io.EOF.
func (s *Reader) Trailer() Trailer { return s.trailer }

// Next returns the next event, or io.EOF once the trailer and the checksum have proven that all were read: events
// returned before an error may be of a damaged segment. The event and its Entries are valid until the next call. Their
// strings may be kept; each keeps the block it is from, up to 1 MiB of text, so keep few of many as strings.Clone.
func (s *Reader) Next() (*Event, error) {
	for s.err == nil {
		listed, ok := s.block.next(&s.event)
		if ok {
			if err := s.complete(listed); err != nil {
				return nil, s.fail(err)
			}
			return &s.event, nil
		}
		if err := s.block.left(); err != nil {
			return nil, s.fail(err)
		}
		switch ended, err := s.advance(); {
		case err != nil:
			return nil, s.fail(err)
		case ended:
			s.err = io.EOF
		}
	}
	return nil, s.err
}

// complete gives the event its listed entries and checks it.
func (s *Reader) complete(listed int) error {
	if listed > s.limits.MaxEntries {
		return fmt.Errorf("a listing of %d entries, more than %d", listed, s.limits.MaxEntries)
	}
	if s.event.Kind == Listing {
		s.event.Entries = s.block.takeListed(listed)
		if len(s.event.Entries) < listed {
			if err := s.gather(listed); err != nil {
				return err
			}
		}
	}
	if _, err := check(&s.event, s.limits.MaxEntries); err != nil {
		return err
	}
	s.events++
	s.entries += uint64(listed)
	if s.rows.rows += 1 + listed + s.rows.directoriesOf(s.event.Path); s.rows.rows > s.limits.MaxRows {
		return fmt.Errorf("more than %d events, listed entries and directories above them", s.limits.MaxRows)
	}
	return nil
}

// gather collects the rest of a listing from the blocks that follow.
func (s *Reader) gather(listed int) error {
	s.spill = append(s.spill[:0], s.event.Entries...)
	text := 0
	for len(s.spill) < listed {
		if s.block.event < len(s.block.block.Kinds) {
			return errors.New("the block goes on before its listing has all its entries")
		}
		if err := s.block.left(); err != nil {
			return err
		}
		s.missing = listed - len(s.spill)
		if _, err := s.advance(); err != nil {
			return err
		}
		// check looks at this too, but after all blocks were kept.
		if text += s.block.restored; text > MaxListingBytes+s.limits.MaxBlock {
			return fmt.Errorf("a listing of more than %d bytes of names and targets", MaxListingBytes)
		}
		s.spill = append(s.spill, s.block.takeListed(listed-len(s.spill))...)
	}
	s.missing = 0
	s.event.Entries = s.spill
	return nil
}

// advance reads the next block, or else the trailer and the end.
func (s *Reader) advance() (ended bool, err error) {
	field, payload, err := s.readRecord()
	if err != nil {
		return false, err
	}
	switch field {
	case blockField:
		return false, s.takeBlock(payload)
	case trailerField:
		return true, s.takeTrailer(payload)
	case namesField:
		err = s.takeNames(payload)
	case headerField:
		return false, errors.New("a second header")
	}
	s.block.reset() // a record without events
	return false, err
}

func (s *Reader) takeBlock(payload []byte) error {
	s.blocks++
	if err := s.block.decode(payload, s.limits.MaxBlock); err != nil {
		return err
	}
	if s.text += int64(s.block.restored); s.text > s.limits.MaxUncompressed {
		return fmt.Errorf("more than %d bytes of text, once its prefixes are restored", s.limits.MaxUncompressed)
	}
	return nil
}

func (s *Reader) takeHeader(payload []byte) error {
	var h segmentpb.Header
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(payload, &h); err != nil {
		return fmt.Errorf("not a segment: its header is not valid: %w", err)
	}
	if h.Format != formatName {
		return fmt.Errorf("not a segment: its format is %q, not %q", excerpt(h.Format), formatName)
	}
	if h.Version != FormatVersion {
		return fmt.Errorf("unknown version %d of the segment format; this build reads version %d", h.Version, FormatVersion)
	}
	s.header = Header{
		View: h.View, Session: h.Session, Agent: h.Agent, Source: string(h.Source),
		Seq: h.Seq, Term: h.Term, CreatedAt: h.CreatedAtNs, Nonce: h.Nonce, Local: h.Local,
		LeaseUntil: h.LeaseUntilNs, Skew: h.GetSkewNs(), SkewKnown: h.SkewNs != nil,
	}
	return checkHeader(&s.header)
}

// takeTrailer compares the trailer with what was read, and makes sure that nothing follows it.
func (s *Reader) takeTrailer(payload []byte) error {
	if s.missing > 0 {
		return fmt.Errorf("its last listing lacks %d entries", s.missing)
	}
	var t segmentpb.Trailer
	if err := (proto.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(payload, &t); err != nil {
		return fmt.Errorf("its trailer is not valid: %w", err)
	}
	if sum := s.hash.Sum64(); t.Checksum != sum {
		return fmt.Errorf("wrong checksum: the trailer says %016x, the content has %016x", t.Checksum, sum)
	}
	if t.Events != s.events || t.ListedEntries != s.entries || t.Blocks != s.blocks {
		return fmt.Errorf("its trailer counts %d events, %d entries, %d blocks, but it has %d, %d, %d",
			t.Events, t.ListedEntries, t.Blocks, s.events, s.entries, s.blocks)
	}
	if _, err := s.input.ReadByte(); err == nil {
		s.recordAt = s.offset
		return errors.New("bytes after the trailer")
	} else if errors.Is(err, zstd.ErrMagicMismatch) {
		return errors.New("bytes after the end of its Zstandard frame")
	} else if err != io.EOF {
		return truncated(err)
	}
	s.trailer = Trailer{Events: t.Events, Entries: t.ListedEntries, Blocks: t.Blocks, Checksum: t.Checksum}
	return nil
}

// fail makes err, if there is one, the reader's last word: an error of the underlying reader as it is, and anything else
// as a *FormatError.
func (s *Reader) fail(err error) error {
	if err == nil {
		return nil
	}
	if s.source.err != nil {
		s.err = fmt.Errorf("read segment %s: %w", s.object, s.source.err)
	} else {
		s.err = &FormatError{Object: s.object, Offset: s.recordAt, Reason: err.Error()}
	}
	return s.err
}

// The fields of segmentpb.Record.
const (
	headerField  protowire.Number = 1
	blockField   protowire.Number = 2
	trailerField protowire.Number = 3
	namesField   protowire.Number = 4
)

// readRecord reads a record and says which field it has, 0 for none that is known. The payload is valid until the
// next call.
func (s *Reader) readRecord() (field protowire.Number, payload []byte, err error) {
	s.recordAt = s.offset
	frame := s.buffer[:0]
	for {
		b, err := s.input.ReadByte()
		if err != nil {
			return 0, nil, truncated(err)
		}
		if frame = append(frame, b); b < 0x80 {
			break
		}
		if len(frame) == protowire.SizeVarint(1<<63) {
			return 0, nil, errors.New("a record's length is not a number")
		}
	}
	length, n := protowire.ConsumeVarint(frame)
	if n < 0 {
		return 0, nil, errors.New("a record's length is not a number")
	}
	if length == 0 {
		return 0, nil, errors.New("an empty record")
	}
	if length > uint64(s.limits.MaxBlock) {
		return 0, nil, fmt.Errorf("a record of %d bytes, more than %d", length, s.limits.MaxBlock)
	}
	if s.offset += int64(n) + int64(length); s.offset > s.limits.MaxUncompressed {
		return 0, nil, fmt.Errorf("more than %d bytes uncompressed", s.limits.MaxUncompressed)
	}
	if need := n + int(length); cap(frame) < need {
		frame = append(make([]byte, 0, need), frame...)
	}
	frame = frame[:n+int(length)]
	s.buffer = frame
	if _, err := io.ReadFull(s.input, frame[n:]); err != nil {
		return 0, nil, truncated(err)
	}
	if field, payload, err = splitRecord(frame[n:]); err != nil {
		return 0, nil, err
	}
	if field != trailerField {
		_, _ = s.hash.Write(frame) // never fails
	}
	return field, payload, nil
}

// splitRecord finds the one known field of an encoded segmentpb.Record. It is done by hand because the generated code
// would allocate a new block for each.
func splitRecord(b []byte) (field protowire.Number, payload []byte, err error) {
	for len(b) > 0 {
		number, kind, n := protowire.ConsumeTag(b)
		if n < 0 {
			return 0, nil, fmt.Errorf("not a record: %w", protowire.ParseError(n))
		}
		b = b[n:]
		if number > namesField {
			n = protowire.ConsumeFieldValue(number, kind, b)
		} else if kind != protowire.BytesType || field != 0 {
			return 0, nil, errors.New("not a record: it must have one of header, block and trailer")
		} else {
			field = number
			payload, n = protowire.ConsumeBytes(b)
		}
		if n < 0 {
			return 0, nil, fmt.Errorf("not a record: %w", protowire.ParseError(n))
		}
		b = b[n:]
	}
	return field, payload, nil
}

// truncated names what an error of the decompression means.
func truncated(err error) error {
	if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("truncated: the object ends too early")
	}
	if errors.Is(err, zstd.ErrMagicMismatch) {
		return errors.New("not a Zstandard file")
	}
	if errors.Is(err, zstd.ErrWindowSizeExceeded) || errors.Is(err, zstd.ErrDecoderSizeExceeded) {
		return fmt.Errorf("its Zstandard window is over %d bytes", Window)
	}
	return fmt.Errorf("does not decompress: %w", err)
}

// source remembers an error of the underlying reader, to distinguish it from damage.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}
