package agent

import (
	"fmt"
	"testing"

	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/schedule"
)

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
		look := auditLook(m, n, func() { changed++ })
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
	look, same := auditLook(m, share("/d")+1, func() { changed++ }), auditSame(m, func() { changed++ })
	if look("/d", old) != scan.Compare || !same("/d", was) || changed != 0 {
		t.Error("a directory that is as it was is not left out")
	}
	if same("/d", scan.Content{Sum: 8, Linked: true}) || changed != 1 {
		t.Error("a directory with other entries is left out")
	}
}
