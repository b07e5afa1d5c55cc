package agent

import (
	"context"
	"errors"
	"time"

	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/schedule"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/sleep"
)

// sentinel checks the suspects while the agent leads: files that may still be being written to. It asks ingest which they
// are, and sends what it sees of them.
type sentinel struct {
	client    *send.Client
	situation *situation
	watching  *watching
	stream    *pipe.Stream
	now       func() int64 // the store's time, ns
}

// run checks the suspects once per interval of the view until ctx ends. The interval may change at any time, so it never sleeps for long.
func (s *sentinel) run(ctx context.Context) error {
	for last := time.Now(); ctx.Err() == nil; {
		interval := s.situation.sentinelInterval()
		if left := interval - time.Since(last); interval <= 0 || left > 0 { // 0: there is no session yet, or the view has it off
			if interval <= 0 {
				left = time.Second
			}
			_ = sleep.For(ctx, min(left, time.Second))
			continue
		}
		last = time.Now()
		of, leads := s.situation.leadership()
		if !leads {
			continue
		}
		if err := s.check(ctx, of); err != nil && ctx.Err() == nil && !errors.Is(err, pipe.ErrTerm) {
			return err
		}
	}
	return ctx.Err()
}

// check looks at each suspect, as long as the agent leads.
func (s *sentinel) check(ctx context.Context, of schedule.Leadership) error {
	callCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
	paths, err := s.client.Suspects(callCtx)
	cancel()
	if err != nil || len(paths) == 0 {
		return err
	}
	_, root, err := s.watching.openRoot()
	if err != nil {
		return err
	}
	defer root.Close()
	looker := root.Looker()
	defer looker.Close()
	for _, path := range paths {
		if now, leads := s.situation.leadership(); !leads || now != of {
			return nil
		}
		if !event.ValidPath(path) || path == "/" {
			continue
		}
		at := s.now()
		info, err := looker.Lstat(path)
		if err != nil || info.Entry.Type != event.File {
			continue // the kernel, or the next audit, says what became of it
		}
		if err := s.stream.Scan(ctx, of.Term, observation(path, at, event.Audit, info.Entry), nil); err != nil {
			return err
		}
	}
	return nil
}
