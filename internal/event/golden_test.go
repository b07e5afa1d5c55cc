package event

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"flag"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/cespare/xxhash/v2"
	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/encoding/protodelim"
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/fustor/fustor/internal/event/segmentpb"
)

var update = flag.Bool("update", false, "write the golden files anew")

const (
	goldenSegment = "testdata/segment-v1.zst"
	goldenJSON    = "testdata/segment-v1.ndjson"
)

// goldenEvents are one of everything.
func goldenEvents() []*Event {
	dir := Entry{Name: "d", Type: Directory, Mode: 0o2755, UID: 1000, GID: 100, Size: 4096, MtimeNs: 1_699_999_999_000_000_001, AtimeDay: 19675}
	return []*Event{
		{Kind: Marked, Evidence: Snapshot, ObservedAt: 1_700_000_000_000_000_000, Path: "/", Mark: Mark{Kind: SnapshotBegin}},
		{Kind: Listing, Evidence: Snapshot, ObservedAt: 1_700_000_000_000_000_100, Path: "/", Entry: Entry{Type: Directory, Mode: 0o755}, Entries: []Entry{dir}},
		{Kind: Listing, Evidence: Snapshot, ObservedAt: 1_700_000_000_000_000_200, Path: "/d", Entry: dir, Entries: []Entry{
			{Name: " space\nnewline\t\"quote\" <&>", Type: File, Mode: 0o644, Size: math.MaxInt64, MtimeNs: math.MaxInt64, AtimeDay: math.MaxInt32},
			{Name: "file-1", Type: File, Mode: 0o4755, UID: math.MaxUint32, GID: math.MaxUint32, Size: 1, MtimeNs: -1, AtimeDay: -1},
			{Name: "file-2", Type: Symlink, Mode: 0o777, Target: "../target/\xff", MtimeNs: math.MinInt64, AtimeDay: math.MinInt32},
			{Name: "file-3", Type: Symlink, Mode: 0o777, Target: ""},
			{Name: "na\u00efve", Type: Other, Mode: 0o600},
			{Name: "\xff\xfe", Type: Directory, Mode: 0o1777, Size: 1 << 40},
		}},
		{Kind: Listing, Evidence: Audit, ObservedAt: 1_700_000_000_000_000_300, Path: "/d", Entry: dir, From: "file-2", To: "file-\xff", Entries: []Entry{
			{Name: "file-2", Type: File, Mode: 0o644},
		}},
		{Kind: Listing, Evidence: OnDemand, ObservedAt: 1_700_000_000_000_000_400, Path: "/d/\xff\xfe", Entry: Entry{Name: "\xff\xfe", Type: Directory}},
		{Kind: Unchanged, Evidence: Audit, ObservedAt: 1_700_000_000_000_000_500, Path: "/d", Entry: dir},
		{Kind: Put, Evidence: Realtime, ObservedAt: 1_700_000_000_000_000_600, Path: "/d/file-1", Entry: Entry{Name: "file-1", Type: File, Mode: 0o644, Size: 5}},
		{Kind: Put, Evidence: Realtime, ObservedAt: 1_700_000_000_000_000_550, Path: "/d/file-1", Atomic: true, Entry: Entry{Name: "file-1", Type: File, Mode: 0o644, Size: 6}},
		{Kind: Put, Evidence: Realtime, ObservedAt: 1_700_000_000_000_000_700, Path: "/link", Atomic: true, Entry: Entry{Name: "link", Type: Symlink, Mode: 0o777, Target: "d/file-1"}},
		{Kind: Delete, Evidence: Realtime, ObservedAt: 1_700_000_000_000_000_800, Path: "/d/file-\xff"},
		{Kind: Marked, Evidence: Audit, ObservedAt: 1_700_000_000_000_000_900, Path: "/d/secret", Mark: Mark{Kind: SubtreeError, Errors: 1, Message: "open /d/\xfe: permission denied"}},
		{Kind: Marked, Evidence: Snapshot, ObservedAt: 1_700_000_000_000_001_000, Path: "/", Mark: Mark{
			Kind: SnapshotEnd, Files: 4, Directories: 3, Others: 3, Bytes: math.MaxUint64, Errors: 1}},
	}
}

// goldenHeader has none of the fields that came later.
func goldenHeader() Header {
	h := testHeader
	h.LeaseUntil, h.Skew, h.SkewKnown = 0, 0, false
	return h
}

// TestGolden format does not drift: what was written once is read the same for ever, and is still written the same.
func TestGolden(t *testing.T) {
	now := encode(t, goldenHeader(), goldenEvents())
	if *update {
		var lines bytes.Buffer
		r, err := NewReader(goldenSegment, bytes.NewReader(now), Limits{})
		if err != nil {
			t.Fatal(err)
		}
		if err := Cat(&lines, r); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(goldenSegment, now, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(goldenJSON, lines.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(goldenSegment)
	if err != nil {
		t.Fatal(err)
	}
	h, events, err := decode(golden)
	if err != nil {
		t.Fatal(err)
	}
	if h != goldenHeader() || !same(events, goldenEvents()) {
		t.Fatalf("the golden segment reads as %+v, %+v", h, events)
	}
	// How zstd compresses may change with its version; what is compressed may not.
	if !bytes.Equal(decompress(t, now), decompress(t, golden)) {
		t.Fatal("segments are no longer written as the golden one was: that needs a new version of the format")
	}
}

func TestCat(t *testing.T) {
	golden, err := os.ReadFile(goldenSegment)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile(goldenJSON)
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReader(goldenSegment, bytes.NewReader(golden), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	if err := Cat(&got, r); err != nil {
		t.Fatal(err)
	}
	if got.String() != string(want) {
		t.Fatalf("Cat writes\n%s\nwant\n%s", &got, want)
	}
	for line := range strings.Lines(got.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("not JSON: %s", line)
		}
	}
	// The exact bytes of a path that is not UTF-8 can be had back.
	var deleted struct {
		Path    string `json:"path"`
		PathB64 string `json:"path_b64"`
	}
	var line bytes.Buffer
	if err := WriteJSON(&line, &Event{Kind: Delete, Evidence: Realtime, Path: "/d/\xff"}); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(line.Bytes(), &deleted); err != nil {
		t.Fatal(err)
	}
	if b, err := base64.RawURLEncoding.DecodeString(deleted.PathB64); err != nil || string(b) != "/d/\xff" || deleted.Path != "/d/\ufffd" {
		t.Fatalf("%+v", deleted)
	}
}

// TestCatDamaged damaged segment is catted up to the damage, without a trailer.
func TestCatDamaged(t *testing.T) {
	raw := decompress(t, encode(t, testHeader, goldenEvents()))
	r, err := NewReader("test", bytes.NewReader(compress(t, raw[:len(raw)-3])), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	wantFormatError(t, Cat(&got, r), "truncated")
	if n := strings.Count(got.String(), "\n"); n != 1+len(goldenEvents()) || strings.Contains(got.String(), `"trailer"`) {
		t.Fatalf("%d lines: %s", n, &got)
	}
}

// TestZstdTool reference tool takes our files for what they are, with a window that needs no more than 1 MiB.
func TestZstdTool(t *testing.T) {
	tool, err := exec.LookPath("zstd")
	if err != nil {
		t.Skip("zstd is not installed")
	}
	file := t.TempDir() + "/segment.zst"
	if err := os.WriteFile(file, encode(t, testHeader, tree(200_000)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(tool, "-t", "--memory=1MiB", file).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// TestGeneratedCodeOnly we write is what the .proto says: a program that knows only that reads it, and writes what we read.
func TestGeneratedCodeOnly(t *testing.T) {
	events := append(goldenEvents(), tree(20_000)...)
	raw := decompress(t, encode(t, testHeader, events))
	var again bytes.Buffer
	in := bytes.NewReader(raw)
	var counted segmentpb.Trailer
	for {
		var record segmentpb.Record
		before := len(raw) - in.Len()
		err := protodelim.UnmarshalFrom(in, &record)
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		switch r := record.Record.(type) {
		case *segmentpb.Record_Header:
			if h := r.Header; h.Format != formatName || h.Version != 1 || string(h.Source) != testHeader.Source || h.Seq != testHeader.Seq {
				t.Fatalf("header %v", h)
			}
		case *segmentpb.Record_Block:
			counted.Blocks++
			counted.Events += uint64(len(r.Block.Kinds))
			counted.ListedEntries += uint64(len(r.Block.Listed.GetSizes()))
		case *segmentpb.Record_Trailer:
			counted.Checksum = xxhash.Sum64(raw[:before])
			if !proto.Equal(&counted, r.Trailer) {
				t.Fatalf("trailer %v, want %v", r.Trailer, &counted)
			}
		}
		// Written by the generated code in a deterministic order: the same bytes.
		if _, err := (protodelim.MarshalOptions{MarshalOptions: proto.MarshalOptions{Deterministic: true}}).MarshalTo(&again, &record); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(raw, again.Bytes()) {
		t.Fatal("the generated code writes other bytes")
	}
}

// TestForeignWriter writer may put fields in any order, columns in pieces or unpacked, and fields of a later version anywhere.
func TestForeignWriter(t *testing.T) {
	var block segmentpb.Block
	raw := decompress(t, encode(t, testHeader, goldenEvents()))
	records := splitRaw(t, raw)
	if err := proto.Unmarshal(payloadOf(t, records[1]), &block); err != nil {
		t.Fatal(err)
	}
	unknown := protowire.AppendTag(nil, 900, protowire.BytesType)
	unknown = protowire.AppendString(unknown, "from the future")
	for _, message := range []proto.Message{&block, block.Paths, block.Own, block.Own.Targets, block.Listed, block.Ranges, block.Marks, block.Attributes} {
		message.ProtoReflect().SetUnknown(unknown)
	}
	kinds, times := block.Kinds, block.ObservedAtNsDeltas
	block.Kinds, block.ObservedAtNsDeltas = nil, nil
	body, err := proto.Marshal(&block)
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range kinds { // unpacked
		body = protowire.AppendTag(body, 1, protowire.VarintType)
		body = protowire.AppendVarint(body, uint64(kind))
	}
	for _, delta := range times { // packed, in pieces of one
		body = protowire.AppendTag(body, 3, protowire.BytesType)
		body = protowire.AppendBytes(body, protowire.AppendVarint(nil, protowire.EncodeZigZag(delta)))
	}
	record := append(protowire.AppendTag(bytes.Clone(unknown), blockField, protowire.BytesType), protowire.AppendVarint(nil, uint64(len(body)))...)
	record = append(append(record, body...), unknown...)
	foreign := seal(t, records[0], [][]byte{unknown, record, unknown}, uint64(len(kinds)), 8, 1)
	_, got, err := decode(compress(t, foreign))
	if err != nil {
		t.Fatal(err)
	}
	if !same(got, goldenEvents()) {
		t.Fatal("the events differ")
	}
}

// compressor and decompressor are shared, since they are large.
var (
	compressor = sync.OnceValues(func() (*zstd.Encoder, error) {
		return zstd.NewWriter(nil, zstd.WithWindowSize(Window), zstd.WithEncoderConcurrency(1))
	})
	decompressor = sync.OnceValues(func() (*zstd.Decoder, error) {
		return zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	})
)

func decompress(t testing.TB, b []byte) []byte {
	t.Helper()
	d, err := decompressor()
	if err != nil {
		t.Fatal(err)
	}
	raw, err := d.DecodeAll(b, nil)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func compress(t testing.TB, raw []byte) []byte {
	t.Helper()
	e, err := compressor()
	if err != nil {
		t.Fatal(err)
	}
	return e.EncodeAll(raw, nil)
}

// splitRaw splits an uncompressed segment into its records, without their lengths.
func splitRaw(t testing.TB, raw []byte) (records [][]byte) {
	t.Helper()
	for len(raw) > 0 {
		record, n := protowire.ConsumeBytes(raw)
		if n < 0 {
			t.Fatal(protowire.ParseError(n))
		}
		records, raw = append(records, record), raw[n:]
	}
	return records
}

func payloadOf(t testing.TB, record []byte) []byte {
	t.Helper()
	_, payload, err := splitRecord(record)
	if err != nil {
		t.Fatal(err)
	}
	return payload
}

// seal makes an uncompressed segment of a header, other records and a trailer that is right about them.
func seal(t testing.TB, header []byte, records [][]byte, events, entries, blocks uint64) []byte {
	t.Helper()
	raw := protowire.AppendBytes(nil, header)
	for _, record := range records {
		raw = protowire.AppendBytes(raw, record)
	}
	trailer, err := proto.Marshal(&segmentpb.Record{Record: &segmentpb.Record_Trailer{Trailer: &segmentpb.Trailer{
		Events: events, ListedEntries: entries, Blocks: blocks, Checksum: xxhash.Sum64(raw),
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return protowire.AppendBytes(raw, trailer)
}
