package watch

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// The kernel counts inotify watches by user. Of its limit, this process leaves a tenth (8 at least, 65,536 at most) and
// what others hold already; the rest is shared by the trees that it watches, each as much as it needs as long as there is
// enough, and otherwise alike.

// tenants are the trees that this process watches by inotify, and how many watches each would like to hold; -1: not known.
var tenants = struct {
	sync.Mutex
	wanted map[*inotify]int
}{wanted: map[*inotify]int{}}

// Quota implements quotaNotifier.
func (n *inotify) Quota(wanted int) int {
	limit := watchLimit()
	if limit <= 0 {
		return 0
	}
	tenants.Lock()
	tenants.wanted[n] = wanted
	wants := make([]int, 0, len(tenants.wanted))
	own := map[string]bool{}
	for tenant, w := range tenants.wanted {
		own[strconv.Itoa(tenant.fd)] = true
		if tenant != n {
			wants = append(wants, w)
		}
	}
	tenants.Unlock()
	return fairShare(limit-spare(limit)-heldByOthers(own, limit), wants)
}

// leave gives a tree's share back.
func (n *inotify) leave() {
	tenants.Lock()
	delete(tenants.wanted, n)
	tenants.Unlock()
}

// spare is what is left to programs that come later.
func spare(limit int) int { return min(max(limit/10, 8), 65536) }

// fairShare is what one may hold beside others with these wants: what they leave, or an equal part if they leave less.
func fairShare(total int, others []int) int {
	total = max(total, 1)
	settled := make([]bool, len(others))
	left, heads := total, len(others)+1
	for again := true; again; {
		again = false
		for i, want := range others {
			if !settled[i] && want >= 0 && want <= left/heads {
				settled[i], again = true, true
				left -= want
				heads--
			}
		}
	}
	return max(left/heads, 1)
}

// watchLimit is the kernel's limit for this user; 0: not known.
func watchLimit() int {
	limit := 0
	for _, path := range []string{"/proc/sys/fs/inotify/max_user_watches", "/proc/sys/user/max_inotify_watches"} {
		if n, err := readNumber(path); err == nil && (limit == 0 || n < limit) {
			limit = n
		}
	}
	return limit
}

func readNumber(path string) (int, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(b)))
}

// heldByOthers counts the inotify watches of this user's programs, those of own descriptors excepted. It sees what /proc
// shows, and stops at the limit.
func heldByOthers(own map[string]bool, limit int) int {
	self, uid := strconv.Itoa(os.Getpid()), os.Getuid()
	processes, _ := filepath.Glob("/proc/[0-9]*")
	held := 0
	for _, process := range processes {
		if owner, err := ownerOf(process); err != nil || owner != uid {
			continue
		}
		entries, err := os.ReadDir(process + "/fd")
		if err != nil {
			continue
		}
		for _, e := range entries {
			if filepath.Base(process) == self && own[e.Name()] {
				continue
			}
			if to, err := os.Readlink(process + "/fd/" + e.Name()); err != nil || to != "anon_inode:inotify" {
				continue
			}
			body, _ := os.ReadFile(process + "/fdinfo/" + e.Name())
			if held += bytes.Count(body, []byte("inotify wd:")); held >= limit {
				return held
			}
		}
	}
	return held
}

// ownerOf is the user that a process runs as.
func ownerOf(process string) (int, error) {
	info, err := os.Stat(process)
	if err != nil {
		return 0, err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, os.ErrInvalid
	}
	return int(st.Uid), nil
}
