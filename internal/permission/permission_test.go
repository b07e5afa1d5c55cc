package permission

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/fustor/fustor/internal/event"
)

func TestIdentities(t *testing.T) {
	a := NewIdentity(7, 30, 10, 30)
	if !slices.Equal(a.Groups, []uint32{10, 30}) || !a.In(30) || a.In(7) || a.IsRoot() {
		t.Errorf("%+v", a)
	}
	if a.Key() != NewIdentity(7, 10, 30).Key() || a.Key() == NewIdentity(7, 10).Key() || NewIdentity(7, 10).Key() == NewIdentity(10, 7).Key() {
		t.Error("keys of identities do not tell them apart")
	}
	if s := NewIdentity(0, 0).Squashed(); s.UID != Nobody || !s.In(Nobody) || s.In(0) {
		t.Errorf("root is squashed to %+v", s)
	}
	if s := a.Squashed(); s.Key() != a.Key() {
		t.Errorf("a user is squashed to %+v", s)
	}
}

func TestDecisions(t *testing.T) {
	const acl = event.NoACL + "\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x00\x00\x08\x00\x00\x00" + // user::rwx, user:8:---
		"\x04\x00\x05\x00\xff\xff\xff\xff" + "\x08\x00\x07\x00\x1e\x00\x00\x00" + // group::r-x, group:30:rwx
		"\x10\x00\x04\x00\xff\xff\xff\xff" + "\x20\x00\x05\x00\xff\xff\xff\xff" // mask::r--, other::r-x
	for _, c := range []struct {
		name string
		who  Identity
		dir  Directory
		in   Rules
		want string
		by   string
	}{
		{"root", NewIdentity(0, 0), Directory{UID: 7}, Rules{}, "r-x", "root"},
		{"owner", NewIdentity(7, 10), Directory{UID: 7, GID: 10, Mode: 0o077, ACL: event.NoACL}, Rules{}, "---", "user::---"},
		{"group", NewIdentity(8, 10), Directory{UID: 7, GID: 10, Mode: 0o707, ACL: event.NoACL}, Rules{}, "---", "group::---"},
		{"other", NewIdentity(8, 11), Directory{UID: 7, GID: 10, Mode: 0o701, ACL: event.NoACL}, Rules{}, "--x", "other::--x"},
		{"a named user has less than others", NewIdentity(8, 30), Directory{UID: 7, GID: 10, Mode: 0o745, ACL: acl}, Rules{}, "---", "user:8:---"},
		{"the mask cuts", NewIdentity(9, 30), Directory{UID: 7, GID: 10, Mode: 0o745, ACL: acl}, Rules{}, "r--", "group:30:rwx (mask::r--)"},
		{"several groups", NewIdentity(9, 10, 30), Directory{UID: 7, GID: 10, Mode: 0o745, ACL: acl}, Rules{}, "r--", "group::r-x (mask::r--), group:30:rwx (mask::r--)"},
		{"in no group", NewIdentity(9, 31), Directory{UID: 7, GID: 10, Mode: 0o745, ACL: acl}, Rules{}, "r-x", "other::r-x"},
		{"an older mode with a newer ACL", NewIdentity(9, 31), Directory{UID: 7, GID: 10, Mode: 0o740, ACL: acl}, Rules{}, "---", "other::---"},
		{"without a mask the mode counts", NewIdentity(8, 31), Directory{UID: 7, GID: 10, Mode: 0o705, ACL: acl}, Rules{}, "r-x", "other::r-x"},
		{"unknown ACL, owner", NewIdentity(7, 10), Directory{UID: 7, GID: 10, Mode: 0o750}, Rules{}, "r-x", "user::rwx"},
		{"unknown ACL, group", NewIdentity(8, 10), Directory{UID: 7, GID: 10, Mode: 0o750}, Rules{}, "---", "group::--- (the ACL is not known)"},
		{"unknown ACL, others may, too", NewIdentity(8, 10), Directory{UID: 7, GID: 10, Mode: 0o755}, Rules{}, "r-x", "group::r-x"},
		{"no ACLs there", NewIdentity(8, 10), Directory{UID: 7, GID: 10, Mode: 0o750}, Rules{TrustModes: true}, "r-x", "group::r-x"},
	} {
		if got := c.in.Decide(c.who, c.dir); got.String() != c.want || got.By != c.by {
			t.Errorf("%s: %s by %q, not %s by %q", c.name, got.Rights, got.By, c.want, c.by)
		}
	}
}

// Not to know the ACL never gives a member of the group more than any ACL with that mode would, and the order of entries does not count.
func TestDoubtIsNo(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range 20_000 {
		entries := []byte(event.NoACL)
		groups := byte(rng.IntN(8))
		for _, e := range [][2]byte{{event.ACLUserObject, byte(rng.IntN(8))}, {event.ACLGroupObject, groups}, {event.ACLMask, byte(rng.IntN(8))}, {event.ACLOther, byte(rng.IntN(8))}} {
			entries = append(entries, e[0], 0, e[1], 0, 0xff, 0xff, 0xff, 0xff)
		}
		d := Directory{UID: 1, GID: 2, Mode: rng.Uint32N(0o1000), ACL: event.ACL(entries)}
		who := NewIdentity(3, 2)
		turned := d
		b := []byte(event.NoACL)
		for at := len(entries) - 8; at >= 4; at -= 8 {
			b = append(b, entries[at:at+8]...)
		}
		turned.ACL = event.ACL(b)
		if x, y := (Rules{}).Rights(who, d), (Rules{}).Rights(who, turned); x != y {
			t.Fatalf("%v and, with entries in another order, %v", x, y)
		}
		unknown := d
		unknown.ACL = ""
		if got, most := (Rules{}).Rights(who, unknown), Rights(d.Mode&(d.Mode>>3)); !most.Has(got) {
			t.Fatalf("%v from %o without an ACL", got, d.Mode)
		}
	}
}
