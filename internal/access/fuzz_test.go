package access

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/seal"
)

// FuzzKeyRecord: what is read as the record of a key passes its check, and is written so that the same is read again; all else is an error
// that names the object. No record is that of another key.
func FuzzKeyRecord(f *testing.F) {
	hash := Hash("key")
	object := layout.KeyConfig(hash)
	for _, r := range []Record{
		{Name: "nfs07", Roles: []Role{Ingest}, Views: Views{Names: []string{"research"}}, CreatedAt: 5, ExpiresAt: 6},
		{Name: "alice", Roles: []Role{Query}, Views: AllViews, As: "1000:100,4711"},
	} {
		sealed, err := seal.JSON(object, r)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(sealed)
	}
	f.Add([]byte(`{"name":"a","roles":["admin"],"views":"*"} x`))
	f.Add([]byte(`{"name":"a","roles":["query"],"views":["a",""]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := DecodeRecord("keys/x", hash, body)
		if err != nil {
			if !errors.Is(err, ErrRecord) || !strings.Contains(err.Error(), "keys/x") || strings.Contains(err.Error(), hash) {
				t.Fatalf("%v", err)
			}
			return
		}
		if err := r.Check(); err != nil {
			t.Fatalf("%+v: %v", r, err)
		}
		written, err := seal.JSON(object, r)
		if err != nil {
			t.Fatal(err)
		}
		again, err := DecodeRecord("keys/x", hash, written)
		if err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		if second, err := seal.JSON(object, again); err != nil || !bytes.Equal(written, second) {
			t.Fatalf("%s\n%s, %v", written, second, err)
		}
		if _, err := DecodeRecord("keys/x", Hash("another"), written); !errors.Is(err, seal.ErrBroken) {
			t.Fatalf("it is taken for another key's: %v", err)
		}
	})
}
