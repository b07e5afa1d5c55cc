package scan

// tuner finds the number of workers that a file server serves best, from what each number brought: it climbs while more
// workers bring more calls a second, and goes down when calls take much longer than they did.
type tuner struct {
	n, max int
	base   float64 // what a call takes when the server is not pressed, s; 0: not known
	rate   float64 // calls a second before the last step up
	before int     // workers then; 0: the last step was none
	rest   int     // decisions until the next step up
	pause  int     // rest after one that brought nothing
	fast   bool    // no step has failed yet
}

const (
	pressed   = 2.0  // times the base that a call takes when the server is pressed
	forgets   = 0.05 // of the difference to a longer call, the base takes over each time
	worth     = 0.25 // of what was added in workers, a step up must bring in calls
	goesDown  = 0.7
	fewWorker = 1
	minPause  = 5 // decisions
	maxPause  = 50
)

func newTuner(n, most int) *tuner { return &tuner{n: n, max: most, fast: true, pause: minPause} }

// next is how many workers there should be, after so many calls a second that took so many seconds each, with t.n workers
// that always had something to do.
func (t *tuner) next(rate, latency float64) int {
	if t.base == 0 || latency < t.base {
		t.base = latency
	} else {
		t.base += (latency - t.base) * forgets
	}
	before := t.before
	t.before = 0
	switch {
	case before > 0 && rate < t.rate*(1+worth*float64(t.n-before)/float64(before)):
		t.n, t.fast = before, false
		t.rest, t.pause = t.pause, min(2*t.pause, maxPause)
	case latency > pressed*t.base && before == 0:
		if t.rest == 0 {
			t.n, t.fast = max(fewWorker, int(float64(t.n)*goesDown)), false
			t.rest, t.pause = 2, minPause
		} else {
			t.rest--
		}
	case t.rest > 0:
		t.rest--
	case t.n < t.max:
		t.before, t.rate = t.n, rate
		if t.fast {
			t.n = min(2*t.n, t.max)
		} else {
			t.n = min(t.n+max(1, t.n/4), t.max)
		}
	}
	return t.n
}
