//go:build !linux

package scan

// CanIdle reports whether Config.Idle does anything on this system.
const CanIdle = false

func beIdle() {}
