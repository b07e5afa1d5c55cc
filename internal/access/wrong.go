package access

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
)

// An address that sends wrong keys is told so (401) a number of times a minute, and then to wait (429). Its right keys work all the same, so
// nobody is locked out by others behind the same proxy or NAT. Generated keys cannot be guessed; those that people choose can.

const (
	wrongKeys = 20 // within wrongTime
	wrongTime = time.Minute
	// maxWrong bounds the addresses that are remembered, about 100 bytes each.
	maxWrong = 10_000
)

// wrong counts the wrong keys of each address.
type wrong struct {
	now   func() time.Time
	mu    sync.Mutex
	by    map[string]wrongCount
	swept time.Time // when those whose minute is over were last forgotten
}

type wrongCount struct {
	keys  int
	until time.Time
}

// add counts a wrong key in, and returns for how long the address has to wait; 0: it need not.
func (w *wrong) add(from string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	c, known := w.by[from]
	if !now.Before(c.until) {
		c = wrongCount{until: now.Add(wrongTime)}
	}
	c.keys++
	if !known && len(w.by) >= maxWrong {
		w.makeRoom(now)
	}
	w.by[from] = c
	if c.keys <= wrongKeys {
		return 0
	}
	return c.until.Sub(now)
}

// makeRoom forgets those whose minute is over, and at least one. It looks for the former once a second, as it looks at all.
func (w *wrong) makeRoom(now time.Time) {
	if now.Sub(w.swept) >= time.Second {
		w.swept = now
		for from, c := range w.by {
			if !now.Before(c.until) {
				delete(w.by, from)
			}
		}
	}
	for from := range w.by {
		if len(w.by) < maxWrong {
			return
		}
		delete(w.by, from)
	}
}

// errWrongKey is the answer to a wrong key, or code, of an address.
func (a *Authenticator) errWrongKey(from, what string) error {
	if wait := a.wrong.add(from); wait > 0 {
		return &httpapi.Error{Status: http.StatusTooManyRequests, RetryAfter: wait,
			Detail: fmt.Sprintf("%s, and your address has sent more than %d wrong ones within a minute", what, wrongKeys),
			Hint:   "check the key, and wait; right keys work meanwhile"}
	}
	return &httpapi.Error{Status: http.StatusUnauthorized, Detail: what, Hint: "ask the administrator of this Fustor for a key"}
}

// addressOf is where a request comes from, behind the trusted proxy its client: what the connections of that are counted under.
func (a *Authenticator) addressOf(r *http.Request) string {
	return httpapi.CountedAs(httpapi.ClientIP(a.proxy.From.Noted(r)))
}

// LogIn is the record of a key that somebody has typed in, or the *httpapi.Error that says why there is none.
func (a *Authenticator) LogIn(ctx context.Context, r *http.Request, key string) (Record, error) {
	return a.record(ctx, key, a.addressOf(r))
}

// Redeem is the key of a one-time code, which then is of no more use, or the *httpapi.Error that says why there is none.
func (a *Authenticator) Redeem(r *http.Request, code string) (key string, err error) {
	if key = a.codes.take(code, a.now()); key == "" {
		err := a.errWrongKey(a.addressOf(r), "this link has been used, or is too old")
		if refused := new(httpapi.Error); errors.As(err, &refused) && refused.Status == http.StatusUnauthorized {
			refused.Hint = "enter the key; `fustor up` prints a new link when it starts"
		}
		return "", err
	}
	return key, nil
}
