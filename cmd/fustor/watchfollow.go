//go:build !reading

package main

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/httpclient"
	"github.com/fustor/fustor/internal/sleep"
)

// follower reads a feed for as long as it is asked to: from each answer's last line on with the next call, and after a lost connection, too.
type follower struct {
	server *client.Client
	query  client.Query
	once   bool // ends at the current version
	note   func(format string, args ...any)

	cursor string // where the next call begins; of the first one, as the user wrote it
	began  bool   // the server has answered, now or for who left the position
}

const (
	// followPause is how long a server is left alone that does not wait for changes itself.
	followPause = 5 * time.Second
	// A server that is away is asked again after followRetry at first, and in the end every followRetryMost.
	followRetry     = 500 * time.Millisecond
	followRetryMost = 30 * time.Second
)

// finalError is an error of the consumer, or of an answer that will not be another.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// run calls each for every line of the feed, each line once. An error of each ends it. So does what is wrong with the first call, and what
// will not mend itself.
func (f *follower) run(ctx context.Context, each func(*client.FeedLine) error) error {
	for failures := 0; ; {
		wait := watchWait
		if f.once {
			wait = 0
		}
		changes, asked := false, time.Now()
		err := f.server.Changes(ctx, f.query, f.cursor, wait, func(l *client.FeedLine) error {
			if failures > 0 {
				f.note("connected again")
			}
			f.began, failures = true, 0
			changes = changes || l.Change != nil
			if err := each(l); err != nil {
				return finalError{err}
			}
			if l.Cursor != "" {
				f.cursor = l.Cursor
			}
			return ctx.Err()
		})
		var final finalError
		pause := time.Duration(0)
		switch {
		case errors.As(err, &final):
			return final.error
		case ctx.Err() != nil:
			return ctx.Err()
		case err == nil && f.once:
			return nil
		case err == nil && !changes && time.Since(asked) < time.Second:
			pause = followPause
		case err == nil:
		case !f.began || !passes(err):
			return f.explain(err)
		default:
			if failures == 0 {
				f.note("the feed is interrupted (%v); trying again", err)
			}
			pause = retryPause(failures, err)
			failures++
		}
		if err := sleep.For(ctx, pause); err != nil {
			return err
		}
	}
}

// passes reports whether an error may be gone at the next call.
func passes(err error) bool {
	var refused *client.Error
	var redirected *httpclient.RedirectError
	var answered *httpclient.AnswerError
	switch {
	case errors.As(err, &refused):
		return refused.Status == http.StatusTooManyRequests || refused.Status >= 500 && refused.Status != http.StatusNotImplemented
	case errors.As(err, &redirected), errors.As(err, &answered):
		return false
	}
	return true
}

// retryPause is how long to wait after so many failures: twice as long each time, by chance a half more or less, and as the server says.
func retryPause(failures int, err error) time.Duration {
	pause := min(followRetry<<min(failures, 10), followRetryMost)
	pause = pause/2 + rand.N(pause)
	var refused *client.Error
	if errors.As(err, &refused) {
		if s, err := strconv.Atoi(refused.RetryAfter); err == nil && s > 0 {
			pause = max(pause, min(time.Duration(s)*time.Second, 5*time.Minute))
		}
	}
	return pause
}

// explain says what to do about an answer that ends a feed. That there is no such path stays what it is for the first call alone: whoever
// asks may know another path.
func (f *follower) explain(err error) error {
	var refused *client.Error
	switch {
	case errors.As(err, &refused) && refused.Status == http.StatusGone:
		return &cliError{msg: refused.Detail, code: exitFailure, err: err,
			hint: "the changes since then are not known one by one any more: `fustor diff --from VERSION` shows the net changes since a version that is kept (fustor versions lists them); then go on with --after, and a new --state file"}
	case f.began && isNotFound(err):
		return &cliError{msg: err.Error(), code: exitNotFound}
	}
	return err
}
