//go:build unix

// Package child starts processes that end when the process that started them ends, however that happens: SIGKILL included.
// Tests and tools start servers, agents and mounts with it. Only Linux can promise this; elsewhere a child outlives a parent
// that is killed.
package child

import (
	"os/exec"
	"runtime"
	"syscall"
)

// Start starts cmd. The kernel sends it atDeath when the calling process ends. The channel is closed once cmd has ended and was
// waited for; cmd.ProcessState is set then, and the caller must not call cmd.Wait.
func Start(cmd *exec.Cmd, atDeath syscall.Signal) (ended <-chan struct{}, err error) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	sendAtDeath(cmd.SysProcAttr, atDeath)
	started, done := make(chan error), make(chan struct{})
	// Linux sends the signal when the *thread* that started the child ends, so this thread must live as long as the child.
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
		close(done)
	}()
	return done, <-started
}
