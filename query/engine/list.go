package engine

import (
	"cmp"
	"container/heap"
	"context"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
)

// The orders of a listing. The name decides between equal entries.
const (
	ByName      = "name"      // as bytes, ascending
	BySize      = "size"      // largest first, directories by the bytes of their subtree
	ByAllocated = "allocated" // what occupies most first, directories with their subtree; what does not say what it occupies comes last
	ByFiles     = "files"     // what has most files first, directories by their subtree; a file is one
	ByMtime     = "mtime"     // newest first
)

// Listing is which entries of a directory are wanted, and in which order.
type Listing struct {
	Order   string // ByName and so on
	Reverse bool   // the other way round
	names   pattern
}

// SetPattern leaves out the entries whose names do not match: the pattern is one of a search, without a slash.
func (l *Listing) SetPattern(text string) (err error) {
	if strings.Contains(text, "/") {
		return &PatternError{errPatternSlash}
	}
	if l.names, err = compilePattern(text); err != nil {
		return &PatternError{err}
	}
	return nil
}

func (l *Listing) wants(r *evidence.Row) bool {
	return l.names == nil || l.names.name(r.Parent, r.Name)
}

// InKeyOrder reports whether the entries come as the layers have them, so that a page need not be sorted.
func (l *Listing) InKeyOrder() bool { return l.Order == ByName && !l.Reverse }

// Compare orders two entries of one directory.
func (l *Listing) Compare(a, b *evidence.Row) int {
	return l.compare(l.Rank(a), a.Name, l.Rank(b), b.Name)
}

func (l *Listing) compare(rankA int64, nameA string, rankB int64, nameB string) int {
	c := cmp.Or(cmp.Compare(rankB, rankA), strings.Compare(nameA, nameB))
	if l.Reverse {
		return -c
	}
	return c
}

// Rank is the value that the order sorts by, descending.
func (l *Listing) Rank(r *evidence.Row) int64 {
	directory := r.Type == event.Directory
	switch {
	case l.Order == ByName:
		return 0
	case l.Order == ByMtime:
		return r.MtimeNs
	case l.Order == ByFiles && directory:
		return r.Sub.Files
	case l.Order == ByFiles && r.Type == event.File:
		return 1
	case l.Order == ByFiles:
		return 0
	case l.Order == ByAllocated && directory:
		return r.Sub.Allocated
	case l.Order == ByAllocated:
		return r.Allocated
	case directory:
		return r.Sub.Bytes
	}
	return r.Size
}

// List emits the entries of a directory that a listing wants, after a position, up to limit of them.
func (v *Version) List(ctx context.Context, dir *evidence.Row, l Listing, after *Position, limit int, out Emit) (*Position, error) {
	if dir.Type != event.Directory {
		return nil, &NotDirectoryError{dir.Path()}
	}
	parent := dir.ChildParent()
	if err := v.mayList(ctx, parent); err != nil {
		return nil, err
	}
	if l.InKeyOrder() {
		page := pageLimiter{limit: limit, emit: out}
		return page.end(v.children(ctx, parent, after, limit, func(r *evidence.Row) error {
			if !l.wants(r) {
				return nil
			}
			return page.take(r)
		}))
	}
	top := &topRows{limit: limit, listing: &l}
	err := v.children(ctx, parent, nil, 0, func(r *evidence.Row) error {
		if l.wants(r) {
			top.offer(ranked{l.Rank(r), *r}, after)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return top.emit(out)
}

// ranked is a row and its rank.
type ranked struct {
	rank int64
	row  evidence.Row
}

// topRows keeps the first limit+1 of the rows that it is offered, in the order of a ranked listing: a heap with the last of them on
// top. The one beyond the limit shows that there is a next page.
type topRows struct {
	limit   int
	listing *Listing
	rows    []ranked
}

// compare orders r before or after the entry with a rank and a name.
func (t *topRows) compare(r *ranked, rank int64, name string) int {
	return t.listing.compare(r.rank, r.row.Name, rank, name)
}

func (t *topRows) offer(r ranked, after *Position) {
	if after != nil {
		if c := t.compare(&r, after.Extra, after.Key.Name); c < 0 || c == 0 && !after.Including {
			return
		}
	}
	if len(t.rows) > t.limit {
		if last := &t.rows[0]; t.compare(&r, last.rank, last.row.Name) >= 0 {
			return
		}
		heap.Pop(t)
	}
	// Without copies, the strings of a row would hold the whole block that they are part of in memory.
	r.row.Name, r.row.Target = strings.Clone(r.row.Name), strings.Clone(r.row.Target)
	r.row.Parent, r.row.Agent, r.row.Source = strings.Clone(r.row.Parent), strings.Clone(r.row.Agent), strings.Clone(r.row.Source)
	heap.Push(t, r)
}

func (t *topRows) emit(out Emit) (*Position, error) {
	slices.SortFunc(t.rows, func(a, b ranked) int { return t.compare(&a, b.rank, b.row.Name) })
	var at *Position
	rows := t.rows
	if len(rows) > t.limit {
		rows = rows[:t.limit]
		last := &rows[len(rows)-1]
		at = &Position{Extra: last.rank}
		at.Key.Parent, at.Key.Name = last.row.Parent, last.row.Name
	}
	for i := range rows {
		if err := out(&rows[i].row); err != nil {
			return nil, err
		}
	}
	return at, nil
}

// Len, Less, Swap, Push and Pop implement heap.Interface.
func (t *topRows) Len() int { return len(t.rows) }
func (t *topRows) Less(i, j int) bool {
	return t.compare(&t.rows[i], t.rows[j].rank, t.rows[j].row.Name) > 0
}
func (t *topRows) Swap(i, j int) { t.rows[i], t.rows[j] = t.rows[j], t.rows[i] }
func (t *topRows) Push(x any)    { t.rows = append(t.rows, x.(ranked)) }
func (t *topRows) Pop() any {
	last := t.rows[len(t.rows)-1]
	t.rows = t.rows[:len(t.rows)-1]
	return last
}
