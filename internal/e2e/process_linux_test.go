package e2e

import "syscall"

// diesWithUs has the kernel kill a child when the test's process ends, however that happens.
func diesWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
