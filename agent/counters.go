package agent

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"math"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/schedule"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/pipeapi"
)

// counters is what an agent counts of its own work since it was made. It is safe for concurrent use.
type counters struct {
	began    time.Time
	events   atomic.Uint64 // of the kernel that were taken to be sent
	onDemand atomic.Uint64 // entries of on-demand scans that have ended
	segments atomic.Uint64 // made durable
	bytes    atomic.Uint64 // of these
	failures atomic.Uint64 // tries to send a segment that failed

	mu         sync.Mutex
	counts     *scan.Counts // of the scheduled scan that runs, or ran last
	before     uint64       // entries of the scheduled scans before that
	samples    []sample     // the oldest first
	readErrors map[string]pipeapi.ReadErrors
	sendError  error // of the last try to send a segment; nil: it was sent
	lastScan   *pipeapi.LastScan
}

// sample is the counters that there are rates of, at one time.
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

func newCounters() *counters {
	return &counters{began: time.Now(), counts: &scan.Counts{}, readErrors: map[string]pipeapi.ReadErrors{}}
}

// measure takes samples for the rates until ctx ends.
func (c *counters) measure(ctx context.Context) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		c.keep(c.sample())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (c *counters) sample() sample {
	c.mu.Lock()
	defer c.mu.Unlock()
	return sample{time.Now(), c.events.Load(), c.before + c.onDemand.Load() + entries(c.counts), c.bytes.Load()}
}

// keep adds a sample and drops those that are too old.
func (c *counters) keep(s sample) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.samples) > 0 && s.at.Sub(c.samples[0].at) > ratesOver {
		c.samples = append(c.samples[:0], c.samples[1:]...)
	}
	c.samples = append(c.samples, s)
}

// rates are those up to now.
func (c *counters) rates() pipeapi.Rates {
	now := c.sample()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.samples) == 0 {
		return pipeapi.Rates{}
	}
	from := c.samples[0]
	d := now.at.Sub(from.at).Seconds()
	if d < 1 {
		return pipeapi.Rates{}
	}
	per := func(from, to uint64) float64 { return round(float64(to-from) / d) }
	return pipeapi.Rates{Events: per(from.events, now.events), Entries: per(from.entries, now.entries), Bytes: per(from.bytes, now.bytes)}
}

// beginScan returns the counts of a scheduled scan that begins.
func (c *counters) beginScan() *scan.Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before += entries(c.counts)
	c.counts = &scan.Counts{}
	return c.counts
}

// running is the counts of the scheduled scan that runs, or ran last.
func (c *counters) running() *scan.Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.counts
}

// completed takes in a scan of the whole tree that was completed. changed is its number of changed directories, excluded and pseudo
// what it left out.
func (c *counters) completed(kind schedule.Kind, began time.Time, n *scan.Counts, changed uint64, excluded []pipeapi.Excluded, pseudo []string) {
	last := &pipeapi.LastScan{
		Scan: string(kind), At: began.Round(0), Seconds: round(time.Since(began).Seconds()),
		Directories: n.Directories.Load(), Files: n.Files.Load(), Errors: n.Errors.Load(), Changed: changed, Excluded: excluded,
		Pseudo: pseudo,
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lastScan = last
}

// sent takes in a try to send a segment of so many bytes.
func (c *counters) sent(bytes int, err error) {
	c.mu.Lock()
	c.sendError = err
	c.mu.Unlock()
	if err != nil {
		c.failures.Add(1)
		return
	}
	c.segments.Add(1)
	c.bytes.Add(uint64(bytes))
}

// unreadable counts a path that could not be read.
func (c *counters) unreadable(path string, err error) {
	kind := errorKind(err)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.readErrors[kind] = pipeapi.ReadErrors{Count: c.readErrors[kind].Count + 1, Example: shorten(path, maxExample)}
}

// report returns what the heartbeats say of read errors and the last scan.
func (c *counters) report() (map[string]pipeapi.ReadErrors, *pipeapi.LastScan) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.readErrors), c.lastScan
}

func entries(c *scan.Counts) uint64 { return c.Files.Load() + c.Directories.Load() + c.Others.Load() }

// round keeps the digits of a figure that people read.
func round(f float64) float64 { return math.Round(f*1000) / 1000 }

// errorKinds are what errorKind may answer.
var errorKinds = []string{"permission", "vanished", "timeout", "io", "other"}

// errorKind sorts the errors of file systems: permission, vanished, timeout, io or other.
func errorKind(err error) string {
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
