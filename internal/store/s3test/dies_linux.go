package s3test

import (
	"errors"
	"syscall"

	"golang.org/x/sys/unix"
)

// diesWithUs has the kernel kill the server when the test's process ends, however that happens.
func diesWithUs() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }

// awaitStopped waits until the last thread of a process that was sent SIGSTOP has stopped.
func awaitStopped(pid int) {
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
}
