package tree

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestLooksAgree: however a directory is looked at, it is the same one; and without statx(2) all but the birth is the same.
func TestLooksAgree(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "d"), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "f"), make([]byte, 5000), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("f", filepath.Join(dir, "l")); err != nil {
		t.Fatal(err)
	}
	root, err := OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	looks := func() (looks []Info) {
		t.Helper()
		add := func(info Info, err error) {
			if err != nil {
				t.Fatal(err)
			}
			looks = append(looks, info)
		}
		for _, path := range []string{"/", "/d"} {
			d, err := root.OpenDir(path)
			if err != nil {
				t.Fatal(err)
			}
			add(d.Info())
			d.Close()
		}
		looker := root.Looker()
		defer looker.Close()
		for _, path := range []string{"/", "/d", "/f", "/l"} {
			add(looker.Lstat(path))
		}
		return looks
	}
	with := looks()
	if with[0].ID != root.Info().ID || with[0].ID != with[2].ID || with[1].ID != with[3].ID || with[0].ID == with[1].ID {
		t.Errorf("looks at the root %+v and %+v, at a directory %+v and %+v", with[0].ID, with[2].ID, with[1].ID, with[3].ID)
	}
	var st unix.Statx_t
	if err := unix.Statx(unix.AT_FDCWD, dir, 0, unix.STATX_BTIME, &st); err == nil && st.Mask&unix.STATX_BTIME != 0 && LastingDevice(with[0].ID.Dev) != 0 {
		for _, info := range with[:4] {
			if info.ID.Birth == 0 {
				t.Errorf("a directory without a birth: %+v", info)
			}
		}
	}
	noStatx.Store(true)
	defer noStatx.Store(false)
	for i, info := range looks() {
		want := with[i]
		want.ID.Birth, want.Entry.BirthS = 0, 0
		if info.ID != want.ID || info.Links != want.Links || info.Entry.Size != want.Entry.Size || info.Entry.Mode != want.Entry.Mode ||
			info.Entry.Type != want.Entry.Type || info.Entry.MtimeNs != want.Entry.MtimeNs || info.Entry.Inode != want.Entry.Inode || info.Entry.UID != want.Entry.UID {
			t.Errorf("without statx: %+v, want %+v", info, want)
		}
	}
}

// BenchmarkLstat is one look at an entry.
func BenchmarkLstat(b *testing.B) {
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "f"), nil, 0o640); err != nil {
		b.Fatal(err)
	}
	root, err := OpenRoot(dir)
	if err != nil {
		b.Fatal(err)
	}
	defer root.Close()
	d, err := root.OpenDir("/")
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	var names Names
	if err := d.Read(&names); err != nil {
		b.Fatal(err)
	}
	for _, without := range []bool{false, true} {
		b.Run(map[bool]string{false: "statx", true: "fstatat"}[without], func(b *testing.B) {
			noStatx.Store(without)
			defer noStatx.Store(false)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := d.Lstat(&names, 0); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
