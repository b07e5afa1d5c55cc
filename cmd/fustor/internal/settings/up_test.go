package settings

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

func TestKeepKey(t *testing.T) {
	data := t.TempDir()
	generated := 0
	generate := func() string { generated++; return "made" }
	for _, c := range []struct{ given, want string }{{"", "made"}, {"", "made"}, {"mine", "mine"}, {"", "mine"}} {
		key, err := KeepKey(data, c.given, generate)
		if err != nil || key != c.want {
			t.Fatalf("given %q: %q, %v", c.given, key, err)
		}
	}
	if generated != 1 {
		t.Errorf("%d keys were made", generated)
	}
	info, err := os.Stat(filepath.Join(data, "api-key"))
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(filepath.Join(data, "api-key"), []byte("two words\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if key, err := KeepKey(data, "", generate); err == nil {
		t.Errorf("a spoiled key file gave %q", key)
	}
}

func TestUpComesAndGoes(t *testing.T) {
	data := t.TempDir()
	if _, err := ReadUp(data); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := WriteUp(data, Up{URL: "http://127.0.0.1:1", View: "v", PID: 7}); err != nil {
		t.Fatal(err)
	}
	up, err := ReadUp(data)
	if err != nil || up != (Up{URL: "http://127.0.0.1:1", View: "v", PID: 7, APIKeyFile: "api-key"}) {
		t.Fatalf("%+v, %v", up, err)
	}
	if err := RemoveUp(data, 8); err != nil { // another process has taken over
		t.Fatal(err)
	}
	if _, err := ReadUp(data); err != nil {
		t.Fatal("another's up.json was removed")
	}
	if err := RemoveUp(data, 7); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadUp(data); !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	left, err := os.ReadDir(data)
	if err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
