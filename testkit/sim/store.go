package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/internal/store"
)

// Store is object storage in memory, with a clock of its own. It is linearizable and never fails.
type Store struct {
	// Created is called with the key of each object that is new, while no other request is served; nil: nobody cares.
	Created func(key string)
	now     func() time.Time

	mu      sync.Mutex
	objects map[string]store.Object
	keys    []string // sorted
}

// NewStore makes an empty one whose Date is now's.
func NewStore(now func() time.Time) *Store {
	return &Store{now: now, objects: map[string]store.Object{}}
}

func (s *Store) String() string { return "memory:" }

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Object, error) {
	return s.GetIfChanged(ctx, key, "")
}

// GetUpTo implements store.Store.
func (s *Store) GetUpTo(ctx context.Context, key string, most int64) (store.Object, error) {
	o, err := s.Get(ctx, key)
	if err == nil && o.Size > most {
		return store.Object{}, &store.TooLargeError{Key: key, Size: o.Size, Most: most}
	}
	return o, err
}

// GetIfChanged implements store.Store.
func (s *Store) GetIfChanged(ctx context.Context, key, etag string) (store.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o, err := s.read(ctx, key)
	if err == nil && o.ETag == etag {
		o.Body, err = nil, store.ErrNotModified
	}
	if err != nil {
		return o, fmt.Errorf("get %s: %w", key, err)
	}
	return o, nil
}

func (s *Store) read(ctx context.Context, key string) (store.Object, error) {
	none := store.Object{Meta: store.Meta{Date: s.now()}}
	if err := ctx.Err(); err != nil {
		return none, err
	}
	if err := store.CheckKey(key); err != nil {
		return none, err
	}
	o, ok := s.objects[key]
	if !ok {
		return none, store.ErrNotFound
	}
	o.Date = s.now()
	o.Body = slices.Clone(o.Body)
	return o, nil
}

// GetRange implements store.Store.
func (s *Store) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	o, err := s.Get(ctx, key)
	if err == nil && (off < 0 || n < 0 || off > o.Size || n > o.Size-off) {
		err = fmt.Errorf("get bytes %d+%d of %s: it has %d", off, n, key, o.Size)
	}
	if err != nil {
		return nil, err
	}
	return o.Body[off : off+n : off+n], nil
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, body []byte) (store.Meta, error) {
	return s.write(ctx, "put", key, body, func(store.Object, bool) error { return nil })
}

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	return s.write(ctx, "create", key, body, func(_ store.Object, there bool) error {
		if there {
			return store.ErrExists
		}
		return nil
	})
}

// Replace implements store.Store.
func (s *Store) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	return s.write(ctx, "replace", key, body, func(old store.Object, there bool) error {
		if !there || old.ETag != etag {
			return store.ErrChanged
		}
		return nil
	})
}

func (s *Store) write(ctx context.Context, op, key string, body []byte, may func(old store.Object, there bool) error) (store.Meta, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	old, err := s.read(ctx, key)
	there := err == nil
	if err == nil || errors.Is(err, store.ErrNotFound) {
		err = may(old, there)
	}
	if err != nil {
		return store.Meta{Date: old.Date}, fmt.Errorf("%s %s: %w", op, key, err)
	}
	meta := store.Meta{
		ETag: strconv.FormatUint(xxhash.Sum64(body), 16), Size: int64(len(body)), LastModified: old.Date, Date: old.Date,
	}
	s.objects[key] = store.Object{Meta: meta, Body: slices.Clone(body)}
	if !there {
		at, _ := slices.BinarySearch(s.keys, key)
		s.keys = slices.Insert(s.keys, at, key)
		if s.Created != nil {
			s.Created(key)
		}
	}
	return meta, nil
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	page := store.Page{Date: s.now()}
	if err := ctx.Err(); err != nil {
		return page, fmt.Errorf("list %s: %w", prefix, err)
	}
	if limit <= 0 {
		limit = 1000
	}
	at, _ := slices.BinarySearch(s.keys, max(prefix, after))
	for _, key := range s.keys[at:] {
		if !strings.HasPrefix(key, prefix) {
			break
		}
		if key == after {
			continue
		}
		if len(page.Items) == limit {
			page.More = true
			break
		}
		o := s.objects[key]
		page.Items = append(page.Items, store.Item{Key: key, Size: o.Size, LastModified: o.LastModified})
	}
	return page, nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, err := s.read(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	delete(s.objects, key)
	if at, found := slices.BinarySearch(s.keys, key); found {
		s.keys = slices.Delete(s.keys, at, at+1)
	}
	return nil
}

// PresignCreate implements store.Store.
func (s *Store) PresignCreate(context.Context, string, time.Duration) (store.Upload, error) {
	return store.Upload{}, fmt.Errorf("presign: %w", store.ErrUnsupported)
}
