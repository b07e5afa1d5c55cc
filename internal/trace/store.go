package trace

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"

	"github.com/fustor/fustor/internal/store"
)

// Store is the same store, whose requests are spans of what they are made for. Requests that are made for no span, as by who polls, are
// none. Where traces are not wanted it is the store itself.
func Store(s store.Store) store.Store {
	if s == nil || !enabled.Load() {
		return s
	}
	return &traced{s}
}

type traced struct{ store.Store }

// Unwrap returns the Store that does the work.
func (t *traced) Unwrap() store.Store { return t.Store }

func request(ctx context.Context, what, key string) (context.Context, *Span) {
	return Within(ctx, Client, "store "+what, attribute.String("fustor.store.key", key))
}

// done ends the span of a request. What callers ask for to find out is no failure.
func (s *Span) done(err error, is ...attribute.KeyValue) {
	if s == nil {
		return
	}
	switch {
	case err == nil:
		s.Is(is...)
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrNotModified), errors.Is(err, store.ErrExists), errors.Is(err, store.ErrChanged):
		s.Is(attribute.String("fustor.store.answer", reason(err)))
	default:
		s.Failed(reason(err))
	}
	s.End()
}

// reason is the kind of an error.
func reason(err error) string {
	for _, kind := range []error{store.ErrNotFound, store.ErrNotModified, store.ErrExists, store.ErrChanged, store.ErrConflict, store.ErrDenied, store.ErrNoBucket,
		context.Canceled, context.DeadlineExceeded} {
		if errors.Is(err, kind) {
			return kind.Error()
		}
	}
	return "failed"
}

func bytesOf(n int) attribute.KeyValue { return attribute.Int("fustor.store.bytes", n) }

// Get implements store.Store.
func (t *traced) Get(ctx context.Context, key string) (store.Object, error) {
	ctx, span := request(ctx, "get", key)
	o, err := t.Store.Get(ctx, key)
	span.done(err, bytesOf(len(o.Body)))
	return o, err
}

// GetUpTo implements store.Store.
func (t *traced) GetUpTo(ctx context.Context, key string, most int64) (store.Object, error) {
	ctx, span := request(ctx, "get", key)
	o, err := t.Store.GetUpTo(ctx, key, most)
	span.done(err, bytesOf(len(o.Body)))
	return o, err
}

// GetIfChanged implements store.Store.
func (t *traced) GetIfChanged(ctx context.Context, key, etag string) (store.Object, error) {
	ctx, span := request(ctx, "get", key)
	o, err := t.Store.GetIfChanged(ctx, key, etag)
	span.done(err, bytesOf(len(o.Body)))
	return o, err
}

// GetRange implements store.Store.
func (t *traced) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	ctx, span := request(ctx, "get range", key)
	b, err := t.Store.GetRange(ctx, key, off, n)
	span.done(err, bytesOf(len(b)))
	return b, err
}

// Put implements store.Store.
func (t *traced) Put(ctx context.Context, key string, body []byte) (store.Meta, error) {
	ctx, span := request(ctx, "put", key)
	m, err := t.Store.Put(ctx, key, body)
	span.done(err, bytesOf(len(body)))
	return m, err
}

// Create implements store.Store.
func (t *traced) Create(ctx context.Context, key string, body []byte) (store.Meta, error) {
	ctx, span := request(ctx, "create", key)
	m, err := t.Store.Create(ctx, key, body)
	span.done(err, bytesOf(len(body)))
	return m, err
}

// Replace implements store.Store.
func (t *traced) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	ctx, span := request(ctx, "replace", key)
	m, err := t.Store.Replace(ctx, key, body, etag)
	span.done(err, bytesOf(len(body)))
	return m, err
}

// List implements store.Store.
func (t *traced) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	ctx, span := request(ctx, "list", prefix)
	p, err := t.Store.List(ctx, prefix, after, limit)
	span.done(err, attribute.Int("fustor.store.objects", len(p.Items)))
	return p, err
}

// Delete implements store.Store.
func (t *traced) Delete(ctx context.Context, key string) error {
	ctx, span := request(ctx, "delete", key)
	err := t.Store.Delete(ctx, key)
	span.done(err)
	return err
}
