package evidence

// Clock estimates the store's time minus the file server's (the skew): the mode, in whole seconds, of observed_at - mtime
// over the last ClockSamples realtime puts. At equal counts the smaller value wins; without samples it is 0.
// A file server's time is then the store's time minus the skew (a tombstone's watermark).
//
// The samples are kept in their order, as runs of equal values, so that the clock depends on the events alone.
type Clock struct {
	// Runs are [value in seconds, how many in a row], the oldest first.
	Runs [][2]int64 `json:"runs,omitempty"`
}

// ClockSamples is how many realtime puts the skew is the mode of.
const ClockSamples = 10_000

// Sample is what the clock needs of one realtime put, both in ns.
type Sample struct{ ObservedAt, MtimeNs int64 }

// Add is the clock after more samples, the oldest first. The receiver's Runs are left as they are.
func (c Clock) Add(samples []Sample) Clock {
	if len(samples) > ClockSamples {
		samples = samples[len(samples)-ClockSamples:]
	}
	runs := append([][2]int64(nil), c.Runs...)
	for _, s := range samples {
		v := floorDiv(s.ObservedAt-s.MtimeNs, 1e9)
		if n := len(runs); n > 0 && runs[n-1][0] == v {
			runs[n-1][1]++
		} else {
			runs = append(runs, [2]int64{v, 1})
		}
	}
	return Clock{Runs: newestSamples(runs, ClockSamples)}
}

// newestSamples drops the oldest samples beyond the last n.
func newestSamples(runs [][2]int64, n int64) [][2]int64 {
	for i := len(runs) - 1; i >= 0; i-- {
		if n -= runs[i][1]; n <= 0 {
			runs[i][1] += n
			return runs[i:]
		}
	}
	return runs
}

// Skew is the mode, in ns.
func (c Clock) Skew() int64 {
	count := map[int64]int64{}
	for _, r := range c.Runs {
		count[r[0]] += r[1]
	}
	best, most := int64(0), int64(0)
	for v, n := range count {
		if n > most || n == most && v < best {
			best, most = v, n
		}
	}
	return best * 1e9
}

// floorDiv rounds down. b is positive.
func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
