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

// cursor is where a page ended, and on which version: the next page continues there whatever became current meanwhile.
// To clients it is opaque. It names nothing outside the view of the call that it comes with.
type cursor struct {
	Version uint64 `json:"v"`
	Nonce   string `json:"n"`
	// Query is a hash of the call and its parameters, limit and cursor apart, so that a cursor serves no other call.
	Query uint64 `json:"q"`
	// After is the last row that was delivered; Rank its value in an order other than the key's.
	After []byte `json:"a"` // the parent and the name: the name has no slash, the parent ends in one
	Rank  int64  `json:"r,omitempty"`
}

func (c cursor) encode() string {
	b, _ := json.Marshal(c) // numbers, a string and bytes: it cannot fail
	return base64.RawURLEncoding.EncodeToString(b)
}

func decodeCursor(s string, query uint64) (cursor, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return cursor{}, ErrCursor
	}
	var c cursor
	if json.Unmarshal(b, &c) != nil || c.Version == 0 || !layout.ValidID(c.Nonce) {
		return cursor{}, ErrCursor
	}
	if n := len(c.After); n > 0 && c.After[0] != '/' {
		return cursor{}, ErrCursor
	}
	if c.Query != query {
		return cursor{}, ErrCursorQuery
	}
	return c, nil
}

// key is the last row's key.
func (c cursor) key() layer.Key {
	for i := len(c.After); i > 0; i-- {
		if c.After[i-1] == '/' {
			return layer.Key{Parent: string(c.After[:i]), Name: string(c.After[i:])}
		}
	}
	return layer.Key{}
}

func cursorAt(k layer.Key) []byte { return []byte(k.Parent + k.Name) }

// hashQuery is a hash of what makes two calls the same query.
func hashQuery(parts ...string) uint64 {
	h := fnv.New64a()
	for _, p := range parts {
		_, _ = io.WriteString(h, p)
		_, _ = h.Write([]byte{0})
	}
	return h.Sum64()
}

// CursorRank is the rank in a cursor, whatever question it belongs to; false where the text is no cursor.
func CursorRank(text string) (rank int64, ok bool) {
	c, err := decodeCursor(text, 0)
	return c.Rank, err == nil || errors.Is(err, ErrCursorQuery)
}
