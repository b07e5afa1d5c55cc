package spool

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzFiles: whatever files a spool's directory has, what it says is left can be read and removed, and nothing that is put comes before it
// or in its place.
func FuzzFiles(f *testing.F) {
	f.Add("00000000000000000007.seg", "00000000000000000008.seg.new", []byte("a segment"))
	f.Add("7.seg", "18446744073709551615.seg", []byte{})
	f.Add("+0000000000000000007.seg", ".seg", []byte("x"))
	f.Add("lock", "00000000000000000000.seg", []byte("x"))
	f.Fuzz(func(t *testing.T, one, two string, body []byte) {
		dir := t.TempDir()
		for _, name := range []string{one, two} {
			if name == "lock" || strings.ContainsAny(name, "/\x00") || name == "." || name == ".." || len(name) > 200 || name == "" {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, name), body, 0o600); err != nil {
				t.Skip()
			}
		}
		s, err := Open(dir, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		ids, sizes := s.Left()
		put, err := s.Put([]byte("new"))
		if err != nil {
			t.Fatal(err)
		}
		for i, id := range ids {
			if got, err := s.Get(id); err != nil || !bytes.Equal(got, body) || int64(len(got)) != sizes[i] {
				t.Fatalf("%d: %q, %v", id, got, err)
			}
			if id >= put {
				t.Fatalf("%d is put before %d", put, id)
			}
			if err := s.Remove(id); err != nil {
				t.Fatal(err)
			}
			if _, err := s.Get(id); err == nil {
				t.Fatalf("%d is still there", id)
			}
		}
		if st := s.Status(); st.Segments != 1 || st.Bytes != 3 {
			t.Fatalf("%+v", st)
		}
	})
}
