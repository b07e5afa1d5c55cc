package evidence

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
)

// TestReplacedRowsNeedNotBeKnown Replaces says so, Resolve makes the same of a row as of the little of it that Replaces needs.
func TestReplacedRowsNeedNotBeKnown(t *testing.T) {
	replaced := 0
	law := func(t *rapid.T) {
		at := func(name string) int64 { return rapid.Int64Range(0, 4).Draw(t, name) }
		small := func(name string) uint32 { return rapid.Uint32Range(0, 3).Draw(t, name) }
		kind := func(name string) event.Type {
			return rapid.SampledFrom([]event.Type{event.File, event.Directory, event.Symlink}).Draw(t, name)
		}
		full := Row{Parent: "/a/", Name: "b", Type: kind("type"), Mode: small("mode"), UID: small("uid"), GID: small("gid"),
			AtimeDay: int32(small("atime")), Size: at("size"), MtimeNs: at("mtime"), Target: rapid.SampledFrom([]string{"", "x"}).Draw(t, "target"),
			Removed: rapid.Bool().Draw(t, "removed"), ObservedAt: at("observed"), Evidence: event.Realtime, AgentMissing: rapid.Bool().Draw(t, "missing"),
			SuspectUntil: at("suspect"), Watermark: at("watermark"), EndedAt: max(0, at("ended")-3), Agent: "old", Source: "there",
			History: rapid.SampledFrom([]string{"", "", "\x10", "\x40\x10"}).Draw(t, "history"),
			Inode: event.Inode{Links: small("links"), Allocated: at("allocated"), CtimeNs: at("ctime"), BirthS: at("birth"),
				ACL: rapid.SampledFrom([]event.ACL{"", event.NoACL}).Draw(t, "acl")}}
		brief := Row{Parent: full.Parent, Name: full.Name, Type: full.Type, Size: full.Size, MtimeNs: full.MtimeNs, Removed: full.Removed,
			ObservedAt: full.ObservedAt, EndedAt: full.EndedAt, History: full.History}
		c := Claim{Provenance: Provenance{At: at("at"), Evidence: event.Realtime, Agent: "new", Source: "here"}, Verb: Exists, Atomic: rapid.Bool().Draw(t, "atomic"),
			Entry: &event.Entry{Name: "b", Type: kind("new type"), Size: at("new size"), MtimeNs: at("new mtime")}}
		if rapid.Bool().Draw(t, "gone") {
			c.Verb, c.Entry = Gone, nil
		}
		r, parent := Rules{Hot: 60}, &ParentState{}
		if !r.Replaces(&brief, []Claim{c}, false, parent) {
			return
		}
		replaced++
		of, ob := r.Resolve(&full, true, []Claim{c}, false, parent), r.Resolve(&brief, true, []Claim{c}, false, parent)
		if full != brief || of.Changed != ob.Changed {
			t.Fatalf("%+v of the whole row, %+v of a part of it", full, brief)
		}
	}
	for round := 0; replaced == 0 && round < 10; round++ { // a round without a case is rare
		rapid.Check(t, law)
	}
	if replaced == 0 {
		t.Error("no case was one")
	}
}
