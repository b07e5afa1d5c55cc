package evidence

import (
	"encoding/hex"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
)

// earlier are histories as the builds before the version byte wrote them.
var earlier = []struct {
	name string
	said []said
	hex  string
}{
	{"a report and a look that differs", []said{put(100, 50), listed(300, 200, event.Audit)}, "04000102818f03001400010000000000000264008300f001140001b401000000000002900300"},
	{"a look that found nothing, then a report from before it", []said{unlisted(400, 390), put(100, 80), listed(500, 80, event.Audit)}, "04000104819f060014000100000000000002a0010083c701f0011401000000000000000000008300f001140001f001000000000002a00100"},
	{"a look of its own that no listing made", []said{put(100, 50), alone(300, 290, event.OnDemand)}, "04000102818f03001400010000000000000264008400f00114000100d0050000000002c40400"},
	{"deleted, and listed again from an older state", []said{put(100, 50), gone(200), listed(260, 50, event.Audit)}, "040001028100001401010000000000000264008378f001140001f0010000000000026400"},
	{"the same directory's own listing", []said{directory(100, 50)}, "01f0011400"},
	{"two listings of a directory, by two agents", []said{directory(100, 50), by(directory(300, 250), "b")}, "0604028f03f00114016101736400008200f00114f4030000000004028f03f001140161017300025000000000000064008200f00114000250000000000000f40300"},
}

// directory is a listing of the path itself.
func directory(at, mtime int64) said {
	s := sight(at, event.Snapshot)
	l := &Listing{Provenance: s, MtimeNs: mtime}
	return said{claim: Claim{Provenance: s, Verb: Listed, Listing: l,
		Entry: &event.Entry{Name: "f", Type: event.Directory, MtimeNs: mtime}}}
}

func by(s said, agent string) said {
	s.claim.Agent = agent
	if s.claim.Listing != nil {
		l := *s.claim.Listing
		l.Agent = agent
		s.claim.Listing = &l
	}
	return s
}

// rowOf is the row of a path when all is said, one fold for each, and the directory as it is then.
func rowOf(all []said) (Row, ParentState) {
	row, known, parent := Row{Parent: "/", Name: "f"}, false, ParentState{}
	for _, s := range all {
		parent.After = slices.Clone(parent.Before)
		if s.listing != nil {
			parent.After = append(parent.After, *s.listing)
			slices.SortFunc(parent.After, func(a, b Listing) int { return int(a.At - b.At) })
		}
		known = testRules.Resolve(&row, known, []Claim{s.claim}, false, &parent).Changed || known
		parent.Before = parent.After
	}
	return row, parent
}

// TestHistoriesOfEarlierBuilds reads what builds before the version byte wrote, and has it mean what it meant.
func TestHistoriesOfEarlierBuilds(t *testing.T) {
	for _, c := range earlier {
		row, parent := rowOf(c.said)
		if got := hex.EncodeToString([]byte(row.History)); got != "40"+c.hex {
			t.Errorf("%s: history %s, not 40%s", c.name, got, c.hex)
			continue
		}
		old := row
		body, _ := hex.DecodeString(c.hex)
		old.History = string(body)
		was, is := testRules.decode(&old, true, &parent), testRules.decode(&row, true, &parent)
		if !reflect.DeepEqual(was, is) {
			t.Errorf("%s: the earlier build's history is\n%+v, not\n%+v", c.name, was, is)
		}
		if old.StaysGone(1e6, &parent) != row.StaysGone(1e6, &parent) {
			t.Errorf("%s: StaysGone differs", c.name)
		}
	}
}

// TestHistoryOfALaterBuild counts as none: the row is what its columns say.
func TestHistoryOfALaterBuild(t *testing.T) {
	row, parent := rowOf(earlier[0].said)
	for _, history := range []string{"\x42\x01\x02", "\x80", "\xff\xff\xff", "\x40"} {
		later, none := row, row
		later.History, none.History = history, ""
		if got, want := testRules.decode(&later, true, &parent), testRules.decode(&none, true, &parent); !reflect.DeepEqual(got, want) {
			t.Errorf("%x: %+v, not %+v", history, got, want)
		}
	}
}

// TestFirstByteTellsBuildsApart draws evidence: what follows the version byte is a history as builds before it wrote them, and its
// first byte is no version.
func TestFirstByteTellsBuildsApart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var all []said
		for range rapid.IntRange(1, 6).Draw(t, "n") {
			at, mtime := rapid.Int64Range(0, 1000).Draw(t, "at"), rapid.Int64Range(0, 1000).Draw(t, "mtime")
			kind := rapid.SampledFrom([]func() said{
				func() said { return put(at, mtime) }, func() said { return writing(at, mtime) }, func() said { return gone(at) },
				func() said { return listed(at, mtime, event.Audit) }, func() said { return unlisted(at, mtime) },
				func() said { return alone(at, mtime, event.OnDemand) }, func() said { return by(directory(at, mtime), "b") },
			}).Draw(t, "kind")
			all = append(all, kind())
		}
		row, parent := rowOf(all)
		if row.History == "" {
			return
		}
		if row.History[0] != historyVersion || len(row.History) < 2 || row.History[1] == 0 || row.History[1] >= lowestVersionByte {
			t.Fatalf("history %x", row.History)
		}
		old := row
		old.History = row.History[1:]
		if was, is := testRules.decode(&old, true, &parent), testRules.decode(&row, true, &parent); !reflect.DeepEqual(was, is) {
			t.Fatalf("%+v, not %+v", was, is)
		}
	})
}

// TestHistoryOfTheDesignPage holds the example in docs/design/evidence.md.
func TestHistoryOfTheDesignPage(t *testing.T) {
	page, err := os.ReadFile("../../docs/design/evidence.md")
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(page), "```\n40 04 ")
	example, _, found := strings.Cut("40 04 "+after, "```")
	if !found {
		t.Fatal("the page has no example")
	}
	text := ""
	for line := range strings.Lines(example) {
		bytes, _, _ := strings.Cut(line, "  ") // the rest of the line explains them
		text += strings.ReplaceAll(strings.TrimSpace(bytes), " ", "")
	}
	if row, _ := rowOf(earlier[0].said); hex.EncodeToString([]byte(row.History)) != text {
		t.Errorf("the page has %s, the code writes %x", text, row.History)
	}
}

// TestHistoryKeepsBirthsAndACLs: what facts tell of their inodes survives, under the version byte that says so; without a birth and an
// ACL the version is the earlier one.
func TestHistoryKeepsBirthsAndACLs(t *testing.T) {
	for _, c := range []struct {
		inode   event.Inode
		version byte
	}{
		{event.Inode{Links: 2, Allocated: 512, CtimeNs: 77, ID: 9}, historyVersion},
		{event.Inode{Links: 2, Allocated: 512, CtimeNs: 77, ID: 9, BirthS: -3}, historyVersionBirths},
		{event.Inode{Links: 1, CtimeNs: 77, ACL: event.NoACL}, historyVersionBirths},
	} {
		all := []said{put(100, 50), listed(300, 200, event.Audit)}
		for i := range all {
			all[i].claim.Entry.Inode = c.inode
		}
		row, parent := rowOf(all)
		s := testRules.decode(&row, true, &parent)
		if row.History == "" || row.History[0] != c.version {
			t.Errorf("%+v: history %x", c.inode, row.History)
		}
		plain := state{report: &fact{Provenance: Provenance{At: row.ObservedAt, Evidence: event.Realtime}, Entry: row.entry()}, journal: []Listing{{MtimeNs: 1}}}
		if plain.encode(&row, &parent); row.History[0] != historyVersion {
			t.Errorf("%+v: a history without facts is %x", c.inode, row.History)
		}
		if s.report == nil || s.report.Entry.Inode != c.inode || len(s.observations) != 1 || s.observations[0].Entry.Inode != c.inode {
			t.Errorf("%+v came back as %+v", c.inode, s)
		}
	}
}

// TestLawHistoriesHoldAllEvidence: what is written of a row's evidence is read again, every part of it.
func TestLawHistoriesHoldAllEvidence(t *testing.T) {
	parent := &ParentState{}
	rapid.Check(t, func(t *rapid.T) {
		row := Row{Parent: "/", Name: "f", Type: event.File, ObservedAt: 300, Evidence: event.Audit, Agent: "a", Source: "s", MtimeNs: 50}
		number := func(name string) int64 { return rapid.Int64Range(-3, 3).Draw(t, name) * 1_000_000 }
		provenance := func(at int64) Provenance {
			return Provenance{At: at, Evidence: event.Evidence(rapid.IntRange(1, 4).Draw(t, "evidence")), Lag: rapid.Int64Range(0, 1).Draw(t, "lag") * 120, Skew: number("skew"),
				Agent: rapid.SampledFrom([]string{"a", "b"}).Draw(t, "agent"), Source: rapid.SampledFrom([]string{"s", "", "z"}).Draw(t, "source")}
		}
		measured := rapid.Bool().Draw(t, "measured")
		some := func(at int64) fact {
			e := fact{Provenance: provenance(at), Since: at - number("since"), Gone: rapid.Bool().Draw(t, "gone"), Swept: rapid.Bool().Draw(t, "swept"), SuspectUntil: number("suspect")}
			e.Entry = event.Entry{Type: event.Type(rapid.IntRange(0, 4).Draw(t, "type")), Mode: uint32(rapid.IntRange(0, 0o7777).Draw(t, "mode")),
				UID: rapid.SampledFrom([]uint32{0, 7, event.NoOwner}).Draw(t, "uid"), GID: rapid.SampledFrom([]uint32{0, 8, event.NoOwner}).Draw(t, "gid"),
				AtimeDay: int32(number("day")), Size: rapid.SampledFrom([]int64{0, 4097, 1<<63 - 1}).Draw(t, "size"), MtimeNs: number("mtime"),
				Target: rapid.SampledFrom([]string{"", "a target"}).Draw(t, "target")}
			if measured && rapid.Bool().Draw(t, "this one") {
				e.Entry.Inode = event.Inode{Links: uint32(rapid.IntRange(1, 2).Draw(t, "links")), Allocated: rapid.Int64Range(0, 9000).Draw(t, "allocated"), CtimeNs: number("ctime"),
					ID: rapid.SampledFrom([]uint64{0, 5, 1<<64 - 1}).Draw(t, "inode"), BirthS: rapid.Int64Range(0, 1).Draw(t, "birth") * -7,
					ACL: rapid.SampledFrom([]event.ACL{"", "", event.NoACL}).Draw(t, "acl")}
			}
			if rapid.IntRange(0, 2).Draw(t, "lent") == 0 {
				e.lent = at - rapid.Int64Range(0, 2).Draw(t, "lent before")
			}
			return e
		}
		s := state{base: base(rapid.IntRange(0, 2).Draw(t, "base")), assumed: rapid.Bool().Draw(t, "assumed")}
		s.ends = Ends{Reported: rapid.Int64Range(0, 1).Draw(t, "reported end") * 90, Observed: rapid.Int64Range(0, 1).Draw(t, "observed end") * 95}
		if rapid.Bool().Draw(t, "report") {
			e := some(100)
			s.report = &e
		}
		for i := range rapid.Int64Range(0, 3).Draw(t, "observations") {
			s.observations = append(s.observations, some(200+100*i))
		}
		for i := range rapid.Int64Range(0, 3).Draw(t, "listings") {
			l := Listing{Provenance: provenance(200 + 100*i), MtimeNs: rapid.SampledFrom([]int64{50, 60}).Draw(t, "dir mtime"), Ownerless: rapid.Bool().Draw(t, "ownerless")}
			l.From, l.To = rapid.SampledFrom([]string{"", "", "b"}).Draw(t, "from"), rapid.SampledFrom([]string{"", "", "c"}).Draw(t, "to")
			s.journal = append(s.journal, l)
		}
		row.EndedAt = s.ends.Reported
		if s.report == nil && s.observations == nil {
			row.Evidence = 0
		}
		row.Removed = rapid.Bool().Draw(t, "removed")
		inColumns := s.inColumns(&row, parent)
		s.encode(&row, parent)
		got := testRules.decode(&row, true, parent)
		if inColumns { // the facts are those that the columns show
			got.report, got.observations, got.base, s.report, s.observations, s.base = nil, nil, nothing, nil, nil, nothing
		}
		if !reflect.DeepEqual(got, s) {
			t.Fatalf("%x: %+v was written, and read as %+v", row.History, s, got)
		}
		if none := testRules.decode(&row, false, parent); !reflect.DeepEqual(none, state{}) {
			t.Fatalf("of a row that is not known: %+v", none)
		}
	})
}

// TestJournalsInHistories: a journal of one listing is not written in full where the row shows what it says, and comes back as it was in any case.
func TestJournalsInHistories(t *testing.T) {
	row := Row{Parent: "/", Name: "f", Type: event.Directory, ObservedAt: 300, Evidence: event.Audit, Agent: "a", Source: "s", MtimeNs: 50}
	same := Listing{Provenance: Provenance{At: 300, Evidence: event.Audit, Lag: 120, Skew: 10, Agent: "a", Source: "s"}, MtimeNs: 50}
	for name, change := range map[string]func(*Listing){
		"": func(*Listing) {}, "from": func(l *Listing) { l.From = "b" }, "to": func(l *Listing) { l.To = "c" }, "evidence": func(l *Listing) { l.Evidence = event.Snapshot },
		"agent": func(l *Listing) { l.Agent = "b" }, "source": func(l *Listing) { l.Source = "t" }, "mtime": func(l *Listing) { l.MtimeNs++ },
		"ownerless": func(l *Listing) { l.Ownerless = true },
	} {
		l, r := same, row
		change(&l)
		e := fact{Provenance: same.Provenance, Entry: row.entry()}
		e.Since = e.since(50)
		s := state{journal: []Listing{l}, observations: []fact{e}, base: baseOf(&row)}
		s.encode(&r, &ParentState{})
		flags, _, _ := historyFlags(r.History)
		if got := testRules.decode(&r, true, &ParentState{}).journal; !slices.Equal(got, s.journal) || (flags&historyListed != 0) != (name == "" || name == "ownerless") {
			t.Errorf("%s: %x: %+v", name, r.History, got)
		}
	}
}

// TestColumnsHoldWhatWasKnownBefore: a row that rests on one observation has no history where its columns say what was known before it, and
// otherwise says so there.
func TestColumnsHoldWhatWasKnownBefore(t *testing.T) {
	plain := 0
	for _, how := range []event.Evidence{event.Snapshot, event.Audit, event.OnDemand} {
		by := sight(300, how)
		parent := &ParentState{Before: []Listing{{Provenance: by, MtimeNs: 290}}}
		parent.After = parent.Before
		for _, base := range []base{nothing, unmarked, marked} {
			for _, gone := range []bool{false, true} {
				s := state{base: base, observations: []fact{{Provenance: by, Since: by.since(290), Gone: gone, Entry: event.Entry{Type: event.File, MtimeNs: 290}}}}
				v, row := s.judge(), Row{Parent: "/", Name: "f"}
				s.show(&row, &v)
				s.encode(&row, parent)
				got := testRules.decode(&row, true, parent)
				if got.base != base || len(got.observations) != 1 || got.observations[0].Gone != gone || got.judge().missing != v.missing {
					t.Errorf("%s, gone: %v, base %d: %+v, history %x, is read as %+v", how, gone, base, row, row.History, got)
				}
				if row.History == "" {
					plain++
				} else if base == nothing {
					t.Errorf("%s, gone: %v: nothing was known, and the history is %x", how, gone, row.History)
				}
			}
		}
	}
	if plain != 9 { // of each kind: found first, found gone, and a snapshot of what was a blind spot or a later scan of what was none
		t.Errorf("%d of the rows have no history", plain)
	}
}
