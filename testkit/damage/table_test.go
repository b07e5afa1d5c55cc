package damage

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/check"
	"github.com/fustor/fustor/internal/iceberg"
	"github.com/fustor/fustor/internal/layout"
)

// TestDamagedTableIsNamed breaks each object that a view's table needs: the check names it, a repair takes the table back, and then it is
// published anew. What no snapshot needs is no damage.
func TestDamagedTableIsNamed(t *testing.T) {
	w := newWorld(t, 8)
	c := w.compactor()
	publish := func() {
		t.Helper()
		if _, err := c.PublishTable(w.ctx, "a"); err != nil {
			t.Fatal(err)
		}
	}
	publish()
	needed, err := iceberg.Objects(w.ctx, w.st, layout.Iceberg("a"))
	w.must(err)
	all := w.objects()
	if r := w.check(true, "a"); r.Damaged() > 0 {
		t.Fatalf("the check finds damage in a sound table: %+v", r.Findings)
	}
	cases := 0
	for _, key := range slices.Sorted(maps.Keys(needed)) {
		if all[key] == nil {
			continue // the metadata of a publication that was cut off: there is none
		}
		for how, body := range map[string][]byte{"missing": nil, "empty": {}, "cut": all[key][:len(all[key])/2]} {
			if key == layout.IcebergHint(layout.Iceberg("a")) && how == "missing" {
				continue // then there is no table
			}
			cases++
			w.put(key, body)
			r := w.check(false, "a")
			if !slices.ContainsFunc(r.Findings, func(f check.Finding) bool {
				return f.Severity == check.Damage && strings.Contains(f.Effect, "SQL engines")
			}) {
				t.Errorf("%s, %s: the check finds %+v", key, how, r.Findings)
			}
			w.put(key, all[key])
		}
	}
	if cases < 12 {
		t.Errorf("only %d cases", cases)
	}
	for key := range needed {
		if strings.HasSuffix(key, "-list.avro") {
			w.put(key, nil)
			break
		}
	}
	_, plan, err := check.Plan(w.ctx, check.Options{Store: w.st, Views: []string{"a"}})
	w.must(err)
	for _, action := range plan {
		w.must(action.Do(w.ctx))
	}
	if _, err := iceberg.Load(w.ctx, w.st, "a"); err == nil {
		t.Error("the damaged table is there after the repair")
	}
	publish()
	if r := w.check(true, "a"); r.Damaged() > 0 {
		t.Errorf("damage after the repair and a publication: %+v", r.Findings)
	}
	if table, err := iceberg.Load(w.ctx, w.st, "a"); err != nil || table.Current() == nil {
		t.Errorf("no table after its publication: %v", err)
	}
}
