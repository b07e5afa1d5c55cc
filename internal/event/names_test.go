package event

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// TestNamesTravel has names of owners among events, a listing over several blocks among those, and none of the events is lost.
func TestNamesTravel(t *testing.T) {
	var b bytes.Buffer
	w, err := NewWriter(&b, Header{View: "v", Session: "s", Agent: "a", Source: "fs://h/x", Nonce: "n"})
	if err != nil {
		t.Fatal(err)
	}
	met := map[[2]uint32]bool{}
	w.OnOwner(func(uid, gid uint32) { met[[2]uint32{uid, gid}] = true })
	list := &Event{Kind: Listing, Evidence: Snapshot, ObservedAt: 1, Path: "/", Entry: Entry{Type: Directory, UID: 7, GID: 8}}
	for i := range 2*blockRows + 10 {
		list.Entries = append(list.Entries, Entry{Name: fmt.Sprintf("%06d", i), Type: File, UID: uint32(i % 3)})
	}
	if err := w.Add(list); err != nil {
		t.Fatal(err)
	}
	var names []OwnerName
	for i := range 2*namesPerRecord + 7 {
		names = append(names, OwnerName{i%2 == 0, uint32(i), strings.Repeat("ü", 1+i%128), int64(i) * 1e9 * int64(1-i%3)})
	}
	if err := w.AddNames(append(slices.Clone(names), OwnerName{Name: "bad\n"}, OwnerName{Name: ""})); err != nil {
		t.Fatal(err)
	}
	if err := w.Add(&Event{Kind: Delete, Evidence: Realtime, ObservedAt: 2, Path: "/gone"}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if len(met) != 4 || !met[[2]uint32{7, 8}] || !met[[2]uint32{2, 0}] {
		t.Errorf("the owners that were met: %v", met)
	}
	r, err := NewReader("test", &b, Limits{})
	if err != nil {
		t.Fatal(err)
	}
	events := 0
	for {
		ev, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if events++; ev.Kind == Listing && len(ev.Entries) != len(list.Entries) {
			t.Errorf("%d entries", len(ev.Entries))
		}
	}
	if events != 2 || !slices.Equal(r.Names(), names) {
		t.Errorf("%d events and %d names", events, len(r.Names()))
	}
}

func TestNamesAreBounded(t *testing.T) {
	w, err := NewWriter(io.Discard, Header{View: "v", Session: "s", Agent: "a", Source: "fs://h/x", Nonce: "n"})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.AddNames(make([]OwnerName, MaxOwnerNames+1)); !errors.Is(err, ErrFull) {
		t.Error(err)
	}
	for name, want := range map[string]bool{
		"alice": true, `LAB\Domain Users`: true, "1000": true, "Jürgen": true, "名": true, strings.Repeat("x", 256): true,
		"": false, "a\x00": false, "a\x1b[0m": false, "\xff": false, "a\u202eb": false, "a\u0085": false, strings.Repeat("x", 257): false,
	} {
		if ValidOwnerName(name) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}
