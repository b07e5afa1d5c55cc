package main

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"
)

// TestProgress: counts and a rate, a last line that stays, on a terminal never wider than it is.
func TestProgress(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		ctx, cancel := context.WithCancel(context.Background())
		var out bytes.Buffer
		at := time.Unix(0, 0)
		reads := int64(0)
		p := &progress{w: &out, terminal: terminal, width: 60, every: time.Millisecond, now: func() time.Time {
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
			if lines := strings.Split(got, "\r\x1b[K"); strings.Count(got, "\n") != 1 || !strings.HasSuffix(got, "\n") || len(strings.TrimSpace(lines[1])) > 59 {
				t.Errorf("%q", got)
			}
		} else if strings.ContainsAny(got, "\r\x1b") || strings.Count(got, "\n") != strings.Count(got, "scanning") {
			t.Errorf("%q", got)
		}
	}
}
