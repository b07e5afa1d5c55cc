package pipe

import (
	"math/rand/v2"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
)

// The agent's skew is the one that the view's clock has over the same puts.
func TestSkewIsThatOfTheViewsClock(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	s, clock := skew{}, evidence.Clock{}
	if s.start(7); !s.known || s.mode != 7 {
		t.Fatalf("it starts with %+v", s)
	}
	for i := range 3 * skewSamples {
		at := int64(1e18) + int64(i)*1e6
		// The server's clock is set half-way; now and then an old file comes.
		mtime := at - int64(random.ExpFloat64()*1e9)
		if i > 15_000 {
			mtime += 3600e9
		}
		if random.IntN(10) == 0 {
			mtime -= int64(random.IntN(1e6)) * 1e9
		}
		s.add(&event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: at, Entry: event.Entry{Type: event.File, MtimeNs: mtime}})
		clock = clock.Add([]evidence.Sample{{ObservedAt: at, MtimeNs: mtime}})
		if i%997 == 0 && clock.Skew() != s.mode*1e9 {
			t.Fatalf("after %d puts it is %d s, the view's is %d ns", i+1, s.mode, clock.Skew())
		}
	}
	s.add(&event.Event{Kind: event.Put, Evidence: event.Audit, Entry: event.Entry{Type: event.File}})
	if len(s.ring) != skewSamples {
		t.Fatalf("it keeps %d samples", len(s.ring))
	}
}
