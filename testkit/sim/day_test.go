package sim

import (
	"flag"
	"runtime"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/manifest"
)

var (
	dayFlag      = flag.Duration("day", 20*time.Second, "how long the hosts of TestDay change the tree")
	archivesFlag = flag.Int("day.archives", 1, "how many archives are unpacked and removed at a time")
)

// TestDay: eight hosts with agents and one without change a tree for a day of the bubble's clock, while everything breaks that breaks in the
// simulation, and compactors remove what is no longer needed. Every hour the faults end, and the view must be the tree, with every segment
// counted once.
func TestDay(t *testing.T) {
	const round = time.Hour
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	warm(t)
	var w *world
	r := live(t, 24, authenticator(t), nil, func(p *plan) {
		p.agents = []int{0, 1, 2, 3, 4, 5, 6, 7}
		p.hosts, p.local, p.calm = 9, false, false
		p.staleness, p.timeout, p.hot = time.Second, 8*time.Second, 4*time.Second
		p.segments, p.polls, p.queue, p.chaos = time.Second, 2*time.Second, 4096, 10*time.Second
		p.ingests, p.compactors, p.inline = 2, 2, 3
		p.pauses, p.archives, p.archive = time.Second, *archivesFlag, 300
		p.partition, p.batch = 400, 1000
		p.rounds = int((*dayFlag + round - 1) / round)
		p.busy = *dayFlag / time.Duration(p.rounds)
		p.audit = min(p.busy/6, 2*time.Minute)
		p.grace = min(p.busy/4, 10*time.Minute)
	}, func(made *world) { w = made })
	if r.failure != nil {
		t.Fatal(r.failure)
	}
	m, _, err := manifest.Load(t.Context(), w.store, view)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%v of the bubble's clock in %d rounds: %d versions, %d terms, %d sessions, %+v, %d steps; the store has %d objects; faults: %s", r.took.Round(time.Second), w.plan.rounds, m.Version, m.Term, len(w.sent), m.Counted,
		r.steps, len(w.store.keys), counts(r.faults))
}
