//go:build !linux

package main

import (
	"os"
	"testing"
)

// asNobody calls f, unless root runs the tests, who may do everything.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("root may do everything")
	}
	f()
}
