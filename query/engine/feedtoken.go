package engine

import (
	"encoding/base64"
	"encoding/binary"
	"strings"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
)

// feedToken is what a client gets as a position of a feed. Everything up to the version From has been told, and of Version, if it is not
// 0, the changes up to the key After. Each change has one, so it is binary. It begins with feedPrefix, which no number of a version, no
// time and no name of a pin does: a feed begins after any of these.
type feedToken struct {
	From      uint64
	FromNonce string
	Version   uint64 // 0: the feed stands at the end of From
	Nonce     string
	Query     uint64 // QueryHash of the feed's path and filters
	After     layer.Key
}

const (
	feedPrefix = "c."
	feedFormat = 1
)

// IsFeedCursor reports whether a text claims to be a position of a feed.
func IsFeedCursor(text string) bool { return strings.HasPrefix(text, feedPrefix) }

// appendFeedToken appends all of a token but its key.
func appendFeedToken(b []byte, t feedToken) []byte {
	b = append(b, feedFormat)
	b = binary.BigEndian.AppendUint64(b, t.Query)
	for _, v := range [2]struct {
		number uint64
		nonce  string
	}{{t.From, t.FromNonce}, {t.Version, t.Nonce}} {
		b = binary.AppendUvarint(b, v.number)
		b = append(append(b, byte(len(v.nonce))), v.nonce...)
	}
	return b
}

func encodeFeedToken(b []byte) string { return feedPrefix + base64.RawURLEncoding.EncodeToString(b) }

func decodeFeedToken(text string, query uint64) (t feedToken, err error) {
	b, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(text, feedPrefix))
	if err != nil || len(b) < 9 || b[0] != feedFormat {
		return t, ErrCursor
	}
	t.Query, b = binary.BigEndian.Uint64(b[1:]), b[9:]
	version := func() (number uint64, nonce string) {
		number, n := binary.Uvarint(b)
		if n <= 0 || len(b) == n || len(b) < n+1+int(b[n]) {
			err = ErrCursor
			return 0, ""
		}
		end := n + 1 + int(b[n])
		nonce, b = string(b[n+1:end]), b[end:]
		if number == 0 && nonce != "" || number != 0 && !layout.ValidID(nonce) {
			err = ErrCursor
		}
		return number, nonce
	}
	if t.From, t.FromNonce = version(); err == nil {
		t.Version, t.Nonce = version()
	}
	switch {
	case err != nil:
		return t, err
	case t.From == 0, t.Version != 0 && t.Version <= t.From, (t.Version == 0) != (len(b) == 0), len(b) > 0 && b[0] != '/':
		return t, ErrCursor
	case t.Query != query:
		return t, ErrCursorQuery
	}
	t.After = CursorKey(b)
	return t, nil
}
