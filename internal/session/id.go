package session

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
)

const (
	nonceBytes = 16
	idTail     = 8 // random bytes of an id beyond those of its ULID
	idLength   = ulid.EncodedSize + 1 + 2*idTail
)

// NewID returns a new session id: a ULID, a dash and 8 random bytes in hex. The ids of a view sort by age.
func NewID(now time.Time, random io.Reader) (string, error) {
	u, err := ulid.New(ulid.Timestamp(now), random)
	if err != nil {
		return "", fmt.Errorf("make session id: %w", err)
	}
	var tail [idTail]byte
	if _, err := io.ReadFull(random, tail[:]); err != nil {
		return "", fmt.Errorf("make session id: %w", err)
	}
	return u.String() + "-" + hex.EncodeToString(tail[:]), nil
}

// ValidID reports whether id has the form that NewID gives.
func ValidID(id string) bool {
	if len(id) != idLength || id[ulid.EncodedSize] != '-' {
		return false
	}
	if _, err := ulid.ParseStrict(id[:ulid.EncodedSize]); err != nil {
		return false
	}
	return strings.Trim(id[ulid.EncodedSize+1:], "0123456789abcdef") == "" && id[:ulid.EncodedSize] == strings.ToUpper(id[:ulid.EncodedSize])
}

func newNonce(random io.Reader) (string, error) {
	var b [nonceBytes]byte
	if _, err := io.ReadFull(random, b[:]); err != nil {
		return "", errors.Join(errors.New("no randomness"), err)
	}
	return hex.EncodeToString(b[:]), nil
}
