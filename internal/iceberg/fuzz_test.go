package iceberg

import "testing"

// FuzzManifest: a manifest that somebody damaged is refused, and one that is read can be written, and read again as the same files.
func FuzzManifest(f *testing.F) {
	body, err := encodeManifest(Schema{}, contentDeletes, []entry{{Status: 1}, {Status: 2}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(body)
	f.Add([]byte("Obj\x01"))
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<14 {
			t.Skip()
		}
		entries, err := decodeManifest(body)
		if err != nil {
			return
		}
		written, err := encodeManifest(Schema{}, contentDeletes, entries)
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if again, err := decodeManifest(written); err != nil || len(again) != len(entries) {
			t.Errorf("%d files are %d after another time: %v", len(entries), len(again), err)
		}
	})
}
