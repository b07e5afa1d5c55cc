// Package parts is what ingest, query and the compactor need before they begin, whatever form they run in: a store that
// was asked once, or that keeps the rules that writers rely on, and the keys that are accepted.
//
// `fustor` and the Lambda functions start their parts by it, so that both refuse the same stores and accept the same keys.
package parts

import (
	"context"
	"errors"
	"fmt"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/doctor"
	"github.com/fustor/fustor/internal/store/open"
	"github.com/fustor/fustor/internal/trace"
)

// OpenForReading opens a store and asks it one thing, so that a wrong URL or key is found now, not by the first reader.
// The error is an open.ErrURL where the URL is not understood.
func OpenForReading(ctx context.Context, url string) (store.Store, error) {
	st, err := open.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	if _, err := st.Get(ctx, doctor.Marker); err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("read store %s: %w", st, err)
	}
	return trace.Store(st), nil
}

// OpenForWriting opens a store and refuses one that does not keep the rules that writers rely on: doctor.ErrUnfit.
func OpenForWriting(ctx context.Context, url string) (store.Store, error) {
	st, err := open.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	return trace.Store(st), doctor.Require(ctx, st)
}

// Keys knows the keys in the store of o, and the one that the process was given for everything, if any.
func Keys(o access.Options, given string) (*access.Authenticator, error) {
	if given != "" {
		o.Static = []access.Static{{Key: given, Record: access.Record{
			Name: "given at start", Roles: []access.Role{access.Ingest, access.Query, access.Admin}, Views: access.AllViews}}}
	}
	return access.New(o)
}
