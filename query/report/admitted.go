package report

import (
	"container/heap"
	"context"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// Admission is what counts of what is in a directory.
type Admission uint8

// The admissions.
const (
	Nothing Admission = iota
	Stored            // everything: the totals that the directory's row has
	Within            // what each of its entries says
)

// Admit says what counts of what is in a directory, given its row with the totals as stored.
type Admit func(dir *evidence.Row) (Admission, error)

// AdmittedTotals are the sums of what is below the root, as far as admit lets it count: it is asked about each directory that counts
// itself. So the cost follows the directories that are gone into, and the entries of these alone. The filter of the scope has no part in
// this.
func (s Scope) AdmittedTotals(ctx context.Context, admit Admit) (evidence.Totals, error) {
	sum := nothing
	err := s.admitted(ctx, admit, nil, func(_ string, t evidence.Totals) { sum = sum.Plus(t) })
	return sum, err
}

// admittedSums are the sums of those directories whose stored totals do not count, by path: of the root, and of what admit is asked about
// and does not take as Stored. It holds at most MaxFiltered of them.
func (s Scope) admittedSums(ctx context.Context, admit Admit) (admittedSums, error) {
	root := s.Root.ChildParent()
	sums := admittedSums{strings.TrimSuffix(root, "/"): {s.Root.Own(), Within}}
	err := s.admitted(ctx, admit, func(path string, own admitted) error {
		if len(sums) == MaxFiltered {
			return ErrTooManyDirectories
		}
		sums[path] = own
		return nil
	}, func(parent string, t evidence.Totals) {
		for at := len(root) - 1; ; at++ { // every directory from the root to this one
			sum := sums[parent[:at]]
			sum.Totals = sum.Plus(t)
			sums[parent[:at]] = sum
			next := strings.IndexByte(parent[at+1:], '/')
			if next < 0 {
				return
			}
			at += next
		}
	})
	return sums, err
}

// admittedSums are sums by path; the root of the view has the path "".
type admittedSums map[string]admitted

// admitted are the sums of a directory itself and of what counts below it.
type admitted struct {
	evidence.Totals
	Admission
}

// of are the sums of a directory that counts itself, and what counts of what is in it, given the totals that its row has.
func (s admittedSums) of(path string, stored evidence.Totals) (evidence.Totals, Admission) {
	if sum, known := s[path]; known {
		return sum.Totals, sum.Admission
	}
	return stored, Stored
}

// admitted calls add with the Parent of the entries of each directory that is gone into, and with their sums: the stored ones of
// directories that admit takes so. It calls meet, if there is one, with the path of each other directory that admit is asked about, and
// what that one itself adds.
func (s Scope) admitted(ctx context.Context, admit Admit, meet func(path string, own admitted) error, add func(parent string, t evidence.Totals)) error {
	root := s.Root.ChildParent()
	c := s.View.Cursor(ctx).Until(subtreeEnd(root)).ReadAhead(readAhead)
	sp := &span{columns: make([]*layer.Numbers, len(countedColumns))}
	var dir evidence.Row
	// Directories are gone into in the order of their entries' keys, so the cursor moves forward only.
	for ahead := (layer.Parents{root}); len(ahead) > 0; {
		parent, sum := heap.Pop(&ahead).(string), nothing
		if err := ctx.Err(); err != nil {
			return err
		}
		for ok := c.Seek(layer.Key{Parent: parent}); ok; ok = c.NextSpan() {
			b, from, to := c.Span()
			if err := b.LoadKeys(); err != nil {
				return err
			}
			if b.Parent(from) != parent {
				break
			}
			if err := sp.open(b, countedColumns, b.Group().Removed > 0); err != nil {
				return err
			}
			end := min(to, b.ParentEnd(from))
			for i := from; i < end; i++ {
				switch {
				case !sp.present(i):
					continue
				case event.Type(sp.types.At(i)) != event.Directory:
					sp.count(&sum, i)
					continue
				}
				if err := sp.directory(i, &dir); err != nil {
					return err
				}
				admission, err := admit(&dir)
				if err != nil {
					return err
				}
				if admission == Stored {
					sum = sum.Plus(dir.Sub)
					continue
				}
				own := nothing
				sp.count(&own, i)
				sum = sum.Plus(own)
				if meet != nil {
					if err := meet(dir.Path(), admitted{own, admission}); err != nil {
						return err
					}
				}
				if admission == Within && dir.Sub.Files+dir.Sub.Directories+dir.Sub.Others > 1 {
					heap.Push(&ahead, dir.ChildParent())
				}
			}
			if end < to {
				break
			}
		}
		if err := c.Err(); err != nil {
			return err
		}
		add(parent, sum)
	}
	return nil
}

// directory reads of row i, a directory, what decides on the rights to it, and its totals.
func (s *span) directory(i int, dir *evidence.Row) error {
	if err := s.block.Access(i, dir); err != nil {
		return err
	}
	return s.block.Subtree(i, dir)
}
