package report

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/values"
)

// Duplicate is a group of files with the same name and size. Only their content could tell whether they are the same. Names of one
// file are no duplicates of each other: it counts once, by its first name.
type Duplicate struct {
	Name  string
	Size  int64    // bytes, of each
	Count int64    // of files
	Paths []string // the first MaxPaths of them, by scope and then in key order
	In    []int    // by path: which of the scopes it is in

	linked map[linkedFile]bool // those with several names that are counted
}

// linkedFile is a file with several names.
type linkedFile struct {
	scope int
	inode int64
}

// Wasted is how many bytes all files but one take, at most values.MaxSum.
func (d Duplicate) Wasted() int64 { return values.Product(d.Size, d.Count-1) }

// MaxPaths is how many paths a Duplicate names.
const MaxPaths = 10

// filesPerPass is how many files a pass holds, 32 bytes each. If there are more, each of several passes takes a part of all hashes.
const filesPerPass = 2 << 20

// fileGroup is a file, or a group of files, with one hash of name and size.
type fileGroup struct {
	hash  uint64
	size  int64
	count int64
	inode uint64 // of a file with several names: what its names have in common, and other files have not; otherwise 0
}

// Duplicates are the groups of files of at least minSize bytes with the same name and size, those that waste the most bytes first, at
// most n. It holds at most 64 MiB, and reads the columns once more for every two million such files.
func (s Scope) Duplicates(ctx context.Context, minSize int64, n int) ([]Duplicate, error) {
	return DuplicatesIn(ctx, []Scope{s}, 0, minSize, n)
}

// DuplicatesIn is Scope.Duplicates in several scopes together. A pass over one of them may take until the deadline; 0: as long as it
// takes. What fails in a scope is a ScopeError.
func DuplicatesIn(ctx context.Context, in []Scope, deadline time.Duration, minSize int64, n int) ([]Duplicate, error) {
	return scopes{in, deadline}.duplicates(ctx, max(1, minSize), n, filesPerPass)
}

// ScopeError: a pass over one of several scopes failed.
type ScopeError struct {
	Scope int
	Err   error
}

func (e *ScopeError) Error() string { return e.Err.Error() }

// Unwrap returns the reason.
func (e *ScopeError) Unwrap() error { return e.Err }

// scopes are what one report on duplicates is about.
type scopes struct {
	in       []Scope
	deadline time.Duration
}

// duplicates is Duplicates with passes of about most files.
func (s scopes) duplicates(ctx context.Context, minSize int64, n, most int) ([]Duplicate, error) {
	top := topN[fileGroup]{limit: n, compare: fileGroup.compare}
	files := make([]fileGroup, 0, 1024)
	for part, parts := uint64(0), uint64(1); part < parts; {
		var err error
		files, err = s.part(ctx, minSize, part, parts, files[:0], most)
		switch {
		case errors.Is(err, errPassFull):
			parts *= 2
			continue
		case err != nil:
			return nil, err
		}
		group(files, top.offer)
		part++
	}
	return s.named(ctx, minSize, top.items)
}

// errPassFull: a pass would have to hold too many files.
var errPassFull = errors.New("too many files for one pass")

// part appends the files whose hashes are in one part of all hashes. Only the first part decides how many parts there are: hashes are
// spread evenly.
func (s scopes) part(ctx context.Context, minSize int64, part, parts uint64, files []fileGroup, most int) ([]fileGroup, error) {
	err := s.eachFile(ctx, minSize, func(scope int, hash uint64, size, inode int64, _ *layer.Block, _ int) error {
		if hash%parts != part {
			return nil
		}
		if part == 0 && len(files) == most {
			return errPassFull
		}
		if inode != 0 { // the inodes of two scopes have nothing to do with each other
			inode ^= int64(uint64(scope) * 0x9e3779b97f4a7c15)
		}
		files = append(files, fileGroup{hash: hash, size: size, inode: uint64(inode)})
		return nil
	})
	return files, err
}

// eachFile calls f for the files of at least minSize bytes, scope by scope.
func (s scopes) eachFile(ctx context.Context, minSize int64, f func(scope int, hash uint64, size, inode int64, b *layer.Block, row int) error) error {
	for i, scope := range s.in {
		within, cancel := ctx, context.CancelFunc(func() {})
		if s.deadline > 0 {
			within, cancel = context.WithTimeout(ctx, s.deadline)
		}
		err := scope.eachFile(within, minSize, func(hash uint64, size, inode int64, b *layer.Block, row int) error {
			return f(i, hash, size, inode, b, row)
		})
		cancel()
		if err != nil && !errors.Is(err, errPassFull) {
			return &ScopeError{i, err}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// eachFile calls f for the files of at least minSize bytes.
func (s Scope) eachFile(ctx context.Context, minSize int64, f func(hash uint64, size, inode int64, b *layer.Block, row int) error) error {
	p := pass{ctx: ctx, scope: s, columns: []layer.Column{layer.ColumnSize, layer.ColumnInode}, skip: func(g *layer.Group) bool { return g.MaxSize < minSize }}
	return p.each(func(s *span) error {
		text, offsets := s.block.Names()
		for i := s.from; i < s.to; i++ {
			size := s.columns[0].At(i)
			if size < minSize || !s.is(i, event.File) {
				continue
			}
			hash := xxhash.Sum64String(text[offsets[i]:offsets[i+1]]) + uint64(size)*0x9e3779b97f4a7c15
			if err := f(hash, size, s.columns[1].At(i), s.block, i); err != nil {
				return err
			}
		}
		return nil
	})
}

// group sorts the files and calls found with each group of more than one.
func group(files []fileGroup, found func(fileGroup)) {
	slices.SortFunc(files, func(a, b fileGroup) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(a.size, b.size), cmp.Compare(a.inode, b.inode))
	})
	for i := 0; i < len(files); {
		g := files[i]
		for first := i; i < len(files) && files[i].hash == g.hash && files[i].size == g.size; i++ {
			if i == first || files[i].inode == 0 || files[i].inode != files[i-1].inode {
				g.count++
			}
		}
		if g.count > 1 {
			found(g)
		}
	}
}

// compare orders by wasted bytes, descending.
func (c fileGroup) compare(o fileGroup) int {
	return cmp.Or(cmp.Compare(values.Product(o.size, o.count-1), values.Product(c.size, c.count-1)), cmp.Compare(o.size, c.size), cmp.Compare(c.hash, o.hash))
}

// named finds the names and paths of the groups. It also separates different names with the same hash, should that happen.
func (s scopes) named(ctx context.Context, minSize int64, groups []fileGroup) ([]Duplicate, error) {
	if len(groups) == 0 {
		return nil, nil
	}
	type identity struct {
		name string
		size int64
	}
	wanted := map[uint64]bool{}
	for _, g := range groups {
		wanted[g.hash] = true
	}
	found := map[identity]*Duplicate{}
	err := s.eachFile(ctx, minSize, func(scope int, hash uint64, size, inode int64, b *layer.Block, row int) error {
		if !wanted[hash] {
			return nil
		}
		name := b.Name(row)
		d := found[identity{name, size}]
		if d == nil {
			d = &Duplicate{Name: strings.Clone(name), Size: size, linked: map[linkedFile]bool{}}
			found[identity{d.Name, size}] = d
		}
		if of := (linkedFile{scope, inode}); inode != 0 {
			if d.linked[of] {
				return nil
			}
			d.linked[of] = true
		}
		if d.Count++; len(d.Paths) < MaxPaths {
			d.Paths, d.In = append(d.Paths, b.Parent(row)+name), append(d.In, scope)
		}
		return nil
	})
	var out []Duplicate
	for _, d := range found {
		if d.Count > 1 {
			out = append(out, *d)
		}
	}
	slices.SortFunc(out, func(a, b Duplicate) int {
		return cmp.Or(cmp.Compare(b.Wasted(), a.Wasted()), cmp.Compare(b.Size, a.Size), strings.Compare(a.Name, b.Name))
	})
	return out, err
}
