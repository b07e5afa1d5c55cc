package sim

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/fustor/fustor/testkit/fault"
)

// trace is what happened, as a hash and as counts, and for a person as lines.
type trace struct {
	begin time.Time
	print func(format string, args ...any) // nil: nobody reads it

	mu     sync.Mutex
	sum    uint64
	sealed bool // sum is final
	steps  int
	faults map[string]int
}

func (t *trace) add(parts ...string) {
	const prime = 1099511628211
	at := time.Since(t.begin)
	sum := (t.sum ^ uint64(at)) * prime
	for _, p := range parts {
		for i := range len(p) {
			sum = (sum ^ uint64(p[i])) * prime
		}
	}
	if !t.sealed {
		t.sum = sum
	}
	if t.print != nil {
		t.print("%12.6f %s", at.Seconds(), strings.Join(parts, " "))
	}
}

// seal ends the hash: what follows is the end of all processes at once, in any order.
func (t *trace) seal() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sealed = true
}

// step notes one I/O.
func (t *trace) step(who, what, key string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.steps++
	t.add(who, what, key)
}

// fault notes one fault.
func (t *trace) fault(kind, where string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults[kind]++
	t.add("FAULT", kind, where)
}

// note notes anything else.
func (t *trace) note(parts ...string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.add(parts...)
}

func (t *trace) storeFault(f fault.Fault) {
	switch {
	case f.Lost != nil:
		t.fault(strings.TrimSuffix("store: "+f.Lost.Error(), " by the fault plan"), "")
	case f.LostBack != nil:
		t.fault("store: answer lost", "")
	case f.Short > 0:
		t.fault("store: short page", "")
	}
}

// counts are the faults of many runs, the most frequent first.
func counts(faults map[string]int) string {
	kinds := slices.SortedFunc(maps.Keys(faults), func(a, b string) int { return cmp.Or(faults[b]-faults[a], cmp.Compare(a, b)) })
	var lines []string
	for _, k := range kinds {
		lines = append(lines, fmt.Sprintf("%s %d", k, faults[k]))
	}
	return strings.Join(lines, ", ")
}

func hash(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}
