package tree

import "golang.org/x/sys/unix"

// LastingDevice is dev where it is the number of a disk, and 0 where the kernel gave it out when the file system was mounted
// (NFS, FUSE, overlays, btrfs) and will give another the next time.
func LastingDevice(dev uint64) uint64 {
	if unix.Major(dev) == 0 {
		return 0
	}
	return dev
}
