package engine

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"hash/fnv"
	"io"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
)

// pageToken is what a client gets as a cursor: where a page ended, and on which version. The next page continues there, on that
// version, even if a newer one is current. It is opaque to clients, and is of use only with the view and the call that it is from.
type pageToken struct {
	Version uint64 `json:"v"`
	Nonce   string `json:"n"`
	// Query is a hash of the call and its parameters without limit and cursor. A token is refused with another query.
	Query uint64 `json:"q"`
	// After is the last entry of the page; Extra is Position.Extra.
	After []byte `json:"a"` // parent and name: the name has no slash, the parent ends in one
	Extra int64  `json:"r,omitempty"`
	// From is the earlier version of a diff.
	From      uint64 `json:"f,omitempty"`
	FromNonce string `json:"m,omitempty"`
}

func (t pageToken) encode() string {
	b, _ := json.Marshal(t) // numbers, a string and bytes: it cannot fail
	return base64.RawURLEncoding.EncodeToString(b)
}

func decodePageToken(s string, query uint64) (pageToken, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return pageToken{}, ErrCursor
	}
	var t pageToken
	if json.Unmarshal(b, &t) != nil || t.Version == 0 || !layout.ValidID(t.Nonce) || t.From != 0 && !layout.ValidID(t.FromNonce) {
		return pageToken{}, ErrCursor
	}
	if n := len(t.After); n > 0 && t.After[0] != '/' {
		return pageToken{}, ErrCursor
	}
	if t.Query != query {
		return pageToken{}, ErrCursorQuery
	}
	return t, nil
}

// key is the key of the last entry.
func (t pageToken) key() layer.Key { return CursorKey(t.After) }

// CursorKey is the key in a cursor, as CursorAt put it there.
func CursorKey(after []byte) layer.Key {
	for i := len(after); i > 0; i-- {
		if after[i-1] == '/' {
			return layer.Key{Parent: string(after[:i]), Name: string(after[i:])}
		}
	}
	return layer.Key{}
}

// CursorAt is a key as cursors have it.
func CursorAt(k layer.Key) []byte { return []byte(k.Parent + k.Name) }

// QueryHash is a hash of what two calls must have in common to be the same query.
func QueryHash(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = io.WriteString(h, p)
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

// QueryHash is the hash of a query about that version. One about the current version is as cursors of earlier builds have it.
func (w Which) QueryHash(parts ...string) uint64 {
	if w.IsCurrent() {
		return QueryHash(parts...)
	}
	return QueryHash(append([]string{"as of", w.text}, parts...)...)
}

// CursorExtra is the Position.Extra in a cursor, whatever query the cursor belongs to; false if the text is no cursor.
func CursorExtra(text string) (extra int64, ok bool) {
	t, err := decodePageToken(text, 0)
	return t.Extra, err == nil || errors.Is(err, ErrCursorQuery)
}
