package permission

import (
	"slices"

	"github.com/fustor/fustor/internal/event"
)

// maxCoverGroups bounds the groups that Covers tries in all combinations.
const maxCoverGroups = 5

// Covers reports whether everybody who may read and search directory d may do so with directory in, too: whoever it is, and whether modes
// are trusted or not. It is for a directory in and the one that it is in, so that sums of what is below a directory may serve all who may
// list it (evidence.Row.Open). False where that would take long to find out: ACLs that differ and name many groups.
//
// Only these matter to the rights of an identity: whether it is one of the users that the two directories name, and which of the groups
// that they name it is in. So one identity of each kind is tried.
func Covers(in, d Directory) bool {
	in.Mode, d.Mode = in.Mode&0o777, d.Mode&0o777
	if in == d {
		return true
	}
	users, groups := []uint32{in.UID, d.UID}, []uint32{in.GID, d.GID}
	for _, acl := range [...]event.ACL{in.ACL, d.ACL} {
		for e := range acl.Entries() {
			switch e.Tag {
			case event.ACLUser:
				users = append(users, e.ID)
			case event.ACLGroup:
				groups = append(groups, e.ID)
			}
		}
	}
	slices.Sort(users)
	users = slices.Compact(users)
	slices.Sort(groups)
	groups = slices.Compact(groups)
	if len(groups) > maxCoverGroups {
		return false
	}
	other := uint32(1)
	for slices.Contains(users, other) {
		other++
	}
	for _, user := range append(users, other) {
		if user == 0 { // root sees everything, or is nobody
			continue
		}
		for chosen := range 1 << len(groups) {
			who := Identity{UID: user}
			for i, g := range groups {
				if chosen>>i&1 != 0 {
					who.Groups = append(who.Groups, g)
				}
			}
			for _, rules := range [...]Rules{{}, {TrustModes: true}} {
				if rules.Rights(who, d).Has(All) && !rules.Rights(who, in).Has(All) {
					return false
				}
			}
		}
	}
	return true
}
