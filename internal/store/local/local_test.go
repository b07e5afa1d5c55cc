//go:build unix

package local

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/nobody"
)

func TestOpenSweepsWhatWasLeft(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	left, fresh := filepath.Join(s.tempDir(), "left"), filepath.Join(s.tempDir(), "fresh")
	for _, path := range []string{left, fresh} {
		if err := os.WriteFile(path, []byte("half a bo"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * sweepAge)
	if err := os.Chtimes(left, old, old); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(s.root); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(left); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the old body is there: %v", err)
	}
	if _, err := os.Stat(fresh); err != nil {
		t.Errorf("a body being written is gone: %v", err)
	}
	page, err := s.List(t.Context(), "", "", 0)
	if err != nil || len(page.Items) != 0 {
		t.Errorf("the list shows %v, %v", page.Items, err)
	}
}

func TestWritesLeaveNoTemporaryFiles(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	meta, err := s.Create(ctx, "a/b", []byte("1"))
	if err != nil {
		t.Fatal(err)
	}
	_, exists := s.Create(ctx, "a/b", []byte("2"))
	_, changed := s.Replace(ctx, "a/b", []byte("2"), "stale")
	_, replaced := s.Replace(ctx, "a/b", []byte("3"), meta.ETag)
	_, put := s.Put(ctx, "a/b", []byte("4"))
	if !errors.Is(exists, store.ErrExists) || !errors.Is(changed, store.ErrChanged) || replaced != nil || put != nil {
		t.Fatal(exists, changed, replaced, put)
	}
	if entries, err := os.ReadDir(s.tempDir()); err != nil || len(entries) != 0 {
		t.Errorf("left: %v, %v", entries, err)
	}
}

func TestVanishedStore(t *testing.T) {
	s, err := Open(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(s.root); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	_, get := s.Get(ctx, "k")
	_, create := s.Create(ctx, "k", nil)
	_, list := s.List(ctx, "", "", 0)
	_, swap := store.Swap(ctx, s, "k", []byte("x"), "")
	for op, err := range map[string]error{"get": get, "create": create, "list": list, "swap": swap, "delete": s.Delete(ctx, "k")} {
		if !errors.Is(err, store.ErrNoBucket) {
			t.Errorf("%s: error %v, want %v", op, err, store.ErrNoBucket)
		}
	}
}

func TestOpenOfWhatIsNoDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{file, filepath.Join(file, "below")} {
		if _, err := Open(root); err == nil {
			t.Errorf("open of %s succeeded", root)
		}
	}
}

func TestErrorsHaveNames(t *testing.T) {
	for _, test := range []struct {
		from syscall.Errno
		want error
	}{
		{syscall.EACCES, store.ErrDenied}, {syscall.EPERM, store.ErrDenied}, {syscall.EROFS, store.ErrDenied},
		{syscall.ENOSPC, syscall.ENOSPC}, {syscall.EIO, syscall.EIO},
	} {
		if err := explain(&fs.PathError{Op: "write", Path: "x", Err: test.from}); !errors.Is(err, test.want) {
			t.Errorf("%v: %v, want %v", test.from, err, test.want)
		}
	}
}

func TestDeniedDirectory(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o500); err != nil {
		t.Fatal(err)
	}
	var err error
	nobody.Call(t, func() { _, err = Open(filepath.Join(dir, "store")) })
	if !errors.Is(err, store.ErrDenied) {
		t.Errorf("error %v, want %v", err, store.ErrDenied)
	}
}

// TestLockWaitEndsWithContext: a process that holds a lock and does not go on must not hold up others for ever.
func TestLockWaitEndsWithContext(t *testing.T) {
	s, err := Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	other, err := Open(s.root) // its locks exclude those of s as another process's do
	if err != nil {
		t.Fatal(err)
	}
	unlock, err := other.lock(t.Context(), "k")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := s.Delete(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want the end of the context", err)
	}
	unlock()
	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Errorf("after the lock is free: %v", err)
	}
}
