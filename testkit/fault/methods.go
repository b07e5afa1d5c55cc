package fault

import (
	"context"
	"time"

	"github.com/fustor/fustor/internal/store"
)

// Get implements store.Store.
func (s *Store) Get(ctx context.Context, key string) (store.Object, error) {
	return s.object(ctx, Get, key, func() (store.Object, error) { return s.inner.Get(ctx, key) })
}

// GetUpTo implements store.Store. It fails as Get does.
func (s *Store) GetUpTo(ctx context.Context, key string, most int64) (store.Object, error) {
	return s.object(ctx, Get, key, func() (store.Object, error) { return s.inner.GetUpTo(ctx, key, most) })
}

// GetIfChanged implements store.Store.
func (s *Store) GetIfChanged(ctx context.Context, key, etag string) (store.Object, error) {
	return s.object(ctx, GetIfChanged, key, func() (store.Object, error) { return s.inner.GetIfChanged(ctx, key, etag) })
}

// GetRange implements store.Store.
func (s *Store) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	f, err := s.begin(ctx, GetRange, key)
	if err != nil {
		return nil, err
	}
	body, err := s.inner.GetRange(ctx, key, off, n)
	if err := s.end(f, GetRange, key, err); err != nil {
		return nil, err
	}
	return body, nil
}

// Put implements store.Store.
func (s *Store) Put(ctx context.Context, key string, body []byte) (store.Meta, error) {
	return s.write(ctx, Put, key, func() (store.Meta, error) { return s.inner.Put(ctx, key, body) })
}

// Create implements store.Store.
func (s *Store) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	return s.write(ctx, Create, key, func() (store.Meta, error) { return s.inner.Create(ctx, key, body) })
}

// Replace implements store.Store.
func (s *Store) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	return s.write(ctx, Replace, key, func() (store.Meta, error) { return s.inner.Replace(ctx, key, body, etag) })
}

// List implements store.Store.
func (s *Store) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	f, err := s.begin(ctx, List, prefix)
	if err != nil {
		return store.Page{}, err
	}
	page, err := s.inner.List(ctx, prefix, after, limit)
	page.Date = skewed(page.Date, f.Skew)
	if f.Short > 0 && len(page.Items) > f.Short {
		page.Items, page.More = page.Items[:f.Short], !f.Liar
	}
	if err := s.end(f, List, prefix, err); err != nil {
		return store.Page{}, err
	}
	return page, nil
}

// Delete implements store.Store.
func (s *Store) Delete(ctx context.Context, key string) error {
	f, err := s.begin(ctx, Delete, key)
	if err != nil {
		return err
	}
	return s.end(f, Delete, key, s.inner.Delete(ctx, key))
}

// PresignCreate implements store.Store.
func (s *Store) PresignCreate(ctx context.Context, key string, ttl time.Duration) (store.Upload, error) {
	f, err := s.begin(ctx, Presign, key)
	if err != nil {
		return store.Upload{}, err
	}
	upload, err := s.inner.PresignCreate(ctx, key, ttl)
	if err := s.end(f, Presign, key, err); err != nil {
		return store.Upload{}, err
	}
	return upload, nil
}

// String implements store.Store.
func (s *Store) String() string { return s.inner.String() }
