package manifest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/testkit/sim"
)

// TestChain takes the history out of what races, held-up writers and copies leave.
func TestChain(t *testing.T) {
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name  string
		build func(write func(number uint64, nonce, parent string, made, written time.Duration))
		want  string
	}{
		{"a race, and a number that is not published yet", func(write func(uint64, string, string, time.Duration, time.Duration)) {
			write(1, "a", "", 0, 0)
			write(2, "b", "1a", 1*time.Minute, 1*time.Minute)
			write(2, "a", "1a", 1*time.Minute, 1*time.Minute)
			write(3, "a", "2b", 2*time.Minute, 2*time.Minute)
			write(3, "z", "2b", 2*time.Minute, 2*time.Minute)
			write(4, "a", "3a", 3*time.Minute, 3*time.Minute)
			write(4, "b", "3a", 3*time.Minute, 3*time.Minute)
			write(5, "a", "4a", 4*time.Minute, 4*time.Minute)
		}, "1a 2b 3a 4a"},
		{"numbers that were removed, made again hours later, or written hours later", func(write func(uint64, string, string, time.Duration, time.Duration)) {
			write(1, "a", "", 0, 0)
			write(2, "late", "1a", 5*time.Hour, 5*time.Hour)
			write(3, "held", "2a", 1*time.Minute, 5*time.Hour)
			write(3, "a", "2a", 1*time.Minute, 1*time.Minute)
			write(7, "held", "6a", 1*time.Minute, 5*time.Hour)
			write(9, "a", "8a", 3*time.Hour, 3*time.Hour)
			write(4000, "a", "3999a", 4*time.Hour, 4*time.Hour)
		}, "1a 3a 9a 4000a"},
		{"a number that was removed, written again within a minute or two", func(write func(uint64, string, string, time.Duration, time.Duration)) {
			write(1, "a", "", 0, 0)
			write(2, "late", "1a", 1*time.Minute, 2*time.Minute+80*time.Second)
			write(3, "a", "2a", 2*time.Minute, 2*time.Minute+50*time.Second)
			write(4, "a", "3a", 2*time.Minute, 2*time.Minute)
		}, "1a 3a 4a"},
		{"held up for long, and so no proof of when the others were written", func(write func(uint64, string, string, time.Duration, time.Duration)) {
			write(1, "a", "", 0, 20*time.Minute)
			write(3, "a", "2a", 1*time.Minute, 11*time.Minute)
			write(4, "a", "3a", 2*time.Minute, 30*time.Minute)
		}, "1a 3a 4a"},
		{"clocks that differ", func(write func(uint64, string, string, time.Duration, time.Duration)) {
			write(1, "a", "", 0, 0)
			write(3, "a", "2a", 80*time.Second, 80*time.Second)
			write(4, "a", "3a", 70*time.Second, 70*time.Second)
		}, "1a 3a 4a"},
		{"the first made of one number, where the next version is gone", func(write func(uint64, string, string, time.Duration, time.Duration)) {
			write(2, "b", "1a", 1*time.Minute, 1*time.Minute)
			write(2, "a", "1a", 2*time.Minute, 2*time.Minute)
			write(4, "a", "3a", 3*time.Minute, 3*time.Minute)
		}, "2b 4a"},
		{"a copied store", func(write func(uint64, string, string, time.Duration, time.Duration)) {
			write(1, "a", "", 0, 103*time.Hour)
			write(5, "a", "4a", 1*time.Hour, 102*time.Hour)
			write(9, "a", "8a", 2*time.Hour, 101*time.Hour)
			write(10, "a", "9a", 3*time.Hour, 100*time.Hour)
		}, "1a 5a 9a 10a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := now
			st := sim.NewStore(func() time.Time { return at })
			var head *Manifest
			names := map[string]string{}
			c.build(func(number uint64, nonce, parent string, made, written time.Duration) {
				m := &Manifest{Format: Format, View: "v", Version: number, Nonce: Nonce(now.Add(made).UnixNano(), nonce), Parent: names[parent], FoldedAt: now.Add(made).UnixNano()}
				names[fmt.Sprint(number, nonce)] = m.Key()
				body, err := m.Encode()
				if err != nil {
					t.Fatal(err)
				}
				at = now.Add(written)
				if _, err := st.Put(t.Context(), m.Key(), body); err != nil {
					t.Fatal(err)
				}
				if number != 5 && nonce == "a" || c.name == "a copied store" {
					head = m
				}
			})
			list, _, err := List(t.Context(), st, "v", 0, 2, nil)
			if err != nil {
				t.Fatal(err)
			}
			chain, strays, err := Chain(t.Context(), st, head, list)
			if err != nil || len(chain)+len(strays) != len(list) {
				t.Fatalf("%v; %d and %d of %d", err, len(chain), len(strays), len(list))
			}
			got := ""
			for _, p := range chain {
				for name, key := range names {
					if key == p.Key {
						got += " " + name
					}
				}
			}
			if got != " "+c.want {
				t.Errorf("the history is%s, want %s", got, c.want)
			}
			for i := range chain {
				if i > 0 && chain[i].At.Before(chain[i-1].At) {
					t.Errorf("version %d is older than the one before it", chain[i].Version)
				}
				if p, err := At(t.Context(), st, head, chain[i].Version); err != nil || p.Key != chain[i].Key {
					t.Errorf("version %d: %v", chain[i].Version, err)
				}
				if p, err := Before(t.Context(), st, head, chain[i].At); err != nil || p.Key != chain[i].Key && i+1 < len(chain) && !chain[i+1].At.Equal(chain[i].At) {
					t.Errorf("the version of %s: %v", chain[i].At, err)
				}
			}
		})
	}
	if _, ok := timeOf("f471a4d272d59c98a978"); ok || layout.ValidID(Nonce(now.UnixNano(), "x")) == false {
		t.Error("nonces of earlier builds have no time, and those of this one are valid ids")
	}
}

// TestWinners: of several manifests of one number, that is of the history which the next version names, in whatever order they are listed; where none is
// named, the one that was made first.
func TestWinners(t *testing.T) {
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	list := func(first, second time.Duration) []Published {
		return []Published{{Version: 4, Key: "4x", At: now.Add(first)}, {Version: 4, Key: "4y", At: now.Add(second)}, {Version: 7, Key: "7", At: now.Add(time.Hour)}}
	}
	for _, c := range []struct {
		head   Manifest
		all    []Published
		parent string
		want   string
	}{
		{Manifest{Version: 7}, list(0, time.Minute), "", "4x"},
		{Manifest{Version: 7}, list(time.Minute, 0), "", "4y"},
		{Manifest{Version: 5, Parent: "4x"}, list(time.Minute, 0)[:2], "", "4x"},
		{Manifest{Version: 5, Parent: "4y"}, list(0, time.Minute)[:2], "", "4y"},
	} {
		c.head.View, c.head.FoldedAt = "v", now.Add(time.Hour).UnixNano()
		chain, strays, err := Chain(t.Context(), nil, &c.head, c.all)
		if err != nil || len(chain) == 0 || chain[0].Key != c.want || len(strays) != len(c.all)-len(chain) {
			t.Errorf("%+v: %+v and %+v, %v", c, chain, strays, err)
		}
	}
}

// TestChainThinnedMeanwhile: manifests of one number, and the next version, by which they are known, go after they were listed: the strays
// first, as retention does it. What is left of them is the history, whatever their order was.
func TestChainThinnedMeanwhile(t *testing.T) {
	now := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, gone := range []string{"stray", "stray next", "stray next winner"} {
		for _, order := range []string{"stray winner", "winner stray"} {
			st := sim.NewStore(func() time.Time { return now })
			keys := map[string]string{}
			var head *Manifest
			write := func(number uint64, name string, after time.Duration) {
				m := &Manifest{Format: Format, View: "v", Version: number, Nonce: Nonce(now.Add(after).UnixNano(), name), FoldedAt: now.Add(after).UnixNano()}
				if head = m; name == "next" {
					m.Parent = keys["winner"]
				}
				body, err := m.Encode()
				if err == nil {
					_, err = st.Put(t.Context(), m.Key(), body)
				}
				if err != nil {
					t.Fatal(err)
				}
				keys[name] = m.Key()
			}
			write(1, "first", 0)
			for i, name := range strings.Fields(order) {
				write(2, name, time.Duration(i+1)*time.Second)
			}
			write(3, "next", time.Minute)
			write(5, "head", 2*time.Minute)
			list, _, err := List(t.Context(), st, "v", 0, 0, nil)
			if err != nil {
				t.Fatal(err)
			}
			want := []string{keys["first"], keys["winner"], keys["next"], keys["head"]}
			for _, name := range strings.Fields(gone) {
				if err := st.Delete(t.Context(), keys[name]); err != nil {
					t.Fatal(err)
				}
				want = slices.DeleteFunc(want, func(key string) bool { return key == keys["winner"] && name == "winner" })
			}
			chain, _, err := Chain(t.Context(), st, head, list)
			var got []string
			for _, p := range chain {
				got = append(got, p.Key)
			}
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s went of %s: %v, not %v, %v", gone, order, got, want, err)
			}
		}
	}
}
