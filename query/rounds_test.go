package query

import (
	"context"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/fault"
	"github.com/fustor/fustor/testkit/gentree"
)

// TestColdReadsAreThreeRounds is the promise about a cold stat, list or du: at most three reads that wait for each other,
// and half a megabyte.
func TestColdReadsAreThreeRounds(t *testing.T) { askColdInRounds(t, newFixture(t), 3) }

// TestColdReadsOfLeavesAreFourRounds: where the partitions are in leaves, all of these are one round more.
func TestColdReadsOfLeavesAreFourRounds(t *testing.T) {
	f := newFixture(t)
	f.leaves = manifest.NewLeaves(0, 1)
	askColdInRounds(t, f, 4)
	if n := len(f.last[testView].Leaves); n < 3 {
		t.Fatalf("the view has %d leaves", n)
	}
}

func askColdInRounds(t *testing.T, f *fixture, most int) {
	tree := gentree.New(gentree.Options{Seed: 3, Rows: 60_000})
	var parts [][]evidence.Row
	var files, dirs []string
	n := 0
	for r := range tree.Rows() {
		if n%20_000 == 0 {
			parts = append(parts, nil)
		}
		parts[len(parts)-1] = append(parts[len(parts)-1], *r)
		if n++; n%6_000 == 0 && r.Type == event.File {
			files = append(files, r.Path())
		}
		if r.Type == event.Directory && len(dirs) < 8 {
			dirs = append(dirs, r.Path())
		}
	}
	var delta []evidence.Row
	for r := range tree.Changes(1, 500) {
		delta = append(delta, *r)
	}
	base := make([]layer.Info, 0, len(parts))
	for _, rows := range parts {
		base = append(base, f.layerOf(testView, rows, layer.WriterOptions{}))
	}
	deltas := []layer.Info{f.layerOf(testView, delta, layer.WriterOptions{RowsPerGroup: layer.DeltaRowsPerGroup})}
	f.commit(testView, func(m *manifest.Manifest) { m.Base, m.Deltas, m.Totals = base, deltas, tree.Totals() })

	questions := map[string][]string{}
	for _, path := range files {
		questions["stat"] = append(questions["stat"], viewURL("metadata", "path", path))
	}
	for _, path := range dirs {
		questions["list"] = append(questions["list"], viewURL("list", "path", path, "limit", "1000"))
		questions["du"] = append(questions["du"], viewURL("stats", "path", path))
	}
	for name, targets := range questions {
		t.Run(name, func(t *testing.T) {
			if len(targets) < 4 {
				t.Fatalf("only %d questions", len(targets))
			}
			for _, target := range targets {
				t.Run("", func(t *testing.T) {
					t.Parallel()
					askInRounds(t, f, target, most)
				})
			}
		})
	}
}

func askInRounds(t *testing.T, f *fixture, target string, most int) {
	if fewest := fewestRounds(t, f, target, most); fewest > most || fewest < 2 {
		t.Errorf("%s: %d rounds", target, fewest)
	}
}

// fewestRounds asks a server that has just started, and answers how many reads had to wait for each other. A busy machine can make
// reads follow each other that need not; never the other way round, so that the least of a few attempts counts.
func fewestRounds(t testing.TB, f *fixture, target string, few int) (fewest int) {
	t.Helper()
	for range 5 {
		got, counts := roundsOf(t, f, target, "")
		if counts.BytesIn > 512<<10 {
			t.Fatalf("%s: %d bytes in %d reads", target, counts.BytesIn, counts.Get)
		}
		if fewest == 0 || got < fewest {
			fewest = got
		}
		if fewest <= few {
			break
		}
	}
	return fewest
}

// roundsOf asks a server that has just started once, and answers how many reads waited for each other, and what was read.
func roundsOf(t testing.TB, f *fixture, target, accept string) (int, store.Counts) {
	t.Helper()
	var rounds rounds
	st := store.Count(&rounds)
	rounds.Store = fault.New(f.st, func(fault.Call) fault.Fault { return fault.Fault{Delay: 30 * time.Millisecond} })
	s, err := New(Options{Store: st, Authenticator: f.server.keys})
	if err != nil {
		t.Fatal(err)
	}
	req := httptest.NewRequest("GET", target, nil)
	req.Header.Set("X-API-Key", queryKey)
	req.Header.Set("Accept", accept)
	answer := httptest.NewRecorder()
	s.Handler().ServeHTTP(answer, req)
	if answer.Code != 200 && answer.Code != 404 { // the delta removes a few
		t.Fatalf("%s: %d %s", target, answer.Code, answer.Body)
	}
	return rounds.most, st.Counts()
}

// rounds is a store that knows how many reads came one after the other: one more than those that had ended when it began.
type rounds struct {
	store.Store
	mu          sync.Mutex
	ended, most int
}

func (r *rounds) begin() (end func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	round := r.ended + 1
	r.most = max(r.most, round)
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.ended = max(r.ended, round)
	}
}

func (r *rounds) Get(ctx context.Context, key string) (store.Object, error) {
	defer r.begin()()
	return r.Store.Get(ctx, key)
}

func (r *rounds) GetIfChanged(ctx context.Context, key, etag string) (store.Object, error) {
	defer r.begin()()
	return r.Store.GetIfChanged(ctx, key, etag)
}

func (r *rounds) GetRange(ctx context.Context, key string, off, n int64) ([]byte, error) {
	defer r.begin()()
	return r.Store.GetRange(ctx, key, off, n)
}

func (r *rounds) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	defer r.begin()()
	return r.Store.List(ctx, prefix, after, limit)
}
