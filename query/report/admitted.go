package report

import (
	"container/heap"
	"context"

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

// AdmittedTotals are the sums of what is below the root, as far as admit lets it count: it is asked about each directory that counts
// itself, with its totals. So the cost follows the directories that are gone into, and the entries of these alone. The filter of the
// scope has no part in this.
func (s Scope) AdmittedTotals(ctx context.Context, admit func(*evidence.Row) (Admission, error)) (evidence.Totals, error) {
	sum := evidence.Totals{LatestMtimeNs: evidence.NoMtime}
	root := s.Root.ChildParent()
	c := s.View.Cursor(ctx).Until(subtreeEnd(root)).ReadAhead(readAhead)
	sp := &span{columns: make([]*layer.Numbers, len(countedColumns))}
	var dir evidence.Row
	// Directories are gone into in the order of their entries' keys, so the cursor moves forward only.
	for ahead := (layer.Parents{root}); len(ahead) > 0; {
		parent := heap.Pop(&ahead).(string)
		if err := ctx.Err(); err != nil {
			return sum, err
		}
		for ok := c.Seek(layer.Key{Parent: parent}); ok; ok = c.NextSpan() {
			b, from, to := c.Span()
			if err := b.LoadKeys(); err != nil {
				return sum, err
			}
			if b.Parent(from) != parent {
				break
			}
			if err := sp.open(b, countedColumns, b.Group().Removed > 0); err != nil {
				return sum, err
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
				err := b.Access(i, &dir)
				if err == nil {
					err = b.Subtree(i, &dir)
				}
				if err != nil {
					return sum, err
				}
				admission, err := admit(&dir)
				switch {
				case err != nil:
					return sum, err
				case admission == Stored:
					sum = sum.Plus(dir.Sub)
					continue
				case admission == Within && dir.Sub.Files+dir.Sub.Directories+dir.Sub.Others > 1:
					heap.Push(&ahead, dir.ChildParent())
				}
				sp.count(&sum, i)
			}
			if end < to {
				break
			}
		}
		if err := c.Err(); err != nil {
			return sum, err
		}
	}
	return sum, nil
}
