package manifest

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
)

// FuzzDecode: whatever is read as a manifest is written so that the same is read again; all else is ErrFormat.
func FuzzDecode(f *testing.F) {
	m := &Manifest{Format: Format, View: "v", Version: 7, Nonce: "n"}
	sealed, err := m.Encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte(`{"format":1,"view":"v","version":3,"nonce":"x","totals":{"bytes":-5},"base":[{"key":"k","rows":4}]}`))
	f.Add([]byte("\x28\xb5\x2f\xfd\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		m, err := Decode("fuzz", body)
		if err != nil {
			if m != nil || !errors.Is(err, ErrFormat) {
				t.Fatalf("%v, and %v", m, err)
			}
			return
		}
		if strings.Contains(m.Key(), ",") { // no view has such a name, and no object such a key
			return
		}
		again, err := m.Encode()
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		second, err := Decode("fuzz", again)
		if err != nil {
			t.Fatalf("what was read cannot be read again: %v", err)
		}
		if third, err := second.Encode(); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%s\n%s, %v", again, third, err)
		}
	})
}

// FuzzDecodeNames is FuzzDecode of names of owners, of which every one that is read can be shown.
func FuzzDecodeNames(f *testing.F) {
	n, _ := (*Names)(nil).With(map[string][]event.OwnerName{"fs://a/\xff": {{ID: 1, Name: "alice", ResolvedAt: 5}, {Group: true, ID: 1, Name: "staff", ResolvedAt: 6}}})
	sealed, err := n.Encode("k")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte(`{"format":1,"sources":[{"source":"eA==","users":[{"id":1,"name":"a\u202eb","resolved_at_ns":-1}]}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := DecodeNames("k", body)
		if err != nil {
			if n != nil || !errors.Is(err, ErrFormat) {
				t.Fatalf("%v, and %v", n, err)
			}
			return
		}
		again, err := n.Encode("k")
		if err != nil {
			t.Fatal(err)
		}
		second, err := DecodeNames("k", again)
		if err != nil {
			t.Fatal(err)
		}
		if third, err := second.Encode("k"); err != nil || !bytes.Equal(again, third) {
			t.Fatalf("%s\n%s, %v", again, third, err)
		}
	})
}
