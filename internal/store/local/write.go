package local

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"time"

	"github.com/fustor/fustor/internal/store"
)

// linkTries bounds how often a write begins again because a Delete took its directory away in between.
const linkTries = 1000

// sweepAge is how old a body being written must be to count as left behind: no write takes so long.
const sweepAge = time.Hour

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, body []byte) (store.Meta, error) {
	return s.write(ctx, "put", key, body, func() error { return nil }, func(temp string) error {
		unlock, err := s.lock(ctx, key)
		if err != nil {
			return err
		}
		defer unlock()
		return s.moveIntoPlace(os.Rename, temp, key)
	})
}

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	free := func() error { // spares a loser the disk's time; link decides
		if info, err := os.Lstat(s.path(key)); err == nil && info.Mode().IsRegular() {
			return store.ErrExists
		}
		return nil
	}
	return s.write(ctx, "create", key, body, free, func(temp string) error { return s.moveIntoPlace(os.Link, temp, key) })
}

// Replace implements store.Store.
func (s *Store) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	unchanged := func() error {
		switch present, err := s.read(ctx, key, math.MaxInt64); {
		case errors.Is(err, store.ErrNotFound):
			return fmt.Errorf("%w: there is no such object", store.ErrChanged)
		case err != nil:
			return err
		case present.ETag != etag:
			return store.ErrChanged
		}
		return nil
	}
	// Asked twice: first to spare a loser the disk's time, then under the lock, where it counts.
	return s.write(ctx, "replace", key, body, unchanged, func(temp string) error {
		unlock, err := s.lock(ctx, key)
		if err != nil {
			return err
		}
		defer unlock()
		if err := unchanged(); err != nil {
			return err
		}
		return s.moveIntoPlace(os.Rename, temp, key)
	})
}

// write calls may, writes body to the disk under a temporary name, calls place to give it its own, and syncs the directory.
func (s *Store) write(ctx context.Context, op, key string, body []byte, may func() error, place func(temp string) error) (store.Meta, error) {
	fail := func(err error) (store.Meta, error) {
		return store.Meta{Date: time.Now()}, wrap(op, key, explain(err))
	}
	if err := errors.Join(ctx.Err(), store.CheckKey(key)); err != nil {
		return fail(err)
	}
	if err := may(); err != nil {
		return fail(err)
	}
	temp, info, err := s.writeTemp(body)
	if err != nil {
		return fail(err)
	}
	defer os.Remove(temp) // a second name after link, the only one after a failure, none after rename
	if err := place(temp); err != nil {
		return fail(err)
	}
	if err := syncDir(filepath.Dir(s.path(key))); err != nil && !absent(err) { // absent: deleted again already
		return fail(err)
	}
	return meta(info, etagOf(body)), nil
}

// writeTemp writes and syncs body to a new file in the reserved directory.
func (s *Store) writeTemp(body []byte) (path string, info fs.FileInfo, err error) {
	f, err := os.CreateTemp(s.tempDir(), "*")
	if absent(err) {
		return "", nil, s.missingReserved(err)
	}
	if err != nil {
		return "", nil, err
	}
	defer func() {
		err = errors.Join(err, f.Close())
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	if _, err = f.Write(body); err != nil {
		return "", nil, err
	}
	if err = f.Sync(); err != nil {
		return "", nil, err
	}
	info, err = f.Stat()
	return f.Name(), info, err
}

func (s *Store) missingReserved(err error) error {
	if err := s.missing(err); errors.Is(err, store.ErrNoBucket) {
		return err
	}
	return fmt.Errorf("the store's internal directory does not exist any more: %w: %w", store.ErrNoBucket, err)
}

// moveIntoPlace gives temp the name of key by os.Link or os.Rename, making the directories above it.
func (s *Store) moveIntoPlace(how func(from, to string) error, temp, key string) (err error) {
	path := s.path(key)
	for range linkTries {
		if err = s.makeDirs(filepath.Dir(path)); err != nil {
			return err
		}
		err = how(temp, path)
		if err == nil {
			return nil
		}
		info, statErr := os.Lstat(path)
		switch {
		case statErr == nil && info.IsDir():
			// Either keys are below this one, or a Delete is about to remove an empty directory: help it.
			if removeErr := syscall.Rmdir(path); removeErr != nil && !absent(removeErr) {
				return fmt.Errorf("%w: it is a prefix of other keys", store.ErrKey)
			}
			s.synced.Delete(path)
		case errors.Is(err, syscall.ENAMETOOLONG):
			return fmt.Errorf("%w: %w", store.ErrKey, err)
		case errors.Is(err, syscall.ENOTDIR):
			return fmt.Errorf("%w: one of its prefixes is a key", store.ErrKey)
		case errors.Is(err, fs.ErrExist) && absent(statErr):
			// It went again, and may have been no more than a directory: ask anew.
		case errors.Is(err, fs.ErrExist):
			return store.ErrExists
		case absent(err):
			if _, err := os.Lstat(temp); err != nil {
				return fmt.Errorf("the temporary file was removed before the write was complete: %w", err)
			}
			s.synced.Delete(filepath.Dir(path)) // a Delete removed it after makeDirs
		default:
			return err
		}
	}
	return err
}

// makeDirs makes the directories down to dir, and makes the names of new ones durable.
func (s *Store) makeDirs(dir string) error {
	if _, known := s.synced.Load(dir); known || dir == s.root {
		return nil
	}
	parent := filepath.Dir(dir)
	if err := s.makeDirs(parent); err != nil {
		return err
	}
	err := os.Mkdir(dir, 0o700)
	switch {
	case errors.Is(err, syscall.ENAMETOOLONG):
		return fmt.Errorf("%w: %w", store.ErrKey, err)
	case errors.Is(err, syscall.ENOTDIR):
		return fmt.Errorf("%w: one of its prefixes is a key", store.ErrKey)
	case absent(err):
		if parent == s.root {
			return s.missing(err)
		}
		s.synced.Delete(parent)
		return nil // a Delete was faster; moveIntoPlace finds out and tries again
	case err != nil && !errors.Is(err, fs.ErrExist):
		return err
	}
	if err := syncDir(parent); err != nil && !absent(err) {
		return err
	}
	s.synced.Store(dir, nil)
	return nil
}

// Delete implements store.Store. Directories that it leaves empty are removed as well.
func (s *Store) Delete(ctx context.Context, key string) error {
	if err := s.remove(ctx, key); err != nil {
		return wrap("delete", key, err)
	}
	return nil
}

func (s *Store) remove(ctx context.Context, key string) error {
	if err := errors.Join(ctx.Err(), store.CheckKey(key)); err != nil {
		return err
	}
	unlock, err := s.lock(ctx, key)
	if err != nil {
		return explain(err)
	}
	defer unlock()
	path := s.path(key)
	if err := syscall.Unlink(path); err != nil {
		if info, statErr := os.Lstat(path); statErr == nil && info.IsDir() {
			return nil // a prefix of keys, not a key
		}
		if err = s.missing(err); errors.Is(err, store.ErrNotFound) {
			return nil
		}
		return err
	}
	dir := filepath.Dir(path)
	for dir != s.root && syscall.Rmdir(dir) == nil {
		s.synced.Delete(dir)
		dir = filepath.Dir(dir)
	}
	if err := syncDir(dir); err != nil && !absent(err) {
		return explain(err)
	}
	return nil
}

// sweep removes bodies that writers began more than sweepAge ago. It does what it can; a later Open tries again.
func (s *Store) sweep(now time.Time) {
	entries, _ := os.ReadDir(s.tempDir())
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil && now.Sub(info.ModTime()) > sweepAge {
			os.Remove(filepath.Join(s.tempDir(), entry.Name()))
		}
	}
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil // it refuses to sync a directory, whose changes the file system's own journal has
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := f.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err // some file systems cannot sync a directory, and say EINVAL
	}
	return nil
}
