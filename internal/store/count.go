package store

import (
	"context"
	"sync/atomic"
	"time"
)

// Counts are requests by kind, as stores bill them, and bytes of bodies. Requests that failed are counted too; the
// further attempts that an SDK makes by itself are not.
type Counts struct {
	Get     uint64 `json:"get"`     // Get, GetIfChanged, GetRange
	Put     uint64 `json:"put"`     // Put, Create, Replace
	List    uint64 `json:"list"`    //
	Delete  uint64 `json:"delete"`  //
	Presign uint64 `json:"presign"` // not a request: the caller signs by itself
	// BytesIn were read from the store; BytesOut were sent to it, whether or not it took them.
	BytesIn  uint64 `json:"bytes_in"`
	BytesOut uint64 `json:"bytes_out"`
}

// Sub is what was counted since an earlier snapshot.
func (c Counts) Sub(earlier Counts) Counts {
	return Counts{
		Get: c.Get - earlier.Get, Put: c.Put - earlier.Put, List: c.List - earlier.List,
		Delete: c.Delete - earlier.Delete, Presign: c.Presign - earlier.Presign,
		BytesIn: c.BytesIn - earlier.BytesIn, BytesOut: c.BytesOut - earlier.BytesOut,
	}
}

// Counted is a Store that counts what is asked of it.
type Counted struct {
	inner                                              Store
	get, put, list, delete, presign, bytesIn, bytesOut atomic.Uint64
}

// Count wraps s so that its requests are counted.
func Count(s Store) *Counted { return &Counted{inner: s} }

// Counts returns the figures so far.
func (c *Counted) Counts() Counts {
	return Counts{
		Get: c.get.Load(), Put: c.put.Load(), List: c.list.Load(), Delete: c.delete.Load(), Presign: c.presign.Load(),
		BytesIn: c.bytesIn.Load(), BytesOut: c.bytesOut.Load(),
	}
}

// Unwrap returns the Store that does the work.
func (c *Counted) Unwrap() Store { return c.inner }

// Get implements Store.
func (c *Counted) Get(ctx context.Context, key string) (Object, error) {
	object, err := c.inner.Get(ctx, key)
	return c.got(object), err
}

// GetUpTo implements Store.
func (c *Counted) GetUpTo(ctx context.Context, key string, most int64) (Object, error) {
	object, err := c.inner.GetUpTo(ctx, key, most)
	return c.got(object), err
}

// GetIfChanged implements Store.
func (c *Counted) GetIfChanged(ctx context.Context, key, etag string) (Object, error) {
	object, err := c.inner.GetIfChanged(ctx, key, etag)
	return c.got(object), err
}

func (c *Counted) got(object Object) Object {
	c.get.Add(1)
	c.bytesIn.Add(uint64(len(object.Body)))
	return object
}

// GetRange implements Store.
func (c *Counted) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	body, err := c.inner.GetRange(ctx, key, off, n)
	c.get.Add(1)
	c.bytesIn.Add(uint64(len(body)))
	return body, err
}

// Put implements Store.
func (c *Counted) Put(ctx context.Context, key string, body []byte) (Meta, error) {
	c.putting(body)
	return c.inner.Put(ctx, key, body)
}

// Create implements Store.
func (c *Counted) Create(ctx context.Context, key string, body []byte) (Meta, error) {
	c.putting(body)
	return c.inner.Create(ctx, key, body)
}

// Replace implements Store.
func (c *Counted) Replace(ctx context.Context, key string, body []byte, etag string) (Meta, error) {
	c.putting(body)
	return c.inner.Replace(ctx, key, body, etag)
}

func (c *Counted) putting(body []byte) {
	c.put.Add(1)
	c.bytesOut.Add(uint64(len(body)))
}

// List implements Store.
func (c *Counted) List(ctx context.Context, prefix, after string, limit int) (Page, error) {
	c.list.Add(1)
	return c.inner.List(ctx, prefix, after, limit)
}

// Delete implements Store.
func (c *Counted) Delete(ctx context.Context, key string) error {
	c.delete.Add(1)
	return c.inner.Delete(ctx, key)
}

// PresignCreate implements Store.
func (c *Counted) PresignCreate(ctx context.Context, key string, ttl time.Duration) (Upload, error) {
	c.presign.Add(1)
	return c.inner.PresignCreate(ctx, key, ttl)
}

// String implements Store.
func (c *Counted) String() string { return c.inner.String() }
