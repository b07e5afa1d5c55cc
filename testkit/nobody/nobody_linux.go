// Package nobody runs a test's code without the rights of root, for tests of denied permissions that must also pass where root runs
// the tests.
package nobody

import (
	"os"
	"runtime"
	"syscall"
	"testing"
)

// Call calls f with the file permissions of the user nobody. If root runs the tests, f's thread gets nobody's file system uid,
// and ends with f. Other users have no more rights than that as they are.
func Call(t *testing.T, f func()) {
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
