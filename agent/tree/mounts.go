package tree

import (
	"fmt"
	"maps"
	slash "path" // mount points have slashes, whatever the system
	"slices"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/event"
)

// Mount is what is mounted on a path below a root: a file system, or a directory of one.
type Mount struct {
	ID   int    // the mount's number; another mount may get it later
	Dev  uint64 // of the file system; that of its files, but for file systems with several (btrfs)
	Type string // of the file system, as the kernel names it: ext4, proc
	// Again: the file system is mounted once more, and the other mount shows some of the same directories below the same root.
	// Example: mount --bind ROOT/a ROOT/b.
	Again bool
}

// Mounts are what is mounted below a root and not hidden by other mounts, by the paths of events.
type Mounts map[string]Mount

// pseudoTypes are the file systems in which the kernel, or a daemon, shows something else than stored files. Their files are no data,
// and to open a directory of autofs mounts what it stands for.
var pseudoTypes = map[string]bool{
	"autofs": true, "binder": true, "binfmt_misc": true, "bpf": true, "cgroup": true, "cgroup2": true, "configfs": true, "cpuset": true,
	"debugfs": true, "devpts": true, "devtmpfs": true, "efivarfs": true, "fuse.gvfsd-fuse": true, "fuse.lxcfs": true, "fuse.portal": true,
	"fusectl": true, "mqueue": true, "nfsd": true, "nsfs": true, "proc": true, "pstore": true, "resctrl": true, "rpc_pipefs": true,
	"securityfs": true, "selinuxfs": true, "smackfs": true, "sysfs": true, "tracefs": true,
}

// Pseudo is the type of the file system that path is on, if that is one below the root that holds no stored files. dev is the device
// of what is at path now.
func (m Mounts) Pseudo(path string, dev uint64) (kind string, ok bool) {
	for len(m) > 0 && path != "/" {
		if at, mounted := m[path]; mounted {
			return at.Type, at.Dev == dev && pseudoTypes[at.Type]
		}
		path = event.Parent(path)
	}
	return "", false
}

// Again are the mounts that show directories of the same root once more, sorted.
func (m Mounts) Again() []string {
	var paths []string
	for path, mount := range m {
		if mount.Again {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// Changed are the paths at which two tables differ, sorted.
func (m Mounts) Changed(now Mounts) []string {
	var paths []string
	for path, mount := range m {
		if other, ok := now[path]; !ok || other != mount {
			paths = append(paths, path)
		}
	}
	for path := range now {
		if _, ok := m[path]; !ok {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// within reports whether path is dir or below it. Both are clean and absolute.
func within(path, dir string) bool {
	return path == dir || dir == "/" || len(path) > len(dir) && path[len(dir)] == '/' && path[:len(dir)] == dir
}

// mountLine is one line of /proc/self/mountinfo.
type mountLine struct {
	id, parent int
	dev        uint64
	top        string // the directory of the file system that is mounted
	point      string // where
	kind       string // of the file system
}

// parseMountinfo reads a file as proc_pid_mountinfo(5) has it:
//
//	36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue
//
// mkdev makes the number of a device.
func parseMountinfo(body string, mkdev func(major, minor uint32) uint64) ([]mountLine, error) {
	var lines []mountLine
	for text := range strings.Lines(body) {
		fields := strings.Fields(text)
		dash := slices.Index(fields, "-")
		if dash < 6 || len(fields) < dash+2 {
			return nil, fmt.Errorf("mountinfo has the line %q", text)
		}
		var l mountLine
		var major, minor uint32
		if _, err := fmt.Sscanf(strings.Join(fields[:3], " "), "%d %d %d:%d", &l.id, &l.parent, &major, &minor); err != nil {
			return nil, fmt.Errorf("mountinfo has the line %q: %w", text, err)
		}
		l.dev, l.top, l.point, l.kind = mkdev(major, minor), unquote(fields[3]), unquote(fields[4]), fields[dash+1]
		lines = append(lines, l)
	}
	return lines, nil
}

// unquote takes back what the kernel writes as a backslash and three octal digits: blanks and the backslash.
func unquote(s string) string {
	if !strings.Contains(s, `\`) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if c, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				b.WriteByte(byte(c))
				i += 3
				continue
			}
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// mountsBelow are the mounts below root that can be seen there.
func mountsBelow(lines []mountLine, root string) Mounts {
	seen := visibleMounts(lines)
	var base mountLine // the one that root is on
	found := Mounts{}
	var below []mountLine
	for _, point := range slices.Sorted(maps.Keys(seen)) {
		l := seen[point]
		switch {
		case within(root, point):
			base = l // the last one is the nearest
		case within(point, root):
			below = append(below, l)
		}
	}
	base.top, base.point = shown(base, root), root
	shows := []mountLine{base}
	for _, l := range below {
		again := slices.ContainsFunc(shows, func(other mountLine) bool { return showsAgain(l, other) })
		shows = append(shows, l)
		path := strings.TrimPrefix(l.point, strings.TrimSuffix(root, "/"))
		found[path] = Mount{ID: l.id, Dev: l.dev, Type: l.kind, Again: again}
	}
	return found
}

// visibleMounts are the mounts that no other one hides, by where they are mounted.
func visibleMounts(lines []mountLine) map[string]mountLine {
	byID, covered, top := map[int]mountLine{}, map[int]bool{}, map[string]mountLine{}
	for _, l := range lines {
		byID[l.id] = l
	}
	for _, l := range lines {
		if byID[l.parent].point == l.point && l.parent != l.id {
			covered[l.parent] = true
		}
	}
	for _, l := range lines {
		if !covered[l.id] {
			top[l.point] = l
		}
	}
	// The mount that one is mounted on must be the one that can be seen at the nearest mount point above.
	for _, point := range slices.Sorted(maps.Keys(top)) { // those above come first
		on := top[point]
		for on.point == point {
			parent, ok := byID[on.parent]
			if !ok || parent.id == on.id {
				break
			}
			on = parent
		}
		above := slash.Dir(point)
		for above != "/" {
			if _, ok := top[above]; ok {
				break
			}
			above = slash.Dir(above)
		}
		if at, ok := top[above]; ok && point != "/" && on.point != point && at.id != on.id {
			delete(top, point)
		}
	}
	return top
}

// shown is the directory of its file system that a mount shows at a path below its mount point.
func shown(l mountLine, path string) string {
	return slash.Join("/", l.top, strings.TrimPrefix(path, l.point))
}

// showsAgain reports whether a mount shows directories that another one shows at another path.
func showsAgain(l, other mountLine) bool {
	switch {
	case l.dev != other.dev:
		return false
	case within(other.top, l.top):
		return other.top != l.top || other.point != l.point
	case within(l.top, other.top):
		return slash.Join(other.point, strings.TrimPrefix(l.top, strings.TrimSuffix(other.top, "/"))) != l.point
	}
	return false
}
