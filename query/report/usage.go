package report

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// Share is what one owner, group or extension has of a subtree.
type Share[K cmp.Ordered] struct {
	Of     K
	Totals evidence.Totals // of the entries themselves: a directory counts as one
}

// ByOwner sums up by uid, the most bytes first.
func (s Scope) ByOwner(ctx context.Context) ([]Share[uint32], error) {
	return s.byNumber(ctx, layer.ColumnUID)
}

// ByGroup sums up by gid, the most bytes first.
func (s Scope) ByGroup(ctx context.Context) ([]Share[uint32], error) {
	return s.byNumber(ctx, layer.ColumnGID)
}

func (s Scope) byNumber(ctx context.Context, column layer.Column) ([]Share[uint32], error) {
	sums := map[uint32]*evidence.Totals{}
	p := pass{ctx: ctx, scope: s, columns: append(slices.Clone(countedColumns), column)}
	err := p.each(func(s *span) error {
		last, t := int64(-1), (*evidence.Totals)(nil)
		for i := s.from; i < s.to; i++ {
			if !s.present(i) {
				continue
			}
			if id := s.columns[len(countedColumns)].At(i); id != last {
				last, t = id, entryOf(sums, uint32(id))
			}
			s.count(t, i)
		}
		return nil
	})
	return shares(sums), err
}

func entryOf[K comparable](sums map[K]*evidence.Totals, k K) *evidence.Totals {
	t := sums[k]
	if t == nil {
		t = &evidence.Totals{LatestMtimeNs: evidence.NoMtime}
		sums[k] = t
	}
	return t
}

// countedColumns are the first columns of a pass that counts.
var countedColumns = []layer.Column{layer.ColumnSize, layer.ColumnMtimeNs, layer.ColumnObservedAtNs, layer.ColumnLinks, layer.ColumnAllocatedExcess}

// count adds row i of the span. Only what Own asks of a row is set.
func (s *span) count(t *evidence.Totals, i int) {
	row := evidence.Row{
		Type: event.Type(s.types.At(i)), Size: s.columns[0].At(i), MtimeNs: s.columns[1].At(i), ObservedAt: s.columns[2].At(i),
		Inode: event.Inode{Links: uint32(s.columns[3].At(i))},
	}
	if row.Measured() {
		row.Allocated = event.Rounded(row.Size) + s.columns[4].At(i)
	}
	*t = t.Plus(row.Own())
}

func shares[K cmp.Ordered](sums map[K]*evidence.Totals) []Share[K] {
	out := make([]Share[K], 0, len(sums))
	for k, t := range sums {
		out = append(out, Share[K]{k, *t})
	}
	slices.SortFunc(out, func(a, b Share[K]) int {
		return cmp.Or(cmp.Compare(b.Totals.Bytes, a.Totals.Bytes), cmp.Compare(b.Totals.Files, a.Totals.Files), cmp.Compare(a.Of, b.Of))
	})
	return out
}

const (
	// maxExtension is the longest extension, in bytes; what is longer counts as part of the name.
	maxExtension = 16
	// MaxExtensions bounds the extensions that are counted one by one; the rest count as OtherExtensions.
	MaxExtensions = 1 << 16
	// OtherExtensions cannot be the extension of a name.
	OtherExtensions = "*"
)

// extension is what follows the last dot of a name, in lower case. It is empty if the name has no dot or only a leading one, and if it
// would not be 1 to 16 letters, digits or any of + - _ ~. It is written into b, so that nothing is allocated.
func extension(name string, b *[maxExtension]byte) []byte {
	dot := strings.LastIndexByte(name, '.')
	n := len(name) - dot - 1
	if dot <= 0 || n == 0 || n > maxExtension {
		return nil
	}
	for i := range n {
		c := name[dot+1+i]
		switch {
		case c >= 'A' && c <= 'Z':
			c += 'a' - 'A'
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '+', c == '-', c == '_', c == '~':
		default:
			return nil
		}
		b[i] = c
	}
	return b[:n]
}

// ByExtension sums up the files by extension, the most bytes first.
func (s Scope) ByExtension(ctx context.Context) ([]Share[string], error) {
	sums := map[string]*evidence.Totals{}
	p := pass{ctx: ctx, scope: s, columns: countedColumns}
	var lower [maxExtension]byte
	err := p.each(func(s *span) error {
		text, offsets := s.block.Names()
		for i := s.from; i < s.to; i++ {
			if !s.is(i, event.File) {
				continue
			}
			ext := extension(text[offsets[i]:offsets[i+1]], &lower)
			t := sums[string(ext)]
			if t == nil {
				of := string(ext)
				if len(sums) >= MaxExtensions {
					of = OtherExtensions
				}
				t = entryOf(sums, of)
			}
			s.count(t, i)
		}
		return nil
	})
	return shares(sums), err
}
