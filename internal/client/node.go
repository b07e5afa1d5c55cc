package client

import "github.com/fustor/fustor/internal/values"

// Node is one entry of a view, as the API has it.
type Node struct {
	Member  string // of a forest: the view that has it
	Path    string // from the view's root, with a leading slash; bytes
	Type    string // file, directory, symlink, other
	Size    int64  // st_size, bytes
	MtimeNs int64  // ns since 1970
	Mode    uint32 // st_mode & 07777
	UID     uint32
	GID     uint32
	// Owner and Group are what the hosts call them, or else the numbers; empty: the server does not know of names.
	Owner, Group string
	// What the inode tells; Links 0: the server knows nothing of it.
	Links     uint32
	Allocated int64  // bytes that it occupies
	CtimeNs   int64  // ns since 1970
	BirthNs   int64  // ns since 1970, in whole seconds; 0: not known
	AtimeDay  string // the day of the last access, as 2026-01-31; empty: not asked for (Page), or not known
	ACL       string // the POSIX access ACL in getfacl's words, or none; empty: not known
	Inode     string // of a file with several names: what tells it from others, a number
	Target    string // of a symlink; bytes

	Suspect      bool   // perhaps still being written
	AgentMissing bool   // found by looking; no agent reported it
	AuditSkipped bool   // the last audit did not look at it
	LastAgent    string // the agent that saw it last
	Source       string // what that agent reads
	// Subtree sums up a directory; nil for everything else.
	Subtree *Subtree
	// Unreadable is how many paths at or below a directory the last scans could not read. Its sums are of what could be read.
	Unreadable int64
	// Oddities are what is odd about an entry of Odd: words, with commas.
	Oddities string
}

// Subtree is the sums over a directory and everything below it, the directory itself included. Bytes and LatestMtimeNs
// are those of regular files. A sum of bytes that is values.MaxSum may be larger.
type Subtree struct {
	Files       int64
	Directories int64
	Others      int64 // symlinks, sockets and the like
	Bytes       int64
	// Allocated is what all entries occupy; each name of a file counts, and LinkedAllocated is the part of names of files with several.
	Allocated       int64
	LinkedAllocated int64
	// Unmeasured is how many entries do not say what they occupy. Of a server that does not know of allocated sizes it is all of them.
	Unmeasured int64
	// LatestMtimeNs is the newest mtime of a regular file; HasMtime is false where there is none.
	LatestMtimeNs int64
	HasMtime      bool
}

// Saturated reports whether a sum of bytes may be larger than it says.
func (s *Subtree) Saturated() bool {
	return max(s.Bytes, s.Allocated, s.LinkedAllocated) == values.MaxSum
}

// Add adds the sums of another tree.
func (s *Subtree) Add(t Subtree) {
	s.Files, s.Directories, s.Others, s.Bytes = s.Files+t.Files, s.Directories+t.Directories, s.Others+t.Others, values.Sum(s.Bytes, t.Bytes)
	s.Allocated, s.LinkedAllocated, s.Unmeasured = values.Sum(s.Allocated, t.Allocated), values.Sum(s.LinkedAllocated, t.LinkedAllocated), s.Unmeasured+t.Unmeasured
	if t.HasMtime && (!s.HasMtime || t.LatestMtimeNs > s.LatestMtimeNs) {
		s.LatestMtimeNs, s.HasMtime = t.LatestMtimeNs, true
	}
}

// Where is the entry's path; in a forest, with its member: "nfs03:/data/x.bam".
func (n *Node) Where() string { return Where(n.Member, n.Path) }

// Where is a path with the member of a forest that it is in; the path alone without a member.
func Where(member, path string) string {
	if member == "" {
		return path
	}
	return member + ":" + path
}

// Letter is the type as find has it: f, d, l or o.
func (n *Node) Letter() byte {
	switch n.Type {
	case "file":
		return 'f'
	case "directory":
		return 'd'
	case "symlink":
		return 'l'
	}
	return 'o'
}
