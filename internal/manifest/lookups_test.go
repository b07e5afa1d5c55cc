package manifest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/sim"
)

// TestLookUpsInALongHistory: of a history with gaps and strays, longer than one listing, each look-up answers what a look at all of it would.
func TestLookUpsInALongHistory(t *testing.T) {
	ctx := t.Context()
	begin := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	now := begin
	st := sim.NewStore(func() time.Time { return now })
	var kept []*Manifest
	parent := ""
	for number := uint64(3); number <= 960; number++ {
		if number < 400 && number%40 != 0 && number%40 < 37 { // thinned
			continue
		}
		now = begin.Add(time.Duration(number) * 10 * time.Second)
		m := &Manifest{Format: Format, View: "v", Version: number, Nonce: Nonce(now.UnixNano(), "a"), FoldedAt: now.UnixNano(), Parent: parent, Reason: fmt.Sprint(number)}
		put(t, st, m, m.Key())
		if number%7 == 0 {
			stray := *m
			stray.Nonce = Nonce(now.UnixNano(), "b")
			put(t, st, &stray, stray.Key())
		}
		kept, parent = append(kept, m), m.Key()
	}
	head := kept[len(kept)-1]
	if _, err := st.Put(ctx, layout.Manifests("v")+"note", []byte("no version")); err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{0, 1, 7} {
		list, at, err := List(ctx, st, "v", 100, limit, nil)
		if err != nil || !at.Equal(now) || !slices.IsSortedFunc(list, func(a, b Published) int { return strings.Compare(a.Key, b.Key) }) || list[0].Version != 117 ||
			len(slices.CompactFunc(slices.Clone(list), func(a, b Published) bool { return a.Key == b.Key })) != len(list) {
			t.Errorf("in pages of %d: %d, %v", limit, len(list), err)
		}
	}
	before, after, err := Around(ctx, st, head, head.Version+1)
	if err != nil || before == nil || before.Key != head.Key() || after != nil {
		t.Errorf("Around the version after head: %v, %v, %v", before, after, err)
	}
	index := func(number uint64) int {
		return slices.IndexFunc(kept, func(m *Manifest) bool { return m.Version >= number })
	}
	for _, number := range []uint64{0, 1, 3, 4, 36, 37, 38, 39, 40, 41, 200, 201, 399, 400, 401, 500, 511, 850, 958, 959, 960, 961} {
		i := index(number)
		is := i >= 0 && kept[i].Version == number
		if p, err := At(ctx, st, head, number); is != (err == nil) || is && p.Key != kept[i].Key() || !is && !errors.Is(err, store.ErrNotFound) {
			t.Errorf("At %d: %+v, %v", number, p, err)
		} else if is && !p.At.Equal(time.Unix(0, kept[i].FoldedAt)) {
			t.Errorf("At %d says %v", number, p.At)
		}
		for _, n := range []int{1, 3, 2000} {
			list, more, err := History(ctx, st, head, number, n)
			want := kept[len(kept):]
			if i >= 0 {
				want = kept[i:min(i+n, len(kept))]
			}
			if err != nil || more != (i >= 0 && i+n < len(kept)) || !slices.EqualFunc(list, want, func(p Published, m *Manifest) bool { return p.Key == m.Key() }) {
				t.Errorf("%d from %d on: %d, more: %v, %v; want %d", n, number, len(list), more, err, len(want))
			}
		}
		if !is && number < head.Version {
			before, after, err := Around(ctx, st, head, number)
			if err != nil || (i > 0) != (before != nil) || i > 0 && before.Key != kept[i-1].Key() || after == nil || after.Key != kept[i].Key() {
				t.Errorf("Around %d: %v, %v, %v", number, before, after, err)
			}
		}
		if found, err := First(ctx, st, head, 3, func(m *Manifest) bool { return m.Version >= number }); i >= 0 && (err != nil || found.Version != kept[i].Version) {
			t.Errorf("First from %d on: %+v, %v", number, found, err)
		}
	}
	for _, seconds := range []int{29, 30, 31, 399, 400, 409, 2000, 3995, 4000, 5000, 5105, 9000, 9001, 9590, 9600, 99999} {
		at := begin.Add(time.Duration(seconds) * time.Second)
		want := ""
		for _, m := range kept {
			if m.FoldedAt <= at.UnixNano() {
				want = m.Key()
			}
		}
		if p, err := Before(ctx, st, head, at); (want == "") != errors.Is(err, store.ErrNotFound) || want != "" && (err != nil || p.Key != want) {
			t.Errorf("Before %v: %+v, %v; want %s", at, p, err, want)
		}
	}
}

// TestManifestsOfEarlierBuilds have no seal, and nonces without a time: those are of the time when they were written.
func TestManifestsOfEarlierBuilds(t *testing.T) {
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	st := sim.NewStore(func() time.Time { return now })
	const key = "views/v/manifests/00000000000000000003-f471a4d272d59c98a978"
	body := []byte(`{"format":1,"view":"v","version":3,"nonce":"f471a4d272d59c98a978"}`)
	if _, err := st.Put(t.Context(), key, body); err != nil {
		t.Fatal(err)
	}
	m, err := NewLeaves(0, 0).LoadKey(t.Context(), st, "v", key)
	if err != nil || m.Version != 3 {
		t.Fatalf("%+v, %v", m, err)
	}
	if _, ok := timeOf("123456789012-a"); ok {
		t.Error("a nonce of 12 digits is taken for a time")
	}
	list, _, err := List(t.Context(), st, "v", 0, 0, nil)
	if err != nil || len(list) != 1 || list[0] != (Published{Version: 3, Key: key, At: now, Written: now, Bytes: int64(len(body))}) {
		t.Errorf("%+v, %v", list, err)
	}
}

// TestAllNames: users first, by number, then groups; each by its newest name, and by others where a source has another.
func TestAllNames(t *testing.T) {
	group := func(id uint32, name string, at int64) event.OwnerName {
		return event.OwnerName{Group: true, ID: id, Name: name, ResolvedAt: at}
	}
	n, _ := (*Names)(nil).With(map[string][]event.OwnerName{
		"fs://a/x": {user(7, "ann", 5), user(2, "bob", 5), group(7, "staff", 5), group(8, "lab", 5)},
		"fs://b/x": {user(7, "eve", 6), group(7, "users", 4), group(8, "lab", 9)},
	})
	got := slices.Collect(n.All())
	want := []OwnerName{{false, "", 2, "bob"}, {false, "", 7, "eve"}, {false, "fs://a/x", 7, "ann"}, {true, "", 7, "staff"}, {true, "", 8, "lab"}, {true, "fs://b/x", 7, "users"}}
	if !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for i := range want {
		var some []OwnerName
		for name := range n.All() {
			if some = append(some, name); len(some) > i {
				break
			}
		}
		if !slices.Equal(some, want[:i+1]) {
			t.Errorf("the first %d: %v", i+1, some)
		}
	}
	for name, ids := range map[string][]uint32{"staff": {7}, "users": {7}, "lab": {8}, "ann": nil} {
		if got := n.IDs(true, name); !slices.Equal(got, ids) {
			t.Errorf("groups called %s: %v", name, got)
		}
	}
	if n.Len() != 7 {
		t.Errorf("%d names", n.Len())
	}
	for _, c := range []struct{ first, second, want string }{{"ann", "bob", "bob"}, {"bob", "ann", "bob"}} { // of one time
		n, _ := (*Names)(nil).With(map[string][]event.OwnerName{"s": {user(1, c.first, 5)}})
		if n, _ = n.With(map[string][]event.OwnerName{"s": {user(1, c.second, 5)}}); n.Name(false, "s", 1) != c.want {
			t.Errorf("%s, then %s: %s", c.first, c.second, n.Name(false, "s", 1))
		}
	}
}

// TestNewestNames: numbers are better than nothing where the names of a version are missing or cannot be read.
func TestNewestNames(t *testing.T) {
	ctx := t.Context()
	const id = "01KBS2M3QXTB1V6X2Y8Z9A0B1C"
	n, _ := (*Names)(nil).With(map[string][]event.OwnerName{"s": {user(1, "ann", 5)}})
	good, err := n.Encode(layout.Names("v", id))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what, names string
		object      []byte
		want        string
	}{{"names", id, good, "ann"}, {"none", "", nil, ""}, {"missing", id, nil, ""}, {"damaged", id, []byte(strings.ReplaceAll(string(good), "1", "2")), ""}} {
		st := sim.NewStore(time.Now)
		if names, err := NewestNames(ctx, st, "v"); names != nil || err != nil {
			t.Errorf("without a head: %v, %v", names, err)
		}
		put(t, st, &Manifest{Format: Format, View: "v", Version: 1, Nonce: Nonce(1e18, "a"), Names: c.names}, layout.Head("v"))
		if c.object != nil {
			if _, err := st.Put(ctx, layout.Names("v", id), c.object); err != nil {
				t.Fatal(err)
			}
		}
		counted := store.Count(st)
		if _, err := NewestNames(ctx, counted, "v"); err != nil || c.names == "" && counted.Counts().Get != 1 {
			t.Errorf("%s: %d objects were read, %v", c.what, counted.Counts().Get, err)
		}
		if names, err := NewestNames(ctx, st, "v"); err != nil || names.Name(false, "s", 1) != c.want || (names == nil) != (c.want == "") {
			t.Errorf("%s: %v, %v", c.what, names, err)
		}
	}
}

// TestNobodyHasNames: where no names are known, nobody has one.
func TestNobodyHasNames(t *testing.T) {
	if ids := (*Names)(nil).IDs(false, "ann"); ids != nil {
		t.Errorf("%v", ids)
	}
}
