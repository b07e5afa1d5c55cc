package job

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/seal"
)

// FuzzJob: what is read as a job is written so that the same is read again; all else is an error that names the object.
func FuzzJob(f *testing.F) {
	const key = "views/v/commands/s/01KBS2N8ZK4T6W1Q9R3V5X7Y2A.json"
	uid := uint32(1000)
	j := Job{ID: "01KBS2N8ZK4T6W1Q9R3V5X7Y2A", View: "v", Kind: Scan, Session: "s", UID: &uid, Path: []byte("/a\xff"), Recursive: true, State: Running, LastSeq: -1, Nonce: "n"}
	sealed, err := seal.JSON(key, j)
	if err != nil {
		f.Fatal(err)
	}
	plain, err := json.Marshal(j)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(sealed)
	f.Add(plain)
	f.Add([]byte(`{"path":"!","state":5}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		j, err := decode(key, body)
		if err != nil {
			if j != nil || !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), key) {
				t.Fatalf("%v, and %v", j, err)
			}
			return
		}
		if c := j.Command(); c.Type == "" || c.ID != j.ID || !bytes.Equal(c.Path, j.Path) {
			t.Fatalf("its command is %+v", c)
		}
		written, err := seal.JSON(key, j)
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(key, written)
		if err != nil {
			t.Fatal(err)
		}
		if second, err := seal.JSON(key, again); err != nil || !bytes.Equal(written, second) {
			t.Fatalf("%s\n%s, %v", written, second, err)
		}
	})
}
