package s3test

import "syscall"

// diesWithUs has the kernel kill the server when the test's process ends, however that happens.
func diesWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
