package show

import (
	"fmt"
	"strconv"
	"time"

	"github.com/fustor/fustor/internal/values"
)

// Size is a number of bytes for eyes: 0 B, 999 B, 1.5 KiB, 12 MiB.
func Size(bytes int64) string {
	if bytes < 1024 {
		return strconv.FormatInt(bytes, 10) + " B"
	}
	const units = "KMGTPE"
	f := float64(bytes) / 1024
	unit := 0
	for f >= 1023.95 && unit < len(units)-1 {
		f /= 1024
		unit++
	}
	if f < 9.95 {
		return fmt.Sprintf("%.1f %ciB", f, units[unit])
	}
	return fmt.Sprintf("%.0f %ciB", f, units[unit])
}

// Sum is a sum of sizes for eyes. One that is saturated, so that it may be larger, is marked: >=8.0 EiB.
func Sum(bytes int64) string {
	if bytes == values.MaxSum {
		return ">=" + Size(bytes)
	}
	return Size(bytes)
}

// Count is a number with its thousands set apart: 1,234,567.
func Count(n int64) string { return values.Count(n) }

// Time is a time in ns since 1970, to the minute, in the zone.
func Time(ns int64, zone *time.Location) string {
	return time.Unix(0, ns).In(zone).Format("2006-01-02 15:04")
}

// ExactTime is a time in ns since 1970 as stat(1) has it.
func ExactTime(ns int64, zone *time.Location) string {
	return time.Unix(0, ns).In(zone).Format("2006-01-02 15:04:05.000000000 -0700")
}

// Mode is a type and mode bits as ls has them: drwxr-xr-x.
func Mode(letter byte, mode uint32) string {
	m := []byte("?rwxrwxrwx")
	switch letter {
	case 'f':
		m[0] = '-'
	case 'd', 'l':
		m[0] = letter
	}
	for i := range 9 {
		if mode&(1<<(8-i)) == 0 {
			m[i+1] = '-'
		}
	}
	special := func(bit uint32, at int, executable, not byte) {
		if mode&bit == 0 {
			return
		}
		if m[at] == '-' {
			m[at] = not
		} else {
			m[at] = executable
		}
	}
	special(0o4000, 3, 's', 'S')
	special(0o2000, 6, 's', 'S')
	special(0o1000, 9, 't', 'T')
	return string(m)
}
