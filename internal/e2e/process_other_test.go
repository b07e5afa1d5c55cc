//go:build unix && !linux

package e2e

import "syscall"

// diesWithUs: other systems have no such means; a child outlives a test process that is killed.
func diesWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{} }
