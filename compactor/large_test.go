package compactor

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
)

// TestLargeSegmentIsFoldedInParts folds a segment that a batch has no room for in several versions, each by another compactor: nothing is
// left out, and nothing counts twice.
func TestLargeSegmentIsFoldedInParts(t *testing.T) {
	for name, c := range map[string]struct{ files, batch, atLeast int }{
		"held":       {400, 40, 5},
		"read twice": {heldRows + 1000, 32 << 10, 2},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{BatchClaims: c.batch}
			h := newHarness(t, t.TempDir(), 0, o)
			w := newWorld()
			large, small := h.teller("large"), h.teller("small")
			large.tell(w.listEvent("/", event.Snapshot))
			for i := range c.files {
				path := fmt.Sprintf("/f%d", i)
				w.put(path, event.Entry{Type: event.File, Size: int64(i), MtimeNs: w.tick()})
				large.tell(w.putEvent(path))
			}
			large.tell(w.putEvent("/"))
			large.send()
			folds := 0
			for ; h.fold() > 0; folds++ {
				h.c = h.compactor(o)
				if at := h.head().Sessions[large.id]; at.Next == 0 && at.Events == 0 {
					t.Fatalf("fold %d took nothing", folds)
				}
				if folds == 0 {
					w.put("/other", event.Entry{Type: event.File, Size: 1, MtimeNs: w.tick()})
					small.tell(w.putEvent("/other"), w.putEvent("/"))
					small.send()
				}
			}
			if folds < c.atLeast {
				t.Errorf("%d folds", folds)
			}
			m := h.head()
			if at := m.Sessions[large.id]; at.Next != 1 || at.Events != 0 {
				t.Errorf("the session is at %+v", at)
			}
			if want := uint64(c.files + 4); m.Counted.Events != want || m.Counted.Segments != 2 {
				t.Errorf("%d events of %d segments, want %d of 2", m.Counted.Events, m.Counted.Segments, want)
			}
			compare(h, w)
		})
	}
}

// TestTooLargeSegmentEndsItsSession leaves an object of more bytes than a segment may have unread, and goes on with other sessions.
func TestTooLargeSegmentEndsItsSession(t *testing.T) {
	var log bytes.Buffer
	h := newHarness(t, t.TempDir(), 0, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	w := newWorld()
	bad, good := h.teller("bad"), h.teller("good")
	if _, err := h.store.Create(h.ctx, layout.Segment(viewName, bad.id, 0), make([]byte, event.MaxStoredBytes+1)); err != nil {
		t.Fatal(err)
	}
	good.tell(w.listEvent("/", event.Snapshot))
	good.send()
	h.once()
	compare(h, w)
	if !h.head().Sessions[bad.id].Broken {
		t.Error("the session is not marked as broken")
	}
	if want := fmt.Sprintf("it has %d bytes, more than %d", event.MaxStoredBytes+1, event.MaxStoredBytes); !bytes.Contains(log.Bytes(), []byte(want)) {
		t.Errorf("the log does not say %q:\n%s", want, log.String())
	}
}

// noise is 100 bytes that depend on n.
func noise(n int) []byte {
	var all []byte
	for i := 0; len(all) < 100; i++ {
		sum := sha256.Sum256(fmt.Append(nil, n, i))
		all = append(all, sum[:]...)
	}
	return all[:100]
}

// TestMediumSegmentsAreReadAlone folds segments that are too large to be read many at once.
func TestMediumSegmentsAreReadAlone(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{Memory: MinMemory})
	w := newWorld()
	tellers := []*teller{h.teller("one"), h.teller("two")}
	tellers[0].tell(w.listEvent("/", event.Snapshot))
	for n := range 30_000 { // names that do not compress
		path := fmt.Sprintf("/%x", noise(n))
		w.put(path, event.Entry{Type: event.File, MtimeNs: w.tick()})
		tellers[n%2].tell(w.putEvent(path))
	}
	tellers[0].tell(w.putEvent("/"))
	for _, s := range tellers {
		s.send()
		o, err := h.store.Get(h.ctx, layout.Segment(viewName, s.id, 0))
		if err != nil || o.Size <= h.c.o.Memory/64 {
			t.Fatalf("a segment of %d bytes: %v", o.Size, err)
		}
	}
	h.once()
	compare(h, w)
}
