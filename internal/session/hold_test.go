package session

import (
	"testing"
	"time"
)

func TestHold(t *testing.T) {
	start := time.Now()
	h := Hold{Term: 3, Start: start, TTL: 30 * time.Second}
	for _, tc := range []struct {
		name string
		hold Hold
		now  time.Time
		left time.Duration
	}{
		{"at once", h, start, 20 * time.Second},
		{"later", h, start.Add(15 * time.Second), 5 * time.Second},
		{"at two thirds", h, start.Add(20 * time.Second), 0},
		{"by wall time alone", h, start.Add(21 * time.Second).Round(0), -time.Second},
		{"wall clock set back", h, start.Add(-time.Minute), 0},
		{"none", Hold{}, start, 0},
	} {
		if left := tc.hold.Left(tc.now); left != tc.left {
			t.Errorf("%s: %s left, want %s", tc.name, left, tc.left)
		}
	}
}
