package compactor

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
)

func drawRow(t *rapid.T) evidence.Row {
	text := rapid.SampledFrom([]string{"", "a", "b", "\xff\x00", strings.Repeat("long", 50)})
	number := rapid.Int64()
	r := evidence.Row{
		Parent: rapid.SampledFrom([]string{"", "/", "/a/", "/a/b/"}).Draw(t, "parent"), Name: rapid.StringN(0, 8, 20).Draw(t, "name"),
		Type: event.Type(rapid.IntRange(0, 4).Draw(t, "type")), Mode: rapid.Uint32().Draw(t, "mode"), UID: rapid.Uint32().Draw(t, "uid"),
		GID: rapid.Uint32().Draw(t, "gid"), AtimeDay: rapid.Int32().Draw(t, "atime"), Size: number.Draw(t, "size"), MtimeNs: number.Draw(t, "mtime"),
		Target: text.Draw(t, "target"), Removed: rapid.Bool().Draw(t, "removed"), ObservedAt: number.Draw(t, "observed"),
		Evidence: event.Evidence(rapid.IntRange(0, 4).Draw(t, "evidence")), AgentMissing: rapid.Bool().Draw(t, "missing"),
		SuspectUntil: number.Draw(t, "suspect"), Watermark: number.Draw(t, "watermark"), EndedAt: number.Draw(t, "ended"),
		Agent: text.Draw(t, "agent"), Source: text.Draw(t, "source"), History: text.Draw(t, "history"),
	}
	r.Open = rapid.Bool().Draw(t, "open")
	r.Sub = evidence.Totals{Files: number.Draw(t, "files"), Directories: number.Draw(t, "dirs"), Others: number.Draw(t, "others"),
		Bytes: number.Draw(t, "bytes"), LatestMtimeNs: number.Draw(t, "latest"), Allocated: number.Draw(t, "sub allocated"),
		LinkedAllocated: number.Draw(t, "sub linked"), Unmeasured: number.Draw(t, "sub unmeasured")}
	r.Inode = event.Inode{Links: rapid.Uint32().Draw(t, "links"), Allocated: number.Draw(t, "allocated"), CtimeNs: number.Draw(t, "ctime"), ID: rapid.Uint64().Draw(t, "inode"),
		BirthS: number.Draw(t, "birth"), ACL: event.ACL(text.Draw(t, "acl"))}
	return r
}

// TestSpoolsYieldAllRowsInOrder yield what was put into them, in key order, however little they may keep in memory, and leave no file.
func TestSpoolsYieldAllRowsInOrder(t *testing.T) {
	dir := t.TempDir()
	rapid.Check(t, func(t *rapid.T) {
		spools := []*rowBuffer{{dir: dir, limit: rapid.IntRange(1, 5).Draw(t, "limit")}, {dir: dir, limit: 3}}
		var want []evidence.Row
		keys := map[[2]string]bool{}
		for range rapid.IntRange(0, 40).Draw(t, "rows") {
			r := drawRow(t)
			if keys[[2]string{r.Parent, r.Name}] {
				continue
			}
			keys[[2]string{r.Parent, r.Name}] = true
			want = append(want, r)
			if err := spools[rapid.IntRange(0, 1).Draw(t, "spool")].add(&r); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortFunc(want, func(a, b evidence.Row) int {
			return cmp.Or(cmp.Compare(a.Parent, b.Parent), cmp.Compare(a.Name, b.Name))
		})
		var got []evidence.Row
		err := eachRow(func(r *evidence.Row) error { got = append(got, *r); return nil }, spools...)
		if err != nil || !slices.Equal(got, want) {
			t.Fatalf("got %+v\nwant %+v\n%v", got, want, err)
		}
		if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
			t.Fatalf("%v in the directory for temporary files, %v", files, err)
		}
		for _, s := range spools {
			s.close()
		}
	})
}

// TestFoldSpillsWhatADeletionExpandsTo event that removes thousands of rows is folded within the budget of a few: the rest goes to disk, and says so where
// it cannot.
func TestFoldSpillsWhatADeletionExpandsTo(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{BatchClaims: 100, TempDir: t.TempDir() + "/none"})
	w := newWorld()
	s := h.teller("one")
	put := func(path string, kind event.Type) {
		w.put(path, event.Entry{Type: kind, MtimeNs: w.tick(), Size: 1})
		s.tell(w.putEvent(path))
	}
	put("/big", event.Directory)
	for i := range 60 {
		put(fmt.Sprintf("/big/d%d", i%7), event.Directory)
		put(fmt.Sprintf("/big/d%d/e%d", i%7, i), event.Directory)
		for j := range 30 {
			put(fmt.Sprintf("/big/d%d/e%d/f%d", i%7, i, j), event.File)
		}
		s.send()
	}
	put("/kept", event.File)
	s.tell(w.putEvent("/"))
	s.send()
	h.once()
	w.remove("/big")
	s.tell(w.deleteEvent("/big"), w.putEvent("/"))
	s.send()
	if _, err := h.c.Fold(h.ctx, viewName); err == nil || !strings.Contains(err.Error(), "--temp") {
		t.Fatalf("with nowhere to spill to: %v", err)
	}
	h.c.o.TempDir = t.TempDir()
	h.once()
	compare(h, w)
	if files, err := os.ReadDir(h.c.o.TempDir); err != nil || len(files) > 0 {
		t.Fatalf("left behind: %v, %v", files, err)
	}
}

// TestLatestMtimeOfALargeDirectoryIsFoundByTheIndex newest file of a directory of many row groups goes, again and again: the latest mtime is exact each time, and most row
// groups are not read for it.
func TestLatestMtimeOfALargeDirectoryIsFoundByTheIndex(t *testing.T) {
	h := newHarness(t, t.TempDir(), 0, Options{})
	rng := rand.New(rand.NewPCG(5, 5))
	const files, perGroup = 20_000, 128
	mtimes := map[string]int64{}
	out := h.c.newOutput(h.ctx, viewName, 1<<20)
	out.group = perGroup
	sub := evidence.Totals{Files: files, Directories: 1, LatestMtimeNs: evidence.NoMtime, Unmeasured: files + 1}
	var rows []evidence.Row
	for i := range files {
		r := evidence.Row{Parent: "/", Name: fmt.Sprintf("f%06d", i), Type: event.File, Size: 1, MtimeNs: 1e9 * (1 + rng.Int64N(1e6)), ObservedAt: 1, Evidence: event.Snapshot}
		mtimes["/"+r.Name] = r.MtimeNs
		sub.Bytes, sub.LatestMtimeNs = sub.Bytes+1, max(sub.LatestMtimeNs, r.MtimeNs)
		rows = append(rows, r)
	}
	for _, r := range append([]evidence.Row{{Type: event.Directory, ObservedAt: 1, Evidence: event.Snapshot, Sub: sub}}, rows...) {
		if err := out.append(&r); err != nil {
			t.Fatal(err)
		}
	}
	layers, err := out.finish()
	if err != nil {
		t.Fatal(err)
	}
	epoch := h.epoch()
	if _, err := h.c.publish(h.ctx, h.head(), "fold", func(m *manifest.Manifest) error {
		m.Epoch, m.Base, m.Totals = epoch, layers, sub
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	s := h.teller("one")
	at := int64(2_000_000e9)
	for range 12 {
		newest := ""
		for path, mtime := range mtimes {
			if newest == "" || mtime > mtimes[newest] {
				newest = path
			}
		}
		at += 1e9
		ev := event.Event{Kind: event.Delete, Evidence: event.Realtime, ObservedAt: at, Path: newest}
		delete(mtimes, newest)
		if rng.IntN(3) == 0 { // or it is dated back
			ev = putOf(newest, at, 1)
			ev.Entry.MtimeNs, mtimes[newest] = 5, 5
		}
		s.tell(ev)
		s.send()
		counted := h.counted(Options{})
		h.fold()
		want := int64(evidence.NoMtime)
		for _, mtime := range mtimes {
			want = max(want, mtime)
		}
		if got := h.head().Totals.LatestMtimeNs; got != want {
			t.Fatalf("without %s the latest mtime is %d, want %d", newest, got, want)
		}
		if gets := counted.Counts().Get; gets > 40 {
			t.Fatalf("%d requests for a directory of %d row groups", gets, files/perGroup)
		}
	}
	h.present()
	v, err := layer.OpenView(h.store, viewName, h.head().Base, nil, layer.NewCache(1<<20))
	if err != nil {
		t.Fatal(err)
	}
	if groups, err := v.Base()[0].Groups(h.ctx); err != nil || len(groups) < 100 || groups[0].Flat() || !groups[1].Flat() {
		t.Fatalf("%d row groups, %v", len(groups), err)
	}
}
