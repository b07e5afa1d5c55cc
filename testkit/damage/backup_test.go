package damage

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/check"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store/local"
)

// TestBackup copies a store in any order while agents send and a compactor folds and merges, as rclone and aws s3 sync do: the keys are
// listed, then the objects are copied one by one, each as it is then. The copy is checked and repaired. It then is one version of the
// view, no older than the one that was current when the copy began, or empty.
func TestBackup(t *testing.T) {
	w := newWorld(t, 40)
	c := w.compactor()
	state, err := w.ledger.Create(w.ctx, session.Application{View: "a", Task: "grow", Agent: "host-9", Source: "fs://host/data", TimeoutSeconds: 3600})
	w.must(err)
	seq := uint64(0)
	names := map[uint64][]string{} // by version, what it has
	grow := func() {
		w.Helper()
		var b bytes.Buffer
		out, err := event.NewWriter(&b, event.Header{View: "a", Session: state.Record.ID, Agent: "host-9", Source: "fs://host/data", Seq: seq, Term: 1, CreatedAt: 1, Nonce: "n"})
		w.must(err)
		name := fmt.Sprintf("grown-%04d", seq)
		w.must(out.Add(&event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: 1_700_000_100_000_000_000, Path: "/" + name, Atomic: true,
			Entry: event.Entry{Name: name, Type: event.File, Size: 9}}))
		w.must(out.Close())
		_, err = w.st.Create(w.ctx, layout.Segment("a", state.Record.ID, seq), b.Bytes())
		w.must(err)
		seq++
		_, err = c.Fold(w.ctx, "a")
		w.must(err)
		m, _, err := manifest.Load(w.ctx, w.st, "a")
		w.must(err)
		rows, err := w.rows(m)
		w.must(err)
		names[m.Version] = present(rows)
		_, err = c.Merge(w.ctx, "a")
		w.must(err)
	}
	repaired, whole := 0, 0
	for trial := range 12 {
		random := rand.New(rand.NewPCG(uint64(trial), 7))
		grow()
		begun, _, err := manifest.Load(w.ctx, w.st, "a")
		w.must(err)
		keys := slices.Collect(maps.Keys(w.objects()))
		slices.Sort(keys)
		random.Shuffle(len(keys), func(i, j int) { keys[i], keys[j] = keys[j], keys[i] })
		copied := &world{T: t, ctx: w.ctx, dir: t.TempDir()}
		for i, key := range keys {
			body, err := os.ReadFile(filepath.Join(w.dir, filepath.FromSlash(key)))
			w.must(err)
			w.must(os.MkdirAll(filepath.Dir(filepath.Join(copied.dir, filepath.FromSlash(key))), 0o755))
			copied.put(key, body)
			if i%(len(keys)/4) == 0 {
				grow()
			}
		}
		copied.st, err = local.Open(copied.dir)
		w.must(err)
		_, actions, err := check.Plan(w.ctx, check.Options{Store: copied.st, ReadData: true})
		w.must(err)
		for _, a := range actions {
			w.must(a.Do(w.ctx))
			repaired++
		}
		if r := copied.check(true); r.Damaged() > 0 {
			t.Fatalf("trial %d: after %+v: %+v", trial, actions, r.Findings)
		}
		m, _, err := manifest.Load(w.ctx, copied.st, "a")
		w.must(err)
		rows, err := copied.rows(m)
		w.must(err)
		got := present(rows)
		if least := names[begun.Version]; m.Version < begun.Version || len(got) < len(least) { // the view only grows
			t.Errorf("trial %d: version %d with %d rows; version %d with %d rows was current when the copy began; after %+v", trial, m.Version, len(got), begun.Version, len(least), actions)
		}
		is := func(version []string) bool { return slices.Equal(version, got) }
		if !slices.ContainsFunc(slices.Collect(maps.Values(names)), is) {
			t.Errorf("trial %d: the copy is no version that there was: %s", trial, strings.Join(got, "\n"))
		}
		if len(actions) == 0 {
			whole++
		}
	}
	t.Logf("12 copies, %d of which were whole as they were, the others after %d steps", whole, repaired)
}
