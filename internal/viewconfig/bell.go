package viewconfig

import (
	"context"
	"errors"
	"io"

	"github.com/oklog/ulid/v2"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// Ring says that a view was made, to everyone who has a Bell. It is for speed alone: who follows all views also lists them now
// and then, so an error is no reason to fail.
func Ring(ctx context.Context, s store.Store, random io.Reader) error {
	nonce, err := ulid.New(0, random)
	if err != nil {
		return err
	}
	_, err = s.Put(ctx, layout.ViewsBell, []byte(`{"nonce":"`+nonce.String()+`"}`))
	return err
}

// Bell hears of new views for one GET a look, where listing would cost a LIST. One goroutine may use it.
type Bell struct {
	store store.Store
	etag  string // as last seen; empty: it has not been seen
}

// NewBell returns a Bell that has not been looked at.
func NewBell(s store.Store) *Bell { return &Bell{store: s} }

// Rang reports whether views may have been made since the last call. A store to which no view was added by this version has no
// such object, which is no error.
func (b *Bell) Rang(ctx context.Context) (bool, error) {
	var o store.Object
	var err error
	if b.etag == "" {
		o, err = b.store.Get(ctx, layout.ViewsBell)
	} else {
		o, err = b.store.GetIfChanged(ctx, layout.ViewsBell, b.etag)
	}
	switch {
	case errors.Is(err, store.ErrNotModified), errors.Is(err, store.ErrNotFound):
		return false, nil
	case err != nil:
		return false, err
	}
	b.etag = o.ETag
	return true, nil
}
