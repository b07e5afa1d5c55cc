package compactor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/cases"
	"github.com/fustor/fustor/testkit/fault"
	"github.com/fustor/fustor/testkit/wait"
)

// told is a view of two sessions with segments enough for several folds and a merge.
func told(t *testing.T) (*harness, *world) {
	dir, err := os.MkdirTemp(fastTemp(), "fustor-told-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	h := newHarness(t, dir, 0, Options{BatchClaims: 10, MaxDeltas: 2, PartitionRows: 20, InlinePartitions: 1})
	w := newWorld()
	one, two := h.teller("one"), h.teller("two")
	one.tell(w.listEvent("/", event.Snapshot))
	one.send()
	for i := range 24 {
		dir := fmt.Sprintf("/d%d", i%4)
		if i < 4 {
			w.put(dir, event.Entry{Type: event.Directory, MtimeNs: w.now})
			one.tell(w.putEvent(dir), w.putEvent("/"))
		}
		path := fmt.Sprintf("%s/f%02d", dir, i)
		w.put(path, event.Entry{Type: event.File, Size: int64(i), MtimeNs: w.tick()})
		s := []*teller{one, two}[i%2]
		s.tell(w.putEvent(path), w.putEvent(dir))
		if i%7 == 6 {
			w.remove(dir)
			s.tell(w.deleteEvent(dir), w.putEvent("/"))
			w.put(dir, event.Entry{Type: event.Directory, MtimeNs: w.tick()})
			s.tell(w.putEvent(dir), w.putEvent("/"))
		}
		one.send()
		two.send()
	}
	return h, w
}

func (h *harness) sent() (n uint64) {
	for _, s := range h.sessions {
		n += s.seq
	}
	return n
}

// TestResumesAfterDeathAtAnyRequest compactor that dies at any of its requests, before or after the request took effect, has damaged nothing: the next
// one goes on, and every segment counts exactly once.
func TestResumesAfterDeathAtAnyRequest(t *testing.T) {
	for _, after := range []bool{false, true} {
		for n := int64(1); ; n++ {
			h, w := told(t)
			requests, died, death := int64(0), atomic.Bool{}, make(chan struct{})
			dead := fmt.Errorf("the process is dead")
			h.c.o.Store = fault.New(h.store, func(fault.Call) fault.Fault {
				if died.Load() {
					return fault.Fault{Lost: dead}
				}
				if atomic.AddInt64(&requests, 1) < n {
					return fault.Fault{}
				}
				if died.CompareAndSwap(false, true) {
					close(death)
				}
				if after {
					return fault.Fault{LostBack: dead}
				}
				return fault.Fault{Lost: dead}
			})
			ctx, cancel := context.WithCancel(h.ctx)
			go func() { // Swap would go on asking a dead store
				select {
				case <-death:
				case <-ctx.Done():
				}
				cancel()
			}()
			_, err := h.c.Once(ctx, viewName)
			cancel()
			h.c = h.compactor(Options{BatchClaims: 10, MaxDeltas: 2, PartitionRows: 20, InlinePartitions: 1})
			h.once()
			compare(h, w)
			if got := h.head().Counted.Segments; got != h.sent() {
				t.Fatalf("death at request %d: %d segments counted, %d were sent", n, got, h.sent())
			}
			if err == nil {
				if n < 30 {
					t.Fatalf("only %d requests were made; the test has lost its point", n)
				}
				break
			}
			if n >= int64(cases.Of(8)) { // every request at first, then wider steps
				n += n / 2
			}
		}
	}
}

// TestCompactorsAtOnce that work at once are wasteful and nothing else.
func TestCompactorsAtOnce(t *testing.T) {
	h, w := told(t)
	var group sync.WaitGroup
	for range 4 {
		c := h.compactor(Options{BatchClaims: 7, MaxDeltas: 2, PartitionRows: 20, InlinePartitions: 1})
		group.Go(func() {
			for range 5 {
				if _, err := c.Once(h.ctx, viewName); err != nil {
					t.Errorf("%v", err)
				}
			}
		})
	}
	group.Wait()
	h.once()
	compare(h, w)
	if got := h.head().Counted.Segments; got != h.sent() {
		t.Fatalf("%d segments counted, %d were sent", got, h.sent())
	}
}

// TestFoldDuringMerge merge that takes long does not undo what was folded meanwhile, nor does it start over for it.
func TestFoldDuringMerge(t *testing.T) {
	h, w := told(t)
	for range 6 {
		h.fold()
	}
	late := h.sessions[1]
	w.put("/during", event.Entry{Type: event.File, Size: 5, MtimeNs: w.tick()})
	late.tell(w.putEvent("/during"), w.putEvent("/"))
	late.send()
	folds := h.compactor(Options{})
	var once sync.Once
	h.c.o.Store = fault.New(h.store, func(c fault.Call) fault.Fault {
		if c.Op == fault.Put && strings.HasPrefix(c.Key, layout.Manifests(viewName)) {
			once.Do(func() {
				if _, err := folds.Fold(h.ctx, viewName); err != nil {
					t.Errorf("%v", err)
				}
			})
		}
		return fault.Fault{}
	})
	if !h.merge() {
		t.Fatal("the merge was given up")
	}
	m := h.head()
	if m.Reason != "merge" || len(m.Deltas) == 0 {
		t.Fatalf("the last version is a %s with %d deltas; the fold's should lie over the merge's", m.Reason, len(m.Deltas))
	}
	h.once()
	compare(h, w)
}

// TestRetention removes what nobody needs, and nothing that anybody does.
func TestRetention(t *testing.T) {
	h, w := told(t)
	h.c = h.compactor(Options{BatchClaims: 10, MaxDeltas: 2, PartitionRows: 5, InlinePartitions: 1})
	h.once()
	if _, err := h.store.Put(h.ctx, layout.Layer(viewName, "01ARZ3NDEKTSV4RRFFQ69G5FAV"), []byte("an orphan")); err != nil {
		t.Fatal(err)
	}
	pinned := h.head()
	if len(pinned.Leaves) < 2 {
		t.Fatalf("a view of %d leaves is too simple", len(pinned.Leaves))
	}
	if n, err := h.c.Retain(h.ctx, viewName); err != nil || n != 0 {
		t.Fatalf("%d young objects removed: %v", n, err)
	}
	later := &aged{Store: h.store, by: 3 * time.Hour}
	c := h.compactor(Options{})
	c.o.Store = later
	n, err := c.Retain(h.ctx, viewName)
	if err != nil || n == 0 {
		t.Fatalf("%d old objects removed: %v", n, err)
	}
	compare(h, w)
	if _, err := manifest.NewLeaves(0, 0).LoadKey(h.ctx, h.store, viewName, pinned.Key()); err != nil {
		t.Fatalf("the current version's manifest: %v", err)
	}
	for prefix, want := range map[string]int{
		layout.Layers(viewName):      len(pinned.Base) + len(pinned.Deltas) + len(pinned.Leaves),
		layout.AllSegments(viewName): 0,
		layout.Manifests(viewName):   1,
	} {
		page, err := h.store.List(h.ctx, prefix, "", 0)
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		for _, i := range page.Items {
			if !strings.HasSuffix(i.Key, ".index") {
				got++
			}
		}
		if got != want {
			t.Errorf("%d objects under %s, want %d", got, prefix, want)
		}
	}
	w.put("/after", event.Entry{Type: event.File, MtimeNs: w.tick()})
	h.sessions[0].tell(w.putEvent("/after"), w.putEvent("/"))
	h.sessions[0].send()
	h.once()
	compare(h, w)
}

// TestRetentionOfNames: the object with the names of owners that the current version has stays, however old it is; one that no version has
// goes.
func TestRetentionOfNames(t *testing.T) {
	h, w := told(t)
	h.once()
	put := func(id string) string {
		t.Helper()
		names, _ := (*manifest.Names)(nil).With(map[string][]event.OwnerName{"fs://h/x": {{ID: 1000, Name: id, ResolvedAt: 1}}})
		body, err := names.Encode(layout.Names(viewName, id))
		if err == nil {
			_, err = h.store.Put(h.ctx, layout.Names(viewName, id), body)
		}
		if err != nil {
			t.Fatal(err)
		}
		return layout.Names(viewName, id)
	}
	const current = "01KBS2M3QXTB1V6X2Y8Z9A0B1C"
	stays, goes := put(current), put("01KBS2M3QXTB1V6X2Y8Z9A0B1D")
	head := h.head()
	next := *head.Manifest
	next.Parent, next.Version, next.Nonce, next.Names = head.Key(), next.Version+1, "names", current
	if _, err := manifest.Commit(h.ctx, h.store, &next, head.etag); err != nil {
		t.Fatal(err)
	}
	exists := func(key string) bool {
		t.Helper()
		_, err := h.store.Get(h.ctx, key)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			t.Fatal(err)
		}
		return err == nil
	}
	if _, err := h.c.Retain(h.ctx, viewName); err != nil || !exists(goes) {
		t.Fatalf("young names are gone, or %v", err)
	}
	c := h.compactor(Options{})
	c.o.Store = &aged{Store: h.store, by: 3 * time.Hour}
	if _, err := c.Retain(h.ctx, viewName); err != nil {
		t.Fatal(err)
	}
	if !exists(stays) || exists(goes) {
		t.Errorf("the names of the current version are there: %v; those of none: %v", exists(stays), exists(goes))
	}
	w.put("/after", event.Entry{Type: event.File, MtimeNs: w.tick()})
	h.sessions[0].tell(w.putEvent("/after"), w.putEvent("/"))
	h.sessions[0].send()
	h.once()
	if h.head().Names != current {
		t.Errorf("a fold that tells no names left the view with %q", h.head().Names)
	}
	compare(h, w)
}

// aged is a store whose clock says that everything was written longer ago.
type aged struct {
	store.Store
	by time.Duration
}

func (a *aged) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	page, err := a.Store.List(ctx, prefix, after, limit)
	page.Date = page.Date.Add(a.by)
	return page, err
}

// TestTombstonesLeaveAfterTheirTime leave with a merge into the base once their time is over; until then they stand against late segments.
func TestTombstonesLeaveAfterTheirTime(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	w := newWorld()
	s := h.teller("one")
	w.put("/f", event.Entry{Type: event.File, MtimeNs: 1})
	s.tell(w.listEvent("/", event.Snapshot))
	w.remove("/f")
	s.tell(w.deleteEvent("/f"), w.putEvent("/"))
	s.send()
	h.once()
	h.toBase()
	if r, ok := h.rows()["/f"]; !ok || !r.Removed {
		t.Fatalf("the tombstone is %+v", r)
	}
	w.now += int64(2 * time.Hour)
	s.tell(w.putEvent("/"))
	s.send()
	h.once()
	h.toBase()
	if r, ok := h.rows()["/f"]; ok {
		t.Fatalf("two hours later the tombstone is still there: %+v", r)
	}
	compare(h, w)
}

// TestNewViewsAreFoundSoon view that begins after the compactor is found in seconds, by polling alone: its user waits for a first answer.
func TestNewViewsAreFoundSoon(t *testing.T) {
	t.Parallel()
	h := newHarness(t, t.TempDir(), 0, Options{PollMax: 20 * time.Millisecond})
	counted := h.counted(Options{PollMax: 20 * time.Millisecond})
	if err := h.store.Delete(h.ctx, layout.ViewConfig(viewName)); err != nil { // nobody has configured it
		t.Fatal(err)
	}
	committed := make(chan struct{}, 100)
	h.c.o.OnCommit = func(*manifest.Manifest) { committed <- struct{}{} }
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	done := make(chan error)
	go func() { done <- h.c.Run(ctx) }()
	for deadline := time.Now().Add(wait.Limit(20 * time.Second)); counted.Counts().List < 2; time.Sleep(time.Millisecond) { // configured ones, and all
		if time.Now().After(deadline) {
			t.Fatal("it has not looked for views")
		}
	}
	w := newWorld()
	s := h.teller("one")
	s.tell(w.listEvent("/", event.Snapshot))
	s.send()
	select {
	case <-committed:
	case <-time.After(wait.Limit(30 * time.Second)):
		t.Fatal("the view was not found")
	}
	cancel()
	<-done
}

// TestRunFoldsWhatComes and Wake are enough to have a view folded soon; polling does without them.
func TestRunFoldsWhatComes(t *testing.T) {
	for _, wake := range []bool{true, false} {
		h := newHarness(t, t.TempDir(), 0, Options{PollMax: 20 * time.Millisecond})
		if wake {
			h.c = h.compactor(Options{PollMax: time.Hour})
		}
		w := newWorld()
		s := h.teller("one")
		committed := make(chan uint64, 100)
		h.c.o.OnCommit = func(m *manifest.Manifest) { committed <- m.Counted.Segments }
		ctx, cancel := context.WithCancel(h.ctx)
		done := make(chan error)
		go func() { done <- h.c.Run(ctx, viewName) }()
		s.tell(w.listEvent("/", event.Snapshot))
		for i := range 5 {
			path := fmt.Sprintf("/f%d", i)
			w.put(path, event.Entry{Type: event.File, MtimeNs: w.tick()})
			s.tell(w.putEvent(path), w.putEvent("/"))
			s.send()
			deadline := time.After(wait.Limit(20 * time.Second))
			for folded := uint64(0); folded < s.seq; {
				if wake {
					h.c.Wake(viewName)
				}
				select {
				case folded = <-committed:
				case <-time.After(50 * time.Millisecond):
				case <-deadline:
					t.Fatalf("segment %d was not folded", i)
				}
			}
		}
		cancel()
		if err := <-done; err != context.Canceled {
			t.Fatalf("run: %v", err)
		}
		compare(h, w)
	}
}
