package tree

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// TestMountsBelow: lines of /proc/self/mountinfo, and what is mounted below /srv/lab.
func TestMountsBelow(t *testing.T) {
	const disk = "1 0 8:1 / / rw - ext4 /dev/sda1 rw\n"
	for _, c := range []struct{ name, lines, want string }{
		{"nothing", disk, ""},
		{"mounts elsewhere", disk + "2 1 0:5 / /srv/laboratory rw - tmpfs none rw\n3 1 0:6 / /proc rw - proc none rw\n", ""},
		{"another file system", disk + "2 1 0:5 / /srv/lab/a rw,noatime shared:1 master:2 - tmpfs none rw\n", "/a=tmpfs"},
		{"names with blanks", disk + `2 1 0:5 / /srv/lab/a\040b\134c rw - tmpfs none rw` + "\n", `/a b\c=tmpfs`},
		{"the root's own, and two of them", disk + "2 1 0:5 / /srv/lab rw - tmpfs none rw\n3 2 0:6 / /srv/lab rw - ext4 none rw\n4 3 0:7 / /srv/lab/a rw - proc none rw\n", "/a=proc"},
		{"one on another", disk + "2 1 0:5 / /srv/lab/a rw - tmpfs none rw\n3 2 0:6 / /srv/lab/a rw - proc none rw\n", "/a=proc"},
		{"one tucked beneath another", disk + "3 2 0:6 / /srv/lab/a rw - proc none rw\n2 1 0:5 / /srv/lab/a rw - tmpfs none rw\n", "/a=proc"},
		{"one hidden by a later one above", disk + "2 1 0:5 / /srv/lab/a/b rw - proc none rw\n3 1 0:6 / /srv/lab/a rw - tmpfs none rw\n", "/a=tmpfs"},
		{"below one that is hidden", disk + "2 1 0:5 / /srv/lab/a rw - tmpfs none rw\n3 2 0:6 / /srv/lab/a/b rw - tmpfs none rw\n4 2 0:7 / /srv/lab/a rw - ext4 none rw\n", "/a=ext4"},
		{"nested", disk + "2 1 0:5 / /srv/lab/a rw - tmpfs none rw\n3 2 0:6 / /srv/lab/a/b rw - proc none rw\n", "/a=tmpfs /a/b=proc"},
		{"hidden from the root", disk + "2 1 0:5 / /srv/lab/a rw - tmpfs none rw\n3 1 0:6 / /srv rw - ext4 none rw\n", ""},

		{"a directory of the tree once more", disk + "2 1 8:1 /srv/lab/a /srv/lab/b rw - ext4 /dev/sda1 rw\n", "/b=ext4 again"},
		{"the tree in itself", disk + "2 1 8:1 /srv/lab /srv/lab/b rw - ext4 /dev/sda1 rw\n", "/b=ext4 again"},
		{"the whole file system in the tree", disk + "2 1 8:1 / /srv/lab/b rw - ext4 /dev/sda1 rw\n", "/b=ext4 again"},
		{"a directory on itself", disk + "2 1 8:1 /srv/lab/a /srv/lab/a rw - ext4 /dev/sda1 rw\n", "/a=ext4"},
		{"a directory from elsewhere", disk + "2 1 8:1 /srv/other /srv/lab/b rw - ext4 /dev/sda1 rw\n", "/b=ext4"},
		{"one with a similar name", disk + "2 1 8:1 /srv/laboratory /srv/lab/b rw - ext4 /dev/sda1 rw\n", "/b=ext4"},
		{"a directory from elsewhere twice", disk + "2 1 8:1 /srv/other /srv/lab/b rw - ext4 /dev/sda1 rw\n3 1 8:1 /srv/other/x /srv/lab/c rw - ext4 /dev/sda1 rw\n", "/b=ext4 /c=ext4 again"},
		{"part of a mount on itself", disk + "2 1 8:1 /srv/other /srv/lab/b rw - ext4 /dev/sda1 rw\n3 2 8:1 /srv/other/x /srv/lab/b/x rw - ext4 /dev/sda1 rw\n", "/b=ext4 /b/x=ext4"},
		{"another disk twice", disk + "2 1 8:2 / /srv/lab/b rw - xfs /dev/sdb rw\n3 1 8:2 / /srv/lab/c rw - xfs /dev/sdb rw\n", "/b=xfs /c=xfs again"},
		{"a tree that is itself bound", disk + "2 1 8:1 /data /srv/lab rw - ext4 /dev/sda1 rw\n3 2 8:1 /data/a /srv/lab/b rw - ext4 /dev/sda1 rw\n4 2 8:1 /srv/lab /srv/lab/c rw - ext4 /dev/sda1 rw\n", "/b=ext4 again /c=ext4"},
		{"in a chroot, where the mount of / is not seen", "2 1 8:1 /a /srv/lab/a rw - ext4 /dev/sda1 rw\n", "/a=ext4"},
	} {
		lines, err := parseMountinfo(c.lines, func(major, minor uint32) uint64 { return uint64(major)<<8 | uint64(minor) })
		if err != nil {
			t.Fatal(err)
		}
		mounts := mountsBelow(lines, "/srv/lab")
		var have []string
		for _, path := range slices.Sorted(maps.Keys(mounts)) {
			text := path + "=" + mounts[path].Type
			if mounts[path].Again {
				text += " again"
			}
			have = append(have, text)
		}
		if got := strings.Join(have, " "); got != c.want {
			t.Errorf("%s: %q, want %q", c.name, got, c.want)
		}
	}
	if _, err := parseMountinfo("1 0 8:1 / / rw\n", nil); err == nil {
		t.Error("a line that is cut off is taken")
	}
}

func TestPseudoFileSystems(t *testing.T) {
	m := Mounts{"/proc": {Dev: 3, Type: "proc"}, "/home": {Dev: 4, Type: "autofs"}, "/home/a": {Dev: 5, Type: "nfs4"}, "/tmp": {Dev: 6, Type: "tmpfs"}}
	for _, c := range []struct {
		path string
		dev  uint64
		want bool
	}{
		{"/proc", 3, true}, {"/proc/1/fd", 3, true}, {"/proc", 1, false}, {"/process", 1, false}, {"/home", 4, true}, {"/home/a", 5, false},
		{"/home/a/x", 5, false}, {"/tmp", 6, false}, {"/", 1, false},
	} {
		if _, got := m.Pseudo(c.path, c.dev); got != c.want {
			t.Errorf("%s on device %d: %v", c.path, c.dev, got)
		}
	}
}
