package v2agent

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// Run keeps the agent going until ctx ends, as a V2 agent does by itself: it creates a session, and another when that is gone; beats;
// takes a snapshot when it first leads in a session, and audits from then on; obeys. Errors are retried with the next beat.
// audit 0 is never.
func (a *Agent) Run(ctx context.Context, beat, audit time.Duration) {
	tick := time.NewTicker(beat)
	defer tick.Stop()
	snapshot, audited := false, time.Now()
	for ctx.Err() == nil {
		if a.Session() == "" {
			snapshot, audited = false, time.Now()
			_, err := a.Create(ctx)
			var status *StatusError
			if err != nil && !(errors.As(err, &status) && status.Status == http.StatusConflict) && !errors.Is(err, ErrGone) && ctx.Err() == nil {
				a.failed(err)
			}
		}
		// 66 is running and message_sync.
		if beaten, err := a.Beat(ctx, "66"); err == nil {
			_, err = a.Obey(ctx, beaten.Commands)
			a.noteGone(err)
		} else {
			a.noteGone(err)
		}
		if a.Session() != "" && a.Role() == "leader" {
			switch {
			case !snapshot:
				err := a.Snapshot(ctx)
				snapshot = err == nil
				a.noteGone(err)
			case audit > 0 && time.Since(audited) > audit:
				audited = time.Now()
				a.noteGone(a.Audit(ctx))
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
	}
}

// noteGone forgets the session where it is gone.
func (a *Agent) noteGone(err error) {
	if errors.Is(err, ErrGone) {
		a.mu.Lock()
		a.session, a.role = "", ""
		a.mu.Unlock()
		return
	}
	var status *StatusError
	if errors.As(err, &status) && status.Status < 500 {
		a.failed(err)
	}
}

// Tell is Changed, through another session if the one at hand is gone, until it is told or ctx ends.
func (a *Agent) Tell(ctx context.Context, paths ...string) error {
	for {
		err := errors.New("no session")
		if a.Session() != "" {
			err = a.Changed(ctx, false, paths...)
		}
		var status *StatusError
		if err == nil || ctx.Err() != nil || errors.As(err, &status) && status.Status < 500 {
			return err
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}
