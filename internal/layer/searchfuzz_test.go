package layer

import (
	"bytes"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// FuzzSearchPage: a page of the search index that is taken has one bit for each of its slots and columns, and stands for the same set of
// slots when it is written again; all else is an error that names the layer.
func FuzzSearchPage(f *testing.F) {
	columns := make([]*slotSet, 11)
	for i := range columns {
		columns[i] = &slotSet{}
		columns[i].add(uint32(i * 37))
		columns[i].add(searchSlots - 1 - uint32(i))
	}
	for _, page := range []int{0, searchPages - 1} {
		f.Add(transposed(columns, page), uint8(page), uint8(len(columns)))
	}
	f.Add([]byte{}, uint8(0), uint8(1))
	l := New(nil, "v", Info{ID: id(1)}, NewCache(1<<20))
	z, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, plain []byte, page, width uint8) {
		at, n := int(page)%searchPages, int(width)%64+1
		body := z.EncodeAll(plain, nil)
		got, err := l.plainPage(&searchSection{span: 1}, at, body, n, nil)
		_, slots := pageSlots(at)
		if err != nil {
			if !isFormat(err) || len(plain) == slots*((n+7)/8) {
				t.Fatal(err)
			}
			return
		}
		if !bytes.Equal(got, plain) {
			t.Fatal("other bytes")
		}
		read := make([]*slotSet, n)
		for i := range read {
			read[i] = &slotSet{}
		}
		addPage(read, at, got)
		again := make([]*slotSet, n)
		for i := range again {
			again[i] = &slotSet{}
		}
		addPage(again, at, transposed(read, at))
		for i := range read {
			if *read[i] != *again[i] {
				t.Fatalf("column %d is not written as it was read", i)
			}
		}
	})
}
