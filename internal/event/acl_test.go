package event

import "testing"

// testACL is what setfacl -m u:1000:rx makes of a directory with mode 0755.
const testACL ACL = "\x02\x00\x00\x00" +
	"\x01\x00\x07\x00\xff\xff\xff\xff" + "\x02\x00\x05\x00\xe8\x03\x00\x00" + "\x04\x00\x05\x00\xff\xff\xff\xff" +
	"\x08\x00\x02\x00\x64\x00\x00\x00" + "\x10\x00\x05\x00\xff\xff\xff\xff" + "\x20\x00\x00\x00\xff\xff\xff\xff"

func TestACL(t *testing.T) {
	for _, c := range []struct {
		acl    ACL
		text   string
		exists bool
	}{
		{"", "", false}, {NoACL, "none", false},
		{testACL, "user::rwx,user:1000:r-x,group::r-x,group:100:-w-,mask::r-x,other::---", true},
	} {
		if c.acl.String() != c.text || c.acl.Exists() != c.exists || !c.acl.Valid() {
			t.Errorf("%q: %q, exists %v, valid %v", string(c.acl), c.acl, c.acl.Exists(), c.acl.Valid())
		}
	}
	for _, bad := range []ACL{"\x02", "\x01\x00\x00\x00", testACL[:len(testACL)-1], NoACL + "\x03\x00\x07\x00\xff\xff\xff\xff", NoACL + "\x01\x00\x08\x00\xff\xff\xff\xff"} {
		if bad.Valid() {
			t.Errorf("%q is valid", string(bad))
		}
	}
}
