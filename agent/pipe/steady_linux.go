package pipe

import (
	"time"

	"golang.org/x/sys/unix"
)

// steadyNow reads CLOCK_BOOTTIME, which counts the time a laptop sleeps.
func steadyNow() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return time.Now().UnixNano()
	}
	return ts.Nano()
}
