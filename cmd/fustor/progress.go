package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/term"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
)

// scanCounts are how far a scan is. There is no total: nobody knows it before the end.
type scanCounts struct {
	Files, Directories, Bytes int64
}

// progress shows how far a scan is: one line that is redrawn on a terminal, otherwise a line now and then.
type progress struct {
	w        io.Writer
	terminal bool
	width    int           // columns of the terminal
	every    time.Duration // between two lines
	now      func() time.Time
}

// newProgress shows progress on f, usually stderr.
func newProgress(f *os.File) *progress {
	p := &progress{w: f, terminal: terminal(f), every: 10 * time.Second, now: time.Now}
	if p.terminal {
		p.every = 200 * time.Millisecond
		p.width, _, _ = term.GetSize(int(f.Fd()))
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
			p.show(line(label, counts, now.Sub(start), rate(last, counts, now.Sub(lastAt))), !p.terminal)
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
	return fmt.Sprintf("%s: %s files, %s directories, %s, %s/s, %s", show.Quote(label), show.Count(c.Files), show.Count(c.Directories),
		show.Size(c.Bytes), show.Count(perSecond), elapsed.Round(time.Second))
}

// show prints a line; one that does not stay is drawn over by the next.
func (p *progress) show(s string, stays bool) {
	if !p.terminal {
		fmt.Fprintln(p.w, s)
		return
	}
	if r := []rune(s); p.width > 0 && len(r) >= p.width {
		s = string(r[:p.width-1])
	}
	end := ""
	if stays {
		end = "\n"
	}
	fmt.Fprint(p.w, "\r\x1b[K", s, end)
}
