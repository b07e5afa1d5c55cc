package tree

import "strings"

// Atimes is what becomes of the time of a file's last access when the file is read.
type Atimes string

// What becomes of them.
const (
	StrictAtime Atimes = "strictatime" // each read sets it
	RelAtime    Atimes = "relatime"    // the first read of a day does, and the first after a change
	NoAtime     Atimes = "noatime"     // none does: the file system is mounted so, or read-only
	ServerAtime Atimes = "server"      // the file server decides, and clients cannot tell how
	NotAtime    Atimes = "none"        // this system does not tell it
)

// Kept reports whether reads may change it.
func (a Atimes) Kept() bool { return a != NoAtime && a != NotAtime }

// atimesOf is what a file system does, by the lines of /proc/self/mountinfo, where it is mounted with this number. Another mount of
// the same file system may keep what this one does not. What cannot be told counts as RelAtime, the kernel's default.
func atimesOf(mountinfo, mountID string) Atimes {
	device := ""
	for line := range strings.Lines(mountinfo) {
		if f := strings.Fields(line); len(f) > 5 && f[0] == mountID {
			device = f[2]
		}
	}
	if device == "" {
		return RelAtime
	}
	kept := NoAtime
	for line := range strings.Lines(mountinfo) {
		mount, super, _ := strings.Cut(line, " - ")
		f, s := strings.Fields(mount), strings.Fields(super)
		if len(f) < 6 || f[2] != device {
			continue
		}
		options := "," + f[5] + ","
		if len(s) > 2 {
			options += s[2] + ","
		}
		switch {
		case strings.Contains(options, ",noatime,"), strings.Contains(options, ",ro,"):
		case strings.Contains(options, ",relatime,"):
			if kept == NoAtime {
				kept = RelAtime
			}
		default:
			kept = StrictAtime
		}
	}
	return kept
}
