package engine

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/fault"
)

// TestHeads: a head is believed for its time, then asked for by its ETag, once for all who wait; Invalidate ends that.
func TestHeads(t *testing.T) {
	st := newPublisher(t)
	st.publish()
	counted := store.Count(st)
	now := time.Now()
	h := newHeads(counted, 250*time.Millisecond, func() time.Time { return now }, 1<<20)
	version := func(want uint64, gets uint64, what string) {
		t.Helper()
		before := counted.Counts().Get
		m, err := h.current(context.Background(), testView)
		if err != nil || m.Version != want || counted.Counts().Get-before != gets {
			t.Fatalf("%s: version %v, %v, %d requests; not %d, %d", what, m, err, counted.Counts().Get-before, want, gets)
		}
	}
	version(1, 1, "first")
	version(1, 0, "at once")
	st.publish()
	now = now.Add(249 * time.Millisecond)
	version(1, 0, "within its time")
	now = now.Add(time.Millisecond)
	version(2, 1, "after its time")
	now = now.Add(time.Second)
	before := counted.Counts().BytesIn
	version(2, 1, "unchanged")
	if n := counted.Counts().BytesIn - before; n != 0 {
		t.Errorf("an unchanged head cost %d bytes", n)
	}
	st.publish()
	h.invalidate(testView)
	version(3, 1, "invalidated")
}

// TestHeadsShare: many who ask at once cause one request, and one who goes away takes nobody along.
func TestHeadsShare(t *testing.T) {
	st := newPublisher(t)
	st.publish()
	counted := store.Count(fault.New(st, func(fault.Call) fault.Fault { return fault.Fault{Delay: 50 * time.Millisecond} }))
	h := newHeads(counted, time.Hour, time.Now, 1<<20)
	gone, cancel := context.WithCancel(context.Background())
	defer cancel()
	first := make(chan error, 1)
	go func() {
		_, err := h.current(gone, testView)
		first <- err
	}()
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if m, err := h.current(context.Background(), testView); err != nil || m.Version != 1 {
				t.Errorf("%v, %v", m, err)
			}
		})
	}
	cancel()
	wg.Wait()
	<-first // answered, or gone: which of them is a matter of time
	if n := counted.Counts().Get; n != 1 {
		t.Errorf("%d requests", n)
	}
}

// slow is a store whose answers take time on the way back, by the test's clock.
type slow struct {
	store.Store
	now  *time.Time
	took time.Duration
}

func (s *slow) Get(ctx context.Context, key string) (store.Object, error) {
	return s.GetIfChanged(ctx, key, "")
}

func (s *slow) GetIfChanged(ctx context.Context, key, etag string) (store.Object, error) {
	o, err := s.Store.GetIfChanged(ctx, key, etag)
	o.Date = s.now.Truncate(time.Second)
	*s.now = s.now.Add(s.took)
	return o, err
}

// TestSlowAnswerDoesNotMoveTheClock: what the server takes for the store's time stays within the second that a Date can tell,
// also right after an answer that took seven.
func TestSlowAnswerDoesNotMoveTheClock(t *testing.T) {
	st := newPublisher(t)
	st.publish()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	network := &slow{Store: st, now: &now}
	e := New(Options{Store: network, HeadTTL: -1, Now: func() time.Time { return now }})
	for _, took := range []time.Duration{10 * time.Millisecond, 7 * time.Second, 20 * time.Millisecond} {
		network.took = took
		if _, err := e.Head(t.Context(), testView); err != nil {
			t.Fatal(err)
		}
		if off := time.Duration(e.Now() - now.UnixNano()); off.Abs() > time.Second {
			t.Errorf("after an answer that took %v the store's time is wrong by %v", took, off)
		}
	}
}
