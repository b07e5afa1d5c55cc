//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly || windows)

package flock

import (
	"errors"
	"os"
)

// Supported reports whether this operating system has flock(2).
const Supported = false

func try(*os.File) error  { return errors.ErrUnsupported }
func wait(*os.File) error { return errors.ErrUnsupported }
