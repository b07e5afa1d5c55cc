package compactor

import (
	"slices"
	"testing"
	"time"
)

// looks plays a worker against a store: segments come at the times given, a fold takes 200 ms. It returns how many looks
// found nothing, and for how long each segment waited for its fold to begin.
func looks(segments []time.Duration, until time.Duration) (vain int, waits []time.Duration) {
	p := pace{max: time.Second}
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	for now := time.Duration(0); now < until; {
		if len(segments) == 0 || segments[0] > now {
			vain++
			now += p.rest(start.Add(now))
			continue
		}
		p.work(start.Add(now))
		for ; len(segments) > 0 && segments[0] <= now; segments = segments[1:] {
			waits = append(waits, now-segments[0])
		}
		now += 200 * time.Millisecond
	}
	return vain, waits
}

// every is so many times, one each d, after ten seconds.
func every(d time.Duration, n int) (times []time.Duration) {
	for i := range n {
		times = append(times, 10*time.Second+time.Duration(i)*d)
	}
	return times
}

// TestLooksKeepUpWithAFlow a host sends a segment a second, none waits long, but for the first two.
func TestLooksKeepUpWithAFlow(t *testing.T) {
	vain, waits := looks(every(time.Second, 60), 70*time.Second)
	if wait := slices.Max(waits[2:]); wait > pollMin {
		t.Errorf("a segment waited %v", wait)
	}
	if vain > 12+58*8 {
		t.Errorf("%d looks in vain in 70 seconds", vain)
	}
}

// TestLooksAtRestAreFew nothing comes, a look a second is all; and a segment now and then costs no more than a few looks besides.
func TestLooksAtRestAreFew(t *testing.T) {
	if vain, _ := looks(nil, 100*time.Second); vain > 103 {
		t.Errorf("%d looks in a hundred seconds", vain)
	}
	vain, waits := looks(every(3*time.Second, 30), 100*time.Second)
	if vain > 100+30*3 {
		t.Errorf("%d looks in a hundred seconds with 30 segments", vain)
	}
	if wait := slices.Max(waits); wait > time.Second {
		t.Errorf("a segment waited %v", wait)
	}
}
