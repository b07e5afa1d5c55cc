package lambdatest

import (
	"bytes"
	"strconv"
	"strings"
)

// peak is VmHWM of /proc/PID/status, bytes.
func peak(status []byte) int64 {
	for line := range bytes.Lines(status) {
		if text, ok := strings.CutPrefix(string(line), "VmHWM:"); ok {
			kib, _ := strconv.ParseInt(strings.Fields(text)[0], 10, 64)
			return kib << 10
		}
	}
	return 0
}
