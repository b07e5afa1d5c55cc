//go:build !reading

package main

import (
	"context"
	"errors"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/open"
)

// openStore opens the store of a --store flag. Nothing but file stores is asked anything yet.
func openStore(ctx context.Context, url string) (store.Store, error) {
	return opened(open.Open(ctx, url))
}

// openExisting is openStore for commands that only look, or come after others: they make no store.
func openExisting(ctx context.Context, url string) (store.Store, error) {
	return opened(open.Existing(ctx, url))
}

// opened says what is wrong with a store that could not be opened, or not be used.
func opened(st store.Store, err error) (store.Store, error) {
	switch {
	case errors.Is(err, open.ErrURL):
		return nil, &cliError{msg: err.Error(), hint: "`fustor doctor URL` tests whether a store is suitable", code: exitUsage, err: err}
	case err != nil:
		return nil, storeFailure(err)
	}
	return st, nil
}
