package lease

import "golang.org/x/sys/unix"

// boot reads CLOCK_BOOTTIME, which counts the time that the host sleeps.
func boot() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return monotonic()
	}
	return ts.Nano()
}
