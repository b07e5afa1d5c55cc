package layer

import (
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/gentree"
)

// readAll reads a layer whole, or says why it cannot be read.
func readAll(st store.Store, info Info) (out []evidence.Row, err error) {
	l, err := Open(context.Background(), st, testView, info, NewCache(1<<20))
	if err != nil {
		return nil, err
	}
	groups, err := l.Groups(context.Background())
	if err != nil {
		return nil, err
	}
	for g := range groups {
		b, err := l.Block(context.Background(), g)
		if err != nil {
			return nil, err
		}
		for i := range b.Len() {
			var r evidence.Row
			if err := b.Row(i, &r); err != nil {
				return nil, err
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// damaged is a layer of a few row groups with an index of its own.
func damaged(t testing.TB, st store.Store, n int) (Built, []evidence.Row) {
	t.Helper()
	var rows []evidence.Row
	w := NewWriter(WriterOptions{ID: id(n), RowsPerGroup: 50})
	for r := range gentree.New(gentree.Options{Seed: uint64(n), Rows: 3000}).Rows() {
		rows = append(rows, *r)
		if err := w.Append(r); err != nil {
			t.Fatal(err)
		}
	}
	b, err := w.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if len(b.Index) == 0 {
		t.Fatal("the test wants an index that is an object")
	}
	if err := Publish(t.Context(), st, testView, b); err != nil {
		t.Fatal(err)
	}
	return b, rows
}

func wantFormatError(t testing.TB, what, object string, err error) {
	t.Helper()
	var f *FormatError
	if !errors.As(err, &f) {
		t.Fatalf("%s: %v, want a FormatError", what, err)
	}
	if f.Object != object {
		t.Fatalf("%s: the error names %q, want %q: %v", what, f.Object, object, err)
	}
}

func TestFlippedBytesAreNoticed(t *testing.T) {
	st := openStore(t)
	b, rows := damaged(t, st, 1)
	data, index := layout.Layer(testView, b.Info.ID), layout.LayerIndex(testView, b.Info.ID)
	rng := rand.New(rand.NewPCG(1, 1))
	for _, object := range []struct {
		key  string
		body []byte
		most int // bytes that matter
	}{{data, b.Data, len(b.Data) - 12}, {index, b.Index, len(b.Index)}} {
		for range 60 {
			body := slices.Clone(object.body)
			at := rng.IntN(object.most)
			body[at] ^= 1 << rng.IntN(8)
			if _, err := st.Put(t.Context(), object.key, body); err != nil {
				t.Fatal(err)
			}
			got, err := readAll(st, b.Info)
			if err == nil { // the footer, which fustor does not read
				same(t, "a layer with a damaged footer", got, rows)
				continue
			}
			wantFormatError(t, "a flipped bit", object.key, err)
		}
		if _, err := st.Put(t.Context(), object.key, object.body); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWrongObjectsAreNoticed(t *testing.T) {
	st := openStore(t)
	b, _ := damaged(t, st, 1)
	other, _ := damaged(t, st, 2)
	small := write(t, st, WriterOptions{ID: id(3)}, []evidence.Row{{Parent: "/", Name: "a"}})
	data, index := layout.Layer(testView, b.Info.ID), layout.LayerIndex(testView, b.Info.ID)
	smallData := layout.Layer(testView, small.ID)
	for _, c := range []struct {
		what, key string
		body      []byte
		info      func(Info) Info
	}{
		{"an empty layer", data, []byte{}, nil},
		{"a layer cut short", data, b.Data[:len(b.Data)/2], nil},
		{"a layer cut before its footer", data, b.Data[:200], nil},
		{"another layer", data, other.Data, nil},
		{"a text", data, slices.Repeat([]byte("hello "), len(b.Data)/6+1), nil},
		{"an empty index", index, []byte{}, nil},
		{"an index cut short", index, b.Index[:len(b.Index)-1], nil},
		{"the index of another layer", index, other.Index, nil},
		{"a text for an index", index, []byte("hello, this is no index at all"), nil},
		{"an index of a later version", index, append([]byte{'F', 'X', 'L', 'I', IndexVersion + 1}, b.Index[5:]...), nil},
		{"more rows in the manifest", index, b.Index, func(i Info) Info { i.Rows++; return i }},
		{"fewer tombstones in the manifest", index, b.Index, func(i Info) Info { i.Removed--; return i }},
		{"another last key in the manifest", index, b.Index, func(i Info) Info { i.Last.Name += "x"; return i }},
		{"another length in the manifest", index, b.Index, func(i Info) Info { i.Bytes--; return i }},
	} {
		if _, err := st.Put(t.Context(), c.key, c.body); err != nil {
			t.Fatal(err)
		}
		info := b.Info
		if c.info != nil {
			info = c.info(info)
		}
		_, err := readAll(st, info)
		wantFormatError(t, c.what, c.key, err)
		for key, body := range map[string][]byte{data: b.Data, index: b.Index} {
			if _, err := st.Put(t.Context(), key, body); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, key := range []string{data, index} {
		if err := st.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
		_, err := readAll(st, b.Info)
		wantFormatError(t, "a missing object", key, err)
		if !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("a missing object: %v", err)
		}
	}
	bad := small
	bad.Index = slices.Clone(small.Index)
	bad.Index[len(bad.Index)-1] ^= 1
	_, err := readAll(st, bad)
	wantFormatError(t, "a damaged inline index", smallData+" (its index, in the manifest)", err)
}

// TestCachedIndexIsCheckedAgain: a manifest that contradicts itself is noticed even when the index is in the cache.
func TestCachedIndexIsCheckedAgain(t *testing.T) {
	st := openStore(t)
	b, _ := damaged(t, st, 1)
	c := NewCache(1 << 20)
	if _, err := Open(t.Context(), st, testView, b.Info, c); err != nil {
		t.Fatal(err)
	}
	b.Info.Rows++
	_, err := Open(t.Context(), st, testView, b.Info, c)
	wantFormatError(t, "another number of rows", layout.Layer(testView, b.Info.ID), err)
}

// sealed makes a row group's checksum fit whatever its bytes are.
func sealed(raw RawGroup, data []byte) RawGroup {
	raw.Data, raw.Bytes, raw.Hash = data, int64(len(data)), xxhash.Sum64(data)
	return raw
}

// decodeWhole decodes a row group that may be anything, checksum apart.
func decodeWhole(raw RawGroup) {
	b, err := openBlock(raw)
	if err != nil {
		return
	}
	raw.NotUTF8 = false
	if plain, err := openBlock(raw); err == nil {
		_ = plain.ScanNames(func(names *CodedNames) bool {
			for i := range names.Shared {
				_ = names.Rest[names.Starts[i]:names.Starts[i+1]]
			}
			return true
		}, func(text string, offsets []uint32) { _ = text[:offsets[len(offsets)-1]] })
	}
	_, _ = parseNames(raw.Data, raw.Rows)
	if b.LoadKeys() != nil {
		return
	}
	if _, err := b.loadAll(); err != nil {
		return
	}
	var r evidence.Row
	for i := range b.Len() {
		_ = b.Row(i, &r)
		b.Search(b.Key(i))
	}
}

func hostileGroup(t testing.TB) RawGroup {
	t.Helper()
	st := openStore(t)
	rows := []evidence.Row{{}}
	for r := range gentree.New(gentree.Options{Seed: 5, Rows: 300}).Rows() {
		rows = append(rows, *r)
	}
	rows = rows[1:]
	rows[len(rows)-1].Name += "\xff"
	rows[20].AgentMissing, rows[30].Removed, rows[40].SuspectUntil = true, true, 5
	l := open(t, st, write(t, st, WriterOptions{ID: id(1)}, rows))
	raw, err := l.RawGroup(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// TestHostileGroupsDoNotPanic: a row group whose checksum fits may still be anything.
func TestHostileGroupsDoNotPanic(t *testing.T) {
	raw := hostileGroup(t)
	rng := rand.New(rand.NewPCG(2, 2))
	for range 1500 {
		data := slices.Clone(raw.Data)
		for range 1 + rng.IntN(4) {
			data[rng.IntN(len(data))] = byte(rng.Uint32())
		}
		decodeWhole(sealed(raw, data))
	}
	// Payloads are compressed, so that damage there is found by zstd. Damage them before.
	chunks, err := raw.chunks()
	if err != nil {
		t.Fatal(err)
	}
	e, err := newEncoder()
	if err != nil {
		t.Fatal(err)
	}
	for n := range 6_000 {
		c := Column(n % int(columns))
		decodeWhole(sealed(raw, recompressed(t, e, rng, raw.Data, chunks, c)))
	}
}

// recompressed is a row group with a few bytes of one column's pages changed before compression.
func recompressed(t testing.TB, e *encoder, rng *rand.Rand, data []byte, chunks *[columns]chunk, which Column) []byte {
	t.Helper()
	out := []byte(nil)
	for i := range chunks {
		c := &chunks[i]
		if Column(i) != which {
			out = append(out, data[c.start:c.end]...)
			continue
		}
		e.dict, e.data = nil, nil
		var err error
		if c.dictionary > 0 {
			if e.dict, err = payload(data[c.dictionary:], &c.dictionarySize); err != nil {
				t.Fatal(err)
			}
		}
		if e.data, err = payload(data[c.data:], &c.dataSize); err != nil {
			t.Fatal(err)
		}
		for range 1 + rng.IntN(3) {
			body := e.data
			if len(e.dict) > 0 && rng.IntN(2) == 0 {
				body = e.dict
			}
			body[rng.IntN(min(len(body), 1+rng.IntN(len(body))))] = byte(rng.Uint32())
		}
		if rng.IntN(4) == 0 {
			e.data = e.data[:rng.IntN(len(e.data)+1)]
		}
		out = e.chunk(out, &specs[i], c.dictionarySize.values, c.dataSize.values, c.dataSize.encoding)
	}
	return out
}

// FuzzIndex: whatever is taken for an index is in order and fits what the manifest says.
func FuzzIndex(f *testing.F) {
	w := NewWriter(WriterOptions{ID: id(1), RowsPerGroup: 40, SearchSpan: 1})
	for r := range gentree.New(gentree.Options{Seed: 1, Rows: 300}).Rows() {
		if err := w.Append(r); err != nil {
			f.Fatal(err)
		}
	}
	b, err := w.Finish()
	if err != nil {
		f.Fatal(err)
	}
	x, err := decodeIndex(append(b.Info.Index, b.Index...), &b.Info)
	if err != nil || x.search.span != 1 {
		f.Fatal(x, err)
	}
	for version := byte(1); version <= IndexVersion; version++ {
		f.Add(x.body(version), version)
	}
	f.Fuzz(func(t *testing.T, body []byte, version byte) {
		x, err := parseIndex(body, version)
		if err != nil || x.check(&b.Info) != nil {
			return
		}
		rows := int64(0)
		for _, g := range x.groups {
			rows += int64(g.Rows)
			if g.First.Compare(g.Last) > 0 || g.Offset+g.Bytes > b.Info.Bytes {
				t.Fatalf("%+v", g)
			}
		}
		if rows != b.Info.Rows {
			t.Fatalf("%d rows", rows)
		}
		for _, p := range x.search.pages[:pagesIn(version)] {
			if x.search.span > 0 && (p.bytes <= 0 || p.offset+p.bytes > b.Info.Bytes) {
				t.Fatalf("%+v", p)
			}
		}
	})
}

// FuzzGroup: no bytes make a row group panic.
func FuzzGroup(f *testing.F) {
	raw := hostileGroup(f)
	f.Add(raw.Data)
	f.Fuzz(func(_ *testing.T, data []byte) { decodeWhole(sealed(raw, data)) })
}

// FuzzCodes: codes survive the round trip, and nothing makes the decoder panic.
func FuzzCodes(f *testing.F) {
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		codes, top := make([]uint16, 0, len(data)/2), 0
		for i := 0; i+1 < len(data); i += 2 {
			codes = append(codes, binary.LittleEndian.Uint16(data[i:]))
			top = max(top, int(codes[len(codes)-1]))
		}
		if len(codes) > 0 {
			got, err := codesOf(appendCodes(nil, codes, top+1), len(codes), top+1)
			if got == nil {
				got = make([]uint16, len(codes))
			}
			if err != nil || !slices.Equal(got, codes) {
				t.Fatalf("%v: %v\nwant %v", err, got, codes)
			}
		}
		if got, err := codesOf(data, 100, 50); err == nil {
			for _, c := range got {
				if c >= 50 {
					t.Fatalf("code %d of 50", c)
				}
			}
		}
	})
}

// TestMalformedCodes: what appendCodes does not write is refused.
func TestMalformedCodes(t *testing.T) {
	const n, limit = 100, 300
	codes := make([]uint16, n)
	for i := range codes {
		codes[i] = uint16(i * i % limit)
		if i >= 40 && i < 70 {
			codes[i] = limit - 1
		}
	}
	valid := appendCodes(nil, codes, limit)
	if got, err := codesOf(valid, n, limit); err != nil || !slices.Equal(got, codes) {
		t.Fatalf("%v, %v", got, err)
	}
	run := func(width byte, count uint64, value ...byte) []byte {
		return append(binary.AppendUvarint([]byte{width}, count<<1), value...)
	}
	packed := func(width byte, groups uint64) []byte {
		return append(binary.AppendUvarint([]byte{width}, groups<<1|1), make([]byte, groups*uint64(width))...)
	}
	for what, data := range map[string][]byte{
		"a run":             run(8, n, 7),
		"a run of two":      run(9, n, 7, 1),
		"packed":            packed(3, (n+7)/8),
		"one code for all":  appendConstant(nil, n),
		"16 bits":           run(16, n, 7, 1),
		"two runs":          append(run(8, n-1, 7), 1<<1, 9),
		"packed, and a run": append(packed(8, 2), append(binary.AppendUvarint(nil, (n-16)<<1), 9)...),
	} {
		if _, err := codesOf(data, n, limit); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, data := range map[string][]byte{
		"nothing":                       {},
		"a width alone":                 {8},
		"a width of 0":                  packed(0, (n+7)/8),
		"a width of 17":                 packed(17, (n+7)/8),
		"a number that does not end":    append([]byte{8}, slices.Repeat([]byte{0xff}, 12)...),
		"no codes in a run":             run(8, 0, 7),
		"a run that is too long":        run(8, n+1, 7),
		"a run that is too short":       run(8, n-1, 7),
		"a run without its code":        run(8, n),
		"a run with half its code":      run(9, n, 7),
		"too many groups":               packed(3, (n+7)/8+1),
		"too few groups":                packed(3, (n+7)/8-1),
		"a byte more":                   append(slices.Clone(valid), 0),
		"a byte more than one code has": append(appendConstant(nil, n), 0),
		"a code beyond the dictionary":  run(16, n, 300&0xff, 300>>8),
	} {
		if got, err := codesOf(data, n, limit); err == nil {
			t.Errorf("%s: %v", what, got)
		}
	}
	for i := range valid {
		if _, err := codesOf(valid[:i], n, limit); err == nil {
			t.Errorf("the first %d bytes of %d are enough", i, len(valid))
		}
	}
	if _, err := codesOf(valid, n, limit-1); err == nil {
		t.Error("a dictionary that lacks the last code is enough")
	}
	if _, err := codesOf(valid, n, 1<<16); err != nil {
		t.Errorf("of a dictionary as large as can be: %v", err)
	}
	if _, err := codesOf(valid, n, 1<<16+1); err == nil {
		t.Error("codes have 16 bits, and the dictionary more")
	}
}

// TestMalformedPages: a page header that Writer does not write is refused, and so is a row group that ends early.
func TestMalformedPages(t *testing.T) {
	for _, want := range []page{
		{dictionary: true, plain: 5, compressed: 4, values: 3},
		{plain: 5, compressed: 4, values: 3, encoding: 8},
		{plain: 5, compressed: 4, values: 3, hasBounds: true, minValue: []byte("a"), maxValue: []byte("bcd")},
	} {
		header := want.appendHeader(nil)
		whole := append(slices.Clone(header), 1, 2, 3, 4)
		r := headerReader{b: whole}
		if got := r.page(); r.bad || r.at != len(header) || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, %d of %d bytes, bad: %v; want %+v", got, r.at, len(header), r.bad, want)
		}
		for n := range whole {
			if r := (headerReader{b: whole[:n]}); !func() bool { r.page(); return r.bad }() {
				t.Errorf("%+v: the first %d bytes of %d are enough", want, n, len(whole))
			}
		}
		for i := range header {
			for _, c := range []byte{0xff, header[i] ^ 1, header[i] + 2} {
				damaged := slices.Clone(whole)
				damaged[i] = c
				r := headerReader{b: damaged}
				if got := r.page(); !r.bad && reflect.DeepEqual(got, want) {
					t.Errorf("%+v: byte %d may be %#x", want, i, c)
				}
			}
		}
		endless := append(slices.Clone(header[:1]), slices.Repeat([]byte{0xff}, 30)...)
		if r := (headerReader{b: endless}); !func() bool { r.page(); return r.bad }() {
			t.Error("a number may be endless")
		}
	}
	raw := hostileGroup(t)
	for n := 0; n < len(raw.Data); n += 7 {
		if _, err := parseGroup(raw.Data[:n], raw.Rows); err == nil && n > 0 {
			if c, err := raw.chunks(); err != nil || n != c[columns1].start && n != c[columns2].start && n != c[columns3].start {
				t.Fatalf("the first %d bytes of %d are taken for a row group: %v", n, len(raw.Data), err)
			}
		}
	}
	if _, err := parseGroup(raw.Data, raw.Rows+1); err == nil {
		t.Error("a row group may have another number of rows")
	}
	if _, err := parseGroup(append(slices.Clone(raw.Data), 0), raw.Rows); err == nil {
		t.Error("a row group may have a byte more")
	}
}

// TestVerify finds every byte that is wrong, and says whether it hides rows or only what helps to search them.
func TestVerify(t *testing.T) {
	l, built := searchLayer(t)
	x, err := l.index(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if search, err := l.Verify(t.Context()); search || err != nil {
		t.Fatalf("a layer that is whole: %v, %v", search, err)
	}
	rowsEnd, end := x.search.pages[0].offset, int64(len(built.Data))
	last := &x.search.pages[searchPages-1]
	for _, at := range []int64{0, 3, 4, rowsEnd / 2, rowsEnd - 1, rowsEnd, last.offset + last.bytes - 1, last.offset + last.bytes, end - 1} {
		damaged := slices.Clone(built.Data)
		damaged[at] ^= 1
		if _, err := l.st.Put(t.Context(), l.object(), damaged); err != nil {
			t.Fatal(err)
		}
		search, err := open(t, l.st, built.Info).Verify(t.Context())
		wantFormatError(t, "a flipped bit", l.object(), err)
		if search != (at >= rowsEnd) {
			t.Errorf("byte %d of %d, where rows end at %d: only for searches: %v, %v", at, end, rowsEnd, search, err)
		}
	}
	if _, err := l.st.Put(t.Context(), l.object(), built.Data[:end-1]); err != nil {
		t.Fatal(err)
	}
	if _, err := open(t, l.st, built.Info).Verify(t.Context()); err == nil {
		t.Error("a layer without its last byte is whole")
	}
}
