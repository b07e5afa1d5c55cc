package manifest

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/sim"
)

// TestObjectsOfSomethingElse: what is under the name of a view's head or version, and is another view's, another version's or of another
// format, is refused.
func TestObjectsOfSomethingElse(t *testing.T) {
	good := Manifest{Format: Format, View: "v", Version: 3, Nonce: Nonce(1e18, "a")}
	for _, c := range []struct {
		what   string
		change func(*Manifest)
		head   bool // whether it may be head
	}{
		{"the version", func(*Manifest) {}, true},
		{"another version", func(m *Manifest) { m.Version++ }, true},
		{"another view", func(m *Manifest) { m.View = "w" }, false},
		{"another format", func(m *Manifest) { m.Format++ }, false},
		{"no view", func(m *Manifest) { m.View = "" }, false},
		{"no version", func(m *Manifest) { m.Version = 0 }, false},
		{"no nonce", func(m *Manifest) { m.Nonce = "" }, false},
	} {
		m := good
		c.change(&m)
		body, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		st := sim.NewStore(time.Now)
		for _, key := range []string{layout.Head("v"), good.Key()} {
			if _, err := st.Put(t.Context(), key, body); err != nil {
				t.Fatal(err)
			}
		}
		if _, _, err := Load(t.Context(), st, "v"); (err == nil) != c.head || err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("%s as head: %v", c.what, err)
		}
		if _, err := NewLeaves(0, 0).LoadKey(t.Context(), st, "v", good.Key()); (err == nil) != (c.what == "the version") || err != nil && !errors.Is(err, ErrFormat) {
			t.Errorf("%s as a version: %v", c.what, err)
		}
	}
	body, err := good.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Decode("it", []byte(strings.Replace(string(body), `"version":3`, `"version":4`, 1))); !errors.Is(err, ErrFormat) {
		t.Errorf("a version that is sealed as another one: %v", err)
	}
}

// TestRefusedSegments: the newest are kept, for a week, each once; names that were left out of one add up.
func TestRefusedSegments(t *testing.T) {
	m := &Manifest{FoldedAt: 1000}
	m.Refuse(Refusal{Session: "s", Seq: 1, Reason: strings.Repeat("x", maxReason+1), Names: 2})
	if want := (Refusal{Session: "s", Seq: 1, Reason: strings.Repeat("x", maxReason), Names: 2, At: 1000}); len(m.Refused) != 1 || m.Refused[0] != want || m.RefusedCount != 1 {
		t.Errorf("%+v, %d", m.Refused, m.RefusedCount)
	}
	before := m.Refused
	m.FoldedAt = 2000
	m.Refuse(Refusal{Session: "s", Seq: 1, Names: 3})
	if len(m.Refused) != 1 || m.Refused[0].Names != 5 || m.Refused[0].At != 2000 || m.RefusedCount != 1 || before[0].At != 1000 {
		t.Errorf("%+v, %d", m.Refused, m.RefusedCount)
	}
	m.Refuse(Refusal{Session: "s", Seq: 2})
	m.Refuse(Refusal{Session: "r", Seq: 1})
	if len(m.Refused) != 3 || m.RefusedCount != 3 {
		t.Errorf("other segments are others: %+v", m.Refused)
	}
	m.FoldedAt = 2000 + refusedFor - 1
	m.Refuse(Refusal{Session: "late", Seq: 1})
	if len(m.Refused) != 4 {
		t.Errorf("within the week: %+v", m.Refused)
	}
	m.FoldedAt++
	m.Refuse(Refusal{Session: "late", Seq: 2})
	if len(m.Refused) != 2 || m.RefusedCount != 5 {
		t.Errorf("after the week: %+v, %d", m.Refused, m.RefusedCount)
	}
	for seq := range uint64(MaxRefused) {
		m.Refuse(Refusal{Session: "many", Seq: seq})
	}
	if len(m.Refused) != MaxRefused || m.Refused[0].Session != "many" || m.Refused[MaxRefused-1].Seq != MaxRefused-1 || m.RefusedCount != 5+MaxRefused {
		t.Errorf("%+v, %d", m.Refused, m.RefusedCount)
	}
	m.SetTrouble("k", strings.Repeat("y", maxReason+1), 7)
	if *m.Trouble != (Trouble{"k", strings.Repeat("y", maxReason), 7}) {
		t.Errorf("%+v", m.Trouble)
	}
}

// TestFullView: names that are left out add up, since the first of them; a later limit counts, and nothing is to be listed again yet.
func TestFullView(t *testing.T) {
	first := &Manifest{FoldedAt: 10}
	first.LeaveOut(2, 100)
	if *first.Full != (Full{Limit: 100, Names: 2, Since: 10}) {
		t.Errorf("%+v", first.Full)
	}
	next := &Manifest{FoldedAt: 20, Full: first.Full}
	next.Full.Rescan = true
	next.LeaveOut(3, 200)
	if *next.Full != (Full{Limit: 200, Names: 5, Since: 10}) || first.Full.Names != 2 {
		t.Errorf("%+v, and the version before %+v", next.Full, first.Full)
	}
	counted := &Manifest{Totals: (&Manifest{}).Totals, Base: []layer.Info{{Rows: 1, Removed: 2}, {Rows: 10, Removed: 20}}, Deltas: []layer.Info{{Rows: 100, Removed: 200}, {Rows: 1000, Removed: 2000}}}
	counted.Totals.Files, counted.Totals.Directories, counted.Totals.Others = 1, 20, 300
	if counted.Rows() != 1111 || counted.Tombstones() != 2222 || counted.Entries() != 321 {
		t.Errorf("%d rows, %d tombstones, %d entries", counted.Rows(), counted.Tombstones(), counted.Entries())
	}
}

// TestReplacedDeltas: what is merged into the base up to a delta that is replaced is merged up to the one below it, or to none; that of the others
// stays.
func TestReplacedDeltas(t *testing.T) {
	key := func(name string) *layer.Key { return &layer.Key{Parent: "/", Name: name} }
	ids := func(names ...string) (all []layer.Info) {
		for _, n := range names {
			all = append(all, layer.Info{ID: n})
		}
		return all
	}
	merged := []Merged{{From: layer.Key{}, To: key("f"), Delta: "d4"}, {From: *key("f"), To: key("m"), Delta: "d3"}, {From: *key("m"), To: key("t"), Delta: "d2"}, {From: *key("t"), Delta: "d1"}}
	for _, c := range []struct {
		i, n   int
		by     []layer.Info
		deltas []layer.Info
		want   []Merged
	}{
		{1, 2, ids("new"), ids("d4", "new", "d1"), []Merged{merged[0], {From: *key("f"), Delta: "d1"}}},
		{2, 2, ids("new"), ids("d4", "d3", "new"), merged[:2]},
		{0, 4, nil, nil, nil},
		{0, 1, ids("a", "b"), ids("a", "b", "d3", "d2", "d1"), []Merged{{From: layer.Key{}, To: key("m"), Delta: "d3"}, merged[2], merged[3]}},
	} {
		m := &Manifest{Deltas: ids("d4", "d3", "d2", "d1"), Merged: slices.Clone(merged)}
		before := m.Deltas
		m.ReplaceDeltas(c.i, c.n, c.by)
		if !slices.EqualFunc(m.Deltas, c.deltas, func(a, b layer.Info) bool { return a.ID == b.ID }) || !reflect.DeepEqual(m.Merged, c.want) {
			t.Errorf("%d from %d on: %+v, %+v; want %+v", c.n, c.i, m.Deltas, m.Merged, c.want)
		}
		if before[c.i].ID != ids("d4", "d3", "d2", "d1")[c.i].ID {
			t.Error("the version before has changed")
		}
	}
}

// TestReset: a view is emptied once for an epoch, in a version that follows its own and keeps what must never go back; a roster of an
// earlier epoch than the view's is an error.
func TestReset(t *testing.T) {
	ctx := t.Context()
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	st := sim.NewStore(func() time.Time { return now })
	nonces := 0
	follow := func(epoch string, number uint64) (*Manifest, error) {
		return Follow(ctx, st, "v", func() (string, uint64, error) { return epoch, number, nil }, func() (string, error) { nonces++; return "n", nil }, func() int64 { return now.UnixNano() })
	}
	first, err := follow("one", 1)
	if err != nil || first.Version != 1 || first.Epoch != "one" || first.EpochNumber != 1 || first.Parent != "" || first.Reason != "reset" || first.View != "v" || first.Format != Format || first.FoldedAt != now.UnixNano() || first.Nonce != Nonce(now.UnixNano(), "n") {
		t.Fatalf("%+v, %v", first, err)
	}
	if same, err := follow("one", 1); err != nil || same.Key() != first.Key() || nonces != 1 {
		t.Errorf("the same epoch again: %+v, %v", same, err)
	}
	known := *first
	known.Clock.Runs, known.Live = [][2]int64{{3, 4}}, true
	if next := known.Empty("two", "n", 1); !reflect.DeepEqual(next.Clock, known.Clock) || !next.Live {
		t.Errorf("what does not depend on the view's content is gone: %+v", next)
	}
	if next := first.Empty("two", "n", 1); next.Parent != first.Key() || next.Version != 2 {
		t.Errorf("the version after the first: %+v", next)
	}
	full := *first
	full.Version, full.Nonce, full.Term, full.Deltas, full.Totals.Files = 2, Nonce(now.UnixNano(), "b"), 7, []layer.Info{{ID: "d", Rows: 1}}, 1
	_, etag, err := Load(ctx, st, "v")
	if err == nil {
		_, err = Commit(ctx, st, &full, etag)
	}
	if err != nil {
		t.Fatal(err)
	}
	now = now.Add(time.Minute)
	empty, err := follow("two", 2)
	if err != nil || empty.Version != 3 || empty.Parent != full.Key() || empty.Term != 7 || empty.Epoch != "two" || empty.EpochNumber != 2 || len(empty.Deltas) != 0 || empty.Entries() != 0 {
		t.Errorf("%+v, %v", empty, err)
	}
	if head, _, err := Load(ctx, st, "v"); err != nil || head.Key() != empty.Key() {
		t.Errorf("head is %+v, %v", head, err)
	}
	for _, number := range []uint64{1, 2} {
		if _, err := follow("old", number); !errors.Is(err, ErrWentBack) {
			t.Errorf("epoch %d after 2: %v", number, err)
		}
	}
	if err := st.Delete(ctx, layout.Head("v")); err != nil {
		t.Fatal(err)
	}
	if _, err := follow("two", 2); !errors.Is(err, ErrWentBack) {
		t.Errorf("without a head: %v", err)
	}
	if again, err := follow("three", 3); err != nil || again.Version != 4 || again.Parent != empty.Key() {
		t.Errorf("a new epoch without a head: %+v, %v", again, err)
	}
}

// TestResetOfAnEarlierBuild: epochs without numbers follow each other, too.
func TestResetOfAnEarlierBuild(t *testing.T) {
	st := sim.NewStore(time.Now)
	put(t, st, &Manifest{Format: Format, View: "v", Version: 3, Epoch: "one", Nonce: Nonce(1e18, "a")}, layout.Head("v"))
	m, err := Follow(t.Context(), st, "v", func() (string, uint64, error) { return "two", 0, nil }, func() (string, error) { return "n", nil }, func() int64 { return 2e18 })
	if err != nil || m.Version != 4 || m.Epoch != "two" {
		t.Errorf("%+v, %v", m, err)
	}
}

// TestVersionsNeverGoBack: a head that is older than what was seen, or than a version that can only have followed a later one, is an error;
// one version beyond head may be of a writer that is about to publish it.
func TestVersionsNeverGoBack(t *testing.T) {
	ctx := t.Context()
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	st := sim.NewStore(func() time.Time { return now })
	versions := map[uint64]*Manifest{}
	write := func(number uint64) {
		versions[number] = &Manifest{Format: Format, View: "v", Version: number, Epoch: "e", Nonce: Nonce(now.UnixNano(), "a"), FoldedAt: now.UnixNano()}
		put(t, st, versions[number], versions[number].Key())
	}
	for number := range uint64(4) {
		write(number + 1)
	}
	for head, fine := range map[uint64]bool{4: true, 3: true, 2: false, 1: false} { // 2 is two before the newest: its successor was read
		put(t, st, versions[head], layout.Head("v"))
		if err := versions[head].Proved(ctx, st); (err == nil) != fine || err != nil && !errors.Is(err, ErrWentBack) {
			t.Errorf("head is %d of 4: %v", head, err)
		}
	}
	put(t, st, versions[4], layout.Head("v"))
	if err := versions[2].Proved(ctx, st); err != nil {
		t.Errorf("head has moved on since it was read: %v", err)
	}
	for _, c := range []struct {
		seen, now uint64
		epoch     string
		fine      bool
	}{{3, 3, "e", true}, {3, 4, "e", true}, {3, 2, "e", false}, {3, 2, "other", true}} {
		if err := (&Manifest{View: "v", Version: c.now, Epoch: c.epoch}).Follows(versions[c.seen]); (err == nil) != c.fine {
			t.Errorf("version %d of %s after %d: %v", c.now, c.epoch, c.seen, err)
		}
	}
	if err := versions[1].Follows(nil); err != nil {
		t.Error(err)
	}
}

// TestBegin: without a head, a view begins anew only where nothing says that it had one: it is empty, it was reset, or the one version that is
// there was written too recently to be called lost.
func TestBegin(t *testing.T) {
	ctx := t.Context()
	for _, c := range []struct {
		what    string
		number  uint64 // of the version that is there; 0: none
		epoch   string
		age     time.Duration
		version uint64
		fine    bool
	}{
		{"nothing", 0, "e", 0, 0, true},
		{"a first version that is being published", 1, "e", unpublished - 1, 0, true},
		{"a first version that was published", 1, "e", unpublished, 0, false},
		{"a later version", 2, "e", 0, 0, false},
		{"a version of before a reset", 2, "before", 0, 2, true},
	} {
		now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
		st := sim.NewStore(func() time.Time { return now })
		if c.number > 0 {
			m := &Manifest{Format: Format, View: "v", Version: c.number, Epoch: c.epoch, Nonce: Nonce(now.UnixNano(), "a")}
			put(t, st, m, m.Key())
		}
		now = now.Add(c.age)
		m, err := Begin(ctx, st, "v", "e")
		if (err == nil) != c.fine || err != nil && !errors.Is(err, ErrWentBack) || err == nil && (m.Version != c.version || m.View != "v") {
			t.Errorf("%s: %+v, %v", c.what, m, err)
		}
	}
}

// vanished is a store from which an object goes between a listing and a read.
type vanished struct {
	store.Store
	key string
}

func (v vanished) Get(ctx context.Context, key string) (store.Object, error) {
	if key == v.key {
		return store.Object{}, store.ErrNotFound
	}
	return v.Store.Get(ctx, key)
}

// TestViewThatIsBeingDeleted begins anew: its version was listed, and then was gone.
func TestViewThatIsBeingDeleted(t *testing.T) {
	st := sim.NewStore(time.Now)
	last := &Manifest{Format: Format, View: "v", Version: 2, Epoch: "e", Nonce: Nonce(1e18, "a")}
	put(t, st, last, last.Key())
	if m, err := Begin(t.Context(), vanished{st, last.Key()}, "v", "e"); err != nil || m.Version != 0 {
		t.Errorf("%+v, %v", m, err)
	}
	put(t, st, last, layout.Head("v"))
	m, etag, err := (*Leaves)(nil).LoadIfChanged(t.Context(), st, "v", "")
	if err != nil || m.Version != 2 {
		t.Fatal(err)
	}
	if m, _, err := (*Leaves)(nil).LoadIfChanged(t.Context(), st, "v", etag); m != nil || !errors.Is(err, store.ErrNotModified) {
		t.Errorf("head as it was: %+v, %v", m, err)
	}
}

func put(t *testing.T, st store.Store, m *Manifest, key string) {
	t.Helper()
	body, err := m.Encode()
	if err == nil {
		_, err = st.Put(context.Background(), key, body)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestFirstReady: the first version that is ready says so, and all that follow keep its number.
func TestFirstReady(t *testing.T) {
	st := sim.NewStore(time.Now)
	etag := ""
	for number, want := range []uint64{0, 0, 2, 2} {
		if number == 0 {
			continue
		}
		m := &Manifest{Format: Format, View: "v", Version: uint64(number), Nonce: Nonce(1e18, "a")}
		if number > 1 {
			m.Scan.SnapshotTerm, m.Scan.SnapshotDone, m.Term = 1, 1, 1
		}
		if number > 2 {
			m.FirstReady = 2
		}
		var err error
		if etag, err = Commit(t.Context(), st, m, etag); err != nil || m.FirstReady != want {
			t.Errorf("version %d: %d, %v", number, m.FirstReady, err)
		}
	}
}
