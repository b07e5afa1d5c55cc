//go:build linux

package e2e

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"
)

// TestAgentKilledAnywhere kills the agent at random moments while its tree changes, and starts it again.
func TestAgentKilledAnywhere(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	o := observe(t, observation{dir: dir})
	rnd := rand.New(rand.NewPCG(9, 9))
	rounds, operations := shortOr(8, 100), 0
	for round := range rounds {
		stop := load(t, filepath.Join(dir, fmt.Sprint("round", round%10)), uint64(900+round))
		awaitPause(time.Duration(rnd.Int64N(int64(shortOr(400*time.Millisecond, 3*time.Second)))))
		o.agent.Kill()
		awaitPause(time.Duration(rnd.Int64N(int64(200 * time.Millisecond))))
		o.agent.Restart()
		if round%2 == 0 { // otherwise it may be killed again before it has a session
			o.says("session started", 0)
			awaitPause(time.Duration(rnd.Int64N(int64(300 * time.Millisecond))))
		}
		operations += stop()
		if round%4 == 3 {
			o.same(30 * time.Second)
		}
	}
	t.Logf("killed %d times during %d operations", rounds, operations)
	o.same(30 * time.Second)
}
