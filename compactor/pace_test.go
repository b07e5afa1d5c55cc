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

// TestPauses: the first one is short; each that follows is twice as long, up to the longest. While segments flow all are short, until none has come for so
// long that they flow no more.
func TestPauses(t *testing.T) {
	const ms = time.Millisecond
	start := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	check := func(what string, p *pace, at []time.Duration, want ...time.Duration) {
		t.Helper()
		for i, w := range want {
			if got := p.rest(start.Add(at[min(i, len(at)-1)])); got != w {
				t.Errorf("%s: pause %d is %v, want %v", what, i, got, w)
			}
		}
	}
	at := func(d ...time.Duration) []time.Duration { return d }
	check("at the beginning", &pace{max: time.Second}, at(0), 125*ms, 250*ms, 500*ms, time.Second, time.Second)
	check("polls are often", &pace{max: 100 * ms}, at(0), 100*ms, 100*ms)
	p := &pace{max: time.Second}
	check("at the beginning", p, at(0), 125*ms, 250*ms, 500*ms)
	p.work(start)
	check("after the first segment", p, at(0), 125*ms, 250*ms, 500*ms)
	p.work(start.Add(flowing))
	check("after one that came late", p, at(flowing), 125*ms, 250*ms)
	p.work(start.Add(2*flowing - 1))
	check("while segments flow", p, at(2*flowing, 3*flowing-2, 3*flowing-1), 125*ms, 125*ms, 125*ms, 250*ms)
}
