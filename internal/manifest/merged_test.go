package manifest

import (
	"fmt"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/layer"
)

// TestAddMergedKeepsTheLastWord list of ranges says of every key what the range says that was added last.
func TestAddMergedKeepsTheLastWord(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := func(i int) layer.Key { return layer.Key{Parent: "/", Name: fmt.Sprintf("%02d", i)} }
		var list []Merged
		want := map[int]string{}
		for range rapid.IntRange(1, 12).Draw(t, "n") {
			from, to := rapid.IntRange(0, 20).Draw(t, "from"), rapid.IntRange(1, 24).Draw(t, "to")
			add := Merged{From: key(from), Delta: rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "delta")}
			if to <= from {
				continue
			}
			if to <= 20 {
				end := key(to)
				add.To = &end
			}
			list = AddMerged(list, add)
			for i := from; i < to; i++ {
				want[i] = add.Delta
			}
			for i := 20; i < 24 && to > 20; i++ {
				want[i] = add.Delta
			}
		}
		for i := range 24 {
			got := ""
			for _, m := range list {
				if k := key(i); m.From.Compare(k) <= 0 && CompareEnds(&k, m.To) < 0 {
					if got != "" {
						t.Fatalf("key %d is in two ranges of %+v", i, list)
					}
					got = m.Delta
				}
			}
			if got != want[i] {
				t.Fatalf("key %d is merged up to %q, want %q, in %+v", i, got, want[i], list)
			}
		}
		for i := 1; i < len(list); i++ {
			if CompareEnds(list[i-1].To, &list[i].From) > 0 {
				t.Fatalf("out of order: %+v", list)
			}
			if CompareEnds(list[i-1].To, &list[i].From) == 0 && list[i-1].Delta == list[i].Delta {
				t.Fatalf("not joined: %+v", list)
			}
		}
	})
}

// TestAddMergedOfNothing: a range without keys changes nothing.
func TestAddMergedOfNothing(t *testing.T) {
	key := func(name string) layer.Key { return layer.Key{Parent: "/", Name: name} }
	m, z := key("m"), key("z")
	list := []Merged{{Delta: "d", From: key("a"), To: &z}}
	if got := AddMerged(list, Merged{Delta: "e", From: m, To: &m}); !reflect.DeepEqual(got, list) {
		t.Errorf("%+v", got)
	}
}
