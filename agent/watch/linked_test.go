package watch

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/fustor/fustor/internal/event"
)

// TestOtherNamesInADirectoryFollow: a write through one name of a file is emitted of its other names in the same directory, too.
func TestOtherNamesInADirectoryFollow(t *testing.T) { onEach(t, testOtherNamesInADirectoryFollow) }

func testOtherNamesInADirectoryFollow(t *testing.T, method string) {
	r := newRig(t, method, nil)
	path := func(name string) string { return filepath.Join(r.root, name) }
	must(t, os.Mkdir(path("d"), 0o755))
	must(t, os.WriteFile(path("d/f"), []byte("short"), 0o644))
	must(t, os.WriteFile(path("d/other"), []byte("short"), 0o644))
	for _, name := range []string{"d/again", "d/left.tmp"} {
		must(t, os.Link(path("d/f"), path(name)))
	}
	r.coverAll(t)
	must(t, os.WriteFile(path("d/f"), []byte("longer than before"), 0o644))
	for _, name := range []string{"/d/f", "/d/again"} {
		r.sees(t, name, func(ev event.Event) bool { return isPut(name, true)(ev) && ev.Entry.Size == 18 })
	}
	must(t, os.Chmod(path("d/again"), 0o600))
	r.sees(t, "/d/f", func(ev event.Event) bool { return isPut("/d/f", true)(ev) && ev.Entry.Mode == 0o600 })
	for _, ev := range r.events() {
		if ev.Path == "/d/left.tmp" || ev.Path == "/d/other" && ev.Entry.Size == 18 {
			t.Errorf("%s of %q", ev.Kind, ev.Path)
		}
	}
}
