package agent

import (
	"errors"
	"time"

	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/httpclient"
	"github.com/fustor/fustor/internal/store"
)

// backoff is growing, jittered pauses between tries.
type backoff struct{ tries int }

// next is how long to wait after a try failed with err.
func (b *backoff) next(err error) time.Duration {
	limit := 200 * time.Millisecond << min(b.tries, 7) // up to 25 s
	b.tries++
	var redirected *httpclient.RedirectError // to be set as URL by a person
	if errors.Is(err, send.ErrRefused) || errors.Is(err, send.ErrUnacceptable) || errors.As(err, &redirected) {
		limit = 30 * time.Second
	}
	if errors.Is(err, send.ErrTaken) {
		limit = min(limit, 2*time.Second) // it ends within its time-out
	}
	wait := limit/2 + store.Jitter(limit/2)
	var status *send.StatusError
	if errors.As(err, &status) {
		wait = max(wait, min(status.RetryAfter, time.Minute))
	}
	return wait
}
