//go:build !reading

package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/agent"
)

// TestProgress: counts and a rate, a last line that stays, on a terminal never wider than it is.
func TestProgress(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		ctx, cancel := context.WithCancel(context.Background())
		var out bytes.Buffer
		at := time.Unix(0, 0)
		reads := int64(0)
		screen := &console{w: &out, terminal: terminal, width: 60}
		p := &progress{screen: screen, say: (&app{console: screen}).say, every: time.Millisecond, now: func() time.Time {
			at = at.Add(time.Second)
			return at
		}}
		p.follow(ctx, "scanning /usr", func() scanCounts {
			if reads++; reads == 3 {
				cancel()
			}
			return scanCounts{Files: 1500 * reads, Directories: 500 * reads, Bytes: 1 << 20 * reads}
		})
		got := out.String()
		if !strings.HasPrefix(got, map[bool]string{false: "", true: "\r\x1b[K"}[terminal]+"scanning /usr: 1,500 files, 500 directories, 1.0 MiB, 2,") {
			t.Errorf("terminal %v: %q", terminal, got)
		}
		if terminal {
			if lines := strings.Split(got, "\r\x1b[K"); strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") || len(strings.TrimSpace(lines[1])) > 59 || !strings.Contains(got, "\x1b[Kscanning /usr: 4,500 files") {
				t.Errorf("%q", got)
			}
		} else if strings.ContainsAny(got, "\r\x1b") || strings.Count(got, "\n") != strings.Count(got, "scanning") {
			t.Errorf("%q", got)
		}
	}
}

// A line of the log goes above the line of progress, which is drawn again below it.
func TestLogAboveProgress(t *testing.T) {
	var out bytes.Buffer
	c := &console{w: &out, terminal: true}
	c.draw("")
	c.draw("snapshot: 1 file")
	if n, err := c.Write([]byte("a line\n")); n != 7 || err != nil {
		t.Fatal(n, err)
	}
	c.draw("")
	_, _ = c.Write([]byte("another\n"))
	if got, want := out.String(), "\r\x1b[Ksnapshot: 1 file\r\x1b[Ka line\nsnapshot: 1 file\r\x1b[Kanother\n"; got != want {
		t.Errorf("%q\nwant %q", got, want)
	}
}

// The scans of several agents are one line, with a rate over a second at least, and none where nothing is scanned.
func TestScansNow(t *testing.T) {
	var s scansNow
	at := time.Unix(100, 0)
	follower := agent.Status{Files: 7}
	one := agent.Status{Scan: "snapshot", Files: 3000, Directories: 1000, Bytes: 1 << 20, ScanTime: 2 * time.Second}
	two := agent.Status{Scan: "audit", Files: 1000, Bytes: 1 << 20, ScanTime: time.Second}
	for _, step := range []struct {
		all  []agent.Status
		want string
	}{
		{[]agent.Status{follower}, ""},
		{[]agent.Status{follower, one}, "snapshot: 3,000 files, 1,000 directories, 1.0 MiB, 2,000/s, 2s"},
		{[]agent.Status{one, two}, "2 scans: 4,000 files, 1,000 directories, 2.0 MiB, 1,000/s, 2s"},
		{[]agent.Status{two}, "audit: 1,000 files, 0 directories, 1.0 MiB, 0/s, 1s"},
		{nil, ""},
	} {
		at = at.Add(time.Second)
		if got := s.line(step.all, at); got != step.want {
			t.Errorf("%q; want %q", got, step.want)
		}
	}
}
