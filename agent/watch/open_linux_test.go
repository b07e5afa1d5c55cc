package watch

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/testkit/wait"
)

// after keeps the events that come from now on.
func (r *rig) after() (puts func(path string) []event.Event) {
	n := len(r.events())
	return func(path string) (puts []event.Event) {
		for _, ev := range r.events()[n:] {
			if ev.Kind == event.Put && ev.Path == path {
				puts = append(puts, ev)
			}
		}
		return puts
	}
}

func hotFor(d time.Duration) func(*Config) {
	return func(c *Config) { c.Hot = func() time.Duration { return d } }
}

// A writer that maps its file and closes it changes it without a notice, until it unmaps it.
func TestMappedFileStaysUnfinished(t *testing.T) { onEach(t, testMappedFileStaysUnfinished) }

func testMappedFileStaysUnfinished(t *testing.T, method string) {
	r := newRig(t, method, hotFor(200*time.Millisecond))
	r.coverAll(t)
	f, err := os.Create(filepath.Join(r.root, "f"))
	must(t, err)
	must(t, f.Truncate(1<<20))
	mapped, err := unix.Mmap(int(f.Fd()), 0, 1<<20, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	must(t, f.Close())
	first := r.sees(t, "a put while it is mapped", isPut("/f", false))
	mapped[4096] = 1
	must(t, unix.Msync(mapped, unix.MS_SYNC))
	r.sees(t, "what the mapping has changed", func(ev event.Event) bool {
		return isPut("/f", false)(ev) && ev.Entry.MtimeNs > first.Entry.MtimeNs
	})
	must(t, os.Chmod(filepath.Join(r.root, "f"), 0o600)) // a notice that is of no closing
	r.sees(t, "its new mode", func(ev event.Event) bool { return isPut("/f", false)(ev) && ev.Entry.Mode&0o777 == 0o600 })
	must(t, os.Rename(filepath.Join(r.root, "f"), filepath.Join(r.root, "g")))
	r.sees(t, "it under its other name", isPut("/g", false))
	for _, ev := range r.events() {
		if isPut("/f", true)(ev) || isPut("/g", true)(ev) {
			t.Errorf("finished while it is mapped: %s", r.text())
		}
	}
	must(t, unix.Munmap(mapped))
	r.sees(t, "a put once it is unmapped", isPut("/g", true))
}

// The looks at open files end with the closing, and with the file. Files that nobody was seen writing to are not looked at again.
func TestLooksAtOpenFilesEnd(t *testing.T) { onEach(t, testLooksAtOpenFilesEnd) }

func testLooksAtOpenFilesEnd(t *testing.T, method string) {
	r := newRig(t, method, hotFor(100*time.Millisecond))
	r.coverAll(t)
	open := map[string]*os.File{}
	for _, name := range []string{"closed", "deleted", "beat"} {
		f, err := os.Create(filepath.Join(r.root, name))
		must(t, err)
		defer f.Close()
		_, err = f.WriteString("some")
		must(t, err)
		open[name] = f
		r.sees(t, "a put while it is open", isPut("/"+name, false))
	}
	// A name that was made by a link, whose other name is gone when it is looked at, seems new and not closed.
	must(t, os.WriteFile(filepath.Join(r.root, "x.tmp"), nil, 0o600)) // excluded
	must(t, os.Link(filepath.Join(r.root, "x.tmp"), filepath.Join(r.root, "linked")))
	must(t, os.Remove(filepath.Join(r.root, "x.tmp")))
	r.sees(t, "the link", func(ev event.Event) bool { return ev.Kind == event.Put && ev.Path == "/linked" })
	must(t, open["closed"].Close())
	must(t, os.Remove(filepath.Join(r.root, "deleted")))
	r.sees(t, "the closing", isPut("/closed", true))
	r.sees(t, "the deletion", isDelete("/deleted"))
	later := r.after()
	wait.For(t, 10*time.Second, "five looks at the file that is open", func() bool { return len(later("/beat")) >= 5 })
	for _, path := range []string{"/closed", "/deleted", "/linked"} {
		if puts := later(path); len(puts) > 0 {
			t.Errorf("%s is looked at %d times more", path, len(puts))
		}
	}
}

// A file that two programs have open is unfinished until the last of them has closed it, however long that one is silent.
func TestOneOfTwoWritersCloses(t *testing.T) { onEach(t, testOneOfTwoWritersCloses) }

func testOneOfTwoWritersCloses(t *testing.T, method string) {
	r := newRig(t, method, hotFor(200*time.Millisecond))
	r.coverAll(t)
	name := filepath.Join(r.root, "f")
	first, err := os.Create(name)
	must(t, err)
	second, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND, 0)
	must(t, err)
	defer second.Close()
	reader, err := os.Open(name)
	must(t, err)
	defer reader.Close()
	_, err = first.WriteString("some")
	must(t, err)
	r.sees(t, "a put while both are open", isPut("/f", false))
	must(t, first.Close())
	puts := r.after()
	wait.For(t, 5*time.Second, "two looks at what one has closed", func() bool { return len(puts("/f")) >= 2 })
	must(t, os.Chmod(name, 0o600))
	r.sees(t, "its new mode", func(ev event.Event) bool { return isPut("/f", false)(ev) && ev.Entry.Mode&0o777 == 0o600 })
	for _, ev := range r.events() {
		if isPut("/f", true)(ev) {
			t.Errorf("finished while one has it open: %s", r.text())
		}
	}
	must(t, second.Close())
	r.sees(t, "a put once both have closed it, though one reads it", isPut("/f", true))
}
