package local

import (
	"os"
	"runtime"
	"syscall"
	"testing"
)

// asNobody calls f with no more rights to files than a user without any has, also where root runs the tests: the thread that f
// is on is nobody's as far as files go, and ends with f.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		defer close(done)
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // and never unlocked: no other goroutine gets this thread
			if err := syscall.Setfsuid(65534); err != nil {
				done <- err
				return
			}
		}
		f()
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
