package viewconfig

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// Names are the views of a store, by name: those that have settings, and those that have anything else. It takes a LIST for each page of
// a thousand objects that a view ends in: at most one a view, and one for many small ones.
func Names(ctx context.Context, s store.Store) ([]string, error) {
	names := map[string]bool{}
	err := store.Each(ctx, s, layout.ViewConfigs, func(i store.Item, _ time.Duration) error {
		if name, ok := strings.CutSuffix(strings.TrimPrefix(i.Key, layout.ViewConfigs), ".json"); ok {
			names[name] = true
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	const prefix = "views/"
	for after := ""; ; {
		page, err := s.List(ctx, prefix, after, 0)
		if err != nil {
			return nil, fmt.Errorf("list views: %w", err)
		}
		last := ""
		for _, item := range page.Items {
			last, _, _ = strings.Cut(strings.TrimPrefix(item.Key, prefix), "/")
			names[last] = true
		}
		if !page.More || last == "" {
			break
		}
		after = prefix + last + "0" // the first key after all of "last/"
	}
	maps.DeleteFunc(names, func(name string, _ bool) bool { return !layout.ValidView(name) })
	return slices.Sorted(maps.Keys(names)), nil
}
