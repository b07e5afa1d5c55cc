package evidence

import (
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/values"
)

// Row is the resolved state of one path in a view: what all evidence so far comes to.
//
// Rows are keyed by (Parent, Name) and sorted by it as plain bytes: Parent ends with a slash ("/", "/a/b/"), Name has
// none. The root's own row is ("", ""), the first of any view.
type Row struct {
	Parent, Name string

	Type     event.Type
	Mode     uint32 // st_mode & 07777
	UID, GID uint32
	AtimeDay int32 // days since 1970
	Size     int64 // bytes
	MtimeNs  int64
	Target   string // of a symlink
	event.Inode

	// Removed rows are tombstones: the path is gone, and ObservedAt says since when that is known.
	Removed bool
	// ObservedAt is the time of the report or observation that this row rests on, ns in the store's time. 0 is a directory that
	// nothing was claimed about yet: it is assumed, because something in it was reported or observed.
	ObservedAt int64
	Evidence   event.Evidence
	// AgentMissing marks a blind spot: observed by a scan, never reported by an agent's kernel. On a removed row it
	// marks a blind-spot deletion.
	AgentMissing bool
	// SuspectUntil is when the entry stops being suspect of being written to, ns in the store's time; 0 never was.
	SuspectUntil int64
	// Watermark, of a tombstone, is the deletion's time as the file server's clock had it, ns.
	Watermark int64
	// EndedAt is Ends.Reported of this path beyond what the row itself shows, ns in the store's time; 0 never. What was observed
	// below the path before that is void, even if a directory is there again.
	EndedAt int64
	// Agent and Source name who reported or observed it: the agent's id and its source URI.
	Agent, Source string

	// History is what the row remembers beside what it shows: evidence that may still matter for what comes late, and a
	// directory's journal of listings. It is opaque; mostly it is empty.
	History string

	// Sub, of a directory, sums up everything at and below it, itself included.
	Sub Totals

	// Open, of a directory: whoever may read and search it may do so with all directories below, so that Sub may be shown to all who may
	// list the directory. False where it is not known. Folds keep it, as they keep Sub.
	Open bool

	// Hidden is what the reader of an answer may not see of the row. It is no part of a view: only query/engine sets it.
	Hidden Hidden
}

// Hidden are parts of a row that are zero because its reader may not see them.
type Hidden uint8

// The parts of a row that may be hidden.
const (
	HiddenTotals     Hidden = 1 << iota // Sub
	HiddenAttributes                    // everything but the key and the type
)

// Path is the row's path: "/" for the root.
func (r *Row) Path() string {
	if r.Parent == "" {
		return "/"
	}
	return r.Parent + r.Name
}

// ChildParent is what Parent is in the rows of a directory's entries: the directory's path with a final slash.
func (r *Row) ChildParent() string {
	return r.Parent + r.Name + "/"
}

// Totals are sums over a subtree, the subtree's root included: what `find PATH` would print. Bytes and the latest mtime
// are those of regular files; symlinks, sockets and the rest count as Others only. Sums of bytes are saturated (values.MaxSum).
type Totals struct {
	Files       int64
	Directories int64
	Others      int64
	Bytes       int64
	// LatestMtimeNs is the newest mtime of a regular file; NoMtime where there is none. One that lay in the future by more than a
	// day when it was observed does not count.
	LatestMtimeNs int64
	// Allocated is what all entries occupy, bytes: each name counts, so a file with several names counts several times.
	// LinkedAllocated is the part of it of the names of such files.
	Allocated, LinkedAllocated int64
	// Unmeasured is how many entries do not say what they occupy; Allocated is complete if there are none.
	Unmeasured int64
}

// NoMtime is the latest mtime of a subtree without regular files. It is below every real time.
const NoMtime = -1 << 63

// Own are the totals of the row's entry alone.
func (r *Row) Own() Totals {
	t := Totals{LatestMtimeNs: NoMtime}
	if r.Removed {
		return t
	}
	t.Allocated = r.Allocated
	switch {
	case !r.Measured():
		t.Unmeasured = 1
	case r.Links > 1 && r.Type != event.Directory:
		t.LinkedAllocated = r.Allocated
	}
	switch {
	case r.Type == event.Directory:
		t.Directories = 1
	case r.Type == event.File:
		t.Files, t.Bytes, t.LatestMtimeNs = 1, r.Size, r.MtimeNs
		if r.inFuture() {
			t.LatestMtimeNs = NoMtime
		}
	default:
		t.Others = 1
	}
	return t
}

// Plus adds up two disjoint subtrees. Sums of bytes are saturated (values.MaxSum).
func (t Totals) Plus(o Totals) Totals {
	return Totals{
		Files: t.Files + o.Files, Directories: t.Directories + o.Directories, Others: t.Others + o.Others,
		Bytes: values.Sum(t.Bytes, o.Bytes), LatestMtimeNs: max(t.LatestMtimeNs, o.LatestMtimeNs),
		Allocated: values.Sum(t.Allocated, o.Allocated), LinkedAllocated: values.Sum(t.LinkedAllocated, o.LinkedAllocated),
		Unmeasured: t.Unmeasured + o.Unmeasured,
	}
}

// Saturated reports whether a sum of bytes is values.MaxSum: it may be larger than it says.
func (t Totals) Saturated() bool {
	return max(t.Bytes, t.Allocated, t.LinkedAllocated) == values.MaxSum
}

// inFuture reports whether the mtime lay in the future by more than a day when it was observed. Rows of builds that did not ask,
// which are not measured, keep the mtime that their directories have counted.
func (r *Row) inFuture() bool { return r.Measured() && InFuture(r.MtimeNs, r.ObservedAt) }

// InFuture reports whether an mtime lay in the future by more than a day when it was observed; both in ns.
func InFuture(mtime, observed int64) bool {
	const day = 24 * 3600e9
	return mtime > 0 && mtime-day > observed
}
