package main

import (
	"context"
	"errors"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/open"
)

// openStore opens the store of a --store flag. Nothing but file stores is asked anything yet.
func openStore(ctx context.Context, url string) (store.Store, error) {
	s, err := open.Open(ctx, url)
	switch {
	case errors.Is(err, open.ErrURL):
		return nil, &cliError{msg: err.Error(), hint: "`fustor doctor URL` tells whether a store will do", code: exitUsage, err: err}
	case err != nil:
		return nil, storeFailure(err)
	}
	return s, nil
}
