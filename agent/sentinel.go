package agent

import (
	"context"
	"errors"
	"maps"
	"slices"
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
	hot       *hotFiles
}

// run checks the suspects once per interval of the view until ctx ends, and those that this leader's scans have found before their
// suspicion ends. The interval may change at any time, so it never sleeps for long.
func (s *sentinel) run(ctx context.Context) error {
	for last := time.Now(); ctx.Err() == nil; {
		interval := s.situation.sentinelInterval()
		if err := s.checkHot(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, pipe.ErrTerm) {
			return err
		}
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
	known := make(map[string]hotFile, len(paths))
	for _, path := range paths {
		known[path] = hotFile{size: -1}
	}
	return s.look(ctx, of, known)
}

// checkHot looks at the files whose suspicion is about to end. What has not changed since it was seen last is at rest, and needs no
// report.
func (s *sentinel) checkHot(ctx context.Context) error {
	of, leads := s.situation.leadership()
	if !leads || s.situation.sentinelInterval() <= 0 {
		s.hot.clear()
		return nil
	}
	due := s.hot.take(s.now())
	if len(due) == 0 {
		return nil
	}
	return s.look(ctx, of, due)
}

// look looks at files and sends what has changed in them, as long as the agent leads.
func (s *sentinel) look(ctx context.Context, of schedule.Leadership, files map[string]hotFile) error {
	_, root, err := s.watching.openRoot()
	if err != nil {
		return err
	}
	defer root.Close()
	looker := root.Looker()
	defer looker.Close()
	for _, path := range slices.Sorted(maps.Keys(files)) {
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
		if known := files[path]; known.size == info.Entry.Size && known.mtimeNs == info.Entry.MtimeNs {
			continue
		}
		if err := s.stream.Scan(ctx, of.Term, observation(path, at, event.Audit, info.Entry), nil); err != nil {
			return err
		}
		s.hot.note(path, &info.Entry, at, s.stream.Skew())
	}
	return nil
}
