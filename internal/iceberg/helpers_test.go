package iceberg

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/parquet-go/parquet-go"
	"github.com/twmb/avro/ocf"

	"github.com/fustor/fustor/internal/store"
)

// list decodes a manifest list.
func (w *world) list(path string) (all []listed) {
	w.Helper()
	r, err := ocf.NewReader(bytes.NewReader(w.object(path)))
	if err != nil {
		w.Fatal(err)
	}
	for {
		var l listed
		if err := r.Decode(&l); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			w.Fatal(err)
		}
		all = append(all, l)
	}
}

// deletes reads a position-delete file, and checks that it is sorted and within the bounds of its entry.
func (w *world) deletes(e entry) []deletedRow {
	w.Helper()
	body := w.object(e.File.Path)
	rows, err := parquet.Read[deletedRow](bytes.NewReader(body), int64(len(body)))
	if err != nil {
		w.Fatal(err)
	}
	low, high := string((*e.File.Lower)[0].Value), string((*e.File.Upper)[0].Value)
	for i, r := range rows {
		if r.Path < low || r.Path > high {
			w.Errorf("%s is not between %s and %s", r.Path, low, high)
		}
		if i > 0 && (r.Path < rows[i-1].Path || r.Path == rows[i-1].Path && r.Position < rows[i-1].Position) {
			w.Errorf("%s: row %d is out of order", e.File.Path, i)
		}
	}
	if int64(len(rows)) != e.File.Records {
		w.Errorf("%s has %d rows, not %d", e.File.Path, len(rows), e.File.Records)
	}
	return rows
}

// counter counts what is asked of a store.
type counter struct {
	store.Store
	gets, puts int
	bytes      int
	keys       []string
}

func (c *counter) Get(ctx context.Context, key string) (store.Object, error) {
	c.gets++
	return c.Store.Get(ctx, key)
}

func (c *counter) GetUpTo(ctx context.Context, key string, most int64) (store.Object, error) {
	c.gets++
	return c.Store.GetUpTo(ctx, key, most)
}

func (c *counter) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	c.gets++
	return c.Store.GetRange(ctx, key, off, n)
}

func (c *counter) wrote(key string, body []byte) {
	c.puts++
	c.bytes += len(body)
	c.keys = append(c.keys, key)
}

func (c *counter) Put(ctx context.Context, key string, body []byte) (store.Meta, error) {
	c.wrote(key, body)
	return c.Store.Put(ctx, key, body)
}

func (c *counter) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	c.wrote(key, body)
	return c.Store.Create(ctx, key, body)
}

func (c *counter) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	c.wrote(key, body)
	return c.Store.Replace(ctx, key, body, etag)
}

// failing denies writes of one key.
type failing struct {
	store.Store
	key string
}

func (f failing) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	if key == f.key {
		return store.Meta{}, store.ErrDenied
	}
	return f.Store.Create(ctx, key, body)
}

func (f failing) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	if key == f.key {
		return store.Meta{}, store.ErrDenied
	}
	return f.Store.Replace(ctx, key, body, etag)
}
