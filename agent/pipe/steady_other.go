//go:build !linux

package pipe

import "time"

func steadyNow() int64 { return time.Now().UnixNano() }
