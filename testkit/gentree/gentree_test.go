package gentree

import (
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
)

func TestRowsAreInKeyOrderWithExactTotals(t *testing.T) {
	for _, rows := range []int{1, 2, 3, 100, 20_000} {
		tree := New(Options{Seed: uint64(rows), Rows: rows})
		type directory struct {
			path string
			said evidence.Totals
			sum  evidence.Totals
		}
		var stack []directory
		all := map[string]*directory{}
		n := 0
		parent, name := "", ""
		for r := range tree.Rows() {
			if n > 0 && (r.Parent < parent || r.Parent == parent && r.Name <= name) {
				t.Fatalf("%d rows: %q %q after %q %q", rows, r.Parent, r.Name, parent, name)
			}
			parent, name = r.Parent, r.Name
			n++
			if r.Type == event.Directory {
				all[r.ChildParent()] = &directory{path: r.ChildParent(), said: r.Sub, sum: evidence.Totals{LatestMtimeNs: evidence.NoMtime}}
				stack = append(stack, *all[r.ChildParent()])
			}
			own := r.Own()
			for p := r.Path() + "/"; ; {
				if r.Parent == "" {
					p = "/"
				}
				if d := all[p]; d != nil {
					d.sum = d.sum.Plus(own)
				}
				if p == "/" {
					break
				}
				p = p[:strings.LastIndexByte(p[:len(p)-1], '/')+1]
			}
		}
		if n != rows || tree.Len() != rows {
			t.Fatalf("%d rows, %d asked", n, rows)
		}
		for _, d := range stack {
			if got := all[d.path].sum; got != d.said {
				t.Fatalf("%s: totals %+v, summed up %+v", d.path, d.said, got)
			}
		}
		if tree.Totals() != all["/"].sum {
			t.Fatalf("the tree's totals: %+v, summed up %+v", tree.Totals(), all["/"].sum)
		}
	}
}

func TestSameSeedSameTree(t *testing.T) {
	collect := func(seed uint64) (out []evidence.Row) {
		for r := range New(Options{Seed: seed, Rows: 3000}).Rows() {
			out = append(out, *r)
		}
		return out
	}
	a, b, c := collect(1), collect(1), collect(2)
	differ := 0
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("row %d: %+v and %+v", i, a[i], b[i])
		}
		if a[i] != c[i] {
			differ++
		}
	}
	if differ < len(a)/2 {
		t.Fatalf("another seed changed only %d of %d rows", differ, len(a))
	}
}

func TestChangesAreInKeyOrder(t *testing.T) {
	tree := New(Options{Seed: 7, Rows: 20_000})
	rows := map[[2]string]bool{}
	for r := range tree.Rows() {
		rows[[2]string{r.Parent, r.Name}] = true
	}
	n, removed, added := 0, 0, 0
	parent, name := "", ""
	for r := range tree.Changes(1, 10) {
		if r.Parent < parent || r.Parent == parent && r.Name <= name {
			t.Fatalf("%q %q after %q %q", r.Parent, r.Name, parent, name)
		}
		parent, name = r.Parent, r.Name
		n++
		if r.Removed {
			removed++
		}
		if !rows[[2]string{r.Parent, r.Name}] {
			added++
		}
	}
	if n < 1000 || removed < 100 || added < 100 {
		t.Fatalf("%d changes, %d of them removed, %d new", n, removed, added)
	}
}
