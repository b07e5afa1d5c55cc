package scan

import (
	"runtime"

	"golang.org/x/sys/unix"
)

// CanIdle reports whether Config.Idle does anything on this system.
const CanIdle = true

const (
	ioprioWhoProcess = 1
	ioprioIdle       = 3 << 13 // IOPRIO_CLASS_IDLE, linux/ioprio.h
	lowest           = 19      // of nice(1)
)

// beIdle gives the goroutine a thread of its own with the lowest priorities. Nobody but root may raise them again, so the
// thread ends with the goroutine, which stays locked to it. Where the kernel refuses, the scan is as any other.
func beIdle() {
	runtime.LockOSThread()
	_ = unix.Setpriority(unix.PRIO_PROCESS, 0, lowest) // 0: this thread
	_, _, _ = unix.Syscall(unix.SYS_IOPRIO_SET, ioprioWhoProcess, 0, ioprioIdle)

}
