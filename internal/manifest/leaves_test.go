package manifest

import (
	"errors"
	"fmt"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
)

// partition is a base partition; at says where it stands among others.
func partition(id, at int) layer.Info {
	name := fmt.Sprintf("%06d", at)
	return layer.Info{ID: fmt.Sprintf("01ARZ3NDEKTSV4RRFFQ6%06d", id), First: layer.Key{Parent: "/", Name: name}, Last: layer.Key{Parent: "/", Name: name + "~"},
		Rows: int64(id), Bytes: 100, Marks: &layer.Marks{}}
}

func partitions(n int) (base []layer.Info) {
	for i := range n {
		base = append(base, partition(i, 10*i))
	}
	return base
}

func stored(t *testing.T) *store.Counted {
	base := "/dev/shm" // a directory in memory, as these tests write a lot
	if _, err := os.Stat(base); err != nil {
		base = ""
	}
	dir, err := os.MkdirTemp(base, "fustor-leaves-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	st, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return store.Count(st)
}

// following is the version after m, as compactors make it.
func following(m *Manifest) *Manifest {
	next := *m
	next.Version, next.Nonce, next.Base = m.Version+1, Nonce(int64(m.Version+1)*1e15, "n"), slices.Clone(m.Base)
	next.FoldedAt = int64(m.Version+1) * 1e15
	if m.Version > 0 {
		next.Parent = m.Key()
	}
	return &next
}

// TestLeaves: whatever a version's base becomes, everybody reads what was published, each version of the history at any time, and leaves that
// have the same partitions as before are neither written nor read again. Leaves are of bounded size, so that a commit is, too.
func TestLeaves(t *testing.T) {
	st, ctx, cases := stored(t), t.Context(), 0
	rapid.Check(t, func(rt *rapid.T) {
		cases++
		view := fmt.Sprint("v", cases)
		inline := rapid.IntRange(1, 12).Draw(rt, "inline")
		writer, reader := NewLeaves(1<<20, inline), NewLeaves(1<<20, 0)
		head, etag, ids := &Manifest{View: view}, "", 0
		published := map[string][]layer.Info{}
		for range rapid.IntRange(1, 12).Draw(rt, "versions") {
			next := following(head)
			// A step of a merge: some neighbours become others.
			from := rapid.IntRange(0, len(next.Base)).Draw(rt, "from")
			gone := rapid.IntRange(0, min(3, len(next.Base)-from)).Draw(rt, "gone")
			var fresh []layer.Info
			for range rapid.IntRange(0, rapid.SampledFrom([]int{0, 4, 40}).Draw(rt, "most")).Draw(rt, "fresh") {
				fresh = append(fresh, partition(ids, 0))
				ids++
			}
			next.Base = slices.Replace(next.Base, from, from+gone, fresh...)
			for i := range next.Base { // its place does not follow from the id here, so all of them are moved
				next.Base[i].First, next.Base[i].Last = partition(0, i).First, partition(0, i).Last
			}
			if from+gone < len(head.Base) && len(fresh) != gone {
				for i := from; i < len(next.Base); i++ { // and are others by that
					next.Base[i].ID = partition(ids, 0).ID
					ids++
				}
			}
			before := st.Counts()
			var err error
			if etag, err = writer.Commit(ctx, st, next, etag); err != nil {
				rt.Fatal(err)
			}
			wrote := int(st.Counts().Sub(before).Put) - 2
			if (len(next.Leaves) > 0) != (len(next.Base) > inline) {
				rt.Fatalf("%d leaves for %d partitions, %d inline", len(next.Leaves), len(next.Base), inline)
			}
			shared := 0
			for i := range next.Leaves {
				if n := next.Leaves[i].Partitions; n > 3*inline/2+1 {
					rt.Fatalf("a leaf of %d partitions; %d are inline", n, inline)
				}
				if slices.Contains(head.Leaves, next.Leaves[i]) {
					shared++
				}
			}
			if wrote != len(next.Leaves)-shared {
				rt.Fatalf("%d leaves were written, of %d %d are as before", wrote, len(next.Leaves), shared)
			}
			if slices.EqualFunc(next.Base, head.Base, func(a, b layer.Info) bool { return a.ID == b.ID }) && wrote > 0 {
				rt.Fatalf("%d leaves of the same partitions were written", wrote)
			}
			published[next.Key()] = slices.Clone(next.Base)
			before = st.Counts()
			m, _, err := reader.Load(ctx, st, view)
			if err != nil || !reflect.DeepEqual(m.Base, next.Base) && len(m.Base)+len(next.Base) > 0 {
				rt.Fatalf("head has %d partitions, %v; %d were published", len(m.Base), err, len(next.Base))
			}
			if read := int(st.Counts().Sub(before).Get) - 1; read != len(next.Leaves)-shared {
				rt.Fatalf("%d leaves were read, of %d %d are as before", read, len(next.Leaves), shared)
			}
			head = next
		}
		for key, base := range published {
			for _, l := range []*Leaves{nil, reader} {
				m, err := l.LoadKey(ctx, st, view, key)
				if err != nil || !reflect.DeepEqual(m.Base, base) && len(m.Base)+len(base) > 0 {
					rt.Fatalf("%s has %d partitions, %v; %d were published", key, len(m.Base), err, len(base))
				}
			}
		}
	})
}

// TestAMergeRewritesOneLeaf of many, whose size stays about the same however often merges replace a partition by two, or two by one.
func TestAMergeRewritesOneLeaf(t *testing.T) {
	st, ctx, l := stored(t), t.Context(), NewLeaves(1<<30, 0)
	head := &Manifest{View: "v", Base: partitions(5000)}
	head = following(head)
	etag, err := l.Commit(ctx, st, head, "")
	if err != nil || len(head.Leaves) != 20 {
		t.Fatalf("%d leaves, %v", len(head.Leaves), err)
	}
	for i := range 100 {
		next := following(head)
		at := (i * 7919) % (len(next.Base) - 2)
		first := next.Base[at].First.Name
		if i%2 == 0 {
			next.Base = slices.Replace(next.Base, at, at+1, partition(10_000+2*i, 0), partition(10_001+2*i, 0))
			next.Base[at+1].First.Name, next.Base[at+1].Last.Name = first+"1", first+"1~"
		} else {
			next.Base = slices.Replace(next.Base, at, at+2, partition(10_000+2*i, 0))
		}
		next.Base[at].First.Name, next.Base[at].Last.Name = first, first+"0"
		before := st.Counts()
		if etag, err = l.Commit(ctx, st, next, etag); err != nil {
			t.Fatal(err)
		}
		if n := st.Counts().Sub(before).Put - 2; n > 2 {
			t.Fatalf("merge %d wrote %d leaves", i, n)
		}
		head = next
	}
	for _, f := range head.Leaves {
		if f.Partitions < leafPartitions/4 || f.Partitions > leafPartitions*3/2 {
			t.Errorf("a leaf of %d partitions", f.Partitions)
		}
	}
}

// TestDamagedLeaves are errors that name the object, whatever is in its place, and never another answer.
func TestDamagedLeaves(t *testing.T) {
	st, ctx := stored(t), t.Context()
	m := following(&Manifest{View: "v", Base: partitions(9)})
	if _, err := NewLeaves(0, 3).Commit(ctx, st, m, ""); err != nil {
		t.Fatal(err)
	}
	key, other := layout.Leaf("v", m.Leaves[1].ID), layout.Leaf("v", m.Leaves[2].ID)
	good, err := st.Get(ctx, key)
	if err != nil {
		t.Fatal(err)
	}
	foreign, err := st.Get(ctx, other)
	if err != nil {
		t.Fatal(err)
	}
	forged := func(parts []layer.Info, format int) []byte {
		body, err := seal.JSON(key, leafObject{format, parts})
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	for name, body := range map[string][]byte{
		"empty": {}, "cut": good.Body[:len(good.Body)/2], "no JSON": []byte("x"), "of another leaf": foreign.Body, "of other partitions": forged(m.Base[:3], 1),
		"of fewer": forged(m.Base[3:5], 1), "of none": forged(nil, 1), "of a newer build": forged(m.Base[3:6], 2), "without partitions": []byte(`{"format":1}`),
	} {
		if _, err := st.Put(ctx, key, body); err != nil {
			t.Fatal(err)
		}
		for _, l := range []*Leaves{nil, NewLeaves(1<<20, 0)} {
			if _, _, err := l.Load(ctx, st, "v"); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), key) {
				t.Errorf("%s, head: %v", name, err)
			}
			if _, err := l.LoadKey(ctx, st, "v", m.Key()); !errors.Is(err, ErrFormat) || !strings.Contains(err.Error(), key) {
				t.Errorf("%s, manifest: %v", name, err)
			}
		}
	}
	if err := st.Delete(ctx, key); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Load(ctx, st, "v"); !errors.Is(err, ErrFormat) || errors.Is(err, store.ErrNotFound) || !strings.Contains(err.Error(), key) {
		t.Errorf("missing, head: %v", err)
	}
	if _, err := NewLeaves(0, 0).LoadKey(ctx, st, "v", m.Key()); !errors.Is(err, ErrFormat) || errors.Is(err, store.ErrNotFound) {
		t.Errorf("missing, manifest: %v", err)
	}
	if err := st.Delete(ctx, m.Key()); err != nil { // as retention does, first
		t.Fatal(err)
	}
	if _, err := NewLeaves(0, 0).LoadKey(ctx, st, "v", m.Key()); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a version that is gone: %v", err)
	}
}

// TestRootIsNotPublished: a version that was read without its partitions would lose them.
func TestRootIsNotPublished(t *testing.T) {
	st, ctx := stored(t), t.Context()
	l := NewLeaves(1<<20, 2)
	if _, err := l.Commit(ctx, st, following(&Manifest{View: "v", Base: partitions(9)}), ""); err != nil {
		t.Fatal(err)
	}
	before := st.Counts()
	root, etag, err := LoadRoot(ctx, st, "v")
	if err != nil || root.Version != 1 || len(root.Base) != 0 || st.Counts().Sub(before).Get != 1 {
		t.Fatalf("%+v, %v", root, err)
	}
	if _, err := l.Commit(ctx, st, following(root), etag); err == nil || !strings.Contains(err.Error(), "were not read") {
		t.Fatalf("published a root: %v", err)
	}
}

// TestFormats: a version without leaves can be read by builds that know none, and one with leaves cannot.
func TestFormats(t *testing.T) {
	m := following(&Manifest{View: "v", Base: partitions(9), Format: Format})
	for _, want := range []int{1, 2} {
		body, err := m.Encode()
		if err != nil {
			t.Fatal(err)
		}
		back, err := Decode("manifest", body)
		if err != nil || back.Format != want || back.unread != (want == 2) {
			t.Errorf("%+v, %v, want format %d", back, err, want)
		}
		m.layOut(2, 2)
	}
	for name, body := range map[string]string{
		"leaves of before":        `{"format":1,"view":"v","version":1,"nonce":"n","leaves":[{"id":"01ARZ3NDEKTSV4RRFFQ6000000","first":"/a","last":"/b","partitions":1}]}`,
		"leaves and partitions":   `{"format":2,"view":"v","version":1,"nonce":"n","base":[{"id":"x","first":"/a","last":"/b"}],"leaves":[{"id":"01ARZ3NDEKTSV4RRFFQ6000000","first":"/a","last":"/b","partitions":1}]}`,
		"an empty leaf":           `{"format":2,"view":"v","version":1,"nonce":"n","leaves":[{"id":"01ARZ3NDEKTSV4RRFFQ6000000","first":"/a","last":"/b"}]}`,
		"a leaf without a name":   `{"format":2,"view":"v","version":1,"nonce":"n","leaves":[{"id":"../x","first":"/a","last":"/b","partitions":1}]}`,
		"the format of to-morrow": `{"format":3,"view":"v","version":1,"nonce":"n"}`,
	} {
		if _, err := Decode("manifest", []byte(body)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestLeavesAreBounded: what is remembered stays within its budget, and what is not is read again.
func TestLeavesAreBounded(t *testing.T) {
	st, ctx := stored(t), t.Context()
	one := MemoryOf(partitions(9))
	l := NewLeaves(2*one+one/2, 3)
	for _, view := range []string{"a", "b", "c"} {
		m := following(&Manifest{View: view, Base: partitions(9)})
		if _, err := l.Commit(ctx, st, m, ""); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		for _, view := range []string{"a", "b", "c"} {
			if m, _, err := l.Load(ctx, st, view); err != nil || len(m.Base) != 9 {
				t.Fatalf("%v", err)
			}
			if len(l.known) > 2 || l.bytes > l.budget || l.bytes != int64(len(l.known))*one {
				t.Fatalf("%d views of %d bytes are remembered", len(l.known), l.bytes)
			}
		}
	}
	tiny := NewLeaves(one-1, 3)
	if m, _, err := tiny.Load(ctx, st, "a"); err != nil || len(m.Base) != 9 || tiny.bytes != 0 {
		t.Fatalf("%d bytes, %v", tiny.bytes, err)
	}
}

// TestLawLayout: however the base changes, the leaves are of all its partitions, in order, of bounded size, and those that are as before are not written.
func TestLawLayout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := &Manifest{View: "v", Version: 1, Nonce: Nonce(1e15, "n")}
		next := 0
		for range 4 {
			inline, size := rapid.IntRange(0, 9).Draw(t, "inline"), rapid.IntRange(1, 9).Draw(t, "size")
			from := rapid.IntRange(0, len(m.Base)).Draw(t, "from")
			to := rapid.IntRange(from, len(m.Base)).Draw(t, "to")
			var fresh []layer.Info
			for range rapid.IntRange(0, 20).Draw(t, "fresh") {
				fresh = append(fresh, partition(next, 0))
				next++
			}
			m = following(m)
			m.Base = slices.Replace(m.Base, from, to, fresh...)
			for i := range m.Base {
				m.Base[i].First, m.Base[i].Last = partition(0, i).First, partition(0, i).Last
			}
			old := map[string]Leaf{}
			for _, f := range m.Leaves {
				old[f.ID] = f
			}
			written := map[string]bool{}
			for _, f := range m.layOut(inline, size) {
				written[f.ID] = true
			}
			if (len(m.Leaves) > 0) != (len(m.Base) > inline) {
				t.Fatalf("%d partitions, of which %d may be inline, are in %d leaves", len(m.Base), inline, len(m.Leaves))
			}
			at := 0
			for _, f := range m.Leaves {
				if at+f.Partitions > len(m.Base) || !f.says(m.Base[at:at+f.Partitions]) {
					t.Fatalf("leaf %+v is not of the partitions from %d on", f, at)
				}
				at += f.Partitions
				if before, kept := old[f.ID]; kept == written[f.ID] || kept && before != f {
					t.Fatalf("leaf %s was there: %t; it is written: %t", f.ID, kept, written[f.ID])
				}
				if written[f.ID] && f.Partitions > size+size/2 {
					t.Fatalf("a leaf of %d partitions, %d are enough", f.Partitions, size)
				}
			}
			if len(m.Leaves) > 0 && at != len(m.Base) {
				t.Fatalf("the leaves are of %d partitions of %d", at, len(m.Base))
			}
		}
	})
}

// TestShortLeaves: a leaf that would be shorter than half of what it may be takes a neighbour along; one of half is left as it is.
func TestShortLeaves(t *testing.T) {
	for changed, want := range map[int]int{4: 4, 3: 10} { // partitions in fresh leaves
		m := &Manifest{View: "v", Version: 1, Nonce: Nonce(1e15, "n"), Base: partitions(8 + changed)}
		m.layOut(0, 8)
		first := leafOf("01ARZ3NDEKTSV4RRFFQ6000000", m.Base[:7])
		last := leafOf("01ARZ3NDEKTSV4RRFFQ6000001", m.Base[7+changed:])
		if last.Partitions != 1 {
			t.Fatal(last)
		}
		m.Leaves = []Leaf{first, leafOf("01ARZ3NDEKTSV4RRFFQ6000002", partitions(2)), last}
		fresh := 0
		for _, f := range m.layOut(0, 8) {
			fresh += f.Partitions
		}
		if fresh != want {
			t.Errorf("%d partitions that are new: %d in leaves that are written", changed, fresh)
		}
	}
	// At the beginning there is none before it.
	m := &Manifest{View: "v", Version: 1, Nonce: Nonce(1e15, "n"), Base: partitions(10)}
	m.Leaves = []Leaf{leafOf("01ARZ3NDEKTSV4RRFFQ6000000", m.Base[2:])}
	if fresh := m.layOut(0, 8); len(fresh) != 2 || len(m.Leaves) != 2 || m.Leaves[0].Partitions+m.Leaves[1].Partitions != 10 {
		t.Errorf("two partitions before a leaf: %+v", m.Leaves)
	}
}

// TestSumsWithoutMarks: partitions of earlier builds have no marks, and then a leaf of them has none. Its sums are those of all of them, as are those of a
// version that was read without its partitions.
func TestSumsWithoutMarks(t *testing.T) {
	parts := partitions(3)
	for i := range parts {
		parts[i].Rows, parts[i].Removed, parts[i].Bytes = int64(i+1), int64(10*i+1), int64(100*i+1)
	}
	m := &Manifest{Base: parts}
	m.Leaves = []Leaf{leafOf("a", parts[:2]), leafOf("b", parts[2:])}
	want := Leaf{Partitions: 3, Rows: 6, Removed: 33, Bytes: 303}
	if got := m.BaseSums(); got != want {
		t.Errorf("%+v", got)
	}
	root := &Manifest{Leaves: m.Leaves, unread: true}
	if got := root.BaseSums(); got != want {
		t.Errorf("of leaves: %+v", got)
	}
	parts[1].Marks = nil
	f := leafOf("a", parts)
	if f.Marks != nil || !f.says(parts) {
		t.Errorf("%+v", f)
	}
	all := partitions(3)
	if f.says(all) {
		t.Error("partitions with marks are taken for some without")
	}
	all[2].Marks = &layer.Marks{AgentMissing: 2}
	if f := leafOf("a", all); !f.says(all) || f.says(partitions(3)) {
		t.Error("marks do not count")
	}
}

// TestLeavesThatAreRemembered: a version without leaves takes no room, and one that fills all the room has it.
func TestLeavesThatAreRemembered(t *testing.T) {
	large := &Manifest{View: "large", Base: partitions(10)}
	large.layOut(0, 4)
	l := NewLeaves(MemoryOf(large.Base), 1)
	l.remember(large)
	if len(l.get("large").leaves) == 0 {
		t.Error("a version that fills all the room is not remembered")
	}
	l.remember(&Manifest{View: "small", Base: partitions(20)})
	if len(l.get("large").leaves) == 0 || len(l.get("small").leaves) != 0 {
		t.Error("a version without leaves takes the room of another")
	}
	if inline, size := NewLeaves(1, 0).limits(); inline != InlinePartitions || size != leafPartitions {
		t.Errorf("%d inline, leaves of %d", inline, size)
	}
	if _, err := Decode("x", []byte(`{"format":0,"view":"v","version":1,"nonce":"n"}`)); !errors.Is(err, ErrFormat) {
		t.Errorf("format 0: %v", err)
	}
}
