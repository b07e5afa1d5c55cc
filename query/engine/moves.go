package engine

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"strings"

	"github.com/maypok86/otter/v2"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
)

// Moves are the paths of a diff that went from one place to another: a removed path and an added one that are the same file. They are
// recognised at and below the diff's path, whatever else the diff is asked for:
//
//   - by the inode, which rows have of files with several names: the same inode, type, size and mtime;
//   - by the directory: it was moved, and in it the name, type, size and mtime are the same;
//   - by the name, with type, size, mtime, mode, owner, group and target, where the mtime is finer than a second. Archives leave whole
//     seconds, and files of the same name and size that are different; so a directory with such an mtime must have the same sums, too,
//     and anything else is recognised by the other rules alone;
//   - by the birth, with type, size (not 0) and mtime, where the mtime is finer than a second: so new names are recognised.
//
// What is recognised must be unique among the removed paths and among the added ones, unless it is in a moved directory. Two different
// births, or inodes, are two files. So a move is never recognised between the wrong paths, but perhaps not recognised. Where births are
// not known, a new name is not, and a copy that keeps the mtime looks like a move if the original was removed.
type Moves struct {
	// Complete is false if there are more than MaxMoveCandidates added and removed paths, or if they are too long; none is recognised
	// then, as nothing is known to be unique.
	Complete bool
	to, from map[string]string
}

// To is where a removed path went, and From where an added path was; empty if that is not known.
func (m *Moves) To(removed string) string { return m.to[removed] }
func (m *Moves) From(added string) string { return m.from[added] }

// MaxMoveCandidates bounds the added and removed paths among which moves are recognised, and maxMoveBytes their bytes.
const (
	MaxMoveCandidates = 100_000
	maxMoveBytes      = 16 << 20
)

// maxMovesKept bounds the moves that are kept for the pages of diffs, bytes, about.
const maxMovesKept = 16 << 20

// movesKey is a diff as far as its moves depend on it: also on who sees it, by which version's rights.
type movesKey struct{ from, to, path, reader, by string }

func newMovesCache() *otter.Cache[movesKey, *Moves] {
	return otter.Must(&otter.Options[movesKey, *Moves]{MaximumWeight: maxMovesKept, Weigher: func(_ movesKey, m *Moves) uint32 {
		n := 256
		for a, b := range m.to {
			n += 192 + len(a) + len(b)
		}
		return uint32(n)
	}})
}

var errManyCandidates = errors.New("too many added and removed paths")

// Moves recognises the moves of a diff. It passes over the whole diff once; the pages of a diff share the result.
func (e *Engine) Moves(ctx context.Context, d *Diff) (*Moves, error) {
	key := movesKey{from: d.From.Manifest.Key(), to: d.To.Manifest.Key(), path: d.search().Path, reader: ReaderTag(ctx)}
	for _, v := range [2]*Version{d.From, d.To} {
		g, err := v.gate(ctx)
		if err != nil {
			return nil, err
		}
		if g != nil {
			key.by += g.by() + " "
		}
	}
	if m, ok := e.moves.GetIfPresent(key); ok {
		return m, nil
	}
	all, err := NewSearch("*", key.path)
	if err != nil {
		return nil, err
	}
	whole, err := NewDiff(ctx, d.From, d.To, all)
	if err != nil {
		return nil, err
	}
	var c moveCandidates
	err = whole.each(ctx, nil, 0, c.add)
	if err != nil && !errors.Is(err, errManyCandidates) {
		return nil, err
	}
	m := &Moves{}
	if err == nil {
		m = c.match()
	}
	e.moves.Set(key, m)
	return m, nil
}

// signature stands for what must be equal. The zero signature matches nothing.
type signature [16]byte

// moveCandidate is an added or removed path.
type moveCandidate struct {
	path    string
	byInode signature // zero: its inode is not known
	byName  signature
	byBirth signature // zero: its birth is not known, or it is not enough
	alone   bool      // byName is enough where it is unique
	taken   bool

	kind        event.Type
	size, mtime int64
	birth       int64 // s; 0: not known
}

// moveCandidates are the removed and the added paths of a diff, in key order: a directory before everything below it.
type moveCandidates struct {
	removed, added []moveCandidate
	bytes          int
}

func (c *moveCandidates) add(change *evidence.Change) error {
	list := &c.added
	switch {
	case change.Before != nil && change.After != nil:
		return nil
	case change.After == nil:
		list = &c.removed
	}
	path := change.Row().Path() // a new string, unless it is the root's
	if c.bytes += len(path); c.bytes > maxMoveBytes || len(c.removed)+len(c.added) == MaxMoveCandidates {
		return errManyCandidates
	}
	*list = append(*list, candidateOf(path, change.Row()))
	return nil
}

func candidateOf(path string, r *evidence.Row) moveCandidate {
	c := moveCandidate{path: path, alone: r.MtimeNs%1e9 != 0, kind: r.Type, size: r.Size, mtime: r.MtimeNs, birth: r.BirthS}
	b := binary.BigEndian.AppendUint64(nil, uint64(r.Type))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Size))
	b = binary.BigEndian.AppendUint64(b, uint64(r.MtimeNs))
	if r.ID != 0 {
		c.byInode = sign(binary.BigEndian.AppendUint64(b, r.ID))
	}
	if r.BirthS != 0 && r.Size > 0 && c.alone {
		c.byBirth = sign(append(binary.BigEndian.AppendUint64(b, uint64(r.BirthS)), "birth"...))
	}
	for _, n := range [...]uint32{r.Mode, r.UID, r.GID, uint32(len(r.Name))} {
		b = binary.BigEndian.AppendUint32(b, n)
	}
	b = append(append(b, r.Name...), r.Target...)
	if r.Type == event.Directory && !c.alone {
		for _, n := range [...]int64{r.Sub.Files, r.Sub.Directories, r.Sub.Others, r.Sub.Bytes, r.Sub.LatestMtimeNs} {
			b = binary.BigEndian.AppendUint64(b, uint64(n))
		}
		c.alone = r.Sub.Files > 0 && r.Sub.Bytes > 0
	}
	c.byName = sign(b)
	return c
}

func sign(b []byte) signature {
	sum := sha256.Sum256(b)
	return signature(sum[:len(signature{})])
}

// several stands in an index for a signature that more than one candidate has.
const several = -1

func index(list []moveCandidate, of func(*moveCandidate) signature) map[signature]int {
	found := make(map[signature]int, len(list))
	for i := range list {
		s := of(&list[i])
		if _, known := found[s]; known {
			found[s] = several
		} else {
			found[s] = i
		}
	}
	delete(found, signature{})
	return found
}

func inodeOf(c *moveCandidate) signature { return c.byInode }
func nameOf(c *moveCandidate) signature  { return c.byName }
func birthOf(c *moveCandidate) signature { return c.byBirth }

// match finds the pairs.
func (c *moveCandidates) match() *Moves {
	m := &Moves{Complete: true, to: map[string]string{}, from: map[string]string{}}
	at := make(map[string]int, len(c.added))
	for i := range c.added {
		at[c.added[i].path] = i
	}
	byInode := [2]map[signature]int{index(c.removed, inodeOf), index(c.added, inodeOf)}
	byName := [2]map[signature]int{index(c.removed, nameOf), index(c.added, nameOf)}
	byBirth := [2]map[signature]int{index(c.removed, birthOf), index(c.added, birthOf)}
	unique := func(of [2]map[signature]int, s signature) (int, bool) {
		i, known := of[1][s]
		return i, known && i != several && of[0][s] != several
	}
	for i := range c.removed {
		r := &c.removed[i]
		rules := [...]func() (int, bool){
			func() (int, bool) { return unique(byInode, r.byInode) },
			func() (int, bool) { return c.inMoved(m, at, r) },
			func() (int, bool) { j, found := unique(byName, r.byName); return j, found && r.alone },
			func() (int, bool) { return unique(byBirth, r.byBirth) },
		}
		for _, rule := range rules {
			if j, found := rule(); found && r.mayBe(&c.added[j]) {
				c.added[j].taken = true
				m.to[r.path], m.from[c.added[j].path] = c.added[j].path, r.path
				break
			}
		}
	}
	return m
}

// inMoved finds a removed path at its place in the directory that its own directory has become.
func (c *moveCandidates) inMoved(m *Moves, at map[string]int, r *moveCandidate) (int, bool) {
	slash := strings.LastIndexByte(r.path, '/')
	moved, ok := m.to[r.path[:slash]]
	if !ok {
		return 0, false
	}
	j, ok := at[moved+r.path[slash:]]
	return j, ok && c.added[j].kind == r.kind && c.added[j].size == r.size && c.added[j].mtime == r.mtime
}

// mayBe reports whether an added path is still free, and not known to be another file.
func (c *moveCandidate) mayBe(added *moveCandidate) bool {
	return !added.taken && (c.birth == added.birth || c.birth == 0 || added.birth == 0) &&
		(c.byInode == signature{} || added.byInode == signature{} || c.byInode == added.byInode)
}
