package compactor

import (
	"fmt"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/manifest"
)

// shown is a claim in words.
func shown(name string, c evidence.Claim) string {
	verb := map[evidence.Verb]string{evidence.Exists: "exists", evidence.Gone: "gone", evidence.Listed: "listed"}[c.Verb]
	s := fmt.Sprintf("%s %s at %d (%v, lag %d), skew %d, by %s of %s", name, verb, c.At, c.Evidence, c.Lag, c.Skew, c.Agent, c.Source)
	if c.Entry != nil {
		s += fmt.Sprintf(", entry %q", c.Entry.Name)
	}
	if c.Atomic {
		s += ", atomic"
	}
	if l := c.Listing; l != nil {
		s += fmt.Sprintf(", all of %q to %q as of mtime %d at %d (%v, lag %d) by %s", l.From, l.To, l.MtimeNs, l.At, l.Evidence, l.Lag, l.Agent)
		if l.Ownerless {
			s += ", without owners"
		}
	}
	return s
}

// shown is a batch, by directory.
func (b *batch) shown() (all []string) {
	for _, g := range b.inOrder() {
		parent := g.parent
		if b.groups[parent] != g {
			all = append(all, "the group of another parent: "+parent)
		}
		for i := range g.claims {
			if g.claims[i].verb == 0 {
				all = append(all, fmt.Sprintf("%q %s is looked up", parent, g.claims[i].name))
			} else {
				all = append(all, fmt.Sprintf("%q %s", parent, shown(g.claims[i].name, g.claims[i].claim())))
			}
		}
		for _, l := range g.listings {
			names := ""
			for i := range l.entries {
				names += l.entries[i].Name + " "
			}
			all = append(all, fmt.Sprintf("%q has %sat %d, by %s", parent, names, l.At, l.by.session))
		}
	}
	return all
}

// TestBatch: what each event becomes, in which order, and what a batch counts.
func TestBatch(t *testing.T) {
	by := &origin{session: "s", agent: "a", source: "src", term: 5, leaseUntil: 100, lag: 7, skew: 9}
	b := newBatch(4, observationDefaults{1, 2})
	file := event.Entry{Type: event.File, MtimeNs: 3}
	named := func(e event.Entry, name string) event.Entry { e.Name = name; return e }
	dir := event.Entry{Type: event.Directory, MtimeNs: 8, Name: "d", UID: event.NoOwner, GID: event.NoOwner}
	for _, ev := range []event.Event{
		{Kind: event.Put, Evidence: event.Realtime, ObservedAt: 20, Path: "/d/f", Atomic: true, Entry: named(file, "f")},
		{Kind: event.Put, Evidence: event.Realtime, ObservedAt: 10, Path: "/d/f", Entry: named(file, "f")},
		{Kind: event.Put, Evidence: event.Realtime, ObservedAt: 20, Path: "/d/f", Entry: event.Entry{Type: event.File, MtimeNs: 4, Name: "f"}},
		{Kind: event.Put, Evidence: event.Snapshot, ObservedAt: 30, Path: "/e", Entry: named(file, "e")},
		{Kind: event.Put, Evidence: event.Realtime, ObservedAt: 15, Path: "/d", Entry: dir},
		{Kind: event.Delete, Evidence: event.Realtime, ObservedAt: 40, Path: "/d/a"},
		{Kind: event.Listing, Evidence: event.Audit, ObservedAt: 100, Path: "/d", Entry: dir, From: "a", To: "m", Entries: []event.Entry{named(file, "f"), named(file, "g")}},
		{Kind: event.Listing, Evidence: event.OnDemand, ObservedAt: 101, Path: "/", Entry: event.Entry{Type: event.Directory}},
		{Kind: event.Listing, Evidence: event.Audit, ObservedAt: 101, Path: "/late", Entry: dir}, // it led no longer
		{Kind: event.Marked, ObservedAt: 60, Path: "/m", Mark: event.Mark{Kind: event.AuditEnd}},
		{Kind: event.Marked, ObservedAt: 50, Path: "/m", Mark: event.Mark{Kind: event.AuditBegin}},
	} {
		b.add(&ev, by)
	}
	size := 3*claimsPerGroup + 6 + 2 + 2 // three groups, six claims of the tree, two of listings, two entries
	if b.size != size || b.rows != 10 {
		t.Errorf("size %d, want %d; %d rows", b.size, size, b.rows)
	}
	b.finish()
	want := strings.TrimSpace(`
""  is looked up
""  listed at 101 (on-demand, lag 7), skew 9, by a of src, entry "", all of "" to "" as of mtime 0 at 101 (on-demand, lag 7) by a
"/" d is looked up
"/" d exists at 15 (realtime, lag 0), skew 9, by a of src, entry "d"
"/" d listed at 100 (audit, lag 7), skew 9, by a of src, entry "d", all of "a" to "m" as of mtime 8 at 100 (audit, lag 7) by a, without owners
"/" e listed at 30 (snapshot, lag 7), skew 9, by a of src, entry "e"
"/" has at 101, by s
"/d/" a gone at 40 (realtime, lag 0), skew 9, by a of src
"/d/" f exists at 10 (realtime, lag 0), skew 9, by a of src, entry "f"
"/d/" f exists at 20 (realtime, lag 0), skew 9, by a of src, entry "f", atomic
"/d/" f exists at 20 (realtime, lag 0), skew 9, by a of src, entry "f"
"/d/" has f g at 100, by s`)
	if got := strings.Join(b.shown(), "\n"); got != want {
		t.Errorf("the batch has\n%s\nwant\n%s", got, want)
	}
	if got := fmt.Sprint(b.samples); got != "[{10 3} {20 3} {20 4}]" {
		t.Errorf("samples %s", got)
	}
	if len(b.marks) != 2 || b.marks[0] != (reportedMark{by, "/m", 50, event.Mark{Kind: event.AuditBegin}}) || b.marks[1] != (reportedMark{by, "/m", 60, event.Mark{Kind: event.AuditEnd}}) {
		t.Errorf("marks %+v", b.marks)
	}
	if b.counted != (manifest.Counted{Events: 11, Entries: 2, Fenced: 1}) || b.observedAt != 101 || b.term != 4 || b.defaults != (observationDefaults{1, 2}) {
		t.Errorf("counted %+v, observed at %d, term %d, defaults %+v", b.counted, b.observedAt, b.term, b.defaults)
	}
}

// TestBatchCountsTexts: long texts take more of a batch.
func TestBatchCountsTexts(t *testing.T) {
	long := strings.Repeat("x", 2*textPerClaim)
	b := newBatch(0, observationDefaults{})
	b.group("/" + long + "/")
	if want := 3*claimsPerGroup + 2; b.size != want {
		t.Errorf("a group of a long path: %d, want %d", b.size, want)
	}
	before := b.size
	b.addClaim("/"+long+"/a", namedClaim{})
	if got := b.size - before; got != 3 {
		t.Errorf("a claim of a long path: %d", got)
	}
	before = b.size
	b.list(&event.Event{Path: "/", Entries: []event.Entry{{Name: long[:textPerClaim]}, {Name: "a", Target: long[:textPerClaim]}}}, &origin{})
	if got := b.size - before; got != 1+2+2 {
		t.Errorf("a listing of long texts: %d", got)
	}
}

// TestEntriesOfABatchStay where they are, however many there are.
func TestEntriesOfABatchStay(t *testing.T) {
	b := newBatch(0, observationDefaults{})
	var kept []*event.Entry
	for i := range 1000 {
		kept = append(kept, b.copyEntry(&event.Entry{Size: int64(i)}))
	}
	for i, e := range kept {
		if e.Size != int64(i) {
			t.Fatalf("entry %d is %d", i, e.Size)
		}
	}
	if cap(b.entries) != 256 || &b.entries[len(b.entries)-1] != kept[999] {
		t.Errorf("the last chunk has room for %d", cap(b.entries))
	}
	if n := testing.AllocsPerRun(1, func() {
		for range 2560 {
			b.copyEntry(kept[0])
		}
	}); n > 11 {
		t.Errorf("%v allocations for ten chunks", n)
	}
}

// TestFence: without a word on its lease, a listing counts if its term is the newest, or if it was asked for. What the same session reported counts.
func TestFence(t *testing.T) {
	for _, c := range []struct {
		by     origin
		how    event.Evidence
		counts bool
	}{
		{origin{term: 4}, event.Audit, true}, {origin{term: 3}, event.Audit, false}, {origin{term: 3}, event.OnDemand, true}, {origin{term: 3, leaseUntil: 1}, event.Audit, true},
		{origin{term: 3, leaseUntil: 10}, event.Audit, true}, {origin{term: 5}, event.Snapshot, true}, {origin{term: 3}, event.Snapshot, false},
	} {
		b := newBatch(4, observationDefaults{})
		b.add(&event.Event{Kind: event.Listing, Evidence: c.how, ObservedAt: 1, Path: "/d", Entries: []event.Entry{{Name: "f"}}}, &c.by)
		b.add(&event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: 1, Path: "/d"}, &c.by)
		b.finish()
		listings, claims, fenced := 0, 2, uint64(1) // one of them looks the directory up
		if c.counts {
			listings, claims, fenced = 1, 3, 0
		}
		if n, m := len(b.groups["/d/"].listings), len(b.groups["/"].claims); n != listings || m != claims || b.counted.Fenced != fenced {
			t.Errorf("%+v, evidence %v: %d listings, %d claims, %d fenced", c.by, c.how, n, m, b.counted.Fenced)
		}
	}
}

// TestRangeOfAListing is from its first name to before its end; an open end is behind every name.
func TestRangeOfAListing(t *testing.T) {
	for _, c := range []struct{ from, to, in, out string }{
		{"", "", "a\xff", ""}, {"b", "", "bc\xff", "a"}, {"", "m", "al", "mn"}, {"b", "m", "bl", "am"},
	} {
		l := &listing{Listing: evidence.Listing{From: c.from, To: c.to}}
		for _, name := range strings.Split(c.in+c.out, "") {
			if l.covers(name) != strings.Contains(c.in, name) {
				t.Errorf("from %q to %q, %q is covered: %v", c.from, c.to, name, l.covers(name))
			}
		}
	}
}
