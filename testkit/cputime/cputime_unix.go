//go:build unix

// Package cputime tells how much processor time benchmarks and load generators use.
package cputime

import (
	"syscall"
	"time"
)

// Used is the processor time that this process has used so far, user and system.
func Used() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
