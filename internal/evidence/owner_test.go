package evidence

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

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
	s = with(0o644, 7, s)
	s.claim.Entry.GID = 8
	return s
}

// with is said by ours of a file with another mode and owner.
func with(mode, owner uint32, s said) said {
	e := *s.claim.Entry
	e.Mode, e.UID, e.GID = mode, owner, owner
	s.claim.Entry = &e
	return s
}

// sized is said of a file of another size.
func sized(s said) said {
	e := *s.claim.Entry
	e.Size, s.claim.Entry = e.Size+1, &e
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
		{"V2 tells that its size has changed, and not its time", []said{native(put(at(1), a)), v2(sized(put(at(500), a)))}, "realtime 1000000000 at 2500000070, mode 644 of 7:8"},
		{"V2's audit finds that it has changed", []said{native(put(at(1), a)), v2(listed(at(500), b+450_000_000, event.Audit))}, "audit 2450000000 at 2500000070, mode 644 of 7:8, blind"},
		{"the nearest owner before V2's word counts", []said{native(put(at(1), a)), with(0o600, 9, put(at(300), a)), v2(put(at(500), b))}, "realtime 2000000000 at 2500000070, mode 600 of 9:9"},
		{"no owner from before the file's end", []said{native(put(at(1), a)), gone(at(300)), v2(put(at(500), b))}, "realtime 2000000000 at 2500000070, mode 0 of 4294967295:4294967295"},
		{"the owner, though a listing lacked the file meanwhile", []said{native(put(at(1), a)), unlisted(at(300), at(299)), v2(put(at(500), b))}, "realtime 2000000000 at 2500000070, mode 644 of 7:8"},
		{"our audit settles what was lent", []said{native(put(at(1), a)), v2(put(at(300), b)), with(0o600, 9, listed(at(500), b, event.Audit))}, "realtime 2000000070 at 2300000070, mode 600 of 9:9"},
		{"V2's audits see what ours reports late", []said{native(put(at(1), a)), with(0o600, 9, put(at(300), a)), byV2(local(listed(at(500), a, event.Audit)))}, "realtime 1000000050 at 2300000070, mode 600 of 9:9"},
		{"V2 tells once more what ours told of a change", []said{native(put(at(1), a)), native(put(at(400), late)), v2(put(at(500), late))}, "realtime 1767323045123456789 at 2500000070, mode 644 of 7:8"},
		{"V2 tells twice, and ours reports late", []said{native(put(at(1), a)), with(0o600, 9, put(at(200), a)), byV2(put(at(300), b)), byV2(local(listed(at(500), b, event.Audit)))},
			"realtime 2000000000 at 2300000070, mode 600 of 9:9"},
		{"V2 looks between two looks of ours that differ", []said{native(put(at(1), a)), byV2(local(listed(at(300), a, event.Audit))), with(0o600, 9, local(listed(at(500), a, event.Audit)))},
			"audit 1000000050 at 2300000070, mode 600 of 9:9, blind"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ownership(t, c.said); got != c.want {
				t.Errorf("it comes to %s\nwant %s", got, c.want)
			}
		})
	}
}

// TestInodesThatAreLent: V2 tells nothing of inodes, so a file that it reports has what ours knew of the same state, of no other state, and of none
// from before its end; whatever comes late.
func TestInodesThatAreLent(t *testing.T) {
	const a, b = 1_000_000_050, 2_000_000_070
	at := func(n int64) int64 { return b + n*1_000_000 }
	inode := event.Inode{Links: 1, Allocated: 4096, CtimeNs: 77}
	full := func(s said) said {
		s = native(s)
		s.claim.Entry.Inode, s.claim.Entry.AtimeDay = inode, 5
		return s
	}
	for _, c := range []struct {
		name  string
		said  []said
		inode event.Inode
		day   int32
		mtime int64 // if they come in the order of their times
	}{
		{"the same state", []said{full(put(at(1), a)), byV2(put(at(500), a))}, inode, 5, a},
		{"another state", []said{full(put(at(1), a)), byV2(put(at(500), b))}, event.Inode{}, 0, 2_000_000_000},
		{"the same state, with its end between", []said{full(put(at(1), a)), gone(at(300)), byV2(put(at(500), a))}, event.Inode{}, 0, 1_000_000_000},
	} {
		for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
			e := newEntry()
			for _, i := range order {
				if i < len(c.said) {
					e.say(c.said[i])
				}
			}
			if e.row.Inode != c.inode || e.row.AtimeDay != c.day || slices.IsSorted(order) && e.row.MtimeNs != c.mtime {
				t.Errorf("%s, in the order %v: %+v", c.name, order, e.row)
			}
		}
	}
}

// lives draws a file's life, and what agents of both kinds say of it, each time of what there is then.
func lives(t *rapid.T) (all []said) {
	const start = 1_767_323_045_123_456_789
	there, mtime, mode, owner := true, int64(start), uint32(0o644), uint32(7)
	inode, day := event.Inode{Links: 1, Allocated: 4096, CtimeNs: start}, int32(start/86_400_000_000_000)
	isLocal := rapid.Bool().Draw(t, "local")
	for n := range rapid.IntRange(2, 7).Draw(t, "n") {
		at := start + int64(n+1)*10e9
		switch rapid.SampledFrom([]string{"", "write", "write", "chmod", "chown", "delete", "link", "read"}).Draw(t, "change") {
		case "write":
			there, mtime, inode.CtimeNs = true, at-1e9-int64(n), at-1e9
		case "chmod":
			mode, inode.CtimeNs = uint32(0o600+n), at-2e9
		case "chown":
			owner, inode.CtimeNs = uint32(10+n), at-2e9
		case "delete":
			there = false
		case "link":
			inode.Links, inode.CtimeNs, inode.ID = inode.Links+1, at-2e9, 12
		case "read":
			day++
		}
		how := rapid.SampledFrom([]event.Evidence{event.Realtime, event.Realtime, event.Audit, event.Snapshot}).Draw(t, "how")
		var s said
		switch {
		case !there && how == event.Realtime:
			s = gone(at)
		case !there:
			s = unlisted(at, at-1e9)
		case how == event.Realtime:
			s = put(at, mtime)
		default:
			s = listed(at, mtime, how)
		}
		if there {
			s = with(mode, owner, s)
			s.claim.Entry.Inode, s.claim.Entry.AtimeDay = inode, day
		}
		s.claim.Skew = 0
		if s.listing != nil {
			s.listing.Skew = 0
		}
		if isLocal && s.listing != nil {
			s = local(s)
		}
		if rapid.Bool().Draw(t, "V2") {
			s = byV2(s)
		}
		all = append(all, s)
	}
	return all
}

// byV2 is said by an agent of Fustor V2, which is another one.
func byV2(s said) said {
	s.claim.Agent = "v2"
	if s.listing != nil {
		l := *s.listing
		l.Agent, l.Ownerless = "v2", true
		s.listing = &l
	}
	if s.claim.Entry != nil {
		s = v2(s)
		s.claim.Entry.Inode, s.claim.Entry.AtimeDay = event.Inode{}, int32(floorDiv(s.claim.Entry.MtimeNs, 86400e9))
	}
	return s
}

// TestLawOwnersInAnyOrder: owner and mode, too, depend on what is said of a file and not on the order in which it is said.
func TestLawOwnersInAnyOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		all := lives(t)
		shuffled := slices.Clone(all)
		seed := rapid.Uint64().Draw(t, "order")
		rand.New(rand.NewPCG(seed, seed)).Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		one, two := newEntry(), newEntry()
		for i := range all {
			one.say(all[i])
			two.say(shuffled[i])
		}
		if got, want := owned(&two.row, two.known), owned(&one.row, one.known); got != want {
			var in []string
			for _, s := range all {
				in = append(in, fmt.Sprintf("%d %v by %s %+v", s.claim.Verb, s.claim.Evidence, s.claim.Agent, s.claim.Entry))
			}
			for _, s := range shuffled {
				in = append(in, fmt.Sprint("then ", (s.claim.At-1_767_323_045_123_456_789)/1e10))
			}
			t.Fatalf("in one order it comes to\n%s\nin another to\n%s\nof %s", want, got, strings.Join(in, "\n"))
		}
	})
}

func owned(r *Row, known bool) string {
	if !known || r.Removed {
		return "gone"
	}
	return fmt.Sprintf("mtime %d, mode %o of %d:%d, inode %+v, read %d", r.MtimeNs, r.Mode, r.UID, r.GID, r.Inode, r.AtimeDay)
}

// TestWhatLendsNothingIsForgotten: that the file which V2 reports has no earlier owner, as another one was gone before it, is remembered for an hour.
func TestWhatLendsNothingIsForgotten(t *testing.T) {
	const start = int64(1e15)
	for name, all := range map[string]func(gap int64) []said{
		"gone": func(gap int64) []said { return []said{gone(start), v2(put(start+gap, start))} },
		"gone, and reported twice": func(gap int64) []said {
			return []said{gone(start), v2(put(start+20, start)), v2(put(start+gap, start+5000))}
		},
	} {
		for _, gap := range []int64{100, Memory - 1, Memory, Memory + 1} {
			row, parent := rowOf(all(gap))
			s := testRules.decode(&row, true, &parent)
			if lent := s.report.lent; (lent == start) != (gap < Memory) || lent != start && lent != 0 || s.report.Entry.Owned() {
				t.Errorf("%s, %d later: lent from %d, history %x", name, gap, lent-start, row.History)
			}
		}
	}
}

// TestEndsSettleNoOwner: that a directory ended after a report of V2 settles nothing of the owner which that report was lent.
func TestEndsSettleNoOwner(t *testing.T) {
	e := newEntry()
	e.say(native(put(120, 100)))
	e.say(v2(put(195, 100)))
	e.floor = Ends{Observed: 200}
	e.say(v2(put(190, 100))) // of which nothing counts
	e.say(with(0o600, 9, put(150, 100)))
	parent := &ParentState{Floor: e.floor}
	if s := testRules.decode(&e.row, true, parent); s.report == nil || s.report.Entry.UID != 9 {
		t.Errorf("%+v: %+v", e.row, s.report)
	}
}
