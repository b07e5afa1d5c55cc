package compactor

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// CheckLayers is an error if the store lacks a layer object of the view's newest version, or has it in another length: a
// *layer.FormatError of the first, by name. A fold and a merge notice such a one only if they need it. It takes one LIST for each thousand
// layer objects.
func (c *Compactor) CheckLayers(ctx context.Context, view string) error {
	head, err := c.current(ctx, view) // before the list: what a version needs stays for hours after it
	if err != nil {
		return err
	}
	needed := map[string]int64{} // bytes, by key
	for _, l := range slices.Concat(head.Base, head.Deltas) {
		needed[layout.Layer(view, l.ID)] = l.Bytes
		if l.IndexBytes > 0 && len(l.Index) == 0 {
			needed[layout.LayerIndex(view, l.ID)] = l.IndexBytes
		}
	}
	if len(needed) == 0 {
		return nil
	}
	found := map[string]int64{}
	err = store.Each(ctx, c.o.Store, layout.Layers(view), func(i store.Item, _ time.Duration) error {
		if _, ok := needed[i.Key]; ok {
			found[i.Key] = i.Size
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("list the layers of view %s: %w", view, err)
	}
	maps.DeleteFunc(needed, func(key string, bytes int64) bool {
		size, ok := found[key]
		return ok && size == bytes
	})
	if len(needed) == 0 {
		return nil
	}
	key := slices.Min(slices.Collect(maps.Keys(needed)))
	e := &layer.FormatError{Object: key, Reason: "the object is missing", Err: store.ErrNotFound}
	if size, ok := found[key]; ok {
		e.Reason, e.Err = fmt.Sprintf("it has %d bytes instead of %d", size, needed[key]), nil
	}
	if n := len(needed) - 1; n > 0 {
		e.Reason += fmt.Sprintf(" (and %d more)", n)
	}
	return fmt.Errorf("view %s cannot be read as a whole: %w", view, e)
}
