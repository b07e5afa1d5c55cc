//go:build unix && !linux

package s3test

import "syscall"

// diesWithUs: other systems have no such means; the server outlives a test process that is killed.
func diesWithUs() *syscall.SysProcAttr { return nil }

// awaitStopped: there is no portable way to wait for that; a request may slip through just after Pause.
func awaitStopped(int) {}
