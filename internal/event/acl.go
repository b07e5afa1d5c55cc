package event

import (
	"encoding/binary"
	"fmt"
	"iter"
	"strconv"
	"strings"
)

// ACL is a POSIX access ACL as the extended attribute system.posix_acl_access has it: a version, four bytes, and eight for each entry.
// Empty: nobody tells, or the file system has no such ACLs. NoACL: there is none, and the mode alone counts.
type ACL string

// NoACL is an ACL without entries, which file systems take for none.
const NoACL ACL = "\x02\x00\x00\x00"

// MaxACL is how long an ACL may be, bytes: no extended attribute is longer.
const MaxACL = 64 << 10

const (
	aclHeader = 4 // the version, 2
	aclEntry  = 8 // tag 2, permissions 2, id 4; all little-endian
)

// The tags of entries. Source: linux/include/uapi/linux/posix_acl.h.
const (
	ACLUserObject  = 0x01 // the owner
	ACLUser        = 0x02 // a named user
	ACLGroupObject = 0x04 // the owning group
	ACLGroup       = 0x08 // a named group
	ACLMask        = 0x10 // the most that named users and all groups get
	ACLOther       = 0x20
)

// Exists reports whether there is an ACL, as far as is known.
func (a ACL) Exists() bool { return len(a) > aclHeader }

// Valid reports whether a is an ACL in the form of the extended attribute, or empty.
func (a ACL) Valid() bool {
	if a == "" {
		return true
	}
	if len(a) > MaxACL || len(a)%aclEntry != aclHeader || !strings.HasPrefix(string(a), string(NoACL)) {
		return false
	}
	for entry := range a.Entries() {
		if aclName(entry.Tag) == "" || entry.Permissions > 7 {
			return false
		}
	}
	return true
}

// ACLEntry is an entry of an ACL. Permissions are bits: read 4, write 2, and 1 for execute or search. ID is a uid or gid of ACLUser and
// ACLGroup.
type ACLEntry struct {
	Tag, Permissions uint16
	ID               uint32
}

// Entries yields the entries in their order.
func (a ACL) Entries() iter.Seq[ACLEntry] {
	return func(yield func(ACLEntry) bool) {
		for b := []byte(a[min(len(a), aclHeader):]); len(b) >= aclEntry; b = b[aclEntry:] {
			order := binary.LittleEndian
			if !yield(ACLEntry{order.Uint16(b), order.Uint16(b[2:]), order.Uint32(b[4:])}) {
				return
			}
		}
	}
}

func aclName(tag uint16) string {
	switch tag {
	case ACLUserObject, ACLUser:
		return "user"
	case ACLGroupObject, ACLGroup:
		return "group"
	case ACLMask:
		return "mask"
	case ACLOther:
		return "other"
	}
	return ""
}

// String is the ACL in the words of getfacl(1), with numbers for names: "user::rwx,user:1000:r-x,group::r-x,mask::rwx,other::---".
// Without entries it is "none", and empty where nobody tells.
func (a ACL) String() string {
	switch {
	case a == "":
		return ""
	case !a.Exists():
		return "none"
	}
	var b strings.Builder
	for entry := range a.Entries() {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		name := aclName(entry.Tag)
		if name == "" {
			name = fmt.Sprintf("tag%d", entry.Tag)
		}
		b.WriteString(name)
		b.WriteByte(':')
		if entry.Tag == ACLUser || entry.Tag == ACLGroup {
			b.WriteString(strconv.FormatUint(uint64(entry.ID), 10))
		}
		b.WriteByte(':')
		for i, letter := range "rwx" {
			if entry.Permissions>>(2-i)&1 == 0 {
				letter = '-'
			}
			b.WriteRune(letter)
		}
	}
	return b.String()
}
