package explore

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/store"
)

var whole = flag.Bool("whole", false, "try every order; otherwise a few at random")

// explored explores a program, in some orders at random unless -whole, and says how far.
func explored(t *testing.T, some int, o Options, program Program) {
	t.Helper()
	if !*whole {
		o.Random = some
	}
	f := Explore(t, o, program)
	t.Logf("%d orders of up to %d steps, which are all: %v", f.Runs, f.Longest, f.Whole)
}

// TestOrders counts the orders of programs that are small enough to count by hand, and sees that each outcome is found.
func TestOrders(t *testing.T) {
	outcomes := map[string]bool{}
	// adder adds one to what an object has, as far as nobody else does in between.
	adder := func(key string) func(context.Context, store.Store) {
		return func(ctx context.Context, st store.Store) {
			o, err := st.Get(ctx, key)
			if err == nil {
				_, _ = st.Replace(ctx, key, append(slices.Clone(o.Body), 'x'), o.ETag)
			}
		}
	}
	program := func(keys ...string) Program {
		return func(t *testing.T, w *World) func() {
			for _, key := range []string{"a", "b"} {
				if _, err := w.Store.Create(t.Context(), key, nil); err != nil {
					t.Fatal(err)
				}
			}
			for i, key := range keys {
				w.Go(t, fmt.Sprint(i), adder(key))
			}
			return func() {
				var found []string
				for _, key := range []string{"a", "b"} {
					o, err := w.Store.Get(t.Context(), key)
					if err != nil {
						t.Fatal(err)
					}
					found = append(found, string(o.Body))
				}
				outcomes[strings.Join(found, ",")] = true
			}
		}
	}
	for _, c := range []struct {
		what     string
		options  Options
		keys     []string
		runs     int
		outcomes string
	}{
		{"one actor", Options{}, []string{"a"}, 1, "x,"},
		{"one object", Options{}, []string{"a", "a"}, 4, "x, xx,"},           // r r w w, the writes in either order; and one after the other
		{"two objects", Options{}, []string{"a", "b"}, 1, "x,x"},             // they do not touch
		{"a fault", Options{Lost: 1}, []string{"a"}, 4, ", x,"},              // none, the read, the write, the write's answer
		{"time", Options{Steps: []time.Duration{1}}, []string{"a"}, 3, "x,"}, // before the read, before the write, not at all
	} {
		clear(outcomes)
		f := Explore(t, c.options, program(c.keys...))
		var found []string
		for o := range outcomes {
			found = append(found, o)
		}
		slices.Sort(found)
		if got := strings.Join(found, " "); f.Runs != c.runs || got != c.outcomes || !f.Whole {
			t.Errorf("%s: %+v, outcomes %q", c.what, f, got)
		}
	}
}
