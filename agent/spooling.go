package agent

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/agent/guard"
	"github.com/fustor/fustor/agent/spool"
)

// openSpool takes the spool into use. An agent whose spool is no good works without: what it cannot keep it scans again.
func (a *Agent) openSpool() {
	if a.o.Spool == "" {
		return
	}
	if a.spool, a.spoolErr = spool.Open(a.o.Spool, a.o.SpoolSize); a.spoolErr != nil {
		a.o.Logger.Warn("no spool: what is not sent when the agent ends is lost, and an outage takes memory", "error", a.spoolErr)
		return
	}
	if st := a.spool.Status(); st.Segments > 0 {
		a.o.Logger.Info("events of before were not sent and go out again", "spool", a.o.Spool, "segments", st.Segments, "bytes", st.Bytes)
	}
}

func (a *Agent) closeSpool() {
	if a.spool != nil {
		a.spool.Close()
	}
}

// spoolLost has everything scanned again.
func (a *Agent) spoolLost(err error) {
	a.o.Logger.Error("the spool lost events; the tree is scanned again", "spool", a.o.Spool, "error", err)
	a.needRescan()
}

// spoolEvery is after how long events that cannot be sent are put into the spool.
const spoolEvery = 5 * time.Second

// runSpool carries over what earlier sessions did not send, and sees to it that events do not wait in memory.
func (a *Agent) runSpool(ctx context.Context) error {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() error { return guard.Do(func() error { return a.stream.Carry(ctx) }) })
	group.Go(func() error { return guard.Do(func() error { return a.keepOpen(ctx) }) })
	return group.Wait()
}

func (a *Agent) keepOpen(ctx context.Context) error {
	tick := time.NewTicker(spoolEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
		if err := a.stream.KeepOpen(spoolEvery); err != nil {
			return err
		}
		if a.spool == nil {
			continue
		}
		// Once when it begins to fail, and once when it ends.
		if failing {
			a.spool.Probe()
		}
		st := a.spool.Status()
		if failing == (st.Err != nil) {
			continue
		}
		if failing = !failing; !failing {
			a.o.Logger.Info("the spool works again", "spool", a.o.Spool)
			continue
		}
		hint := "make room in its file system, or name another directory"
		if errors.Is(st.Err, spool.ErrFull) {
			hint = "the store has not answered for long; a larger spool would hold more"
		}
		a.o.Logger.Error("the spool takes nothing; events are kept in memory, and beyond that the tree is scanned again",
			"spool", a.o.Spool, "error", st.Err, "hint", hint)
	}
}
