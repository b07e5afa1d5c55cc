package tree

import (
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/fustor/fustor/internal/event"
)

// ACLs are read with one call for each directory, and for each file in a directory that has an ACL itself: trees with ACLs on files
// have them on their directories, too. A call for every file would make a scan a half slower (docs/decisions.md).

// aclDevices are the file systems that have no POSIX ACLs, by their device numbers.
type aclDevices struct {
	mu   sync.Mutex
	none atomic.Pointer[[]uint64] // never changed in place
}

func (d *aclDevices) has(dev uint64) bool {
	none := d.none.Load()
	return none == nil || !slices.Contains(*none, dev)
}

func (d *aclDevices) hasNone(dev uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.has(dev) {
		return
	}
	var none []uint64
	if was := d.none.Load(); was != nil {
		none = slices.Clone(*was)
	}
	none = append(none, dev)
	d.none.Store(&none)
}

// aclBuffers are of *[512]byte, which is room for 63 entries.
var aclBuffers = sync.Pool{New: func() any { return new([512]byte) }}

// readACL is the ACL of a name in a directory, or of the directory itself if there is no name; name ends with a NUL. It is empty if
// the file system has none, or does not say.
func (d *aclDevices) readACL(dir int, name []byte, dev uint64) event.ACL {
	if !d.has(dev) {
		return ""
	}
	buffer, _ := aclBuffers.Get().(*[512]byte)
	defer aclBuffers.Put(buffer)
	n, err := getACL(dir, name, buffer[:])
	value := buffer[:max(n, 0)]
	if err == unix.ERANGE {
		value = make([]byte, event.MaxACL)
		if n, err = getACL(dir, name, value); err == nil {
			value = value[:n]
		}
	}
	switch err {
	case nil:
		if acl := event.ACL(value); acl.Valid() {
			return acl
		}
	case unix.ENODATA:
		return event.NoACL
	case unix.EOPNOTSUPP:
		d.hasNone(dev)
	}
	return ""
}

// noGetxattrat is set where the kernel (before 6.13), or its seccomp filter, has no getxattrat(2).
var noGetxattrat atomic.Bool

const aclAttribute = "system.posix_acl_access"

// getACLByPath goes through the descriptor's path in /proc, which takes three times as long.
func getACLByPath(dir int, name, value []byte) (int, error) {
	path := "/proc/self/fd/" + strconv.Itoa(dir)
	call := unix.Getxattr // follows the descriptor's link and no other
	if len(name) > 1 {
		path, call = path+"/"+string(name[:len(name)-1]), unix.Lgetxattr
	}
	return retry(func() (int, error) { return call(path, aclAttribute, value) })
}
