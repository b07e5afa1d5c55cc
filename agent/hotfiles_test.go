package agent

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
)

const second = int64(time.Second)

func newHotFiles(hot time.Duration) *hotFiles {
	return &hotFiles{hot: func() time.Duration { return hot }}
}

// all takes out every file.
func (h *hotFiles) all() map[string]hotFile { return h.take(math.MaxInt64) }

// TestHotFilesAreLookedAtInTime: whatever a view has as suspect because a scan has shown it is looked at once more, in the last sixth of
// the suspicion; and nothing else is.
func TestHotFilesAreLookedAtInTime(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		hot := rapid.SampledFrom([]time.Duration{0, time.Second, 20 * time.Second, time.Minute, time.Hour}).Draw(t, "hot")
		h := newHotFiles(hot)
		hot = h.within() // the default, where it is not known
		at, skew := int64(1_000_000)*second, rapid.Int64Range(-100*second, 100*second).Draw(t, "skew")
		e := &event.Entry{Name: "f", Size: 7, Mode: 0o644, Type: rapid.SampledFrom([]event.Type{event.File, event.File, event.Directory}).Draw(t, "type"),
			MtimeNs: at + rapid.Int64Range(-2*int64(hot), 2*int64(hot)).Draw(t, "mtime")}
		var row evidence.Row
		by := evidence.Provenance{At: at, Evidence: event.Audit, Skew: skew}
		evidence.Rules{Hot: int64(hot)}.Resolve(&row, false, []evidence.Claim{{Provenance: by, Verb: evidence.Listed, Entry: e}}, false, &evidence.ParentState{})

		h.noteListing(&event.Event{Path: "/d", ObservedAt: at, Entries: []event.Entry{*e}}, skew)
		want := map[string]hotFile{}
		if row.SuspectUntil != 0 {
			want["/d/f"] = hotFile{7, e.MtimeNs, row.SuspectUntil - int64(hot)/6}
		}
		for _, f := range want {
			if early := h.take(f.due - 1); early != nil {
				t.Fatalf("looked at before the last sixth: %v", early)
			}
		}
		if got := h.take(row.SuspectUntil); !maps.Equal(got, want) {
			t.Fatalf("looks at %v, want %v; suspect until %d", got, want, row.SuspectUntil)
		}
		if again := h.all(); again != nil {
			t.Fatalf("looks twice: %v", again)
		}
	})
}

// TestHotFilesAreFew: there is a bound, and what is seen again replaces what was seen before, at the bound, too.
func TestHotFilesAreFew(t *testing.T) {
	h := newHotFiles(time.Minute)
	for i := range maxHotFiles + 5 {
		h.note(fmt.Sprint("/f", i), &event.Entry{Type: event.File, MtimeNs: 100 * second}, 100*second, 0)
	}
	h.note("/f1", &event.Entry{Type: event.File, Size: 2, MtimeNs: 130 * second}, 130*second, 0)
	if due := h.take(150 * second); len(due) != maxHotFiles-1 {
		t.Errorf("%d files are due, want all of the %d but the one that was written to since", len(due), maxHotFiles)
	}
	left := h.all()
	if f := left["/f1"]; len(left) != 1 || f != (hotFile{2, 130 * second, 180 * second}) {
		t.Errorf("%v are left", slices.Collect(maps.Keys(left)))
	}
	h.note("/g", &event.Entry{Type: event.File, MtimeNs: 100 * second}, 100*second, 0)
	if h.clear(); h.all() != nil {
		t.Error("a file is left after the agent stopped leading")
	}
}
