package event

import (
	"encoding/binary"
	"fmt"
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
	aclUserObject  = 0x01
	aclUser        = 0x02
	aclGroupObject = 0x04
	aclGroup       = 0x08
	aclMask        = 0x10
	aclOther       = 0x20
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
	for entry := range a.entries() {
		if aclName(entry.tag) == "" || entry.permissions > 7 {
			return false
		}
	}
	return true
}

// aclEntryOf is an entry of an ACL.
type aclEntryOf struct {
	tag, permissions uint16
	id               uint32
}

// entries yields the entries in their order.
func (a ACL) entries() func(yield func(aclEntryOf) bool) {
	return func(yield func(aclEntryOf) bool) {
		for b := []byte(a[min(len(a), aclHeader):]); len(b) >= aclEntry; b = b[aclEntry:] {
			order := binary.LittleEndian
			if !yield(aclEntryOf{order.Uint16(b), order.Uint16(b[2:]), order.Uint32(b[4:])}) {
				return
			}
		}
	}
}

func aclName(tag uint16) string {
	switch tag {
	case aclUserObject, aclUser:
		return "user"
	case aclGroupObject, aclGroup:
		return "group"
	case aclMask:
		return "mask"
	case aclOther:
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
	for entry := range a.entries() {
		if b.Len() > 0 {
			b.WriteByte(',')
		}
		name := aclName(entry.tag)
		if name == "" {
			name = fmt.Sprintf("tag%d", entry.tag)
		}
		b.WriteString(name)
		b.WriteByte(':')
		if entry.tag == aclUser || entry.tag == aclGroup {
			b.WriteString(strconv.FormatUint(uint64(entry.id), 10))
		}
		b.WriteByte(':')
		for i, letter := range "rwx" {
			if entry.permissions>>(2-i)&1 == 0 {
				letter = '-'
			}
			b.WriteRune(letter)
		}
	}
	return b.String()
}
