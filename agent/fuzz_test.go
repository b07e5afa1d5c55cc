package agent

import (
	"bytes"
	"encoding/json"
	"testing"
)

// FuzzStateFile: what is read as the state file is written so that the same is read again; what cannot be read counts as empty.
func FuzzStateFile(f *testing.F) {
	f.Add([]byte(`{"session_id":"s","secret":"x","paused":{"by":"local"},"root":"/srv","mount":"/"}`))
	f.Add([]byte(`{"session_id":5,"root":"/srv"}`))
	f.Add([]byte(`{"session_id":"s"`))
	f.Fuzz(func(t *testing.T, body []byte) {
		is := decodeState(body)
		written, err := json.Marshal(is)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := json.Marshal(decodeState(written)); err != nil || !bytes.Equal(written, second) {
			t.Fatalf("%s\n%s, %v", written, second, err)
		}
		if !json.Valid(body) && is != (remembered{}) {
			t.Fatalf("%q is read as %+v", body, is)
		}
	})
}
