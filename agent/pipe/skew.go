package pipe

import "github.com/fustor/fustor/internal/event"

// skewSamples is how many realtime puts the skew is the mode of.
const skewSamples = 10_000

// skew measures the store's time minus the file server's: the mode, in whole seconds, of observed_at - mtime over the
// last realtime puts of files; of equally frequent ones the smaller.
type skew struct {
	ring  []int64 // seconds
	next  int
	count map[int64]int
	mode  int64
	known bool
}

// start takes over what the view knows, until there are samples.
func (s *skew) start(seconds int64) {
	if len(s.ring) == 0 {
		s.mode, s.known = seconds, true
	}
}

func (s *skew) add(ev *event.Event) {
	if ev.Kind != event.Put || ev.Evidence != event.Realtime || ev.Entry.Type != event.File {
		return
	}
	if s.count == nil {
		s.count = map[int64]int{}
	}
	v := floorSeconds(ev.ObservedAt - ev.Entry.MtimeNs)
	if len(s.ring) < skewSamples {
		s.ring = append(s.ring, v)
	} else {
		old := s.ring[s.next]
		s.ring[s.next] = v
		s.next = (s.next + 1) % skewSamples
		if s.count[old]--; s.count[old] == 0 {
			delete(s.count, old)
		}
		if old == s.mode {
			s.count[v]++
			s.recount()
			return
		}
	}
	s.count[v]++
	if first := len(s.ring) == 1; first || s.count[v] > s.count[s.mode] || s.count[v] == s.count[s.mode] && v < s.mode {
		s.mode, s.known = v, true
	}
}

// recount finds the mode anew: the old one has lost a sample.
func (s *skew) recount() {
	best := 0
	for v, n := range s.count {
		if n > best || n == best && v < s.mode {
			s.mode, best = v, n
		}
	}
}

func floorSeconds(ns int64) int64 {
	s := ns / 1e9
	if ns%1e9 < 0 {
		s--
	}
	return s
}
