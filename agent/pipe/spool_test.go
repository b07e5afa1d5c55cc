package pipe

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fustor/fustor/agent/spool"
	"github.com/fustor/fustor/internal/event"
)

func openSpool(t *testing.T, dir string, max int64) *spool.Spool {
	t.Helper()
	sp, err := spool.Open(dir, max)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sp.Close)
	return sp
}

// drain sends everything of a session that has been closed, and returns the paths of its events.
func drain(t *testing.T, s *Stream, session string) map[string]int {
	t.Helper()
	paths := map[string]int{}
	for seq := uint64(0); ; seq++ {
		seg, err := s.Next(t.Context())
		if errors.Is(err, io.EOF) {
			return paths
		}
		if err != nil {
			t.Fatal(err)
		}
		h, events := decode(t, seg)
		if h.Session != session || h.Seq != seq || seg.Seq != seq {
			t.Fatalf("segment %s/%d in place of %s/%d", h.Session, h.Seq, session, seq)
		}
		for _, ev := range events {
			paths[fmt.Sprint(ev.Kind, " ", ev.Path)]++
		}
		s.Sent(seg)
	}
}

func TestOutageTakesTheSpoolAndNotMemory(t *testing.T) {
	dir := t.TempDir()
	sp := openSpool(t, dir, 0)
	s := newStream(func(c *Config) { c.MaxRows, c.ScanBacklog, c.MaxBacklog, c.Spool = 100, 10_000, 20_000, sp })
	begin(t, s, "one", 1)
	const n = 20_000
	for i := range n {
		if !s.Realtime([]event.Event{put(fmt.Sprintf("/%d", i*7919), int64(i))}) {
			t.Fatalf("event %d was refused", i)
		}
	}
	if bytes, segments := s.Backlog(); s.resident > 10_000 || bytes < 100_000 || segments < n/100 {
		t.Errorf("%d segments of %d bytes, %d in memory", segments, bytes, s.resident)
	}
	// The session ends before anything was sent, and the next too, in the middle.
	begin(t, s, "two", 1)
	sent := map[string]int{}
	go func() { _ = s.Carry(t.Context()) }()
	for range 10 {
		seg := next(t, s)
		_, events := decode(t, seg)
		for _, ev := range events {
			sent[fmt.Sprint(ev.Kind, " ", ev.Path)]++
		}
		s.Sent(seg)
	}
	begin(t, s, "three", 1)
	s.Close()
	for p, times := range drain(t, s, "three") {
		sent[p] += times
	}
	if len(sent) != n {
		t.Errorf("%d of %d paths were sent", len(sent), n)
	}
	if st := sp.Status(); st.Bytes != 0 || st.Segments != 0 || s.resident != 0 || s.unsent != 0 {
		t.Errorf("afterwards: spool %+v, %d bytes in memory, %d unsent", st, s.resident, s.unsent)
	}
}

func TestNextProcessSendsWhatIsInTheSpool(t *testing.T) {
	dir := t.TempDir()
	sp := openSpool(t, dir, 0)
	s := newStream(func(c *Config) { c.MaxRows, c.Spool = 10, sp })
	begin(t, s, "one", 1)
	for i := range 95 {
		s.Realtime([]event.Event{put(fmt.Sprintf("/%d", i), int64(i))})
	}
	if err := s.Scan(t.Context(), 1, listing("/", 100, 20), nil); err != nil {
		t.Fatal(err)
	}
	s.Sent(next(t, s)) // the first ten
	if err := s.KeepOpen(time.Hour); err != nil {
		t.Fatal(err)
	}
	s.Realtime([]event.Event{put("/last", 101)})
	if err := s.KeepOpen(0); err != nil {
		t.Fatal(err)
	}
	sp.Close() // it dies

	// Power failed, too: one file is torn, one is empty.
	files, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	if err != nil || len(files) != 10 {
		t.Fatalf("files %v, %v", files, err)
	}
	if info, err := os.Stat(files[3]); err != nil || os.Truncate(files[3], info.Size()/2) != nil || os.Truncate(files[4], 0) != nil {
		t.Fatal(err)
	}
	var lost []error
	sp = openSpool(t, dir, 0)
	s = newStream(func(c *Config) { c.Spool, c.Lost = sp, func(err error) { lost = append(lost, err) } })
	begin(t, s, "two", 2)
	carry(t, s)
	s.Close()
	sent := drain(t, s, "two")
	for i := 10; i < 95; i++ {
		torn := i >= 40 && i < 60
		if p := fmt.Sprintf("put /%d", i); sent[p] != 1 && !torn {
			t.Errorf("%s was sent %d times", p, sent[p])
		}
	}
	if sent["put /last"] != 1 || sent["listing /"] != 0 || len(lost) != 2 {
		t.Errorf("sent %v, lost %v", sent, lost)
	}
	if st := sp.Status(); st.Segments != 0 {
		t.Errorf("left in the spool: %+v", st)
	}
}

func TestFullSpoolIsFollowedByMemoryAndThenByRefusal(t *testing.T) {
	sp := openSpool(t, t.TempDir(), 10_000)
	s := newStream(func(c *Config) { c.MaxRows, c.ScanBacklog, c.MaxBacklog, c.Spool = 100, 5_000, 20_000, sp })
	begin(t, s, "one", 1)
	n := 0
	for ; s.Realtime([]event.Event{put(fmt.Sprintf("/%d", n*7919), int64(n))}); n++ {
		if n > 1_000_000 {
			t.Fatal("realtime events are never refused")
		}
	}
	if st := sp.Status(); !errors.Is(st.Err, spool.ErrFull) || st.Bytes > 10_000 || s.resident < 20_000 || s.resident > 30_000 {
		t.Errorf("spool %+v, %d bytes in memory", st, s.resident)
	}
	s.Close()
	if sent := drain(t, s, "one"); len(sent) != n || !s.HasRoom() {
		t.Errorf("%d of %d events were sent", len(sent), n)
	}
}

func TestSegmentThatTheSpoolLostLeavesNoGap(t *testing.T) {
	dir := t.TempDir()
	sp := openSpool(t, dir, 0)
	var lost []error
	s := newStream(func(c *Config) {
		c.MaxRows, c.ScanBacklog, c.Spool, c.Lost = 10, 1, sp, func(err error) { lost = append(lost, err) }
	})
	begin(t, s, "one", 1)
	for i := range 30 {
		s.Realtime([]event.Event{put(fmt.Sprintf("/%d", i), int64(i))})
	}
	files, _ := filepath.Glob(filepath.Join(dir, "*.seg"))
	if len(files) != 3 || os.Remove(files[1]) != nil {
		t.Fatalf("files %v", files)
	}
	s.Close()
	sent := drain(t, s, "one")
	if len(sent) != 21 || sent["mark /"] != 1 || len(lost) != 1 || s.resident != 0 || s.unsent != 0 {
		t.Errorf("sent %v, lost %v, resident %d, unsent %d", sent, lost, s.resident, s.unsent)
	}
}
