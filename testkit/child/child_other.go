//go:build unix && !linux

package child

import "syscall"

func sendAtDeath(*syscall.SysProcAttr, syscall.Signal) {}
