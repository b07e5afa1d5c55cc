package session

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
)

// Holder is who asks for something in the name of a session.
type Holder struct {
	// Key tells the API keys apart by which requests come (access.Record.ID); empty: not known.
	Key string
	// Secret is what the agent chose for its sessions, and sends along with each request; empty: it chose none.
	Secret string
}

// Sizes of a secret, in bytes.
const (
	MinSecret = 16
	MaxSecret = 256
)

// binds makes the session one of h alone: of those who know its secret or, where the agent has none, who have its key.
func (r *Record) binds(h Holder) {
	r.Key = h.Key
	if h.Secret != "" {
		r.Secret = secretSum(h.Secret)
	}
}

// HeldBy reports whether the session is h's. A session that an earlier build made says of none whose it is, and is everybody's whose key
// is for its view.
func (r Record) HeldBy(h Holder) bool {
	switch {
	case r.Secret != "":
		return subtle.ConstantTimeCompare([]byte(r.Secret), []byte(secretSum(h.Secret))) == 1
	case r.Key != "":
		return r.Key == h.Key
	}
	return true
}

// secretSum stands for a secret in a record: secrets are long and random, so one round is enough.
func secretSum(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}
