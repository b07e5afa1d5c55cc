package agent

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/fustor/fustor/agent/guard"
	"github.com/fustor/fustor/agent/leading"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/schedule"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/pipeapi"
)

// TestScanThatPanicsIsStillDue: a scan that panics has repaired nothing, so it is due again, and does not count as running.
func TestScanThatPanicsIsStillDue(t *testing.T) {
	o := &Options{Logger: slog.New(slog.DiscardHandler), Tuning: Tuning{Clocks: lease.Host()}}
	s := newSituation(o, pipe.NewClock(pipe.NewTicks(o.Tuning.Clocks)), nil)
	s.setSession(leading.Begin(pipeapi.Session{ID: "s1"}, s.clocks.Now()), false)
	s.lost(nil)
	stopped := false
	scans := &scanner{o: o, situation: s, counters: newCounters(), progress: func() func() { return func() { stopped = true } }}
	before, _, ok := s.nextScan(time.Now(), true)
	if !ok || before.Kind != schedule.Rescan {
		t.Fatalf("%+v is due", before)
	}
	if err := guard.Do(func() error { return scans.runTask(context.Background(), before) }); err == nil {
		t.Fatal("a scan without a watch does not panic")
	}
	if after, _, ok := s.nextScan(time.Now(), true); !ok || after.Kind != schedule.Rescan || s.scan != "" || !stopped {
		t.Errorf("%+v is due, %q runs, progress stopped: %v", after, s.scan, stopped)
	}
}
