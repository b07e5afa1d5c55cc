// Package permission decides what a user may see of a tree: names in directories that the user may read, and attributes where the user
// may search the directory and every directory above it, up to the root of the view.
//
// It is pure: it takes identities and the attributes of directories, and has no I/O and no clock. The rules are those of the Linux kernel
// for read and search on a directory (acl_permission_check in fs/namei.c, posix_acl_permission in fs/posix_acl.c), and a test compares
// them with the kernel. Where the attributes leave a doubt, the answer is no. query/engine is the caller: it asks for every row that it
// shows to a restricted reader.
package permission

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/event"
)

// Rights are what somebody may do with a directory.
type Rights uint8

// The rights, as bits of a mode.
const (
	Read   Rights = 4 // list the names
	Search Rights = 1 // use a name: look at its attributes, go on below it
	All           = Read | Search
)

// Has reports whether all rights of want are among r.
func (r Rights) Has(want Rights) bool { return r&want == want }

// String is "r-x", "r--", "--x" or "---".
func (r Rights) String() string {
	s := []byte("---")
	if r.Has(Read) {
		s[0] = 'r'
	}
	if r.Has(Search) {
		s[2] = 'x'
	}
	return string(s)
}

// Identity is who somebody is to the kernel.
type Identity struct {
	UID    uint32
	Groups []uint32 // sorted, each once: the primary group and all others
}

// Nobody is the uid and gid that file servers give to root where they squash it.
const Nobody = 65534

// NewIdentity is a user with groups in any order.
func NewIdentity(uid uint32, groups ...uint32) Identity {
	sorted := slices.Clone(groups)
	slices.Sort(sorted)
	return Identity{uid, slices.Compact(sorted)}
}

// In reports whether gid is among the groups.
func (i Identity) In(gid uint32) bool {
	_, found := slices.BinarySearch(i.Groups, gid)
	return found
}

// IsRoot reports whether the kernel lets the identity read everything.
func (i Identity) IsRoot() bool { return i.UID == 0 }

// Squashed is the identity as a file server sees it that squashes root.
func (i Identity) Squashed() Identity {
	if i.IsRoot() {
		return NewIdentity(Nobody, Nobody)
	}
	return i
}

// Key is equal for two identities if they are the same.
func (i Identity) Key() string {
	b := binary.LittleEndian.AppendUint32(make([]byte, 0, 4*(len(i.Groups)+1)), i.UID)
	for _, g := range i.Groups {
		b = binary.LittleEndian.AppendUint32(b, g)
	}
	return string(b)
}

// Directory is what decides on the rights to a directory.
type Directory struct {
	UID, GID uint32
	Mode     uint32 // st_mode & 07777
	ACL      event.ACL
}

// Rules are what a file system's attributes mean.
type Rules struct {
	// TrustModes: where nobody tells the ACL of a directory, there is none. It is right for file systems without POSIX ACLs. Otherwise
	// the group bits of such a directory may be the mask of an ACL, and the members of its group get only what everybody else gets, too.
	TrustModes bool
}

// Decision is the rights to a directory, and which entry gives or denies them.
type Decision struct {
	Rights
	By string // in the words of getfacl(1): "user::rwx", "group:100:r-x", "other::---"
}

// Decide says which rights an identity has on a directory, and by which entry. An owner has the owner's rights, even where a group or
// others have more; the same holds for a named user.
func (r Rules) Decide(i Identity, d Directory) Decision {
	switch {
	case i.IsRoot():
		return Decision{All, "root"}
	case i.UID == d.UID:
		return decide("user:", d.Mode>>6)
	case d.ACL.Exists() && d.Mode&0o070 != 0: // without a bit in the mask, the kernel asks the mode alone
		return byACL(i, d)
	case i.In(d.GID):
		if d.ACL == "" && !r.TrustModes {
			c := decide("group:", d.Mode>>3&d.Mode)
			if Rights(d.Mode>>3)&All != c.Rights {
				c.By += " (the ACL is not known)"
			}
			return c
		}
		return decide("group:", d.Mode>>3)
	}
	return decide("other:", d.Mode)
}

// Rights are those of Decide.
func (r Rules) Rights(i Identity, d Directory) Rights { return r.Decide(i, d).Rights }

func decide(class string, bits uint32) Decision {
	return Decision{Rights(bits) & All, entryText(class+":", bits)}
}

func entryText(of string, bits uint32) string {
	text := []byte("rwx")
	for i := range text {
		if bits>>(2-i)&1 == 0 {
			text[i] = '-'
		}
	}
	return of + string(text)
}

// byACL decides by an ACL, for an identity that is not the owner: a named user's entry, otherwise those of all groups that the identity is
// in, otherwise that of others. The kernel asks for one right at a time, and any group's entry may grant it. Should mode and ACL disagree,
// both must grant.
func byACL(i Identity, d Directory) Decision {
	mask, others := d.Mode>>3, uint32(0)
	for e := range d.ACL.Entries() {
		switch e.Tag {
		case event.ACLMask:
			mask &= uint32(e.Permissions)
		case event.ACLOther:
			others = uint32(e.Permissions) & d.Mode
		}
	}
	var granted Rights
	var by []string
	for e := range d.ACL.Entries() {
		of := ""
		switch {
		case e.Tag == event.ACLUser && e.ID == i.UID:
			return Decision{Rights(uint32(e.Permissions)&mask) & All, aclText(fmt.Sprintf("user:%d:", e.ID), e, mask)}
		case e.Tag == event.ACLGroupObject && i.In(d.GID):
			of = "group::"
		case e.Tag == event.ACLGroup && i.In(e.ID):
			of = fmt.Sprintf("group:%d:", e.ID)
		}
		if of != "" {
			granted |= Rights(uint32(e.Permissions)&mask) & All
			by = append(by, aclText(of, e, mask))
		}
	}
	if by == nil {
		return decide("other:", others)
	}
	return Decision{granted, strings.Join(by, ", ")}
}

// aclText is an entry in the words of getfacl(1), with the mask if that takes something away.
func aclText(of string, e event.ACLEntry, mask uint32) string {
	text := entryText(of, uint32(e.Permissions))
	if uint32(e.Permissions)&^mask != 0 {
		text += " (" + entryText("mask::", mask) + ")"
	}
	return text
}
