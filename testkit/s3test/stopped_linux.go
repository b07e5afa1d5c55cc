package s3test

import (
	"errors"

	"golang.org/x/sys/unix"
)

// awaitStopped waits until the last thread of a process that was sent SIGSTOP has stopped.
func awaitStopped(pid int) {
	for errors.Is(unix.Waitid(unix.P_PID, pid, nil, unix.WSTOPPED|unix.WEXITED|unix.WNOWAIT, nil), unix.EINTR) {
	}
}
