package spool

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/fustor/fustor/internal/store/flock"
)

func open(t *testing.T, dir string, max int64) *Spool {
	t.Helper()
	s, err := Open(dir, max)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func put(t *testing.T, s *Spool, body string) ID {
	t.Helper()
	id, err := s.Put([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestWhatIsLeftIsThereForTheNextProcess(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "of", "view")
	s := open(t, dir, 0)
	a, b, c := put(t, s, "first"), put(t, s, "second"), put(t, s, "third")
	if err := s.Remove(b); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "00000000000000000009.seg.new"), []byte("half"), 0o600); err != nil {
		t.Fatal(err)
	}
	if flock.Supported {
		if _, err := Open(dir, 0); !errors.Is(err, flock.ErrLocked) {
			t.Errorf("a second process: %v", err)
		}
	}
	s.Close()

	s = open(t, dir, 0)
	ids, sizes := s.Left()
	if !slices.Equal(ids, []ID{a, c}) || !slices.Equal(sizes, []int64{5, 5}) {
		t.Errorf("left %v of sizes %v", ids, sizes)
	}
	if body, err := s.Get(c); err != nil || string(body) != "third" {
		t.Errorf("third: %q, %v", body, err)
	}
	if d := put(t, s, "fourth"); d <= c {
		t.Errorf("number %d comes after %d", d, c)
	}
	if st := s.Status(); st.Bytes != 16 || st.Segments != 3 || st.Err != nil {
		t.Errorf("status %+v", st)
	}
	if files, _ := filepath.Glob(filepath.Join(dir, "*.new")); len(files) > 0 {
		t.Errorf("left behind: %v", files)
	}
}

func TestBound(t *testing.T) {
	s := open(t, t.TempDir(), 10)
	a := put(t, s, "1234567")
	if _, err := s.Put([]byte("8901")); !errors.Is(err, ErrFull) || !errors.Is(s.Status().Err, ErrFull) {
		t.Errorf("past the bound: %v, status %+v", err, s.Status())
	}
	if err := s.Remove(a); err != nil {
		t.Fatal(err)
	}
	put(t, s, "89")
	if _, err := s.Put([]byte("123456789")); err == nil {
		t.Error("no error")
	}
	if s.Probe(); s.Status().Err == nil {
		t.Error("there is no room for it")
	}
	put(t, s, "01")
	if st := s.Status(); st.Bytes != 4 || st.Err != nil {
		t.Errorf("status %+v", st)
	}
}

func TestDirectoryThatIsNone(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(filepath.Join(file, "spool"), 0); err == nil {
		t.Error("no error")
	}
	dir := t.TempDir()
	s := open(t, dir, 0)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Put([]byte("x")); err == nil || s.Status().Bytes != 0 {
		t.Errorf("error %v, status %+v", err, s.Status())
	}
	if s.Probe(); s.Status().Err == nil {
		t.Error("it works without its directory")
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if s.Probe(); s.Status() != (Status{Max: DefaultMax}) {
		t.Errorf("status %+v", s.Status())
	}
}
