//go:build !linux

package nobody

import (
	"os"
	"testing"
)

// Call calls f. It skips the test if root runs it, because root may do everything.
func Call(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("root may do everything")
	}
	f()
}
