package agent_test

import (
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/testkit/logs"
)

// shifted is the clocks of a host which tests may move.
type shifted struct{ boot, wall atomic.Int64 }

func (s *shifted) clocks() lease.Clocks {
	host := lease.Host()
	return lease.Clocks{
		Boot: func() int64 { return host.Boot() + s.boot.Load() },
		Wall: func() time.Time { return host.Wall().Add(time.Duration(s.wall.Load())) },
	}
}

// TestLeaderStopsWhereItsClocksProveNothing: the wall clock is set back, or the host sleeps. Scans stop, though the lease was
// renewed a moment ago; the next good renewal makes the agent the leader again, in the same term.
func TestLeaderStopsWhereItsClocksProveNothing(t *testing.T) {
	for _, tc := range []struct {
		name string
		move func(*shifted)
	}{
		{"wall clock set back by an hour", func(s *shifted) { s.wall.Add(-int64(time.Hour)) }},
		{"wall clock set forward by an hour", func(s *shifted) { s.wall.Add(int64(time.Hour)) }},
		{"slept for a minute, which the monotonic clock did not count", func(s *shifted) { s.boot.Add(int64(time.Minute)) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newServer(t)
			sessionsOf(t, s, 9)
			host, log := &shifted{}, &logs.Buffer{}
			a := start(t, s, t.TempDir(), func(o *agent.Options) {
				o.Tuning.Clocks, o.Logger = host.clocks(), slog.New(slog.NewTextHandler(log, nil))
			})
			a.snapshotted()
			// The log has it also where the next renewal comes before the next look; and where it came before the agent noticed, the
			// clock moves again.
			var moved time.Time
			eventually(t, 6*time.Second, "the agent stops to lead", func() bool {
				stopped := strings.Contains(log.String(), "leader work stops")
				if !stopped && time.Since(moved) > 4*time.Second { // a renewal takes place every three
					tc.move(host)
					moved = time.Now()
				}
				return stopped
			})
			eventually(t, 20*time.Second, "it leads again", func() bool { return a.Status().Leader })
			if st := a.Status(); st.Term != 1 {
				t.Errorf("it leads in term %d", st.Term)
			}
		})
	}
}

// TestTimeSynchronizationKeepsTheLeader: a wall clock that is stepped back by 0.3 s during one renewal after the other, twice
// in what each of them covers, costs nothing.
func TestTimeSynchronizationKeepsTheLeader(t *testing.T) {
	s := newServer(t)
	sessionsOf(t, s, 9)
	host, log := &shifted{}, &logs.Buffer{}
	var beats atomic.Int32
	s.cut.hold = func(r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/heartbeat") {
			beats.Add(1)
			host.wall.Add(-int64(300 * time.Millisecond))
		}
	}
	a := start(t, s, t.TempDir(), func(o *agent.Options) {
		o.Tuning.Clocks, o.Logger = host.clocks(), slog.New(slog.NewTextHandler(log, nil))
	})
	a.snapshotted()
	eventually(t, 30*time.Second, "a third heartbeat", func() bool { return beats.Load() >= 3 })
	if text := log.String(); strings.Contains(text, "leader work stops") || strings.Contains(text, "leader=false") || !a.Status().Leader {
		t.Errorf("it has not led all the time:\n%s", text)
	}
}
