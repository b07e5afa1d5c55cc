package agent

import (
	"fmt"
	"testing"

	"github.com/fustor/fustor/agent/schedule"
)

// A directory is left out by audits while its mtime stays, unless that is too young to prove anything; and each is listed all
// the same by one audit in schedule.Shares.
func TestUnchangedDirectories(t *testing.T) {
	m := newMtimes(false, 0)
	const old, now = int64(1e18), int64(1e18 + 10e9)
	m.listed("/young", now-1e9, now)
	listed := map[string]int{}
	for i := range 200 {
		m.listed(fmt.Sprint("/", i), old, now)
	}
	for n := range uint64(schedule.Shares) {
		leavesOut := leavesOut(m, n, func() {})
		if leavesOut("/young", now-1e9) {
			t.Fatal("a directory that may change without a trace is left out")
		}
		for i := range 200 {
			path := fmt.Sprint("/", i)
			if leavesOut(path, old+1) {
				t.Fatalf("%s has changed and is left out", path)
			}
			if !leavesOut(path, old) {
				listed[path]++
			}
		}
	}
	for i := range 200 {
		if path := fmt.Sprint("/", i); listed[path] != 1 {
			t.Fatalf("%s is listed %d times in %d audits", path, listed[path], schedule.Shares)
		}
	}
	if m.same("/other", old) {
		t.Fatal("a directory that was never listed is left out")
	}
	m.forget()
	if m.same("/1", old) {
		t.Fatal("what is forgotten is left out")
	}
}
