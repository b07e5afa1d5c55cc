package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/pipeapi"
)

// tally is what an agent counts of its own work.
type tally struct {
	began   time.Time
	events  atomic.Uint64
	scanned uint64        // entries of the scans before the one that runs; guarded by Agent.mu
	demand  atomic.Uint64 // entries of scans on demand that have ended
	changed atomic.Uint64 // directories of the scan that runs

	mu      sync.Mutex
	samples []sample // the oldest first
	errors  map[string]pipeapi.ReadErrors
	last    *pipeapi.LastScan
}

type sample struct {
	at                     time.Time
	events, entries, bytes uint64
}

const (
	// sampleEvery and ratesOver: the rates are between now and the oldest sample.
	sampleEvery = 5 * time.Second
	ratesOver   = time.Minute
	// maxExample bounds what a heartbeat says of a path.
	maxExample = 256
)

// measure takes samples for the rates.
func (a *Agent) measure(ctx context.Context) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		a.tally.add(a.sample())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (a *Agent) sample() sample {
	a.mu.Lock()
	defer a.mu.Unlock()
	return sample{time.Now(), a.tally.events.Load(), a.tally.scanned + a.tally.demand.Load() + entries(a.counts), a.sent.bytes}
}

func entries(c *scan.Counts) uint64 { return c.Files.Load() + c.Directories.Load() + c.Others.Load() }

func (t *tally) add(s sample) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.samples) > 0 && s.at.Sub(t.samples[0].at) > ratesOver {
		t.samples = append(t.samples[:0], t.samples[1:]...)
	}
	t.samples = append(t.samples, s)
}

// rates are those up to the sample.
func (t *tally) rates(now sample) pipeapi.Rates {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.samples) == 0 {
		return pipeapi.Rates{}
	}
	from := t.samples[0]
	d := now.at.Sub(from.at).Seconds()
	if d < 1 {
		return pipeapi.Rates{}
	}
	per := func(from, to uint64) float64 { return round(float64(to-from) / d) }
	return pipeapi.Rates{Events: per(from.events, now.events), Entries: per(from.entries, now.entries), Bytes: per(from.bytes, now.bytes)}
}

// looked notes a scan that came to its end.
func (t *tally) looked(j wholeScan, began time.Time, c *scan.Counts) {
	l := &pipeapi.LastScan{Scan: j.name, At: began.Round(0), Seconds: round(time.Since(began).Seconds()), Directories: c.Directories.Load(), Files: c.Files.Load(),
		Errors: c.Errors.Load(), Changed: t.changed.Load()}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last = l
}

// round leaves as much of a figure as people read.
func round(f float64) float64 { return math.Round(f*1000) / 1000 }

// emitRealtime gives the kernel's events to the stream.
func (a *Agent) emitRealtime(events []event.Event) bool {
	n := len(events)
	if !a.stream.Realtime(events) {
		return false
	}
	a.tally.events.Add(uint64(n))
	return true
}

// cannotRead tells of the paths that a scan could not read.
func (a *Agent) cannotRead(w *watch.Watcher) func(path string, err error) {
	return func(path string, err error) {
		w.Unreadable(path, err)
		a.o.Logger.Warn("cannot read", "path", fmt.Sprintf("%q", path), "error", err)
		a.countUnreadable(path, err)
	}
}

func (a *Agent) countUnreadable(path string, err error) {
	kind, t := kindOf(err), &a.tally
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.errors == nil {
		t.errors = map[string]pipeapi.ReadErrors{}
	}
	t.errors[kind] = pipeapi.ReadErrors{Count: t.errors[kind].Count + 1, Example: shorten(path, maxExample)}
}

// kindOf sorts the errors of file systems.
func kindOf(err error) string {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "permission"
	case tree.Gone(err), errors.Is(err, syscall.ESTALE):
		return "vanished"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, syscall.EIO), errors.Is(err, syscall.ENXIO):
		return "io"
	}
	return "other"
}

// shorten makes a text fit for a report.
func shorten(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "…"
	}
	return plainText(s)
}
