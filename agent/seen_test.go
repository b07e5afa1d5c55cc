package agent

import (
	"fmt"
	"testing"
)

// A directory is left out while its mtime stays, unless that is too young to prove anything; and each is listed all the same
// once in restatShare audits.
func TestSeenDirectories(t *testing.T) {
	s := newSeen(false)
	const old, now = int64(1e18), int64(1e18 + 10e9)
	s.listed("/young", now-1e9, now)
	listed := map[string]int{}
	for i := range 200 {
		s.listed(fmt.Sprint("/", i), old, now)
	}
	for n := range uint64(restatShare) {
		if s.unchanged("/young", now-1e9, n) {
			t.Fatal("a directory that may change without a trace is left out")
		}
		for i := range 200 {
			path := fmt.Sprint("/", i)
			if s.unchanged(path, old+1, n) {
				t.Fatalf("%s has changed and is left out", path)
			}
			if !s.unchanged(path, old, n) {
				listed[path]++
			}
		}
	}
	for i := range 200 {
		if path := fmt.Sprint("/", i); listed[path] != 1 {
			t.Fatalf("%s is listed %d times in %d audits", path, listed[path], restatShare)
		}
	}
	if s.unchanged("/other", old, 0) && s.unchanged("/other", old, 1) {
		t.Fatal("a directory that was never listed is left out")
	}
	s.forget()
	if s.unchanged("/1", old, 0) || s.unchanged("/1", old, 1) {
		t.Fatal("what is forgotten is left out")
	}
}
