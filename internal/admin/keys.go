package admin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// Key is an API key as an administrator sees it; never the key itself.
type Key struct {
	// ID is the beginning of the key's SHA-256, which names its record.
	ID        string        `json:"id"`
	Name      string        `json:"name"`
	Roles     []access.Role `json:"roles"`
	Views     access.Views  `json:"views"`
	CreatedAt int64         `json:"created_at_ns"`
	ExpiresAt int64         `json:"expires_at_ns,omitempty"` // 0: never
	Expired   bool          `json:"expired"`
	// As is the user whose file permissions the key has; empty: it sees everything.
	As string `json:"as,omitempty"`
	// Damaged says what is wrong with a record that cannot be read. Its key does not work.
	Damaged string `json:"damaged,omitempty"`

	hash string
}

const idLength = 12 // hex digits of a hash

// NewKey is what a new key may do.
type NewKey struct {
	Name      string        `json:"name"`
	Roles     []access.Role `json:"roles"`
	Views     access.Views  `json:"views"`
	ExpiresAt int64         `json:"expires_at_ns,omitempty"`
	// As restricts the key to what a user's file permissions allow: a user of the host that serves, or uid:gid,gid.
	As string `json:"as,omitempty"`
}

// MadeKey is a new key. The key itself is shown this once and kept nowhere.
type MadeKey struct {
	Key
	Secret string `json:"api_key"`
}

// within reports whether all views of inner are among those of outer.
func within(inner, outer access.Views) bool {
	return outer.All || !inner.All && !slices.ContainsFunc(inner.Names, func(v string) bool { return !outer.Has(v) })
}

// CreateKey makes a key. It may be for no view that is not in scope.
func (a *Admin) CreateKey(ctx context.Context, scope access.Views, n NewKey) (MadeKey, error) {
	const maxName = 200
	n.Name = strings.TrimSpace(n.Name)
	record := access.Record{Name: n.Name, Roles: n.Roles, Views: n.Views, CreatedAt: a.now().UnixNano(), ExpiresAt: n.ExpiresAt, As: n.As}
	if err := record.Check(); err != nil {
		return MadeKey{}, refuse(Invalid, "", "%s", err)
	}
	if len(n.Name) > maxName || strings.ContainsFunc(n.Name, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return MadeKey{}, refuse(Invalid, "", "a key's name has at most %d bytes and no control characters", maxName)
	}
	if record.Expired(a.now()) {
		return MadeKey{}, refuse(Invalid, "", "the key's expiry is in the past")
	}
	if !within(n.Views, scope) {
		return MadeKey{}, refuse(Invalid, "name the views with --view", "your own key does not cover all views of the new key")
	}
	secret := access.GenerateKey()
	if err := access.Register(ctx, a.store, secret, record); err != nil {
		return MadeKey{}, err
	}
	return MadeKey{a.key(access.Hash(secret), record), secret}, nil
}

func (a *Admin) key(hash string, r access.Record) Key {
	return Key{ID: hash[:idLength], Name: r.Name, Roles: r.Roles, Views: r.Views, CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt,
		Expired: r.Expired(a.now()), As: r.As, hash: hash}
}

// Keys are those that are for no view out of scope, in the order of their making. Damaged ones are told of to those
// who administer all views.
func (a *Admin) Keys(ctx context.Context, scope access.Views) ([]Key, error) {
	var hashes []string
	err := store.Each(ctx, a.store, layout.KeyConfigs, func(i store.Item, _ time.Duration) error {
		if hash := cutExtension(i.Key, layout.KeyConfigs); len(hash) > idLength {
			hashes = append(hashes, hash)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make([]Key, len(hashes))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, hash := range hashes {
		g.Go(func() error {
			object, err := a.store.Get(gctx, layout.KeyConfig(hash))
			if errors.Is(err, store.ErrNotFound) { // revoked meanwhile
				return nil
			}
			if err != nil {
				return err
			}
			record, err := access.DecodeRecord("the record", hash, object.Body)
			if err != nil {
				all[i] = Key{ID: hash[:idLength], Roles: []access.Role{}, Damaged: err.Error(), Views: access.AllViews, hash: hash}
				return nil
			}
			all[i] = a.key(hash, record)
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	keys := slices.DeleteFunc(all, func(k Key) bool { return k.ID == "" || !within(k.Views, scope) })
	slices.SortStableFunc(keys, func(x, y Key) int { return int(min(1, max(-1, x.CreatedAt-y.CreatedAt))) })
	return keys, nil
}

// RevokeKey takes a key away, by its ID or by its name. Servers believe it for another 30 seconds at most
// (access.KnownFor).
func (a *Admin) RevokeKey(ctx context.Context, scope access.Views, word string) (Key, error) {
	keys, err := a.Keys(ctx, scope)
	if err != nil {
		return Key{}, err
	}
	found := slices.DeleteFunc(slices.Clone(keys), func(k Key) bool { return k.ID != word && k.hash != word })
	if len(found) == 0 {
		found = slices.DeleteFunc(keys, func(k Key) bool { return k.Name != word })
	}
	switch {
	case len(found) == 0 && strings.HasPrefix(word, access.KeyPrefix):
		// The word is a secret: it must not come back in an error.
		return Key{}, refuse(NotFound, "`fustor admin key list` lists the ids", "name a key by its id or name, not by the key itself")
	case len(found) == 0:
		return Key{}, refuse(NotFound, "`fustor admin key list` lists the ids", "there is no key %q", word)
	case len(found) > 1:
		return Key{}, refuse(Conflict, "`fustor admin key list` lists the ids", "%d keys are named %q; name one by its id", len(found), word)
	}
	return found[0], a.store.Delete(ctx, layout.KeyConfig(found[0].hash))
}

// RegisterKey registers a key that was made elsewhere. It reports whether it did: a key that has the same rights already
// is left as it is. One that has others must be revoked first.
func (a *Admin) RegisterKey(ctx context.Context, n NewKey, secret string) (made bool, err error) {
	record := access.Record{Name: n.Name, Roles: n.Roles, Views: n.Views, CreatedAt: a.now().UnixNano(), ExpiresAt: n.ExpiresAt, As: n.As}
	err = access.Register(ctx, a.store, secret, record)
	if !errors.Is(err, store.ErrLost) {
		return err == nil, err
	}
	object, err := a.store.Get(ctx, layout.KeyConfig(access.Hash(secret)))
	if err != nil {
		return false, err
	}
	known, err := access.DecodeRecord("the record", access.Hash(secret), object.Body)
	if err == nil && slices.Equal(known.Roles, n.Roles) && known.As == n.As && within(known.Views, n.Views) && within(n.Views, known.Views) {
		return false, nil
	}
	return false, refuse(Conflict, "revoke it, or register a new key", "key %s is registered with other rights", access.Hash(secret)[:idLength])
}
