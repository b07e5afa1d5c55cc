//go:build unix && !linux

package s3test

// awaitStopped: there is no portable way to wait for that; a request may slip through just after Pause.
func awaitStopped(int) {}
