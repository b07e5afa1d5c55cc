package store

import (
	"context"
	"fmt"
	"time"
)

// Each calls f with every object under a prefix, in byte order of the keys, and its age by the store's clock. An error of f
// ends it and is returned as it is.
func Each(ctx context.Context, s Store, prefix string, f func(i Item, age time.Duration) error) error {
	for after := ""; ; {
		page, err := s.List(ctx, prefix, after, 0)
		if err != nil {
			return fmt.Errorf("list %s: %w", prefix, err)
		}
		for _, item := range page.Items {
			if err := f(item, page.Date.Sub(item.LastModified)); err != nil {
				return err
			}
			after = item.Key
		}
		if !page.More || len(page.Items) == 0 {
			return nil
		}
	}
}
