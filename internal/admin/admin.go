// Package admin is what the administrator of a Fustor does to a store: views, keys, sessions, resets, and a look at
// versions. `fustor admin` calls it on a store; ingest serves it over HTTP to keys of the role admin (http.go), and so does a query
// that administers, for its page. Any query has the reset.
//
// Invariants: whatever it writes is decided by conditional writes, so that any number of administrators and all parts may
// work meanwhile; a key is told once, to whoever made it, and never again; it refuses what it cannot do in words for the
// administrator (Error), and passes on what the store says.
package admin

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
)

// Options of an Admin. Store, Now and Random are required.
type Options struct {
	Store  store.Store
	Now    func() time.Time
	Random io.Reader
	// Retain removes what a view's versions need no more, or with dry only finds it; nil: this process cannot.
	Retain func(ctx context.Context, view string, dry bool) ([]Removal, error)
}

// Removal is an object that retention removes, or would.
type Removal struct {
	Key        string  `json:"key"`
	Bytes      int64   `json:"bytes"`
	AgeSeconds float64 `json:"age_seconds"`
	Why        string  `json:"why"`
}

// Admin does an administrator's work. It is safe for concurrent use.
type Admin struct {
	store  store.Store
	clock  *store.Clock
	ledger *session.Ledger
	now    func() time.Time
	random io.Reader
	retain func(ctx context.Context, view string, dry bool) ([]Removal, error)
}

// New returns an Admin. It asks nothing of the store yet.
func New(o Options) (*Admin, error) {
	a := &Admin{clock: store.NewClock(o.Now), now: o.Now, random: o.Random, retain: o.Retain}
	a.store = a.clock.Watch(o.Store)
	var err error
	a.ledger, err = session.NewLedger(a.store, a.clock, o.Random)
	return a, err
}

// Kind is what is wrong.
type Kind int

// The kinds of Error.
const (
	Invalid Kind = iota // what was asked for cannot be meant
	NotFound
	Conflict    // something stands in its way
	Unsupported // this process cannot do that
)

// Error is a refusal in words.
type Error struct {
	Kind   Kind
	Detail string // what is wrong
	Hint   string // what to do; may be empty
}

// Error implements error.
func (e *Error) Error() string { return e.Detail }

func refuse(kind Kind, hint, format string, args ...any) error {
	return &Error{Kind: kind, Detail: fmt.Sprintf(format, args...), Hint: hint}
}

// Reset starts a view over: it is empty at once, its sessions end, and it is not ready until the next leader's first scan
// is folded. A fold or merge that is under way cannot publish what it has. Old layers go by retention. It returns the
// view's new epoch.
//
// The new epoch of the roster is the decision; what follows is repeated by the compactor if this process dies.
func (a *Admin) Reset(ctx context.Context, view string) (epoch string, err error) {
	if err := a.exists(ctx, view); err != nil {
		return "", err
	}
	config, err := a.config(ctx, view)
	if err != nil && !errors.Is(err, viewconfig.ErrInvalid) {
		return "", err
	}
	if config.IsForest() {
		return "", refuse(Conflict, "reset the members that are to start over", "view %q is a forest: it has no data of its own", view)
	}
	if epoch, err = a.ledger.NewEpoch(ctx, view); err != nil {
		return "", err
	}
	_, err = manifest.Follow(ctx, a.store, view, func() (string, uint64, error) {
		r, _, err := session.ReadRoster(ctx, a.store, view)
		return r.Epoch, r.EpochNumber, err
	}, a.nonce, a.clock.Now)
	if err != nil {
		return "", fmt.Errorf("reset view %s: %w", view, err)
	}
	return epoch, a.ledger.EndOld(ctx, view)
}

func (a *Admin) nonce() (string, error) {
	var b [10]byte
	if _, err := io.ReadFull(a.random, b[:]); err != nil {
		return "", fmt.Errorf("make a nonce: %w", err)
	}
	return fmt.Sprintf("%x", b), nil
}

// exists refuses a view of which there is nothing: no settings, no session, no version.
func (a *Admin) exists(ctx context.Context, view string) error {
	for _, key := range []string{layout.Roster(view), layout.Head(view), layout.ViewConfig(view)} {
		_, err := a.store.Get(ctx, key)
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	return refuse(NotFound, "`fustor admin view list` lists the views", "there is no view %q", view)
}

// config are the settings of a view; the defaults if it has none.
func (a *Admin) config(ctx context.Context, view string) (viewconfig.Config, error) {
	key := layout.ViewConfig(view)
	object, err := a.store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return viewconfig.Default(view), nil
	}
	if err != nil {
		return viewconfig.Config{}, err
	}
	return viewconfig.Decode(key, view, object.Body)
}

// Retain removes what the view's versions need no more; with dry it only reports what it would remove.
func (a *Admin) Retain(ctx context.Context, view string, dry bool) ([]Removal, error) {
	if a.retain == nil {
		return nil, refuse(Unsupported, "run `fustor admin retain` with --store", "this server does not run retention")
	}
	if err := a.exists(ctx, view); err != nil {
		return nil, err
	}
	removed, err := a.retain(ctx, view, dry)
	if removed == nil {
		removed = []Removal{}
	}
	return removed, err
}

func cutExtension(key, prefix string) string {
	return strings.TrimSuffix(strings.TrimPrefix(key, prefix), ".json")
}
