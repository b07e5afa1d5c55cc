package agent

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/agent/guard"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/spool"
)

// spooling keeps the stream's events in the spool, in which they outlive outages and the process.
type spooling struct {
	dir   string // empty: there is no spool
	log   *slog.Logger
	spool *spool.Spool // nil: there is none, or none that works
	err   error        // why it does not work
}

// openSpool takes the spool into use. An agent whose spool does not work goes on without: what it cannot keep it scans again.
func openSpool(dir string, size int64, log *slog.Logger) *spooling {
	s := &spooling{dir: dir, log: log}
	if dir == "" {
		return s
	}
	if s.spool, s.err = spool.Open(dir, size); s.err != nil {
		log.Warn("the spool does not work: events that are unsent when the agent ends are lost, and an outage takes memory", "error", s.err)
		return s
	}
	if st := s.spool.Status(); st.Segments > 0 {
		log.Info("the spool has events that an earlier process did not send; they go out now", "spool", dir, "segments", st.Segments, "bytes", st.Bytes)
	}
	return s
}

func (s *spooling) close() {
	if s.spool != nil {
		s.spool.Close()
	}
}

// status is the zero value where there is no spool.
func (s *spooling) status() spool.Status {
	if s.spool != nil {
		return s.spool.Status()
	}
	return spool.Status{Err: s.err}
}

// spoolEvery is after how long events that cannot be sent are put into the spool.
const spoolEvery = 5 * time.Second

// run carries over what earlier sessions did not send, and sees to it that events do not wait in memory, until ctx ends.
func (s *spooling) run(ctx context.Context, stream *pipe.Stream) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return guard.Do(func() error { return stream.Carry(ctx) }) })
	group.Go(func() error { return guard.Do(func() error { return s.keep(ctx, stream) }) })
	return group.Wait()
}

// keep puts the open segment into the spool regularly. It logs once when the spool begins to fail and once when it works again.
func (s *spooling) keep(ctx context.Context, stream *pipe.Stream) error {
	tick := time.NewTicker(spoolEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := stream.KeepOpen(spoolEvery); err != nil {
			return err
		}
		if s.spool == nil {
			continue
		}
		if failing {
			s.spool.Probe()
		}
		if err := s.spool.Status().Err; failing != (err != nil) {
			failing = !failing
			s.logChange(err)
		}
	}
}

func (s *spooling) logChange(err error) {
	if err == nil {
		s.log.Info("the spool works again", "spool", s.dir)
		return
	}
	hint := "free some space in its file system, or choose another directory"
	if errors.Is(err, spool.ErrFull) {
		hint = "the store has not answered for a long time; a larger spool would hold more"
	}
	s.log.Error("the spool is failing; events are kept in memory, and what does not fit there is found by scanning again",
		"spool", s.dir, "error", err, "hint", hint)
}
