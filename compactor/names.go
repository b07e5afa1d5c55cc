package compactor

import (
	"context"
	"errors"
	"fmt"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// writeNames adds the names of owners that a batch tells, by source, to those of the view. It returns the id of the object that has them
// all: the one that the version has already, if nothing is new.
func (c *Compactor) writeNames(ctx context.Context, m *manifest.Manifest, told map[string][]event.OwnerName) (id string, err error) {
	if len(told) == 0 {
		return m.Names, nil
	}
	var known *manifest.Names
	if m.Names != "" {
		known, err = manifest.ReadNames(ctx, c.o.Store, m.View, m.Names)
		switch {
		case errors.Is(err, manifest.ErrFormat) || errors.Is(err, store.ErrNotFound):
			// The agents tell them again with their next sessions; rows must not wait for names.
			c.o.Logger.Error("the names of owners cannot be read; they begin anew", "error", err)
		case err != nil:
			return "", err
		}
	}
	names, changed := known.With(told)
	if !changed {
		return m.Names, nil
	}
	if id, err = c.newID(); err != nil {
		return "", err
	}
	key := layout.Names(m.View, id)
	body, err := names.Encode(key)
	if err != nil {
		return "", fmt.Errorf("encode the names of owners: %w", err)
	}
	if _, err := c.o.Store.Put(ctx, key, body); err != nil {
		return "", written(fmt.Errorf("write %s: %w", key, err))
	}
	return id, nil
}
