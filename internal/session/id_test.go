package session

import (
	"bytes"
	"testing"
	"time"
)

func TestIDs(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000)
	a, err := NewID(now, bytes.NewReader(make([]byte, 64)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := NewID(now.Add(time.Millisecond), bytes.NewReader(make([]byte, 64)))
	if err != nil {
		t.Fatal(err)
	}
	if !ValidID(a) || !ValidID(b) || a >= b {
		t.Errorf("%q, %q", a, b)
	}
	for _, bad := range []string{"", a[:len(a)-1], a + "0", "x" + a[1:len(a)-1] + "/", "../" + a[3:], a[:26] + "_" + a[27:], a[:42] + "G"} {
		if ValidID(bad) {
			t.Errorf("%q counts as an id", bad)
		}
	}
	if _, err := NewID(now, bytes.NewReader(nil)); err == nil {
		t.Error("no randomness, and no error")
	}
}
