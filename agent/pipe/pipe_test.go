package pipe

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/testkit/wait"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStream(change func(*Config)) *Stream {
	var n atomic.Int64
	cfg := Config{View: "v", Agent: "a", Source: "fs://h/x", Now: func() int64 { return n.Add(1) }}
	if change != nil {
		change(&cfg)
	}
	return New(cfg)
}

func put(path string, at int64) event.Event {
	_, name := event.Split(path)
	return event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: at, Path: path, Atomic: true,
		Entry: event.Entry{Name: name, Type: event.File, Size: at}}
}

func listing(path string, at int64, n int) *event.Event {
	_, name := event.Split(path)
	ev := &event.Event{Kind: event.Listing, Evidence: event.Snapshot, ObservedAt: at, Path: path,
		Entry: event.Entry{Name: name, Type: event.Directory}}
	for i := range n {
		ev.Entries = append(ev.Entries, event.Entry{Name: fmt.Sprintf("%08d", i), Type: event.File, MtimeNs: int64(i) * 7919 * 7919})
	}
	return ev
}

func next(t *testing.T, s *Stream) Segment {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait.Limit(10*time.Second))
	defer cancel()
	seg, err := s.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return seg
}

func decode(t *testing.T, seg Segment) (event.Header, []event.Event) {
	t.Helper()
	r, err := event.NewReader("test", bytes.NewReader(seg.Body), event.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	var events []event.Event
	for {
		ev, err := r.Next()
		if errors.Is(err, io.EOF) {
			return r.Header(), events
		}
		if err != nil {
			t.Fatal(err)
		}
		events = append(events, *ev)
	}
}

// carry takes over what earlier sessions left.
func carry(t *testing.T, s *Stream) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), wait.Limit(10*time.Second))
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Carry(ctx) }()
	for {
		s.mu.Lock()
		left := len(s.old)
		s.mu.Unlock()
		if left == 0 || ctx.Err() != nil {
			break
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func begin(t *testing.T, s *Stream, session string, term uint64) bool {
	t.Helper()
	dropped, err := s.Begin(session, term)
	if err != nil {
		t.Fatal(err)
	}
	return dropped
}

func TestSegmentsAreNumberedWithoutGapsAndComeInOrder(t *testing.T) {
	s := newStream(func(c *Config) { c.MaxRows = 10 })
	begin(t, s, "one", 3)
	for i := range 35 {
		if !s.Realtime([]event.Event{put("/f", int64(i))}) {
			t.Fatal("refused")
		}
	}
	s.Close()
	at := int64(0)
	for seq := range uint64(4) {
		seg := next(t, s)
		if again := next(t, s); again.Seq != seg.Seq {
			t.Fatalf("segment %d came before %d was sent", again.Seq, seg.Seq)
		}
		h, events := decode(t, seg)
		if h.Seq != seq || h.Session != "one" || h.Term != 3 || h.View != "v" || h.Agent != "a" || h.Source != "fs://h/x" || h.Nonce == "" {
			t.Errorf("header %+v", h)
		}
		for _, ev := range events {
			if ev.ObservedAt != at {
				t.Fatalf("event %d in place of %d", ev.ObservedAt, at)
			}
			at++
		}
		s.Sent(seg)
	}
	if _, err := s.Next(t.Context()); !errors.Is(err, io.EOF) || at != 35 {
		t.Errorf("after %d events: %v", at, err)
	}
}

func TestFirstEventAfterAQuietTimeGoesOutAtOnce(t *testing.T) {
	s := newStream(func(c *Config) { c.MaxAge = time.Hour })
	begin(t, s, "one", 1)
	s.Realtime([]event.Event{put("/f", 1)})
	s.Sent(next(t, s))
}

func TestPaceKeepsToOneSegmentAGapOnAverage(t *testing.T) {
	p := pace{gap: time.Second}
	now := time.Unix(1000, 0)
	begun := now
	const segments = 3 * burst
	for range segments {
		now = now.Add(max(0, p.wait(now)))
		p.spend(now)
	}
	if took := now.Sub(begun); took < (segments-burst-2)*time.Second || took > segments*time.Second {
		t.Errorf("%d segments in %v", segments, took)
	}
	for range 100 { // full segments do not ask
		p.spend(now)
	}
	if w := p.wait(now); w > time.Second {
		t.Errorf("waits %v", w)
	}
}

// Single changes, a gap apart in the mean, are those of a person at work: hardly any of them waits.
func TestSingleChangesDoNotWait(t *testing.T) {
	p, r := pace{gap: time.Second}, rand.New(rand.NewPCG(4, 2))
	const changes = 2000
	at, sealed, late := time.Unix(1000, 0), time.Time{}, 0
	for range changes {
		at = at.Add(time.Duration(r.ExpFloat64() * float64(p.gap)))
		if at.After(sealed) { // else it is in a segment that waits already
			sealed = at.Add(p.wait(at))
			p.spend(sealed)
		}
		if sealed.Sub(at) > minGap {
			late++
		}
	}
	if late*50 > changes {
		t.Errorf("%d of %d changes waited longer than %v", late, changes, minGap)
	}
}

func TestListingOfAnOldTermIsRefused(t *testing.T) {
	s := newStream(nil)
	if err := s.Scan(t.Context(), 1, listing("/", 1, 1), nil); !errors.Is(err, ErrNoSession) && !errors.Is(err, ErrTerm) {
		t.Errorf("without a session: %v", err)
	}
	begin(t, s, "one", 1)
	if err := s.Scan(t.Context(), 1, listing("/", 1, 1), nil); err != nil {
		t.Fatal(err)
	}
	s.SetTerm(2)
	if err := s.Scan(t.Context(), 1, listing("/a", 2, 1), nil); !errors.Is(err, ErrTerm) {
		t.Errorf("old term: %v", err)
	}
	if err := s.Scan(t.Context(), 2, listing("/a", 3, 1), nil); err != nil {
		t.Fatal(err)
	}
	s.Close()
	for _, want := range []struct {
		term uint64
		path string
	}{{1, "/"}, {2, "/a"}} {
		seg := next(t, s)
		h, events := decode(t, seg)
		if h.Term != want.term || len(events) != 1 || events[0].Path != want.path {
			t.Errorf("term %d, events %+v; want %+v", h.Term, events, want)
		}
		s.Sent(seg)
	}
}

func TestNewSessionTakesOverWhatWasNotSent(t *testing.T) {
	s := newStream(func(c *Config) { c.MaxRows = 4 })
	begin(t, s, "one", 1)
	s.Realtime([]event.Event{put("/1", 1), put("/2", 2), put("/3", 3), put("/4", 4)}) // segment 0
	s.Realtime([]event.Event{put("/5", 5)})
	if err := s.Scan(t.Context(), 1, listing("/", 6, 5), nil); err != nil { // segment 1
		t.Fatal(err)
	}
	s.Realtime([]event.Event{{Kind: event.Delete, Evidence: event.Realtime, ObservedAt: 7, Path: "/7"}}) // open
	first := next(t, s)
	s.Sent(first)
	inFlight := next(t, s)
	if !begin(t, s, "two", 5) {
		t.Error("the listing was not reported as dropped")
	}
	s.Sent(inFlight) // its answer came late: not to be mistaken for one of the new session
	carry(t, s)
	s.Close()
	seg := next(t, s)
	h, events := decode(t, seg)
	if h.Session != "two" || h.Seq != 0 || h.Term != 5 || len(events) != 2 || events[0].Path != "/5" || events[0].ObservedAt != 5 || events[1].Path != "/7" {
		t.Errorf("header %+v events %+v", h, events)
	}
	if begin(t, s, "three", 5) {
		t.Error("dropped without a listing")
	}
}

func TestScanWaitsForRoomAndRealtimeDoesNot(t *testing.T) {
	s := newStream(func(c *Config) { c.MaxRows, c.ScanBacklog, c.MaxBacklog = 1000, 1, 20_000 })
	begin(t, s, "one", 1)
	if err := s.Scan(t.Context(), 1, listing("/", 1, 1000), nil); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- s.Scan(t.Context(), 1, listing("/a", 2, 1), nil) }()
	ctx, cancel := context.WithCancel(t.Context())
	other := make(chan error, 1)
	go func() { other <- s.Scan(ctx, 1, listing("/b", 3, 1), nil) }()
	for i := 0; s.Realtime([]event.Event{put(fmt.Sprintf("/%d", i*7919), int64(10+i))}); i++ {
		if i > 1_000_000 {
			t.Fatal("realtime events are never refused")
		}
	}
	if n, _ := s.Backlog(); n < 20_000 || n > 60_000 || s.HasRoom() {
		t.Errorf("backlog %d, room %v", n, s.HasRoom())
	}
	cancel()
	if err := <-other; !errors.Is(err, context.Canceled) {
		t.Errorf("a scan that was told to stop: %v", err)
	}
	select {
	case err := <-done:
		t.Fatalf("the scan did not wait: %v", err)
	default:
	}
	for {
		n, _ := s.Backlog()
		if n == 0 {
			break
		}
		s.Sent(next(t, s))
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCheckDecidesWhenTheTurnHasCome(t *testing.T) {
	s := newStream(nil)
	begin(t, s, "one", 1)
	stale := errors.New("stale")
	if err := s.Scan(t.Context(), 1, listing("/a", 1, 1), func() (*event.Event, error) { return nil, stale }); !errors.Is(err, stale) {
		t.Errorf("error %v", err)
	}
	first := put("/b", 2)
	if err := s.Scan(t.Context(), 1, listing("/b", 3, 1), func() (*event.Event, error) { return &first, nil }); err != nil {
		t.Fatal(err)
	}
	_, events := decode(t, next(t, s))
	if len(events) != 2 || events[0].Kind != event.Put || events[1].Kind != event.Listing || events[1].Path != "/b" {
		t.Errorf("events %+v", events)
	}
}

func TestClockIsTheStoresAndGrows(t *testing.T) {
	steady := int64(1000)
	c := NewClock(NewTicks(lease.Clocks{Boot: func() int64 { return steady }, Wall: func() time.Time { return time.Unix(0, 5_000_000) }}))
	a := c.Now()
	if b := c.Now(); b != a+grain {
		t.Errorf("%d after %d", b, a)
	}
	sent := c.Reading()
	steady += 200
	c.Measure(sent, 9_000_000) // at half the round trip
	if got := c.Now(); got != 9_000_100 {
		t.Errorf("now %d", got)
	}
	sent = c.Reading()
	steady += 100_000
	c.Measure(sent, 9_000_100+60_000) // a slow answer that agrees
	if got := c.Now(); got != 9_100_100 {
		t.Errorf("after a slow answer %d", got)
	}
	sent = c.Reading()
	c.Measure(sent, 1_000) // the store's clock was set back: readings still grow
	if got := c.Now(); got != 9_100_101 {
		t.Errorf("after a step back %d", got)
	}
}

// A host that is hours ahead must not stamp what it sees by what its clock showed before ingest told the time.
func TestClockForgetsTheHostsTimeAtTheFirstAnswer(t *testing.T) {
	c := NewClock(NewTicks(lease.Clocks{Boot: func() int64 { return 1000 }, Wall: func() time.Time { return time.Unix(5, 0) }}))
	if got := c.Now(); got != 5_000_000_000 {
		t.Fatalf("before: %d", got)
	}
	c.Measure(c.Reading(), 9_000)
	if got := c.Now(); got != 9_000+grain { // the second tick of one moment
		t.Errorf("after: %d", got)
	}
}

// An answer that takes long moves the time by no more than clocks may have drifted since the last quick one.
func TestSlowAnswerDoesNotMoveTheClock(t *testing.T) {
	boot, ahead := int64(time.Hour), int64(3*time.Hour)
	c := NewClock(NewTicks(lease.Clocks{Boot: func() int64 { return boot }, Wall: func() time.Time { return time.Unix(0, boot) }}))
	for _, took := range []time.Duration{10 * time.Millisecond, 7 * time.Second} {
		boot += int64(10 * time.Minute)
		sent, server := c.Reading(), boot+ahead
		boot += int64(took)
		c.Measure(sent, server)
		if off := time.Duration(c.Time() - boot - ahead).Abs(); off > 200*time.Millisecond {
			t.Errorf("after an answer that took %v the time is wrong by %v", took, off)
		}
	}
}

// TestLaterTicksAreLaterTimes: whatever is measured, and in whatever order the ticks are asked for.
func TestLaterTicksAreLaterTimes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		boot := int64(1 << 40)
		ticks := NewTicks(lease.Clocks{Boot: func() int64 { return boot }, Wall: func() time.Time { return time.Unix(0, boot) }})
		c := NewClock(ticks)
		c.Measure(boot, boot)
		type stamped struct{ tick, time int64 }
		var all []stamped
		for range rapid.IntRange(1, 100).Draw(t, "steps") {
			boot += rapid.Int64Range(0, 2000).Draw(t, "time passes")
			switch rapid.IntRange(0, 2).Draw(t, "what") {
			case 0:
				c.Measure(boot, boot+rapid.Int64Range(-5000, 5000).Draw(t, "the store's clock is ahead"))
			default:
				tick := ticks.Now()
				all = append(all, stamped{tick, c.At(tick)})
			}
		}
		for i, s := range all {
			if again := c.At(s.tick); again != s.time {
				t.Fatalf("tick %d was at %d, and is at %d", s.tick, s.time, again)
			}
			if i > 0 && s.time <= all[i-1].time {
				t.Fatalf("tick %d is at %d, and tick %d at %d", all[i-1].tick, all[i-1].time, s.tick, s.time)
			}
		}
	})
}
