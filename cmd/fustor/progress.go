//go:build !reading

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/values"
)

// scanCounts are how far a scan is. There is no total: nobody knows it before the end.
type scanCounts struct {
	Files, Directories, Bytes int64
}

// progress shows how far a scan is: one line that is redrawn on a terminal, otherwise a line now and then.
type progress struct {
	screen *console
	say    func(format string, args ...any) // prints a line that stays
	every  time.Duration                    // between two lines
	now    func() time.Time
}

func newProgress(screen *console, say func(string, ...any)) *progress {
	p := &progress{screen: screen, say: say, every: 10 * time.Second, now: time.Now}
	if screen.terminal {
		p.every = 200 * time.Millisecond
	}
	return p
}

// follow shows what read returns until ctx ends, then a last line that stays. Label says what goes on: "scanning /usr".
func (p *progress) follow(ctx context.Context, label string, read func() scanCounts) {
	start := p.now()
	ticker := time.NewTicker(p.every)
	defer ticker.Stop()
	var last scanCounts
	lastAt := start
	for {
		select {
		case <-ctx.Done():
			counts := read()
			p.show(line(label, counts, p.now().Sub(start), rate(scanCounts{}, counts, p.now().Sub(start))), true)
			return
		case <-ticker.C:
			counts, now := read(), p.now()
			p.show(line(label, counts, now.Sub(start), rate(last, counts, now.Sub(lastAt))), !p.screen.terminal)
			if now.Sub(lastAt) >= time.Second { // a rate over less jumps about
				last, lastAt = counts, now
			}
		}
	}
}

// rate is entries a second between two counts.
func rate(from, to scanCounts, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64(float64(to.Files+to.Directories-from.Files-from.Directories) / d.Seconds())
}

func line(label string, c scanCounts, elapsed time.Duration, perSecond int64) string {
	return fmt.Sprintf("%s: %s, %s, %s, %s/s, %s", show.Quote(label), values.Plural(c.Files, "file", "files"), values.Plural(c.Directories, "directory", "directories"),
		show.Size(c.Bytes), show.Count(perSecond), elapsed.Round(time.Second))
}

// show prints a line; one that does not stay is drawn over by the next.
func (p *progress) show(s string, stays bool) {
	if !stays {
		p.screen.draw(s)
		return
	}
	p.screen.draw("")
	p.say("%s", s)
}

// followScans shows on a terminal what the agents scan now, until stop is called. The log says how a scan ended.
func (a *app) followScans(ctx context.Context, read func() []agent.Status) (stop func()) {
	screen := a.screen()
	if !screen.terminal {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer screen.draw("")
		tick := time.NewTicker(200 * time.Millisecond)
		defer tick.Stop()
		var scans scansNow
		for {
			select {
			case <-ctx.Done():
				return
			case now := <-tick.C:
				screen.draw(scans.line(read(), now))
			}
		}
	}()
	return func() { cancel(); <-ended }
}

// scansNow is what was shown last of the scans that run.
type scansNow struct {
	counts    scanCounts
	at        time.Time // zero: no scan ran
	perSecond int64
}

// line is what to show now; empty if nothing is scanned.
func (s *scansNow) line(all []agent.Status, now time.Time) string {
	var c scanCounts
	var longest time.Duration
	label, n := "", 0
	for i := range all {
		if all[i].Scan == "" {
			continue
		}
		n++
		c.Files, c.Directories, c.Bytes = c.Files+int64(all[i].Files), c.Directories+int64(all[i].Directories), values.Sum(c.Bytes, int64(all[i].Bytes))
		longest, label = max(longest, all[i].ScanTime), all[i].Scan
	}
	if n == 0 {
		*s = scansNow{}
		return ""
	}
	if n > 1 {
		label = fmt.Sprintf("%d scans", n)
	}
	switch d := now.Sub(s.at); {
	case s.at.IsZero():
		*s = scansNow{counts: c, at: now, perSecond: rate(scanCounts{}, c, longest)}
	case d >= time.Second: // a rate over less jumps about
		*s = scansNow{counts: c, at: now, perSecond: max(0, rate(s.counts, c, d))}
	}
	return line(label, c, longest, s.perSecond)
}
