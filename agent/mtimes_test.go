package agent

import (
	"fmt"
	"testing"

	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/schedule"
)

// heard is for audits of a tree in which every directory has notices.
func heard(string) bool { return false }

// A directory is left out by audits while its mtime stays, unless that is too young to prove anything; and each is listed all
// the same by one audit in schedule.Shares.
func TestUnchangedDirectories(t *testing.T) {
	m := newMtimes(false, 0)
	const old, now = int64(1e18), int64(1e18 + 10e9)
	m.listed("/young", now-1e9, scan.Content{}, now)
	listed := map[string]int{}
	for i := range 200 {
		m.listed(fmt.Sprint("/", i), old, scan.Content{Sum: 7}, now)
	}
	for n := range uint64(schedule.Shares) {
		changed := 0
		look := auditLook(m, n, heard, func() { changed++ })
		if look("/young", now-1e9) != scan.List {
			t.Fatal("a directory that may change without a trace is left out")
		}
		for i := range 200 {
			path := fmt.Sprint("/", i)
			if look(path, old+1) != scan.List {
				t.Fatalf("%s has changed and is left out", path)
			}
			if look(path, old) != scan.Skip {
				listed[path]++
			}
		}
		if changed != 201 {
			t.Fatalf("%d directories have changed, not 201", changed)
		}
	}
	for i := range 200 {
		if path := fmt.Sprint("/", i); listed[path] != 1 {
			t.Fatalf("%s is listed %d times in %d audits", path, listed[path], schedule.Shares)
		}
	}
	if _, ok := m.at("/other"); ok {
		t.Fatal("a directory that was never listed is left out")
	}
	m.forget()
	if _, ok := m.at("/1"); ok {
		t.Fatal("what is forgotten is left out")
	}
}

// An audit compares the entries of an unchanged directory where files have several names, with what they were when it was listed last.
func TestLinkedFilesAreCompared(t *testing.T) {
	m := newMtimes(false, 0)
	const old, now = int64(1e18), int64(1e18 + 10e9)
	was := scan.Content{Sum: 7, Linked: true}
	m.listed("/d", old, was, now)
	changed := 0
	look, same := auditLook(m, share("/d")+1, heard, func() { changed++ }), auditSame(m, func() { changed++ })
	if look("/d", old) != scan.Compare || !same("/d", was) || changed != 0 {
		t.Error("a directory that is as it was is not left out")
	}
	if same("/d", scan.Content{Sum: 8, Linked: true}) || changed != 1 {
		t.Error("a directory with other entries is left out")
	}
}

// A directory that no notice tells of is listed by every audit.
func TestUnheardDirectoriesAreListed(t *testing.T) {
	m := newMtimes(false, 0)
	const old, now = int64(1e18), int64(1e18 + 10e9)
	m.listed("/d", old, scan.Content{Sum: 7}, now)
	for n := range uint64(schedule.Shares) {
		changed := 0
		look := auditLook(m, n, func(path string) bool { return path == "/d" }, func() { changed++ })
		if look("/d", old) != scan.List || changed != 0 {
			t.Errorf("of %d shares, number %d: the directory is left out, or counts as changed", schedule.Shares, n)
		}
	}
}

// A directory that a scan of the whole tree has not met is listed when it is there again, even with the mtime that it had.
func TestDirectoriesThatWereAwayAreListed(t *testing.T) {
	m := newMtimes(false, 0)
	const old, now = int64(1e18), int64(1e18 + 10e9)
	for _, path := range []string{"/stays", "/away", "/mounted"} {
		m.listed(path, old, scan.Content{Sum: 7}, now)
	}
	look := auditLook(m, share("/stays")+1, heard, func() {})
	m.begin()
	if got := look("/stays", old); got != scan.Skip {
		t.Fatalf("what has not changed is to be looked at: %d", got)
	}
	m.listed("/mounted", 0, scan.Content{}, now)
	m.end()
	for path, want := range map[string]scan.Look{"/stays": scan.Skip, "/away": scan.List, "/mounted": scan.List} {
		if m, ok := m.at(path); ok != (want == scan.Skip) {
			t.Errorf("of %s is remembered %+v, %v", path, m, ok)
		}
	}
}
