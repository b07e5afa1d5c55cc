package event

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"

	"go.uber.org/goleak"
	"pgregory.net/rapid"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var testHeader = Header{
	View: "research", Session: "01JD0000000000000000000000", Agent: "host-a", Source: "fs://host-a/mnt/\xffdata",
	Seq: 7, Term: 3, CreatedAt: 1_700_000_000_123_456_789, Nonce: "f00d", Local: true,
	LeaseUntil: 1_700_000_030_000_000_000, Skew: -7_200_000_000_000, SkewKnown: true,
}

// encode makes a segment of the events.
func encode(t testing.TB, h Header, events []*Event) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := NewWriter(&out, h)
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range events {
		if err := w.Add(ev); err != nil {
			t.Fatalf("%v of %q: %v", ev.Kind, ev.Path, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// decode reads all events of a segment; those before an error too.
func decode(segment []byte) (Header, []*Event, error) {
	r, err := NewReader("test", bytes.NewReader(segment), Limits{})
	if err != nil {
		return Header{}, nil, err
	}
	events, err := drain(r)
	return r.Header(), events, err
}

// drain reads what a reader still has, keeping copies.
func drain(r *Reader) (events []*Event, err error) {
	for {
		ev, err := r.Next()
		if err == io.EOF {
			return events, nil
		}
		if err != nil {
			return events, err
		}
		kept := *ev
		kept.Entries = slices.Clone(ev.Entries)
		events = append(events, &kept)
	}
}

// same reports whether two lists of events are equal, an empty listing being as good as a nil one.
func same(a, b []*Event) bool {
	return slices.EqualFunc(a, b, func(x, y *Event) bool {
		p, q := *x, *y
		if !slices.Equal(p.Entries, q.Entries) {
			return false
		}
		p.Entries, q.Entries = nil, nil
		return reflect.DeepEqual(p, q)
	})
}

// nameOf draws a name: any bytes but NUL and slash.
func nameOf() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		if rapid.Bool().Draw(t, "prefixed") {
			return "common-prefix-" + rapid.StringMatching(`[a-c]{0,3}`).Draw(t, "rest")
		}
		b := rapid.SliceOfN(rapid.Byte(), 1, 20).Draw(t, "bytes")
		name := string(bytes.ReplaceAll(bytes.ReplaceAll(b, []byte{0}, []byte{1}), []byte{'/'}, []byte{0xfe}))
		if !validName(name) {
			return "x"
		}
		return name
	})
}

func pathOf() *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		path := "/"
		for _, name := range rapid.SliceOfN(nameOf(), 0, 5).Draw(t, "names") {
			path = Join(path, name)
		}
		return path
	})
}

func entryOf() *rapid.Generator[Entry] {
	return rapid.Custom(func(t *rapid.T) Entry {
		e := Entry{
			Type:     Type(rapid.IntRange(int(File), int(Other)).Draw(t, "type")),
			Mode:     rapid.Uint32Range(0, 0o7777).Draw(t, "mode"),
			UID:      rapid.OneOf(rapid.Just(uint32(0)), rapid.Uint32()).Draw(t, "uid"),
			GID:      rapid.OneOf(rapid.Just(uint32(0)), rapid.Uint32()).Draw(t, "gid"),
			AtimeDay: rapid.Int32().Draw(t, "atime"),
			Size:     rapid.Int64Range(0, math.MaxInt64).Draw(t, "size"),
			MtimeNs:  rapid.OneOf(rapid.Int64(), rapid.SampledFrom([]int64{math.MinInt64, -1, 0, math.MaxInt64})).Draw(t, "mtime"),
		}
		if rapid.Bool().Draw(t, "measured") {
			e.Inode = Inode{
				Links: rapid.OneOf(rapid.Just(uint32(1)), rapid.Uint32Min(1)).Draw(t, "links"), Allocated: rapid.Int64Min(0).Draw(t, "allocated"),
				CtimeNs: rapid.OneOf(rapid.Just(max(e.MtimeNs, math.MinInt64+1)), rapid.Int64Min(math.MinInt64+1)).Draw(t, "ctime"),
			}
			if e.hasID() {
				e.ID = rapid.Uint64().Draw(t, "inode")
			}
			e.BirthS = rapid.OneOf(rapid.Just(int64(0)), rapid.Int64Range(-MaxBirthS, MaxBirthS)).Draw(t, "birth")
			e.ACL = rapid.SampledFrom([]ACL{"", NoACL, testACL}).Draw(t, "acl")
		}
		if e.Type == Symlink {
			e.Target = string(rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(t, "target"))
		}
		return e
	})
}

func eventOf() *rapid.Generator[*Event] {
	return rapid.Custom(func(t *rapid.T) *Event {
		ev := &Event{
			Kind:       Kind(rapid.IntRange(int(Put), int(Marked)).Draw(t, "kind")),
			Evidence:   Evidence(rapid.IntRange(int(Realtime), int(OnDemand)).Draw(t, "evidence")),
			ObservedAt: rapid.Int64().Draw(t, "observed"),
			Path:       pathOf().Draw(t, "path"),
		}
		switch ev.Kind {
		case Put:
			ev.Atomic = rapid.Bool().Draw(t, "atomic")
			ev.Entry = entryOf().Draw(t, "entry")
		case Listing, Unchanged:
			ev.Entry = entryOf().Filter(func(e Entry) bool { return e.Target == "" }).Draw(t, "entry")
			ev.Entry.Type = Directory
			ev.Entry.ID = 0
			if ev.Kind == Listing {
				drawListing(t, ev)
			}
		case Marked:
			ev.Mark = Mark{
				Kind:  MarkKind(rapid.IntRange(int(SnapshotBegin), int(CoverageLimited)).Draw(t, "mark")),
				Files: rapid.Uint64().Draw(t, "files"), Directories: rapid.Uint64().Draw(t, "directories"),
				Others: rapid.Uint64().Draw(t, "others"), Bytes: rapid.Uint64().Draw(t, "bytes"), Errors: rapid.Uint64().Draw(t, "errors"),
				Message: string(rapid.SliceOfN(rapid.Byte(), 0, 30).Draw(t, "message")),
			}
			return ev
		}
		if ev.Kind != Delete {
			_, ev.Entry.Name = Split(ev.Path)
		}
		return ev
	})
}

func drawListing(t *rapid.T, ev *Event) {
	names := map[string]bool{}
	for _, name := range rapid.SliceOfN(nameOf(), 0, 40).Draw(t, "names") {
		names[name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		e := entryOf().Draw(t, "listed")
		e.Name = name
		ev.Entries = append(ev.Entries, e)
	}
	if len(ev.Entries) > 1 && rapid.Bool().Draw(t, "range") {
		ev.From, ev.To = ev.Entries[0].Name, ev.Entries[len(ev.Entries)-1].Name
		ev.Entries = ev.Entries[:len(ev.Entries)-1]
	}
}

// roundTrip states the codec's law: what was added comes back, in order, byte for byte.
func roundTrip(t *rapid.T) {
	events := rapid.SliceOfN(eventOf(), 0, 30).Draw(t, "events")
	var out bytes.Buffer
	w, err := NewWriter(&out, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	entries := 0
	for _, ev := range events {
		if err := w.Add(ev); err != nil {
			t.Fatalf("add %+v: %v", ev, err)
		}
		entries += len(ev.Entries)
		if rapid.IntRange(0, 9).Draw(t, "cut") == 0 && !w.block.empty() {
			if err := w.flush(); err != nil { // blocks of any size
				t.Fatal(err)
			}
		}
	}
	if w.Events() != len(events) || w.Entries() != entries {
		t.Fatalf("counts %d events, %d entries, want %d, %d", w.Events(), w.Entries(), len(events), entries)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	h, got, err := decode(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if h != testHeader {
		t.Fatalf("header %+v, want %+v", h, testHeader)
	}
	if !same(events, got) {
		t.Fatalf("events %+v, want %+v", got, events)
	}
}

func TestRoundTrip(t *testing.T) { rapid.Check(t, roundTrip) }

func FuzzRoundTrip(f *testing.F) {
	f.Add([]byte("a seed of random draws, long enough for an event or two of every kind there is"))
	f.Fuzz(rapid.MakeFuzz(roundTrip))
}

// TestListingOverBlocks listing larger than a block comes back whole, and so do its neighbours.
func TestListingOverBlocks(t *testing.T) {
	events := []*Event{{Kind: Delete, Evidence: Realtime, ObservedAt: 1, Path: "/before"}, hugeListing(MaxListingEntries),
		{Kind: Listing, Evidence: Audit, ObservedAt: 3, Path: "/", Entry: Entry{Type: Directory}},
		{Kind: Delete, Evidence: Realtime, ObservedAt: 4, Path: "/after"}, hugeListing(10_000)}
	segment := encode(t, testHeader, events)
	_, got, err := decode(segment)
	if err != nil {
		t.Fatal(err)
	}
	if !same(events, got) {
		t.Fatal("the events differ")
	}
	if _, got, err = decode(blockPerEntry(t, hugeListing(300))); err != nil || !same(got, []*Event{hugeListing(300)}) {
		t.Fatalf("a block per entry: %v", err)
	}
	r, err := NewReader("test", bytes.NewReader(segment), Limits{MaxEntries: 1000})
	if err != nil {
		t.Fatal(err)
	}
	_, err = drain(r)
	wantFormatError(t, err, "a listing of 65536 entries, more than 1000")
}

func hugeListing(entries int) *Event {
	ev := &Event{Kind: Listing, Evidence: Snapshot, ObservedAt: 2, Path: "/big", Entry: Entry{Name: "big", Type: Directory}}
	digits := []byte("file-000000")
	for range entries {
		ev.Entries = append(ev.Entries, Entry{Name: string(digits), Type: File, Mode: 0o600, Size: int64(len(ev.Entries))})
		for i := len(digits) - 1; ; i-- {
			if digits[i]++; digits[i] <= '9' {
				break
			}
			digits[i] = '0'
		}
	}
	return ev
}

func TestSplitListing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ev := hugeListing(rapid.IntRange(0, 300).Draw(t, "entries"))
		if rapid.Bool().Draw(t, "bounded") {
			ev.From, ev.To = "file", "file-9"
		}
		limit := rapid.IntRange(1, 100).Draw(t, "max")
		from, seen := ev.From, []Entry(nil)
		var last *Event
		for piece := range SplitListing(ev, limit) {
			if _, err := check(piece, limit); err != nil {
				t.Fatal(err)
			}
			if piece.From != from || piece.ObservedAt != ev.ObservedAt || piece.Path != ev.Path || piece.Entry != ev.Entry {
				t.Fatalf("piece %+v, want it to begin at %q", piece, from)
			}
			from, last = piece.To, piece
			seen = append(seen, piece.Entries...)
		}
		if last.To != ev.To || !slices.Equal(seen, ev.Entries) {
			t.Fatalf("the pieces end at %q with %d entries, want %q, %d", last.To, len(seen), ev.To, len(ev.Entries))
		}
	})
}

// TestSplitListingByBytes listing with long targets is cut by bytes too, so that a Writer takes every piece.
func TestSplitListingByBytes(t *testing.T) {
	ev := hugeListing(1000)
	for i := range ev.Entries {
		ev.Entries[i].Type, ev.Entries[i].Target = Symlink, strings.Repeat("t", MaxText-i)
	}
	w, err := NewWriter(io.Discard, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Add(ev); err == nil || !strings.Contains(err.Error(), "split it by name range") {
		t.Fatalf("the whole listing: %v", err)
	}
	pieces := 0
	for piece := range SplitListing(ev, 0) {
		pieces++
		if err := w.Add(piece); err != nil {
			t.Fatal(err)
		}
	}
	if pieces < 4 || pieces > 6 {
		t.Fatalf("%d pieces of %d MiB", pieces, len(ev.Entries)*MaxText>>20)
	}
}

func TestWriterRefuses(t *testing.T) {
	dir := Entry{Name: "d", Type: Directory}
	file := func(name string) Entry { return Entry{Name: name, Type: File} }
	listing := func(entries ...Entry) *Event {
		return &Event{Kind: Listing, Evidence: Snapshot, Path: "/d", Entry: dir, Entries: entries}
	}
	ranged := func(from, to string, entries ...Entry) *Event {
		ev := listing(entries...)
		ev.From, ev.To = from, to
		return ev
	}
	put := func(path string, e Entry) *Event { return &Event{Kind: Put, Evidence: Realtime, Path: path, Entry: e} }
	for _, c := range []struct {
		want string
		ev   *Event
	}{
		{"unknown kind of event 0", &Event{Evidence: Audit, Path: "/"}},
		{"unknown kind of event 9", &Event{Kind: 9, Evidence: Audit, Path: "/"}},
		{"unknown evidence 0", &Event{Kind: Delete, Path: "/a"}},
		{"not a path", &Event{Kind: Delete, Evidence: Audit, Path: "a"}},
		{"not a path", &Event{Kind: Delete, Evidence: Audit, Path: "/a/../b"}},
		{"not a path", &Event{Kind: Delete, Evidence: Audit, Path: "/" + strings.Repeat("a", MaxText)}},
		{`has the name "b"`, put("/a", file("b"))},
		{"unknown type 0", put("/a", Entry{Name: "a"})},
		{"unknown type 5", put("/a", Entry{Name: "a", Type: 5})},
		{"mode 0100644", put("/a", Entry{Name: "a", Type: File, Mode: 0o100644})},
		{"negative size -1", put("/a", Entry{Name: "a", Type: File, Size: -1})},
		{"a file with a link target", put("/a", Entry{Name: "a", Type: File, Target: "x"})},
		{"a link target of 65537 bytes", put("/a", Entry{Name: "a", Type: Symlink, Target: strings.Repeat("x", MaxText+1)})},
		{"a file, not a directory", &Event{Kind: Unchanged, Evidence: Audit, Path: "/a", Entry: file("a")}},
		{"not in byte order", listing(file("b"), file("a"))},
		{`two entries named "a"`, listing(file("a"), file("a"))},
		{"without a name", listing(file(""))},
		{"not a name", listing(file("a/b"))},
		{"not a name", listing(file("a\x00b"))},
		{"not a name", listing(file(".."))},
		{"unknown type", listing(Entry{Name: "a"})},
		{"65537 entries, more than 65536: split it by name range", hugeListing(MaxListingEntries + 1)},
		{"before its range", ranged("b", "", file("a"))},
		{"beyond its range", ranged("", "b", file("b"))},
		{"not after its beginning", ranged("b", "b")},
		{"not a name", ranged("b/c", "")},
		{"unknown mark 0", &Event{Kind: Marked, Evidence: Audit, Path: "/"}},
		{"a mark's message of 65537", &Event{Kind: Marked, Evidence: Audit, Path: "/", Mark: Mark{Kind: Overflow, Message: strings.Repeat("m", MaxText+1)}}},
	} {
		var out bytes.Buffer
		w, err := NewWriter(&out, testHeader)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Add(c.ev); err == nil || !strings.Contains(err.Error(), c.want) || len(err.Error()) > 500 {
			t.Errorf("error %v, want one with %q", err, c.want)
		}
		good := put("/ok", file("ok")) // a refused event leaves the segment as it was
		if err := w.Add(good); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if _, got, err := decode(out.Bytes()); err != nil || !same(got, []*Event{good}) {
			t.Errorf("after %q: %+v, %v", c.want, got, err)
		}
	}
	if _, err := NewWriter(io.Discard, Header{View: "\xff"}); err == nil {
		t.Error("a view that is not UTF-8 was taken")
	}
	if _, err := NewWriter(io.Discard, Header{Source: strings.Repeat("s", MaxText+1)}); err == nil {
		t.Error("a source of any length was taken")
	}
}

// TestWriterFull Writer refuses the event that a default Reader would no longer read, and the segment before it is sound.
func TestWriterFull(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	ev := hugeListing(100)
	for i := range ev.Entries { // hardly anything but prefixes: the texts are the first to be too many
		ev.Entries[i].Name = strings.Repeat("n", 50_000) + ev.Entries[i].Name
	}
	for {
		if err = w.Add(ev); err != nil {
			break
		}
	}
	if !errors.Is(err, ErrFull) {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := NewReader("test", &out, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	events := 0
	for {
		if _, err = r.Next(); err != nil {
			break
		}
		events++
	}
	if err != io.EOF || events != w.Events() || events < 40 {
		t.Fatalf("%d of %d events, then %v", events, w.Events(), err)
	}
}

func TestWriterReset(t *testing.T) {
	var first, again bytes.Buffer
	events := tree(5000)
	w, err := NewWriter(&first, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	for i, out := range []*bytes.Buffer{&first, &again} {
		if i > 0 {
			if err := w.Add(events[0]); err == nil {
				t.Fatal("a closed segment took an event")
			}
			if err := w.Reset(io.Discard, Header{View: "abandoned"}); err != nil {
				t.Fatal(err)
			}
			if err := w.Add(events[3]); err != nil {
				t.Fatal(err)
			}
			if err := w.Reset(out, testHeader); err != nil {
				t.Fatal(err)
			}
		}
		for _, ev := range events {
			if err := w.Add(ev); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if !bytes.Equal(first.Bytes(), again.Bytes()) {
		t.Fatal("the same segment has other bytes the second time")
	}
}

// TestWriterSize is near enough to the truth to cut segments by.
func TestWriterSize(t *testing.T) {
	var out bytes.Buffer
	w, err := NewWriter(&out, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range tree(50_000) {
		if err := w.Add(ev); err != nil {
			t.Fatal(err)
		}
	}
	estimate := w.Size()
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if estimate < out.Len()*3/4 || estimate > out.Len()*5/4 {
		t.Fatalf("Size was %d, of %d bytes", estimate, out.Len())
	}
}

type brokenWriter struct{ left int }

var errDisk = errors.New("disk on fire")

func (b *brokenWriter) Write(p []byte) (int, error) {
	if b.left -= len(p); b.left < 0 {
		return 0, errDisk
	}
	return len(p), nil
}

func TestWriterPassesErrorsOn(t *testing.T) {
	w, err := NewWriter(&brokenWriter{left: 50_000}, testHeader)
	if err != nil {
		t.Fatal(err)
	}
	for _, ev := range tree(200_000) {
		if err = w.Add(ev); err != nil {
			break
		}
	}
	if !errors.Is(err, errDisk) || !errors.Is(w.Add(hugeListing(1)), errDisk) || !errors.Is(w.Close(), errDisk) {
		t.Fatalf("%v", err)
	}
}

// TestReaderPassesErrorsOn error of the underlying reader is no fault of the segment's.
func TestReaderPassesErrorsOn(t *testing.T) {
	segment := encode(t, testHeader, tree(20_000))
	r, err := NewReader("test", io.MultiReader(bytes.NewReader(segment[:len(segment)/2]), brokenReader{}), Limits{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = drain(r)
	var format *FormatError
	if !errors.Is(err, errDisk) || errors.As(err, &format) {
		t.Fatalf("%v", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errDisk }

// wantFormatError checks an error's type and reason.
func wantFormatError(t testing.TB, err error, reason string) *FormatError {
	t.Helper()
	var format *FormatError
	if !errors.As(err, &format) || !strings.Contains(format.Reason, reason) {
		t.Fatalf("error %v, want a *FormatError with %q", err, reason)
	}
	return format
}
