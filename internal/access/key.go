// Package access decides who may call: API keys, what they allow, and the middleware that asks for them.
//
// It owns the key records, config/keys/<hex SHA-256 of the key>.json. Invariants: a key itself is never stored, logged
// or put into an error; hashes are compared in constant time; no or an unknown key is 401, a key that may not do this
// is 403; a record that is taken away stops working within the cache's time. Ingest and query wrap their handlers in
// it; the CLI and `fustor up` make keys with it.
package access

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/store"
)

// KeyPrefix begins every generated key, so that scanners for leaked secrets know one when they see it.
const KeyPrefix = "fustor_"

const maxKey = 256 // bytes of a key in a request

// GenerateKey returns a new key: KeyPrefix and 32 random bytes in small base32.
func GenerateKey() string {
	var b [32]byte
	_, _ = rand.Read(b[:]) // never fails
	return KeyPrefix + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
}

// Hash is the name under which a key is known: its SHA-256 in hex. Keys are long and random, so one round is enough.
func Hash(key string) string {
	h := sha256.Sum256([]byte(key))
	return hex.EncodeToString(h[:])
}

// idOf is a key's Record.ID.
func idOf(hash string) string { return Hash("id of " + hash)[:16] }

// Role is what a key may do.
type Role string

// The roles. Admin may do everything that the others may, on the key's views.
const (
	Ingest Role = "ingest"
	Query  Role = "query"
	Admin  Role = "admin"
)

// Views are the views a key is for: all of them, in JSON "*", or a list of names.
type Views struct {
	All   bool
	Names []string
	// admits says which of all views those are that somebody without a key may ask, with an *httpapi.Error for others; nil for keys.
	admits func(view string) error
}

// AllViews is "*".
var AllViews = Views{All: true}

// Has reports whether view is among them. Whoever lists all views, as All has it, asks for each.
func (v Views) Has(view string) bool {
	if v.admits != nil {
		return v.admits(view) == nil
	}
	return v.All || slices.Contains(v.Names, view)
}

// Single is the one view that a key is for, if it is for exactly one.
func (v Views) Single() (view string, ok bool) {
	if v.All || len(v.Names) != 1 {
		return "", false
	}
	return v.Names[0], true
}

// MarshalJSON implements json.Marshaler.
func (v Views) MarshalJSON() ([]byte, error) {
	if v.All {
		return []byte(`"*"`), nil
	}
	if v.Names == nil {
		return []byte(`[]`), nil
	}
	return json.Marshal(v.Names)
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *Views) UnmarshalJSON(body []byte) error {
	*v = Views{}
	var all string
	if json.Unmarshal(body, &all) == nil {
		if all != "*" {
			return errors.New(`views must be "*" or a list of view names`)
		}
		v.All = true
		return nil
	}
	return json.Unmarshal(body, &v.Names)
}

// Record is what is known of a key.
type Record struct {
	Name      string `json:"name"` // for people: whose key it is
	Roles     []Role `json:"roles"`
	Views     Views  `json:"views"`
	CreatedAt int64  `json:"created_at_ns"`
	ExpiresAt int64  `json:"expires_at_ns,omitempty"` // 0: never
	// As restricts the key to what a user's file permissions allow: a user of the host that serves, or numbers. It is empty for a key
	// that sees everything. Builds that do not know the field refuse the record.
	As string `json:"as,omitempty"`
	// ID tells the keys apart that requests come with, without telling the key or its hash; empty of records that no request came with.
	ID string `json:"-"`
}

// Restricted reports whether the key sees what a user's file permissions allow, and no more.
func (r Record) Restricted() bool { return r.As != "" }

// Allows reports whether a key may act in a role. A restricted key may not: who serves it answers as file permissions allow
// (RequireReader), and all others refuse it.
func (r Record) Allows(role Role) bool { return !r.Restricted() && r.has(role) }

// Reads reports whether a key may read: everything, or what a user may see.
func (r Record) Reads() bool { return r.has(Query) }

func (r Record) has(role Role) bool {
	return slices.Contains(r.Roles, role) || slices.Contains(r.Roles, Admin)
}

// Expired reports whether the key's time is over.
func (r Record) Expired(now time.Time) bool { return r.ExpiresAt != 0 && now.UnixNano() >= r.ExpiresAt }

// Check says what is wrong with a record: it needs a name, known roles and valid views.
func (r Record) Check() error {
	if r.Name == "" || len(r.Roles) == 0 {
		return errors.New("a key record needs a name and at least one role")
	}
	for _, role := range r.Roles {
		if role != Ingest && role != Query && role != Admin {
			return fmt.Errorf("unknown role %q: ingest, query or admin", role)
		}
	}
	if !r.Views.All && len(r.Views.Names) == 0 {
		return errors.New(`a key record needs views: "*" or a list of view names`)
	}
	for _, view := range r.Views.Names {
		if !layout.ValidView(view) {
			return fmt.Errorf("%q is not a view's name", view)
		}
	}
	if !r.Restricted() {
		return nil
	}
	if !slices.Equal(r.Roles, []Role{Query}) {
		return errors.New("a key for what a user may see has the role query alone")
	}
	return CheckUser(r.As)
}

// ErrRecord: the object is not a key record.
var ErrRecord = errors.New("invalid key record")

// DecodeRecord reads the record of the key with a hash strictly; object is the name that errors give, which should not have the hash.
func DecodeRecord(object, hash string, body []byte) (Record, error) {
	var r Record
	plain, of, err := seal.Look(body)
	switch {
	case err != nil:
		return r, fmt.Errorf("%s: %w: %w; if it was edited, remove its members $object and $xxh64", object, ErrRecord, err)
	case of != "" && of != layout.KeyConfig(hash):
		return r, fmt.Errorf("%s: %w: %w: it is another key's record", object, ErrRecord, seal.ErrBroken)
	}
	decoder := json.NewDecoder(bytes.NewReader(plain))
	decoder.DisallowUnknownFields()
	err = decoder.Decode(&r)
	if err == nil {
		if _, tail := decoder.Token(); !errors.Is(tail, io.EOF) {
			err = errors.New("something follows the record")
		}
	}
	if err == nil {
		err = r.Check()
	}
	if err != nil {
		return Record{}, fmt.Errorf("%s: %w: %v", object, ErrRecord, err)
	}
	return r, nil
}

// Register stores the record of a key. A key that has one already is store.ErrLost, unless the record is the same.
func Register(ctx context.Context, s store.Store, key string, r Record) error {
	if err := r.Check(); err != nil {
		return err
	}
	object := layout.KeyConfig(Hash(key))
	body, err := seal.JSON(object, r)
	if err != nil {
		return fmt.Errorf("encode key record: %w", err)
	}
	if _, err := store.Swap(ctx, s, object, body, ""); err != nil {
		return fmt.Errorf("register key %q: %w", r.Name, err)
	}
	return nil
}
