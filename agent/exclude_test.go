package agent_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fustor/fustor/agent"
)

// TestExcludesAreCounted also has a file become a directory that is excluded.
func TestExcludesAreCounted(t *testing.T) {
	root := t.TempDir()
	mkdir(t, filepath.Join(root, "a"))
	mkdir(t, filepath.Join(root, "a/cache"))
	write(t, filepath.Join(root, "a/cache/x"), "x")
	write(t, filepath.Join(root, "cache"), "x")
	write(t, filepath.Join(root, "a/x.tmp"), "x")
	write(t, filepath.Join(root, "a/keep.tmp"), "x")
	r := start(t, newServer(t), root, func(o *agent.Options) { o.Excludes = []string{"cache/", "*.tmp", "!keep.tmp", "typo"} })
	r.snapshotted()
	got := map[string]uint64{}
	eventually(t, 20*time.Second, "the scan's report", func() bool {
		last := r.Status().LastScan
		for i := 0; last != nil && i < len(last.Excluded); i++ {
			got[last.Excluded[i].Pattern] = last.Excluded[i].Entries
		}
		return last != nil
	})
	if len(got) != 4 || got["cache/"] != 1 || got["*.tmp"] != 1 || got["!keep.tmp"] != 1 || got["typo"] != 0 {
		t.Errorf("left out: %v", got)
	}
	present := r.view.present()
	for path, want := range map[string]bool{"/cache": true, "/a/cache": false, "/a/x.tmp": false, "/a/keep.tmp": true} {
		if _, ok := present[path]; ok != want {
			t.Errorf("%s in the view: %v", path, ok)
		}
	}
	if err := os.Remove(filepath.Join(root, "cache")); err != nil {
		t.Fatal(err)
	}
	mkdir(t, filepath.Join(root, "cache"))
	write(t, filepath.Join(root, "cache/y"), "x")
	write(t, filepath.Join(root, "last"), "x")
	eventually(t, 20*time.Second, "the directory left out", func() bool {
		p := r.view.present()
		_, cache := p["/cache"]
		_, below := p["/cache/y"]
		_, last := p["/last"]
		return last && !cache && !below
	})
}
