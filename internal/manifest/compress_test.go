package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/fustor/fustor/internal/layer"
)

// TestLargeManifestsAreCompressed large manifest is kept compressed, a small one is JSON to look at; both are read back, and damage is no panic.
func TestLargeManifestsAreCompressed(t *testing.T) {
	for _, n := range []int{1, 100} {
		m := &Manifest{Format: Format, View: "v", Version: 7, Nonce: "n"}
		for i := range n {
			m.Base = append(m.Base, layer.Info{ID: fmt.Sprintf("01ARZ3NDEKTSV4RRFFQ69G5%03d", i), Rows: 1 << 20, Bytes: int64(i)*7919 + 16e6,
				First: layer.KeyOf(fmt.Sprintf("/projects/p%03d/raw/run/IMG_0001.jpg", i)), Last: layer.KeyOf(fmt.Sprintf("/projects/p%03d/raw/z", i))})
		}
		body, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if compressed := !bytes.HasPrefix(body, []byte("{")); compressed != (n == 100) || len(body) > 8<<10 {
			t.Fatalf("%d partitions take %d bytes, compressed: %v", n, len(body), compressed)
		}
		back, err := Decode("head", body)
		if err != nil || len(back.Base) != n || back.Base[n-1].Last != m.Base[n-1].Last || back.Version != 7 {
			t.Fatalf("%+v, %v", back, err)
		}
		for i := range body {
			torn := bytes.Clone(body[:i])
			if _, err := Decode("head", torn); !errors.Is(err, ErrFormat) {
				t.Fatalf("cut after %d bytes: %v", i, err)
			}
		}
	}
}
