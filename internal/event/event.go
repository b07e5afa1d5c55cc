// Package event is what agents say: the events of a view's sessions, and the segments that carry them.
//
// An event tells what was seen and when, in the store's time; what follows from it is decided in internal/evidence.
// Names are bytes: any sequence without NUL and slash survives. Paths are relative to the view's root, start with a
// slash, and end with none (the root itself is "/"). The segment format is public: segment.proto and docs/formats.md.
package event

import "fmt"

// Type is what kind of thing an entry is.
type Type uint8

// The types, with the letters that users know from find.
const (
	File      Type = 1 + iota // f
	Directory                 // d
	Symlink                   // l
	Other                     // o: socket, FIFO, device
)

// String is the type's name as the HTTP API has it.
func (t Type) String() string {
	switch t {
	case File:
		return "file"
	case Directory:
		return "directory"
	case Symlink:
		return "symlink"
	case Other:
		return "other"
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// Letter is the type as `fustor find --json` has it: f, d, l or o.
func (t Type) Letter() string {
	switch t {
	case File:
		return "f"
	case Directory:
		return "d"
	case Symlink:
		return "l"
	}
	return "o"
}

// Evidence is how an event came to be known, and so how much it proves.
type Evidence uint8

// Realtime: the kernel reported it. The others: a scan observed it.
const (
	Realtime Evidence = 1 + iota
	Snapshot
	Audit
	OnDemand
)

func (e Evidence) String() string {
	switch e {
	case Realtime:
		return "realtime"
	case Snapshot:
		return "snapshot"
	case Audit:
		return "audit"
	case OnDemand:
		return "on-demand"
	}
	return fmt.Sprintf("evidence(%d)", uint8(e))
}

// Entry is one name in a directory, as lstat(2) saw it.
type Entry struct {
	Name     string // without slash; empty only for the entry of a view's root
	Type     Type
	Mode     uint32 // st_mode & 07777
	UID, GID uint32
	AtimeDay int32  // whole days since 1970-01-01, floored
	Size     int64  // st_size, bytes
	MtimeNs  int64  // st_mtim, ns since 1970; any value, before 1970 too. What 64 bits do not hold is the nearest that they do
	Target   string // a symlink's target, bytes
	Inode
}

// Inode is what an entry's inode tells beside the entry itself. All of it is 0 if the agent does not tell: agents of earlier builds,
// and of Fustor V2, do not.
type Inode struct {
	// Links is st_nlink; 0: the agent tells nothing of the inode, as every entry that exists has a link.
	Links     uint32
	Allocated int64 // bytes that it occupies: st_blocks × 512
	CtimeNs   int64 // st_ctim, ns since 1970
	// ID tells files with several names from each other; 0 for all else. Names of one file have one ID in a view. It is st_ino on the
	// file system of the view's root; elsewhere a hash of st_ino and the file system.
	ID uint64
	// BirthS is stx_btime in whole seconds since 1970; 0: the file system, or the agent, does not tell. By the nanosecond it would be
	// noise of two bytes a row.
	BirthS int64
	// ACL is the POSIX access ACL (acl.go). Of directories it is told wherever the file system has such ACLs, of files only in
	// directories that have one.
	ACL ACL
}

// Rounded is a size rounded up to what most file systems allocate at once, 4096 bytes. What an entry occupies is mostly that, so the
// formats hold the difference.
func Rounded(size int64) int64 { return (size + 4095) &^ 4095 }

// Measured reports whether the entry tells what it occupies, and the rest of Inode.
func (i *Inode) Measured() bool { return i.Links != 0 }

// BirthNs is the birth time in ns since 1970, by the whole second; 0: it is not known.
func (i *Inode) BirthNs() int64 { return i.BirthS * 1e9 }

// BirthBefore is by how many whole seconds the ctime is later than the birth, which is little or nothing for most files. The formats
// hold it in place of the birth.
func (i *Inode) BirthBefore() int64 { return seconds(i.CtimeNs) - i.BirthS }

// SetBirthBefore sets the birth by what BirthBefore was.
func (i *Inode) SetBirthBefore(s int64) { i.BirthS = seconds(i.CtimeNs) - s }

// seconds are the whole seconds of a time in ns, floored.
func seconds(ns int64) int64 {
	s := ns / 1e9
	if ns%1e9 < 0 {
		s--
	}
	return s
}

// MaxBirthS bounds births, so that their ns have 64 bits: until the year 2262.
const MaxBirthS = 9_223_372_035

// NoOwner is the UID and the GID of an entry whose agent does not tell owner and mode. No owner has that number, which chown(2)
// takes for "as it is".
const NoOwner = 1<<32 - 1

// Owned reports whether the entry tells owner and mode.
func (e *Entry) Owned() bool { return e.UID != NoOwner || e.GID != NoOwner }

// Kind is what an event says.
type Kind uint8

// The kinds of events.
const (
	Put       Kind = 1 + iota // one entry exists so
	Delete                    // one path is gone, with everything under it
	Listing                   // a directory, or a range of its names, has exactly these entries
	Unchanged                 // a directory's mtime is as it was when it was last listed
	Marked                    // something about the session itself
)

func (k Kind) String() string {
	switch k {
	case Put:
		return "put"
	case Delete:
		return "delete"
	case Listing:
		return "listing"
	case Unchanged:
		return "unchanged"
	case Marked:
		return "mark"
	}
	return fmt.Sprintf("kind(%d)", uint8(k))
}

// Event is one report or observation of a session. Which fields count depends on Kind.
type Event struct {
	Kind       Kind
	Evidence   Evidence
	ObservedAt int64 // ns, the store's time; taken before the observation, and strictly growing within a session
	// Path is the entry's path (Put, Delete), the directory's (Listing, Unchanged), the subtree's (some marks).
	Path string
	// Atomic (Put) is false while the file is still being written.
	Atomic bool
	// Entry is the thing put; for Listing and Unchanged the directory itself as it was just before it was read.
	// Its Name is always the last part of Path.
	Entry Entry
	// Entries (Listing) are all names in the range, in byte order, each once.
	Entries []Entry
	// From and To (Listing) bound the names that it covers: From <= name < To; an empty bound is open. A directory that
	// is listed whole has both empty.
	From, To string
	Mark     Mark
}

// MarkKind is what a mark says.
type MarkKind uint8

// The marks.
const (
	SnapshotBegin   MarkKind = 1 + iota
	SnapshotEnd              // with the counts of what was listed
	AuditBegin               //
	AuditEnd                 //
	Overflow                 // the kernel dropped events; a rescan of Path follows
	SubtreeError             // Path could not be read; what is known of it stands
	CoverageLimited          // no more watches; Path and below is covered by audits
)

func (m MarkKind) String() string {
	names := [...]string{"", "snapshot-begin", "snapshot-end", "audit-begin", "audit-end", "overflow", "subtree-error", "coverage-limited"}
	if int(m) < len(names) && m > 0 {
		return names[m]
	}
	return fmt.Sprintf("mark(%d)", uint8(m))
}

// Mark is a remark of a session about itself.
type Mark struct {
	Kind        MarkKind
	Files       uint64 // counted by a scan: regular files
	Directories uint64
	Others      uint64 // symlinks and the rest
	Bytes       uint64 // of regular files
	Errors      uint64 // directories that could not be read
	Message     string // for SubtreeError: why
}

// Header says whose a segment is. It is repeated nowhere else; readers check it against the object's key.
type Header struct {
	View      string
	Session   string
	Agent     string
	Source    string // source_uri: what the agent reads, such as "fs://host/mnt/data"
	Seq       uint64
	Term      uint64 // the newest term the session knew when it observed; the fencing token of its listings
	CreatedAt int64  // ns, the store's time
	Nonce     string // random: no two segments have equal bytes
	Local     bool   // the file system is the agent's own: what it shows is never old, as a network's may be
	// LeaseUntil is until when the session holds its view's lease for certain, ns, the store's time. Listings of snapshots
	// and audits that were observed later do not count. 0: it does not lead, or does not say.
	LeaseUntil int64
	// Skew is the store's time minus the file server's, ns, as far as the session knows; it counts if SkewKnown.
	Skew      int64
	SkewKnown bool
}

// Join is the path of name in directory dir ("/" or "/a/b").
func Join(dir, name string) string {
	if dir == "/" {
		return dir + name
	}
	return dir + "/" + name
}

// Parent is the directory that a path is in; "/" is in itself.
func Parent(path string) string {
	if path == "/" {
		return path
	}
	parent, _ := Split(path)
	return parent[:max(1, len(parent)-1)]
}

// Split is the inverse of Join in the form rows are keyed by: parent ends with a slash, name has none.
// The root "/" splits into two empty strings.
func Split(path string) (parent, name string) {
	if path == "/" || path == "" {
		return "", ""
	}
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[:i+1], path[i+1:]
		}
	}
	return "/", path
}

// ValidPath reports whether p is a path in the form that events have: "/", or segments that are not empty, "." or
// "..", each after one slash, without NUL.
func ValidPath(p string) bool {
	if p == "/" {
		return true
	}
	if len(p) == 0 || p[0] != '/' || len(p) > 1<<16 {
		return false
	}
	start := 1
	for i := 1; i <= len(p); i++ {
		if i == len(p) || p[i] == '/' {
			if s := p[start:i]; s == "" || s == "." || s == ".." {
				return false
			}
			start = i + 1
		} else if p[i] == 0 {
			return false
		}
	}
	return true
}
