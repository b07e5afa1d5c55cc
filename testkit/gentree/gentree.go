// Package gentree makes file trees that look like those of research groups, for tests and benchmarks.
//
// A tree is a function of its options: the same seed gives the same rows, on any machine. It is never held whole: only
// its directories are, about one in twenty rows, so that a tree of ten million rows fits a test. Rows come in key order
// (parent, then name, as plain bytes) with the subtree totals that evidence.Row promises. Names, sizes and times are
// drawn from distributions seen on shared file servers: log-normal sizes and directory lengths, files numbered by
// cameras and pipelines, times that follow the names. Tests and benchmarks of internal/layer, compactor and query call it.
package gentree

import (
	"cmp"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/permission"
)

// Options say which tree.
type Options struct {
	Seed uint64
	// Rows of the whole tree, the root's included; at least 1.
	Rows int
	// Agent and Source are who saw it. Empty: "agent-1" and "fs://host-1/srv/data".
	Agent, Source string
}

// The tree was scanned over ten minutes from ScanStart on, ns; no file in it is younger.
const (
	ScanStart    = 1_750_000_000_000_000_000
	scanDuration = 600_000_000_000
	scanDay      = 20254 // days since 1970
)

// maxFiles of a directory.
const maxFiles = 1_000_000

// Tree is a generated tree. It is safe for concurrent use.
type Tree struct {
	o    Options
	dirs []directory // the root first
}

type directory struct {
	name     string
	parent   int32
	depth    int32
	files    int32 // entries that are no directories
	style    uint8
	uid, gid uint32
	bornS    int64 // its files were written from then on, seconds since 1970
	children []int32
	sub      evidence.Totals
	closed   bool // not evidence.Row.Open
}

// New lays out the tree. It takes about 0.4 µs a row.
func New(o Options) *Tree {
	if o.Agent == "" {
		o.Agent = "agent-1"
	}
	if o.Source == "" {
		o.Source = "fs://host-1/srv/data"
	}
	t := &Tree{o: o}
	rng := rand.New(rand.NewPCG(o.Seed, 1))
	t.dirs = append(t.dirs, directory{parent: -1, bornS: 1_500_000_000})
	for left := o.Rows - 1; left > 0; {
		left -= t.grow(rng, left)
	}
	for i := range t.dirs {
		t.sortChildren(&t.dirs[i])
	}
	// A directory comes after its parent in dirs, so that going backwards sums subtrees up.
	var files []file
	for i := len(t.dirs) - 1; i >= 0; i-- {
		d := &t.dirs[i]
		files = t.filesOf(i, files[:0])
		own := evidence.Totals{Directories: 1, LatestMtimeNs: evidence.NoMtime, Allocated: 4096}
		for j := range files {
			own = own.Plus(files[j].totals())
		}
		if d.sub.Directories == 0 {
			d.sub.LatestMtimeNs = evidence.NoMtime
		}
		d.sub = d.sub.Plus(own)
		if i > 0 {
			p := &t.dirs[d.parent]
			if p.sub.Directories == 0 {
				p.sub.LatestMtimeNs = evidence.NoMtime
			}
			p.sub = p.sub.Plus(d.sub)
			p.closed = p.closed || d.closed || !permission.Covers(t.rights(i), t.rights(int(d.parent)))
		}
	}
	return t
}

// grow adds one directory with its files and says how many rows that made.
func (t *Tree) grow(rng *rand.Rand, left int) int {
	parent := int32(0)
	for range 3 { // deep rather than wide: prefer young parents, to a depth of 12
		if p := int32(rng.IntN(len(t.dirs))); p > parent && t.dirs[p].depth < 12 {
			parent = p
		}
	}
	p := &t.dirs[parent]
	d := directory{parent: parent, depth: p.depth + 1, style: uint8(rng.IntN(len(styles))), uid: p.uid, gid: p.gid}
	if parent == 0 || rng.IntN(8) == 0 { // a project's or a user's own directory
		d.uid, d.gid = 1000+uint32(rng.IntN(60)), 100+uint32(rng.IntN(9))
	}
	d.bornS = p.bornS + rng.Int64N(max(1, (ScanStart/1e9-p.bornS)/4))
	d.name = directoryName(rng, len(p.children))
	d.files = int32(min(math.Exp(2.2+1.6*rng.NormFloat64()), maxFiles))
	if rng.IntN(20_000) == 0 { // where a pipeline or a detector drops everything
		d.files = int32(min(math.Exp(7+rng.Float64()*math.Log(maxFiles/1096)), float64(max(1, t.o.Rows/16))))
	}
	d.files = min(d.files, int32(min(left-1, math.MaxInt32)))
	p.children = append(p.children, int32(len(t.dirs)))
	t.dirs = append(t.dirs, d)
	return 1 + int(d.files)
}

// sortChildren puts a directory's directories in the order in which their contents stand in key order.
func (t *Tree) sortChildren(d *directory) {
	slices.SortFunc(d.children, func(a, b int32) int {
		return strings.Compare(t.dirs[a].name+"/", t.dirs[b].name+"/")
	})
}

// Len is the number of rows.
func (t *Tree) Len() int { return max(1, t.o.Rows) }

// Totals are those of the whole tree.
func (t *Tree) Totals() evidence.Totals { return t.dirs[0].sub }

// Rows yields every row in key order. The row is reused: copy what must outlast the call.
func (t *Tree) Rows() iter.Seq[*evidence.Row] {
	return func(yield func(*evidence.Row) bool) {
		w := &walk{t: t, yield: yield}
		w.row = t.base(0, ScanStart)
		t.setDirectory(&w.row, 0)
		if yield(&w.row) {
			w.directory(0, "/")
		}
	}
}

// walk is one pass over a tree.
type walk struct {
	t       *Tree
	yield   func(*evidence.Row) bool
	row     evidence.Row
	files   []file
	scanned int64
}

// directory yields what is in a directory and below, and whether to go on.
func (w *walk) directory(i int, path string) bool {
	d := &w.t.dirs[i]
	w.scanned++
	observed := ScanStart + w.scanned*scanDuration/int64(len(w.t.dirs)+1)
	w.files = w.t.filesOf(i, w.files[:0])
	byName := slices.Clone(d.children)
	slices.SortFunc(byName, func(a, b int32) int { return cmp.Compare(w.t.dirs[a].name, w.t.dirs[b].name) })
	for f, c := 0, 0; f < len(w.files) || c < len(byName); {
		w.row = w.t.base(i, observed)
		w.row.Parent = path
		if c == len(byName) || f < len(w.files) && w.files[f].name < w.t.dirs[byName[c]].name {
			w.files[f].set(&w.row)
			f++
		} else {
			w.t.setDirectory(&w.row, int(byName[c]))
			c++
		}
		if !w.yield(&w.row) {
			return false
		}
	}
	for _, c := range d.children {
		if !w.directory(int(c), path+w.t.dirs[c].name+"/") {
			return false
		}
	}
	return true
}

// base is what all rows of a directory have in common.
func (t *Tree) base(i int, observed int64) evidence.Row {
	return evidence.Row{
		UID: t.dirs[i].uid, GID: t.dirs[i].gid, Mode: 0o644, Evidence: event.Snapshot, ObservedAt: observed,
		Agent: t.o.Agent, Source: t.o.Source,
	}
}

// sharedACLs are ACLs of directories that two groups share: user::rwx,group::rwx,group:N:r-x,mask::rwx,other::---.
var sharedACLs = func() (acls [4]event.ACL) {
	for i := range acls {
		acls[i] = event.NoACL + "\x01\x00\x07\x00\xff\xff\xff\xff\x04\x00\x07\x00\xff\xff\xff\xff" +
			"\x08\x00\x05\x00" + event.ACL([]byte{byte(i), 8, 0, 0}) +
			"\x10\x00\x07\x00\xff\xff\xff\xff\x20\x00\x00\x00\xff\xff\xff\xff"
	}
	return acls
}()

func (t *Tree) setDirectory(r *evidence.Row, i int) {
	d := &t.dirs[i]
	r.Name, r.Type, r.Mode, r.Size, r.Sub = d.name, event.Directory, 0o2775, 4096, d.sub
	r.UID, r.GID = d.uid, d.gid
	r.MtimeNs = d.bornS*1e9 + int64(mix(t.o.Seed, uint64(i))%1e9)
	r.AtimeDay = scanDay
	r.Inode = event.Inode{Links: uint32(2 + len(d.children)), Allocated: 4096, CtimeNs: r.MtimeNs, BirthS: d.bornS, ACL: event.NoACL}
	if h := mix(t.o.Seed+3, uint64(i)); h%4 == 0 { // its entries took their time; in a module cache three of four took less than a second
		r.BirthS -= int64(h >> 8 % 3600)
	}
	r.ACL, r.Open = t.acl(i), !d.closed
}

func (t *Tree) acl(i int) event.ACL {
	if mix(t.o.Seed+4, uint64(i))%50 == 0 { // shared by several groups
		return sharedACLs[t.dirs[i].gid%uint32(len(sharedACLs))]
	}
	return event.NoACL
}

func (t *Tree) rights(i int) permission.Directory {
	return permission.Directory{UID: t.dirs[i].uid, GID: t.dirs[i].gid, Mode: 0o775, ACL: t.acl(i)}
}
