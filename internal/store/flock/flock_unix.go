//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package flock

import (
	"os"

	"golang.org/x/sys/unix"
)

// Supported reports whether this operating system has flock(2).
const Supported = true

// try takes the lock or fails at once.
func try(f *os.File) error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }

// wait takes the lock as soon as it is free.
func wait(f *os.File) error {
	for {
		if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != unix.EINTR {
			return err
		}
	}
}
