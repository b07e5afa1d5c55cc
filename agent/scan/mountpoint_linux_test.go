package scan

import (
	"maps"
	"slices"
	"testing"

	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
)

// TestScanBelowWhatIsLeftOut: a scan that is asked for below a mount that is left out says that the mount point has nothing in it, and
// nothing of what is asked for, which has no row.
func TestScanBelowWhatIsLeftOut(t *testing.T) {
	root, err := tree.OpenRoot("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	mounts, err := tree.OS.Mounts("/")
	if err != nil || mounts["/proc"].Type != "proc" {
		t.Skipf("needs proc on /proc: %v, %+v", err, mounts["/proc"])
	}
	excludes, err := tree.NewExcludes(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, cross := range []bool{false, true} {
		for _, path := range []string{"/proc", "/proc/sys", "/proc/sys/kernel"} {
			c, counts := newCollector(), &Counts{}
			c.ranges["/"] = [][2]string{{}} // as if the root had been listed
			var pseudo []string
			cfg := Config{Root: root, Excludes: excludes, Now: counter(), CrossFilesystems: cross, Mounts: mounts}
			err := Run(t.Context(), cfg, &Receiver{
				Evidence: event.OnDemand, Emit: c.emit, Counts: counts, Pseudo: func(path, kind string) { pseudo = append(pseudo, path+" "+kind) },
			}, path)
			if err != nil {
				t.Fatal(err)
			}
			if listed := slices.Sorted(maps.Keys(c.ranges)); !slices.Equal(listed, []string{"/", "/proc"}) || len(c.entries) > 0 || len(c.problems) > 0 {
				t.Errorf("cross %v: the scan of %s lists %q and has %d entries; problems %q", cross, path, listed, len(c.entries), c.problems)
			}
			if told := slices.Equal(pseudo, []string{"/proc proc"}); told != cross || counts.Errors.Load() > 0 {
				t.Errorf("cross %v: the scan of %s tells of %q, with %d errors", cross, path, pseudo, counts.Errors.Load())
			}
		}
	}
}
