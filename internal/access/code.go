package access

import (
	"crypto/rand"
	"encoding/base32"
	"strings"
	"sync"
	"time"
)

// A one-time code stands for a key in a link that opens the pages: addresses stay in the histories of browsers and shells, in the logs of
// proxies, and on screens. The browser that uses it first gets a cookie with the key. Codes are in the memory of the process that made them.

const (
	// CodeFor is how long a code may be used.
	CodeFor  = 10 * time.Minute
	maxCodes = 100
)

type codes struct {
	mu  sync.Mutex
	all map[string]code // by the hash of the code
}

type code struct {
	key   string
	until time.Time
}

// NewCode makes a one-time code for a key.
func (a *Authenticator) NewCode(key string) string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	made := strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b[:]))
	a.codes.add(made, key, a.now())
	return made
}

func (c *codes) add(made, key string, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.all == nil {
		c.all = map[string]code{}
	}
	for hash, old := range c.all {
		if !now.Before(old.until) || len(c.all) >= maxCodes {
			delete(c.all, hash)
		}
	}
	c.all[Hash(made)] = code{key, now.Add(CodeFor)}
}

// take is the key of a code; empty: there is none.
func (c *codes) take(made string, now time.Time) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	hash := Hash(made)
	found := c.all[hash]
	delete(c.all, hash)
	if !now.Before(found.until) {
		return ""
	}
	return found.key
}
