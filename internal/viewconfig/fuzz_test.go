package viewconfig

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

// FuzzDecode: what is read as the settings of a view passes their check, and is written so that the same is read again; all else is an
// error that names the object.
func FuzzDecode(f *testing.F) {
	forest := Default("v")
	forest.Members = []string{"a", "scratch-*"}
	named := Default("v")
	named.Mounts, named.OpenTo, named.Live = []string{"/srv/lab"}, []string{"socket", "group:staff"}, true
	for _, c := range []Config{Default("v"), forest, named} {
		body, err := c.Encode()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body)
	}
	f.Add([]byte(`{"view_id":"v","hot_s":1e2,"keep_within_s":-1}`))
	f.Add([]byte(`{"view_id":"v"} {}`))
	f.Add([]byte(`{"view_id":"v","max_entries":1e3,"mounts":["/a/../b"]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		c, err := Decode("config/v", "v", body)
		if err != nil {
			if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "config/v") {
				t.Fatalf("%v", err)
			}
			return
		}
		if err := c.Check(); err != nil {
			t.Fatalf("%+v: %v", c, err)
		}
		written, err := c.Encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := Decode("config/v", "v", written)
		if err != nil {
			t.Fatalf("%v\n%s", err, written)
		}
		if second, err := again.Encode(); err != nil || !bytes.Equal(written, second) {
			t.Fatalf("%s\n%s, %v", written, second, err)
		}
	})
}
