// Package flock takes locks on files that the kernel lets go of when their holder dies, whatever killed it.
//
// The lock files are never removed: whoever waits for one must wait for the same file. Goroutines of one process exclude
// each other as processes do. Callers are store/local and the tests that build servers.
package flock

import (
	"context"
	"errors"
	"os"
	"syscall"
)

// ErrLocked says that somebody else has the lock.
var ErrLocked = errors.New("locked by another process")

// TryLock is Lock without waiting: it fails with ErrLocked.
func TryLock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := try(f); err != nil {
		f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = ErrLocked
		}
		return nil, &os.PathError{Op: "flock", Path: path, Err: err}
	}
	return func() { f.Close() }, nil
}

// Lock opens path, making the file if need be, and waits for its exclusive lock, at most until ctx ends. The lock ends
// with unlock or with the process. On systems without flock(2) it fails with errors.ErrUnsupported.
func Lock(ctx context.Context, path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	unlock = func() { f.Close() }
	if try(f) == nil {
		return unlock, nil
	}
	locked := make(chan error, 1)
	go func() { locked <- wait(f) }()
	select {
	case err := <-locked:
		if err != nil {
			f.Close()
			return nil, &os.PathError{Op: "flock", Path: path, Err: err}
		}
		return unlock, nil
	case <-ctx.Done():
		go func() { <-locked; f.Close() }() // there is no way to call wait back
		return nil, ctx.Err()
	}
}
