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
	ByMtime     = "mtime"     // newest first
)

// List emits the entries of a directory in an order, after a position, up to limit of them.
func (v *Version) List(ctx context.Context, dir *evidence.Row, order string, after *Position, limit int, out Emit) (*Position, error) {
	if dir.Type != event.Directory {
		return nil, &NotDirectoryError{dir.Path()}
	}
	parent := dir.ChildParent()
	if err := v.mayList(ctx, parent); err != nil {
		return nil, err
	}
	if order == ByName {
		page := pageLimiter{limit: limit, emit: out}
		return page.end(v.children(ctx, parent, after, limit, page.take))
	}
	top := &topRows{limit: limit}
	err := v.children(ctx, parent, nil, 0, func(r *evidence.Row) error {
		top.offer(ranked{RankOf(r, order), *r}, after)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return top.emit(out)
}

// RankOf is the value that an order sorts by, descending.
func RankOf(r *evidence.Row, order string) int64 {
	switch {
	case order == ByMtime:
		return r.MtimeNs
	case order == ByAllocated && r.Type == event.Directory:
		return r.Sub.Allocated
	case order == ByAllocated:
		return r.Allocated
	case r.Type == event.Directory:
		return r.Sub.Bytes
	}
	return r.Size
}

// ranked is a row and its rank.
type ranked struct {
	rank int64
	row  evidence.Row
}

// compare orders a ranked listing: by rank descending, then by name.
func (a ranked) compare(rank int64, name string) int {
	return cmp.Or(cmp.Compare(rank, a.rank), strings.Compare(a.row.Name, name))
}

// topRows keeps the first limit+1 of the rows that it is offered, in the order of a ranked listing: a heap with the last of them on
// top. The one beyond the limit shows that there is a next page.
type topRows struct {
	limit int
	rows  []ranked
}

func (t *topRows) offer(r ranked, after *Position) {
	if after != nil {
		if c := r.compare(after.Extra, after.Key.Name); c < 0 || c == 0 && !after.Including {
			return
		}
	}
	if len(t.rows) > t.limit {
		if last := &t.rows[0]; r.compare(last.rank, last.row.Name) >= 0 {
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
	slices.SortFunc(t.rows, func(a, b ranked) int { return a.compare(b.rank, b.row.Name) })
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
	return t.rows[i].compare(t.rows[j].rank, t.rows[j].row.Name) > 0
}
func (t *topRows) Swap(i, j int) { t.rows[i], t.rows[j] = t.rows[j], t.rows[i] }
func (t *topRows) Push(x any)    { t.rows = append(t.rows, x.(ranked)) }
func (t *topRows) Pop() any {
	last := t.rows[len(t.rows)-1]
	t.rows = t.rows[:len(t.rows)-1]
	return last
}
