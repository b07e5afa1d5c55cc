package evidence

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fustor/fustor/internal/event"
)

// v2 is said by an agent of Fustor V2: no owner, no mode, an mtime that its float has cut.
func v2(s said) said {
	e := *s.claim.Entry
	e.Mode, e.UID, e.GID = 0, event.NoOwner, event.NoOwner
	e.MtimeNs -= e.MtimeNs % 100
	s.claim.Entry = &e
	return s
}

// native is said by ours.
func native(s said) said {
	e := *s.claim.Entry
	e.Mode, e.UID, e.GID = 0o644, 7, 8
	s.claim.Entry = &e
	return s
}

// ownership is what becomes of the path when all is said, in any order, one fold for each.
func ownership(t *testing.T, all []said) string {
	t.Helper()
	results := map[string]bool{}
	r := rand.New(rand.NewPCG(1, 2))
	for n := range 200 {
		order := slices.Clone(all)
		if n > 0 {
			r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		}
		row, known, place := Row{Parent: "/", Name: "f"}, false, ParentState{}
		for _, s := range order {
			place.After = slices.Clone(place.Before)
			if s.listing != nil {
				place.After = append(place.After, *s.listing)
				slices.SortFunc(place.After, func(a, b Listing) int { return int(a.At - b.At) })
			}
			for range 2 { // said twice, it is said once
				o := testRules.Resolve(&row, known, []Claim{s.claim}, false, &place)
				known = known || o.Changed
			}
			place.Before = place.After
		}
		blind := ""
		if row.AgentMissing {
			blind = ", blind"
		}
		results[fmt.Sprintf("%v %d at %d, mode %o of %d:%d%s", row.Evidence, row.MtimeNs, row.ObservedAt, row.Mode, row.UID, row.GID, blind)] = true
	}
	if len(results) != 1 {
		t.Errorf("the order matters: %v", results)
	}
	for only := range results {
		return only
	}
	return ""
}

// What V2's agents and ours tell of one file: neither takes the other's word for a change, and what ours know stays.
func TestOwners(t *testing.T) {
	const a, b = 1_000_000_050, 2_000_000_070 // mtimes; V2's floats cut them
	const late = 1_767_323_045_123_456_789
	at := func(n int64) int64 { return b + n*1_000_000 }
	for _, c := range []struct {
		name string
		said []said
		want string
	}{
		{"V2 alone", []said{v2(put(at(1), a))}, "realtime 1000000000 at 2001000070, mode 0 of 4294967295:4294967295"},
		{"V2's audit sees what ours told", []said{native(put(at(1), a)), v2(listed(at(500), a, event.Audit))}, "realtime 1000000050 at 2001000070, mode 644 of 7:8"},
		{"our audit sees what V2 told", []said{v2(put(at(1), a)), native(listed(at(500), a, event.Audit))}, "realtime 1000000050 at 2001000070, mode 644 of 7:8"},
		{"our audit sees what V2's snapshot saw", []said{v2(alone(at(1), a, event.Snapshot)), native(listed(at(500), a, event.Audit))}, "snapshot 1000000050 at 2001000070, mode 644 of 7:8"},
		{"V2's snapshot sees what ours saw", []said{native(listed(at(1), a, event.Snapshot)), v2(alone(at(500), a, event.Snapshot))}, "snapshot 1000000050 at 2001000070, mode 644 of 7:8"},
		{"V2 tells that it has changed", []said{native(listed(at(1), a, event.Snapshot)), v2(put(at(500), b))}, "realtime 2000000000 at 2500000070, mode 644 of 7:8"},
		{"V2 tells that it has changed once more", []said{native(put(at(1), a)), v2(put(at(500), b))}, "realtime 2000000000 at 2500000070, mode 644 of 7:8"},
		{"V2's audit finds that it has changed", []said{native(put(at(1), a)), v2(listed(at(500), b+450_000_000, event.Audit))}, "audit 2450000000 at 2500000070, mode 644 of 7:8, blind"},
		{"V2 tells once more what ours told of a change", []said{native(put(at(1), a)), native(put(at(400), late)), v2(put(at(500), late))}, "realtime 1767323045123456789 at 2500000070, mode 644 of 7:8"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ownership(t, c.said); got != c.want {
				t.Errorf("it comes to %s\nwant %s", got, c.want)
			}
		})
	}
}
