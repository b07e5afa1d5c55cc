//go:build !linux

package lease

// boot is the monotonic clock, which may stand still while the host sleeps. The wall clock tells of that.
func boot() int64 { return monotonic() }
