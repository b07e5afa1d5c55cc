package history

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/seal"
)

// FuzzPins: what is read as the pins of a view is written so that the same is read again; all else is an error that names the object.
func FuzzPins(f *testing.F) {
	const key = "views/v/pins.json"
	sealed, err := seal.JSON(key, pinsObject{pinsFormat, "n", Pins{"before-cleanup": {7, 5, 6}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add([]byte(`{"format":1,"pins":{"a":{"version":1},"":null}}`))
	f.Add([]byte(`{"format":2}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		pins, err := decodePins(key, body)
		if err != nil {
			if pins != nil || !errors.Is(err, ErrPins) || !strings.Contains(err.Error(), key) {
				t.Fatalf("%v, and %v", pins, err)
			}
			return
		}
		written, err := seal.JSON(key, pinsObject{pinsFormat, "n", pins})
		if err != nil {
			t.Fatal(err)
		}
		again, err := decodePins(key, written)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := seal.JSON(key, pinsObject{pinsFormat, "n", again}); err != nil || !bytes.Equal(written, second) {
			t.Fatalf("%s\n%s, %v", written, second, err)
		}
	})
}
