package compactor

import (
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/values"
)

// TestChangesOfTotals: totals follow from those before and from what each entry contributed before and contributes after, or are said not to. Sums that
// were saturated and shrink are not known; all others are.
func TestChangesOfTotals(t *testing.T) {
	type entry struct{ before, after evidence.Totals }
	saturated := func(n *big.Int) int64 {
		switch most := big.NewInt(values.MaxSum); {
		case n.Sign() < 0:
			return 0
		case n.Cmp(most) > 0:
			return values.MaxSum
		}
		return n.Int64()
	}
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.SampledFrom([]int64{0, 1, 5, 1 << 62, values.MaxSum - 1, values.MaxSum})
		count := rapid.Int64Range(0, 3)
		totals := func(label string) evidence.Totals {
			return evidence.Totals{Files: count.Draw(t, label), Directories: count.Draw(t, label), Others: count.Draw(t, label), Unmeasured: count.Draw(t, label),
				Bytes: size.Draw(t, label), Allocated: size.Draw(t, label), LinkedAllocated: size.Draw(t, label), LatestMtimeNs: count.Draw(t, label)}
		}
		entries := make([]entry, rapid.IntRange(1, 4).Draw(t, "entries"))
		c := noChange()
		exact := true
		var want evidence.Totals
		before := evidence.Totals{LatestMtimeNs: 7}
		latest, earlier := int64(evidence.NoMtime), int64(evidence.NoMtime)
		for i := range entries {
			e := &entries[i]
			e.before, e.after = totals("before"), totals("after")
			c.add(e.before, e.after)
			before.Files, before.Directories, before.Others, before.Unmeasured = before.Files+e.before.Files, before.Directories+e.before.Directories, before.Others+e.before.Others, before.Unmeasured+e.before.Unmeasured
			want.Files, want.Directories, want.Others, want.Unmeasured = want.Files+e.after.Files, want.Directories+e.after.Directories, want.Others+e.after.Others, want.Unmeasured+e.after.Unmeasured
			latest, earlier = max(latest, e.after.LatestMtimeNs), max(earlier, e.before.LatestMtimeNs)
		}
		for _, of := range []func(*evidence.Totals) *int64{
			func(t *evidence.Totals) *int64 { return &t.Bytes }, func(t *evidence.Totals) *int64 { return &t.Allocated }, func(t *evidence.Totals) *int64 { return &t.LinkedAllocated },
		} {
			was, is := new(big.Int), new(big.Int)
			for i := range entries {
				was.Add(was, big.NewInt(*of(&entries[i].before)))
				is.Add(is, big.NewInt(*of(&entries[i].after)))
			}
			*of(&before), *of(&want) = saturated(was), saturated(is)
			exact = exact && !(*of(&before) == values.MaxSum && is.Cmp(was) < 0)
		}
		want.LatestMtimeNs = before.LatestMtimeNs // not of a change
		got, known := c.changed(before)
		if known != exact || exact && got != want || c.added != latest || c.lost != earlier {
			t.Fatalf("%+v: of %+v became %+v, known: %v, want %+v, %v; came %d, went %d", entries, before, got, known, want, exact, c.added, c.lost)
		}
	})
	// Sums of an earlier build that wrapped around are not taken for what they say.
	for _, was := range []int64{-5, 3} {
		c := noChange()
		c.add(evidence.Totals{Bytes: 4}, evidence.Totals{})
		if got, known := c.changed(evidence.Totals{Bytes: was}); known || got.Bytes != 0 {
			t.Errorf("%d less 4: %d, known: %v", was, got.Bytes, known)
		}
	}
}
