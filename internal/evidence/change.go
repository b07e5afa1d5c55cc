package evidence

// Fields are what differs between two rows of a path.
type Fields uint16

// The fields, in the order of Words. What one version does not know of an inode does not differ.
const (
	FieldType Fields = 1 << iota
	FieldSize
	FieldMtime
	FieldMode
	FieldUID
	FieldGID
	FieldTarget // of a symlink
	FieldAllocated
	FieldLinks
	FieldCtime
	FieldInode
	FieldBirth
	FieldACL
)

var fieldWords = [...]string{"type", "size", "mtime", "mode", "uid", "gid", "target", "allocated", "links", "ctime", "inode", "birth", "acl"}

// Words are the fields as answers have them.
func (f Fields) Words() (words []string) {
	for i, word := range fieldWords {
		if f>>i&1 == 1 {
			words = append(words, word)
		}
	}
	return words
}

// FieldsOf are the fields in which two rows of a path differ. Of a row of which a reader sees the type alone, nothing else differs.
func FieldsOf(before, after *Row) (f Fields) {
	note := func(differs bool, field Fields) {
		if differs {
			f |= field
		}
	}
	note(before.Type != after.Type, FieldType)
	if (before.Hidden|after.Hidden)&HiddenAttributes != 0 {
		return f
	}
	note(before.Size != after.Size, FieldSize)
	note(before.MtimeNs != after.MtimeNs, FieldMtime)
	note(before.Mode != after.Mode, FieldMode)
	note(before.UID != after.UID, FieldUID)
	note(before.GID != after.GID, FieldGID)
	note(before.Target != after.Target, FieldTarget)
	if before.Measured() && after.Measured() {
		note(before.Allocated != after.Allocated, FieldAllocated)
		note(before.Links != after.Links, FieldLinks)
		note(before.CtimeNs != after.CtimeNs, FieldCtime)
		note(before.ID != after.ID && before.ID != 0 && after.ID != 0, FieldInode)
		note(before.BirthS != after.BirthS && before.BirthS != 0 && after.BirthS != 0, FieldBirth)
		note(before.ACL != after.ACL && before.ACL != "" && after.ACL != "", FieldACL)
	}
	return f
}

// Change is one path of a diff. Before is nil if it was added, After if it was removed.
type Change struct {
	Before, After *Row
	Fields        Fields // of a path in both versions
}

// Row is the path's newest row.
func (c *Change) Row() *Row {
	if c.After != nil {
		return c.After
	}
	return c.Before
}

// Kind is what happened to the path, as answers have it.
func (c *Change) Kind() string {
	switch {
	case c.Before == nil:
		return "added"
	case c.After == nil:
		return "removed"
	}
	return "changed"
}
