package flock

import (
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// Supported reports whether this operating system has such locks.
const Supported = true

// The lock is of one byte far behind the end of any file, as Windows keeps others from reading and writing what is locked.
const offsetHigh = 1 << 30

// try takes the lock or fails at once, with EWOULDBLOCK where another one has it.
func try(f *os.File) error {
	err := lock(f, windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY)
	if err == windows.ERROR_LOCK_VIOLATION || err == windows.ERROR_IO_PENDING {
		return syscall.EWOULDBLOCK
	}
	return err
}

// wait takes the lock as soon as it is free.
func wait(f *os.File) error { return lock(f, windows.LOCKFILE_EXCLUSIVE_LOCK) }

func lock(f *os.File, flags uint32) error {
	return windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{OffsetHigh: offsetHigh})
}
