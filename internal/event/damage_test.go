package event

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/fustor/fustor/internal/event/segmentpb"
)

// TestEveryByteFlipped damage of the file goes unseen: an error, or exactly what was written.
func TestEveryByteFlipped(t *testing.T) {
	segment := encode(t, testHeader, goldenEvents())
	for i := range segment {
		for _, flip := range []byte{1, 2, 4, 8, 16, 32, 64, 128, 0xff} {
			damaged := bytes.Clone(segment)
			damaged[i] ^= flip
			wantErrorOrSame(t, damaged, fmt.Sprintf("byte %d ^ %#x", i, flip))
		}
	}
}

func TestEveryLengthTruncated(t *testing.T) {
	segment := encode(t, testHeader, goldenEvents())
	for n := range segment {
		_, _, err := decode(segment[:n])
		if err == nil {
			t.Fatalf("the first %d of %d bytes are taken for all", n, len(segment))
		}
		if n > 8 { // before that it may be anything
			wantFormatError(t, err, "truncated")
		}
	}
}

// TestEveryRawByteFlipped same without what zstd itself would notice.
func TestEveryRawByteFlipped(t *testing.T) {
	raw := decompress(t, encode(t, testHeader, goldenEvents()))
	for i := range raw {
		for _, flip := range []byte{1, 0x80, 0xff} {
			damaged := bytes.Clone(raw)
			damaged[i] ^= flip
			if _, _, err := decode(compress(t, damaged)); err == nil {
				t.Fatalf("byte %d ^ %#x goes unseen", i, flip)
			}
		}
	}
	for n := range raw {
		_, _, err := decode(compress(t, raw[:n]))
		wantFormatError(t, err, "truncated")
	}
}

func wantErrorOrSame(t *testing.T, segment []byte, what string) {
	t.Helper()
	h, events, err := decode(segment)
	if err != nil {
		wantFormatError(t, err, "")
		return
	}
	if h != testHeader || !same(events, goldenEvents()) {
		t.Fatalf("%s: other content, and no error", what)
	}
}

// TestReasons kind of damage has its own reason, and the offset of the record at fault.
func TestReasons(t *testing.T) {
	raw := decompress(t, encode(t, testHeader, goldenEvents()))
	records := splitRaw(t, raw)
	header, block, trailer := records[0], records[1], records[2]
	blockAt := int64(protowire.SizeBytes(len(header)))
	trailerAt := blockAt + int64(protowire.SizeBytes(len(block)))
	join := func(records ...[]byte) (out []byte) {
		for _, record := range records {
			out = protowire.AppendBytes(out, record)
		}
		return out
	}
	changed := func(change func(*segmentpb.Block)) []byte {
		var b segmentpb.Block
		if err := proto.Unmarshal(payloadOf(t, block), &b); err != nil {
			t.Fatal(err)
		}
		change(&b)
		return seal(t, header, [][]byte{recordOf(t, &b)}, 12, 8, 1)
	}
	otherHeader := func(change func(*segmentpb.Header)) []byte {
		var h segmentpb.Header
		if err := proto.Unmarshal(payloadOf(t, header), &h); err != nil {
			t.Fatal(err)
		}
		change(&h)
		encoded, err := proto.Marshal(&segmentpb.Record{Record: &segmentpb.Record_Header{Header: &h}})
		if err != nil {
			t.Fatal(err)
		}
		return join(encoded, block, trailer)
	}
	for _, c := range []struct {
		reason string
		offset int64
		raw    []byte
	}{
		{"version 2 of the segment format", 0, otherHeader(func(h *segmentpb.Header) { h.Version = 2 })},
		{`its format is "else"`, 0, otherHeader(func(h *segmentpb.Header) { h.Format = "else" })},
		{"header: source of 65537 bytes", 0, otherHeader(func(h *segmentpb.Header) { h.Source = make([]byte, MaxText+1) })},
		{"does not begin with a header", 0, join(block, trailer)},
		{"a second header", blockAt, join(header, header, block, trailer)},
		{"wrong checksum", trailerAt, join(header, block, append(bytes.Clone(trailer[:len(trailer)-1]), ^trailer[len(trailer)-1]))},
		{"bytes after the trailer", trailerAt + int64(protowire.SizeBytes(len(trailer))), append(bytes.Clone(raw), 0)},
		{"truncated", trailerAt, join(header, block)},
		{"an empty record", blockAt, join(header, nil, block, trailer)},
		{"not a record", blockAt, join(header, []byte{0xff}, trailer)},
		{"it must have one of header, block and trailer", blockAt, join(header, append(bytes.Clone(block), trailer...))},
		{"length is not a number", blockAt, append(join(header), bytes.Repeat([]byte{0xff}, 20)...)},
		{"a record of 1048577 bytes, more than 1048576", blockAt, append(join(header), protowire.AppendVarint(nil, MaxBlockBytes+1)...)},
		{"its trailer counts 13 events", trailerAt, seal(t, header, [][]byte{block}, 13, 8, 1)},
		{"its trailer counts 12 events, 9 entries", trailerAt, seal(t, header, [][]byte{block}, 12, 9, 1)},
		{"8 entries, 2 blocks", trailerAt, seal(t, header, [][]byte{block}, 12, 8, 2)},
		{"an empty block", blockAt, seal(t, header, [][]byte{recordOf(t, &segmentpb.Block{})}, 0, 0, 1)},
		{"unknown kind of event 77", blockAt, changed(func(b *segmentpb.Block) { b.Kinds[3] = 77 })},
		{"unknown evidence 0", blockAt, changed(func(b *segmentpb.Block) { b.Evidences[3] = 400 })},
		{"unknown type", blockAt, changed(func(b *segmentpb.Block) { b.Attributes.Types[1] = -1 })},
		{"unknown mark 0", blockAt, changed(func(b *segmentpb.Block) { b.Marks.Kinds[0] = 1 << 30 })},
		{"11 evidences where its events need 12", blockAt, changed(func(b *segmentpb.Block) { b.Evidences = b.Evidences[1:] })},
		{"11 paths where", blockAt, changed(func(b *segmentpb.Block) { dropText(b.Paths) })},
		{"2 messages of marks where", blockAt, changed(func(b *segmentpb.Block) { dropText(b.Marks.Messages) })},
		{"7 names for 8 listed entries", blockAt, changed(func(b *segmentpb.Block) { dropText(b.ListedNames) })},
		{"more symlinks than targets", blockAt, changed(func(b *segmentpb.Block) { dropText(b.Listed.Targets) })},
		{"8 attributes, 7 sizes", blockAt, changed(func(b *segmentpb.Block) { b.Listed.Sizes = b.Listed.Sizes[1:] })},
		{"negative size", blockAt, changed(func(b *segmentpb.Block) { b.Listed.Sizes[2] = 1 << 63 })},
		{"has attributes 99 of", blockAt, changed(func(b *segmentpb.Block) { b.Listed.Attributes[2] = 99 })},
		{"text 1 shares 5 bytes with one of 1", blockAt, changed(func(b *segmentpb.Block) { b.Paths.PrefixLengths[1] = 5 })},
		{"more text than a block may have", blockAt, changed(func(b *segmentpb.Block) { b.Paths.PrefixLengths[1] = 1<<32 - 1 })},
		{"bytes of suffixes where their lengths say", blockAt, changed(func(b *segmentpb.Block) { b.Paths.SuffixLengths[0] = 1<<32 - 1 })},
		{"1 ranges that belong to no listing", blockAt, changed(func(b *segmentpb.Block) { b.Ranges.Listings[0] = 9 })},
		{"a listing of 2147483647 entries, more than 65536", blockAt, changed(func(b *segmentpb.Block) { b.ListedCounts[0] = 1<<32 - 1 })},
		{"goes on before its listing has all", blockAt, changed(func(b *segmentpb.Block) { b.ListedCounts[3] = 60_000 })},
		{"1 listed entries that belong to no listing", blockAt, changed(func(b *segmentpb.Block) { b.ListedCounts[2] = 0 })},
		{"not a path", blockAt, changed(func(b *segmentpb.Block) { b.Paths.Suffixes[0] = 'x' })},
		{"not in byte order", blockAt, changed(func(b *segmentpb.Block) { b.ListedNames.Suffixes[1] = '~' })},
		{"not a valid block", blockAt, seal(t, header, [][]byte{append(protowire.AppendTag(nil, blockField, protowire.BytesType), 1, 0xff)}, 0, 0, 1)},
	} {
		_, _, err := decode(compress(t, c.raw))
		if f := wantFormatError(t, err, c.reason); f.Offset != c.offset || f.Object != "test" {
			t.Errorf("%q: at %d of %q, want %d", c.reason, f.Offset, f.Object, c.offset)
		}
		if len(err.Error()) > 500 {
			t.Errorf("%q: a message of %d bytes", c.reason, len(err.Error()))
		}
	}
}

// dropText drops the last string of a column.
func dropText(texts *segmentpb.Texts) {
	n := len(texts.SuffixLengths) - 1
	texts.Suffixes = texts.Suffixes[:len(texts.Suffixes)-int(texts.SuffixLengths[n])]
	texts.PrefixLengths, texts.SuffixLengths = texts.PrefixLengths[:n], texts.SuffixLengths[:n]
}

func recordOf(t testing.TB, b *segmentpb.Block) []byte {
	t.Helper()
	encoded, err := proto.Marshal(&segmentpb.Record{Record: &segmentpb.Record_Block{Block: b}})
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

// TestListingCutShort listing that the trailer comes in the middle of is not taken for a shorter one.
func TestListingCutShort(t *testing.T) {
	records := splitRaw(t, decompress(t, encode(t, testHeader, []*Event{hugeListing(10_000)})))
	if len(records) != 5 {
		t.Fatalf("%d records", len(records))
	}
	_, _, err := decode(compress(t, seal(t, records[0], records[1:3], 1, 8191, 2)))
	wantFormatError(t, err, "its last listing lacks 1809 entries")
	_, _, err = decode(compress(t, seal(t, records[0], [][]byte{records[1], records[1], records[2]}, 1, 10_000, 3)))
	wantFormatError(t, err, "")
}

func TestNotASegment(t *testing.T) {
	segment := encode(t, testHeader, goldenEvents())
	other, err := zstd.NewWriter(nil, zstd.WithSingleSegment(true))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	var wide bytes.Buffer
	widener, err := zstd.NewWriter(&wide, zstd.WithWindowSize(8<<20), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for range 9 {
		if _, err := widener.Write(make([]byte, 1<<20)); err != nil {
			t.Fatal(err)
		}
	}
	if err := widener.Close(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		reason string
		object []byte
	}{
		{"truncated", nil},
		{"not a Zstandard file", []byte("hello, this is a text file")},
		{"not a record", compress(t, []byte("\x05hello"))},
		{"window is over 1048576 bytes", wide.Bytes()},
		{"window is over 1048576 bytes", other.EncodeAll(make([]byte, 2<<20), nil)},
		{"bytes after the end of its Zstandard frame", append(bytes.Clone(segment), "and more"...)},
		{"bytes after the trailer", append(bytes.Clone(segment), segment...)},
	} {
		_, _, err := decode(c.object)
		wantFormatError(t, err, c.reason)
	}
}

// TestBombs small object cannot make a reader work without end or take memory without bound.
func TestBombs(t *testing.T) {
	header := protowire.AppendBytes(nil, splitRaw(t, decompress(t, encode(t, testHeader, nil)))[0])
	// One block that is nothing but long prefixes, and one with as many values as fit.
	deletes := longDeletes(100_000)
	wide := &segmentpb.Block{Kinds: make([]segmentpb.Kind, MaxBlockBytes-100)}
	for i := range wide.Kinds {
		wide.Kinds[i] = segmentpb.Kind_KIND_DELETE
	}
	// A listing whose every block is small and restores to a lot of text.
	fat := fatListing()
	for _, c := range []struct {
		reason string
		bomb   func(w io.Writer)
	}{
		{"empty record", func(w io.Writer) { repeat(t, w, header, make([]byte, 1<<20), 100) }},
		{"more than 67108864 bytes uncompressed", func(w io.Writer) {
			unknown := protowire.AppendBytes(protowire.AppendTag(nil, 99, protowire.BytesType), make([]byte, 1<<20-100))
			repeat(t, w, header, protowire.AppendBytes(nil, unknown), 100)
		}},
		{"more text than a block may have", func(w io.Writer) { repeat(t, w, header, protowire.AppendBytes(nil, recordOf(t, deletes)), 1) }},
		{"evidences where its events need", func(w io.Writer) { repeat(t, w, header, protowire.AppendBytes(nil, recordOf(t, wide)), 1) }},
		{"a listing of more than 16777216 bytes", func(w io.Writer) {
			first, more := protowire.AppendBytes(nil, recordOf(t, fat[0])), protowire.AppendBytes(nil, recordOf(t, fat[1]))
			repeat(t, w, append(bytes.Clone(header), first...), more, 100)
		}},
		{"bytes of text, once its prefixes are restored", func(w io.Writer) {
			repeat(t, w, header, protowire.AppendBytes(nil, recordOf(t, longDeletes(15))), 100)
		}},
		{"with 30000 levels", func(w io.Writer) {
			deep := longDeletes(1)
			deep.Paths = repeatedText("/a", 1)
			repeat(t, w, header, protowire.AppendBytes(nil, recordOf(t, deep)), 1)
		}},
		{"more than 1048576 events, listed entries and directories", func(w io.Writer) {
			many := longDeletes(100_000)
			many.Paths = &segmentpb.Texts{PrefixLengths: make([]uint32, 100_000), SuffixLengths: columnOf(100_000, 2), Suffixes: bytes.Repeat([]byte("/a"), 100_000)}
			repeat(t, w, header, protowire.AppendBytes(nil, recordOf(t, many)), 11)
		}},
		{"more than 1048576 events, listed entries and directories", func(w io.Writer) {
			for n := range 600 { // of 2,000 levels each, all of them other ones
				deep := longDeletes(1)
				path := fmt.Sprintf("/%x", n) + strings.Repeat("/a", 2000)
				deep.Paths = &segmentpb.Texts{PrefixLengths: []uint32{0}, SuffixLengths: []uint32{uint32(len(path))}, Suffixes: []byte(path)}
				begin := header
				if n > 0 {
					begin = nil
				}
				repeat(t, w, begin, protowire.AppendBytes(nil, recordOf(t, deep)), 1)
			}
		}},
	} {
		var bomb bytes.Buffer
		c.bomb(&bomb)
		size := bomb.Len()
		if size > 64<<10 {
			t.Errorf("%s: a bomb of %d bytes is none", c.reason, size)
		}
		peak := peakMemory(func() {
			r, err := NewReader("bomb", &bomb, Limits{MaxUncompressed: 64 << 20})
			for err == nil {
				_, err = r.Next()
			}
			wantFormatError(t, err, c.reason)
		})
		t.Logf("%s: %d bytes, %d MiB of memory", c.reason, size, peak>>20)
		if peak > 64<<20 {
			t.Errorf("%s: %d MiB of memory", c.reason, peak>>20)
		}
	}
}

// longDeletes is a block of n events with the same path of 60,000 bytes.
func longDeletes(n int) *segmentpb.Block {
	b := &segmentpb.Block{Paths: repeatedText("/"+strings.Repeat("a", 599), n)}
	for range n {
		b.Kinds = append(b.Kinds, segmentpb.Kind_KIND_DELETE)
		b.Evidences = append(b.Evidences, segmentpb.Evidence_EVIDENCE_REALTIME)
		b.ObservedAtNsDeltas = append(b.ObservedAtNsDeltas, 1)
	}
	return b
}

// columnOf is a column of n values.
func columnOf(n int, value uint32) []uint32 {
	column := make([]uint32, n)
	for i := range column {
		column[i] = value
	}
	return column
}

// repeatedText is a column of n times the same 60,000 bytes, nearly all of them as prefixes.
func repeatedText(part string, n int) *segmentpb.Texts {
	const length = 60_000
	texts := &segmentpb.Texts{PrefixLengths: []uint32{0}, SuffixLengths: []uint32{length}, Suffixes: bytes.Repeat([]byte(part), length/len(part))}
	for range n - 1 {
		texts.PrefixLengths, texts.SuffixLengths = append(texts.PrefixLengths, length), append(texts.SuffixLengths, 0)
	}
	return texts
}

// fatListing is the first block of a listing of many entries and one that goes on with it.
func fatListing() [2]*segmentpb.Block {
	var blocks [2]*segmentpb.Block
	for i := range blocks {
		const n = 15
		blocks[i] = &segmentpb.Block{
			ListedNames: repeatedText("n", n),
			Listed: &segmentpb.Entries{
				Attributes: make([]uint32, n), Sizes: make([]uint64, n), MtimeNsDeltas: make([]int64, n), AtimeDayDeltas: make([]int32, n),
			},
			Attributes: &segmentpb.Attributes{
				Types: []segmentpb.Type{segmentpb.Type_TYPE_DIRECTORY}, Modes: []uint32{0}, Uids: []uint32{0}, Gids: []uint32{0},
			},
		}
	}
	first := blocks[0]
	first.Kinds, first.Evidences, first.ObservedAtNsDeltas = []segmentpb.Kind{segmentpb.Kind_KIND_LISTING}, []segmentpb.Evidence{1}, []int64{1}
	first.Paths = &segmentpb.Texts{PrefixLengths: []uint32{0}, SuffixLengths: []uint32{1}, Suffixes: []byte("/")}
	first.Own = &segmentpb.Entries{Attributes: []uint32{0}, Sizes: []uint64{0}, MtimeNsDeltas: []int64{0}, AtimeDayDeltas: []int32{0}}
	first.ListedCounts = []uint32{MaxListingEntries}
	return blocks
}

// repeat compresses the head and n times the same bytes.
func repeat(t testing.TB, w io.Writer, head, piece []byte, n int) {
	t.Helper()
	e, err := zstd.NewWriter(w, zstd.WithWindowSize(Window), zstd.WithEncoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	for part := head; n >= 0; n, part = n-1, piece {
		if _, err := e.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
}

// peakMemory is about the most memory that f makes the heap have beyond what is in use before it.
func peakMemory(f func()) int64 {
	resident := func() int64 {
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapSys - m.HeapReleased)
	}
	debug.FreeOSMemory()
	before := resident()
	f()
	return resident() - before // the runtime gives memory back far more slowly than this
}

func FuzzReader(f *testing.F) {
	golden, err := os.ReadFile(goldenSegment)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(golden)
	f.Add(encode(f, Header{}, nil))
	f.Add(encode(f, testHeader, goldenEvents()[:2]))
	f.Add([]byte("not a segment"))
	f.Fuzz(func(t *testing.T, object []byte) {
		readHostile(t, object)
	})
}

// FuzzBlocks feeds the reader records that no checksum protects: they come after a sound header.
func FuzzBlocks(f *testing.F) {
	header := protowire.AppendBytes(nil, splitRaw(f, decompress(f, encode(f, testHeader, nil)))[0])
	// Small seeds: mutations of large ones are slow and seldom hit what matters.
	for _, events := range [][]*Event{nil, goldenEvents(), goldenEvents()[:2], {hugeListing(3)}, {{Kind: Delete, Evidence: Realtime, Path: "/a"}}} {
		f.Add(decompress(f, encode(f, testHeader, events))[len(header):])
	}
	f.Add(decompress(f, blockPerEntry(f, hugeListing(3)))[len(header):])
	f.Fuzz(func(t *testing.T, records []byte) {
		readHostile(t, compress(t, append(bytes.Clone(header), records...)))
	})
}

// blockPerEntry is a segment of one listing that has a block for each entry.
func blockPerEntry(t testing.TB, ev *Event) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	w.events, w.entries = 1, len(ev.Entries)
	w.block.addEvent(ev)
	for i := range ev.Entries {
		w.block.addListed(&ev.Entries[i])
		if err := w.flush(); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// readHostile reads whatever it is: no panic, errors of the right type, and nothing returned that a Writer would not take.
func readHostile(t *testing.T, object []byte) {
	r, err := NewReader("fuzz", bytes.NewReader(object), Limits{MaxUncompressed: 4 << 20})
	var events []*Event
	if err == nil {
		events, err = drain(r)
	}
	if err != nil {
		f := wantFormatError(t, err, "")
		if strings.TrimSpace(f.Reason) == "" || f.Offset < 0 {
			t.Fatalf("%+v", f)
		}
	}
	if r == nil {
		return
	}
	again := encode(t, r.Header(), events)
	if _, got, err := decode(again); err != nil || !same(got, events) {
		t.Fatalf("what was read cannot be written: %v", err)
	}
}
