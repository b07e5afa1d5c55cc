package permission

import (
	"encoding/binary"
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
