package permission

import (
	"encoding/binary"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
)

// Whoever it is that a directory's rights let in, a directory that covers it lets in, too; and what does not cover it keeps somebody out,
// unless too many groups are named.
func TestCovers(t *testing.T) {
	ids := rapid.SampledFrom([]uint32{0, 7, 8, 9, 10, 65534})
	directories := rapid.Custom(func(t *rapid.T) Directory {
		d := Directory{UID: ids.Draw(t, "uid"), GID: ids.Draw(t, "gid"), Mode: rapid.SampledFrom([]uint32{0o755, 0o750, 0o700, 0o711, 0o744, 0o077, 0o705, 0o070, 0o007}).Draw(t, "mode")}
		switch rapid.IntRange(0, 2).Draw(t, "acl") {
		case 1:
			d.ACL = event.NoACL
		case 2:
			entries := []event.ACLEntry{{Tag: event.ACLUserObject, Permissions: 7}}
			bits := rapid.SampledFrom([]uint16{0, 4, 5, 7})
			if rapid.Bool().Draw(t, "user") {
				entries = append(entries, event.ACLEntry{Tag: event.ACLUser, ID: ids.Draw(t, "named"), Permissions: bits.Draw(t, "bits")})
			}
			entries = append(entries, event.ACLEntry{Tag: event.ACLGroupObject, Permissions: bits.Draw(t, "bits")})
			if rapid.Bool().Draw(t, "group") {
				entries = append(entries, event.ACLEntry{Tag: event.ACLGroup, ID: ids.Draw(t, "named group"), Permissions: bits.Draw(t, "bits")})
			}
			entries = append(entries, event.ACLEntry{Tag: event.ACLMask, Permissions: bits.Draw(t, "mask")}, event.ACLEntry{Tag: event.ACLOther, Permissions: bits.Draw(t, "other")})
			d.ACL = "\x02\x00\x00\x00"
			for _, e := range entries {
				d.ACL += event.ACL(binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(nil, e.Tag), e.Permissions), e.ID))
			}
		}
		return d
	})
	rapid.Check(t, func(t *rapid.T) {
		in, d := directories.Draw(t, "in"), directories.Draw(t, "directory")
		covers, kept := Covers(in, d), false
		for uid := uint32(1); uid <= 11; uid++ {
			for mask := range 1 << 5 {
				who := Identity{UID: uid}
				for i, g := range []uint32{0, 7, 8, 9, 10} {
					if mask>>i&1 != 0 {
						who.Groups = append(who.Groups, g)
					}
				}
				for _, rules := range []Rules{{}, {TrustModes: true}} {
					kept = kept || rules.Rights(who, d).Has(All) && !rules.Rights(who, in).Has(All)
				}
			}
		}
		if covers && kept {
			t.Fatalf("%+v does not let in all whom %+v lets in", in, d)
		}
		if !covers && !kept && in.UID != 65534 && d.UID != 65534 && in.GID != 65534 && d.GID != 65534 && !in.ACL.Exists() && !d.ACL.Exists() {
			t.Fatalf("%+v lets in all whom %+v lets in", in, d)
		}
	})
	for _, c := range []struct {
		in, d Directory
		want  bool
	}{
		{Directory{1001, 100, 0o755, event.NoACL}, Directory{0, 0, 0o755, event.NoACL}, true},
		{Directory{1001, 100, 0o700, event.NoACL}, Directory{0, 0, 0o755, event.NoACL}, false},
		{Directory{1001, 100, 0o700, event.NoACL}, Directory{1001, 100, 0o700, event.NoACL}, true},
		{Directory{1001, 100, 0o755, event.NoACL}, Directory{1001, 100, 0o700, event.NoACL}, true},
		{Directory{1002, 100, 0o2770, event.NoACL}, Directory{1001, 100, 0o750, event.NoACL}, false}, // 1001 need not be in the group
		{Directory{1002, 100, 0o775, event.NoACL}, Directory{1001, 100, 0o750, event.NoACL}, true},
		{Directory{1001, 100, 0o750, ""}, Directory{1001, 100, 0o750, event.NoACL}, false}, // it may have an ACL
		{Directory{1001, 100, 0o700, event.NoACL}, Directory{0, 0, 0o700, event.NoACL}, true},
	} {
		if Covers(c.in, c.d) != c.want {
			t.Errorf("%+v covers %+v: %v", c.in, c.d, !c.want)
		}
	}
}

// TestWhoIsNamedCounts: a directory's ACL may keep out one user or one group that it names, or everybody whom it does not.
func TestWhoIsNamedCounts(t *testing.T) {
	acl := func(mask, other uint16, entries ...event.ACLEntry) event.ACL {
		a := []byte("\x02\x00\x00\x00")
		all := append([]event.ACLEntry{{Tag: event.ACLUserObject, Permissions: 7, ID: 1<<32 - 1}, {Tag: event.ACLGroupObject, Permissions: 5, ID: 1<<32 - 1}}, entries...)
		for _, e := range append(all, event.ACLEntry{Tag: event.ACLMask, Permissions: mask, ID: 1<<32 - 1}, event.ACLEntry{Tag: event.ACLOther, Permissions: other, ID: 1<<32 - 1}) {
			a = binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint16(binary.LittleEndian.AppendUint16(a, e.Tag), e.Permissions), e.ID)
		}
		return event.ACL(a)
	}
	groups := func(bits uint16, ids ...uint32) (all []event.ACLEntry) {
		for _, id := range ids {
			all = append(all, event.ACLEntry{Tag: event.ACLGroup, Permissions: bits, ID: id})
		}
		return all
	}
	open := Directory{1, 100, 0o755, event.NoACL}
	for _, c := range []struct {
		what  string
		in, d Directory
		want  bool
	}{
		{"a named user is kept out", Directory{1, 100, 0o755, acl(5, 5, event.ACLEntry{Tag: event.ACLUser, ID: 40})}, open, false},
		{"a named user is let in", Directory{1, 100, 0o755, acl(5, 5, event.ACLEntry{Tag: event.ACLUser, ID: 40, Permissions: 5})}, open, true},
		{"a named group is kept out", Directory{1, 100, 0o755, acl(5, 5, groups(0, 40)...)}, open, false},
		{"users without a name, where the owner is the user 1", Directory{1, 100, 0o750, event.NoACL}, open, false},
		{"users without a name, where the first ids have one", Directory{2, 100, 0o770, acl(7, 0, event.ACLEntry{Tag: event.ACLUser, ID: 1, Permissions: 7})}, Directory{2, 100, 0o775, event.NoACL}, false},
		{"as many groups as are tried", Directory{1, 100, 0o755, acl(5, 5, groups(5, 2, 3, 4, 5)...)}, open, true},
		{"one group more", Directory{1, 100, 0o755, acl(5, 5, groups(5, 2, 3, 4, 5, 6)...)}, open, false},
		{"the same groups on both", Directory{1, 100, 0o755, acl(5, 5, groups(5, 4, 3, 2)...)}, Directory{1, 100, 0o755, acl(5, 4, groups(5, 2, 3, 4)...)}, true},
		{"the same ACL, whatever it names", Directory{1, 100, 0o755, acl(5, 5, groups(5, 2, 3, 4, 5, 6)...)}, Directory{1, 100, 0o2755, acl(5, 5, groups(5, 2, 3, 4, 5, 6)...)}, true},
	} {
		if Covers(c.in, c.d) != c.want {
			t.Errorf("%s: %v", c.what, !c.want)
		}
	}
	// Should mode and ACL disagree, both must grant.
	for _, c := range []struct {
		mode uint32
		mask uint16
		want string
	}{{0o770, 4, "r--"}, {0o740, 7, "r--"}, {0o770, 7, "rwx"}} {
		got := Rules{}.Decide(NewIdentity(9, 30), Directory{UID: 7, GID: 10, Mode: c.mode, ACL: acl(c.mask, 0, groups(7, 30)...)})
		if got.String() != strings.Replace(c.want, "w", "-", 1) {
			t.Errorf("mode %o with the mask %o: %s", c.mode, c.mask, got)
		}
	}
}
