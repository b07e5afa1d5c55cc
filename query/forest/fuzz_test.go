package forest

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"

	"github.com/fustor/fustor/query/engine"
)

// FuzzToken: what is taken for the cursor of a forest names views and versions of them, and is written so that the same is read again.
func FuzzToken(f *testing.F) {
	encode := func(t token) string {
		b, err := json.Marshal(t)
		if err != nil {
			f.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(b)
	}
	f.Add(encode(token{Query: 1, After: []byte("/a/\xff"), Last: "a", Members: []tokenMember{
		{View: "a", Version: 7, Nonce: "01JD0000000000000000000000"}, {View: "b", Status: Failed}}}))
	f.Add(encode(token{Query: 1}))
	f.Add("e30")
	f.Fuzz(func(t *testing.T, text string) {
		one, err := decodeToken(text, 1)
		if err != nil {
			if !errors.Is(err, engine.ErrCursor) && !errors.Is(err, engine.ErrCursorQuery) {
				t.Fatal(err)
			}
			return
		}
		for _, m := range one.Members {
			if (m.Version == 0) != (m.Status != "") && m.Status.Answered() {
				t.Fatalf("member %+v", m)
			}
		}
		written := encode(one)
		if two, err := decodeToken(written, 1); err != nil || encode(two) != written {
			t.Fatalf("%+v, %+v: %v", one, two, err)
		}
	})
}
