//go:build unix

package e2e

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/zstd"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
)

// TestHostileSegments has one view's agent upload what a valid key lets it upload: objects of any size, segments that hold far more than
// their bytes tell, and paths of any depth. The compactor stays within its memory, other views are folded meanwhile, and what is refused
// is named.
func TestHostileSegments(t *testing.T) {
	dir := t.TempDir()
	st, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().Add(-time.Minute).UnixNano()
	put := func(path string) event.Event {
		_, name := event.Split(path)
		return event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: now, Path: path, Atomic: true,
			Entry: event.Entry{Name: name, Type: event.File, Size: 1, MtimeNs: now}}
	}
	many := func(yield func(event.Event) bool) { // little text, many rows
		for i := range event.MaxSegmentRows - 10 {
			if !yield(put(fmt.Sprintf("/f%07d", i))) {
				return
			}
		}
	}
	const chains = event.MaxSegmentRows / 2001 / 4
	directories := func(yield func(event.Event) bool) { // a quarter of the directories that a segment may have
		for i := range chains {
			if !yield(put(fmt.Sprintf("/%x", i) + strings.Repeat("/d", 1998) + "/f")) {
				return
			}
		}
	}
	long := func(yield func(event.Event) bool) { // as much text as a segment may have
		for i := range event.MaxSegmentBytes / 4096 {
			if !yield(put(strings.Repeat("/"+strings.Repeat("n", 254), 15) + fmt.Sprintf("/%0200x", i))) {
				return
			}
		}
	}
	const noisy = 100_000
	noise := func(yield func(event.Event) bool) { // half the stored bytes that an object may have
		for i := range noisy {
			var name []byte
			for part := range 3 {
				sum := sha256.Sum256(fmt.Append(nil, i, part))
				name = append(name, sum[:]...)
			}
			if !yield(put(fmt.Sprintf("/%x", name))) {
				return
			}
		}
	}
	good := hostileSession(t, st, "good")
	hostileSegment(t, st, "good", good, func(yield func(event.Event) bool) { yield(put("/it-is-here")) })
	for _, c := range []struct {
		view string
		of   func(func(event.Event) bool)
	}{{"many", many}, {"directories", directories}, {"long", long}, {"noise", noise}} {
		hostileSegment(t, st, c.view, hostileSession(t, st, c.view), c.of)
	}
	// What no writer of ours makes.
	huge := filepath.Join(dir, filepath.FromSlash(layout.Segment("huge", hostileSession(t, st, "huge"), 0)))
	if err := errors.Join(os.MkdirAll(filepath.Dir(huge), 0o755), os.WriteFile(huge, nil, 0o644), os.Truncate(huge, 1536<<20)); err != nil {
		t.Fatal(err)
	}
	bomb, err := zstd.NewWriter(nil, zstd.WithWindowSize(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Create(t.Context(), layout.Segment("bomb", hostileSession(t, st, "bomb"), 0), bomb.EncodeAll(make([]byte, 1<<30), nil)); err != nil {
		t.Fatal(err)
	}

	const memory = 256 << 20
	compact := start(t, nil, "compact", "--store", "file://"+dir, "--memory", fmt.Sprint(memory), "--follow")
	folded := func(view string) *manifest.Manifest {
		m, _, err := manifest.Load(t.Context(), st, view)
		if err != nil {
			return &manifest.Manifest{}
		}
		return m
	}
	began := time.Now()
	eventually(t, patience(60*time.Second), "the good view is folded", func() bool { return folded("good").Totals.Files == 1 })
	t.Logf("the good view is folded after %v", time.Since(began).Round(time.Millisecond))
	for view, files := range map[string]int64{"many": event.MaxSegmentRows - 10, "directories": chains, "noise": noisy, "long": event.MaxSegmentBytes / 4096} {
		eventually(t, patience(5*time.Minute), view+" is folded", func() bool { return folded(view).Totals.Files == files })
		t.Logf("%s: folded after %v, version %d", view, time.Since(began).Round(time.Millisecond), folded(view).Version)
	}
	for _, view := range []string{"huge", "bomb"} {
		refused := func() int { return strings.Count(compact.log.String(), "view="+view+" session=") }
		eventually(t, patience(time.Minute), view+" is refused", func() bool { return refused() > 0 })
		if n := refused(); n != 1 {
			t.Errorf("the log names the segment of %s %d times, not once", view, n)
		}
	}
	if !raceDetector { // it multiplies memory
		compact.staysBelow(memory + memory/8)
	}
}

// hostileSession is a session in a view's roster.
func hostileSession(t *testing.T, st store.Store, view string) string {
	t.Helper()
	const id = "s1"
	roster := fmt.Sprintf(`{"sessions":{%q:{"task_id":"t","agent_id":"a","session_timeout_seconds":600}},"nonce":"n"}`, id)
	if _, err := st.Put(t.Context(), layout.Roster(view), []byte(roster)); err != nil {
		t.Fatal(err)
	}
	return id
}

// hostileSegment writes the first segment of a session.
func hostileSegment(t *testing.T, st store.Store, view, session string, events func(func(event.Event) bool)) {
	t.Helper()
	var b bytes.Buffer
	w, err := event.NewWriter(&b, event.Header{View: view, Session: session, Agent: "a", Term: 1, CreatedAt: 1, Nonce: "n", Local: true})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for ev := range events {
		if err := w.Add(&ev); errors.Is(err, event.ErrFull) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s: %d events in %d bytes", view, n, b.Len())
	if _, err := st.Create(t.Context(), layout.Segment(view, session, 0), b.Bytes()); err != nil {
		t.Fatal(err)
	}
}
