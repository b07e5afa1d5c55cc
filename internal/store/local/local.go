// Package local is object storage in a directory: the embedded default of Fustor, for processes of one host.
//
// An object is the file <root>/<key>. Everything of the backend itself is under <root>/.fustor, which no key can name:
// bodies being written (tmp) and the locks of conditional writes (lock). Invariants: a file that has a key's name is
// complete, synced and never written again, so that a reader never sees a torn object, whoever is killed when; Create
// is link(2), which the kernel makes exclusive; Replace, Put and Delete of a key exclude each other by flock(2).
// The ETag is a hash of the body. Callers open it through store/open; file systems without hard links are refused.
package local

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/flock"
)

// Store is a directory as an object store. It implements store.Store.
type Store struct {
	root   string
	shards [shardCount]chan struct{} // one token each: the lock among the goroutines of this process
	synced sync.Map                  // directories (string) whose own names are known to be durable
}

// Open returns the store in directory root, which it creates, and removes what killed writers have left behind.
func Open(root string) (*Store, error) {
	if !flock.Supported {
		return nil, fmt.Errorf("open file store: %w on this operating system", store.ErrUnsupported)
	}
	root, err := filepath.Abs(root)
	if err != nil {
		return nil, fmt.Errorf("open file store: %w", err)
	}
	s := &Store{root: root}
	for i := range s.shards {
		s.shards[i] = make(chan struct{}, 1)
	}
	for _, dir := range []string{s.tempDir(), s.lockDir()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return nil, fmt.Errorf("open file store %s: %w", root, explain(err))
		}
	}
	s.sweep(time.Now())
	return s, nil
}

func (s *Store) tempDir() string           { return filepath.Join(s.root, store.Reserved, "tmp") }
func (s *Store) lockDir() string           { return filepath.Join(s.root, store.Reserved, "lock") }
func (s *Store) path(key string) string    { return filepath.Join(s.root, filepath.FromSlash(key)) }
func (s *Store) String() string            { return "file://" + filepath.ToSlash(s.root) }
func etagOf(body []byte) string            { h := sha256.Sum256(body); return hex.EncodeToString(h[:16]) }
func wrap(op, key string, err error) error { return fmt.Errorf("%s %s: %w", op, key, err) }

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Object, error) {
	object, err := s.read(ctx, key, math.MaxInt64)
	if err != nil {
		return object, wrap("get", key, err)
	}
	return object, nil
}

// GetUpTo implements store.Store.
func (s *Store) GetUpTo(ctx context.Context, key string, most int64) (store.Object, error) {
	object, err := s.read(ctx, key, most)
	var large *store.TooLargeError
	if err != nil && !errors.As(err, &large) {
		err = wrap("get", key, err)
	}
	return object, err
}

// GetIfChanged implements store.Store. With ErrNotModified comes the object's Meta.
func (s *Store) GetIfChanged(ctx context.Context, key, etag string) (store.Object, error) {
	object, err := s.read(ctx, key, math.MaxInt64)
	if err == nil && object.ETag == etag {
		object.Body, err = nil, store.ErrNotModified
	}
	if err != nil {
		return object, wrap("get", key, err)
	}
	return object, nil
}

func (s *Store) read(ctx context.Context, key string, most int64) (store.Object, error) {
	object := store.Object{Meta: store.Meta{Date: time.Now()}}
	f, info, err := s.open(ctx, key)
	if err != nil {
		return object, err
	}
	defer f.Close()
	if info.Size() > most {
		return object, &store.TooLargeError{Key: key, Size: info.Size(), Most: most}
	}
	body := make([]byte, info.Size())
	if _, err := io.ReadFull(f, body); err != nil {
		return object, explain(err)
	}
	object.Body = body
	object.Meta = meta(info, etagOf(body))
	return object, nil
}

// GetRange implements store.Store.
func (s *Store) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	body, err := s.readRange(ctx, key, off, n)
	if err != nil {
		return nil, wrap(fmt.Sprintf("get bytes %d+%d of", off, n), key, err)
	}
	return body, nil
}

func (s *Store) readRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	if off < 0 || n < 0 {
		return nil, errors.New("negative range")
	}
	f, info, err := s.open(ctx, key)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	if off > info.Size() || n > info.Size()-off {
		return nil, fmt.Errorf("the object has %d bytes: %w", info.Size(), io.ErrUnexpectedEOF)
	}
	body := make([]byte, n)
	if _, err := f.ReadAt(body, off); err != nil && !(n == 0 && err == io.EOF) {
		return nil, explain(err)
	}
	return body, nil
}

// open opens an object for reading. The file never changes; what may change is which file has the name.
func (s *Store) open(ctx context.Context, key string) (*os.File, fs.FileInfo, error) {
	if err := errors.Join(ctx.Err(), store.CheckKey(key)); err != nil {
		return nil, nil, err
	}
	f, err := os.Open(s.path(key))
	if err != nil {
		return nil, nil, s.missing(err)
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = store.ErrNotFound
	}
	if err != nil {
		f.Close()
		return nil, nil, explain(err)
	}
	return f, info, nil
}

// missing tells an absent object from an absent store.
func (s *Store) missing(err error) error {
	if !absent(err) {
		return explain(err)
	}
	if _, rootErr := os.Stat(s.root); absent(rootErr) {
		return fmt.Errorf("directory %s does not exist any more: %w", s.root, store.ErrNoBucket)
	}
	return store.ErrNotFound
}

// absent reports whether err means that the path is not there: ENOTDIR is a key below another key.
func absent(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ENAMETOOLONG)
}

// explain gives the errors of the file system the names that callers know.
func explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS):
		return fmt.Errorf("%w: %w", store.ErrDenied, err)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("disk full: %w", err)
	}
	return err
}

func meta(info fs.FileInfo, etag string) store.Meta {
	return store.Meta{ETag: etag, Size: info.Size(), LastModified: info.ModTime(), Date: time.Now()}
}

// PresignCreate implements store.Store: a directory has nobody who would check a signature.
func (s *Store) PresignCreate(context.Context, string, time.Duration) (store.Upload, error) {
	return store.Upload{}, fmt.Errorf("presign: %w: %s is a directory", store.ErrUnsupported, s)
}
