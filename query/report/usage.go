package report

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/values"
)

// Share is what one owner, group or extension has of a subtree.
type Share[K cmp.Ordered] struct {
	Of     K
	Totals evidence.Totals // of the entries themselves: a directory counts as one
	Across []Bucket        // of a cross table: its files, by class
}

// Totals are the sums of everything wanted below the root.
func (s Scope) Totals(ctx context.Context) (evidence.Totals, error) {
	sum := evidence.Totals{LatestMtimeNs: evidence.NoMtime}
	p := pass{ctx: ctx, scope: s, columns: slices.Clone(countedColumns)}
	err := p.each(func(s *span) error {
		for i := s.from; i < s.to; i++ {
			if s.present(i) {
				s.count(&sum, i)
			}
		}
		return nil
	})
	return sum, err
}

// ByOwner sums up by uid, the most bytes first; in a cross table by class as well, unless across is nil.
func (s Scope) ByOwner(ctx context.Context, across *Classes) ([]Share[uint32], error) {
	return s.byNumber(ctx, layer.ColumnUID, across)
}

// ByGroup sums up by gid, the most bytes first; in a cross table by class as well, unless across is nil.
func (s Scope) ByGroup(ctx context.Context, across *Classes) ([]Share[uint32], error) {
	return s.byNumber(ctx, layer.ColumnGID, across)
}

func (s Scope) byNumber(ctx context.Context, column layer.Column, across *Classes) ([]Share[uint32], error) {
	sums := usage[uint32]{map[uint32]*Share[uint32]{}, across}
	columns := sums.columns()
	p := pass{ctx: ctx, scope: s, columns: append(columns, column)}
	err := p.each(func(s *span) error {
		last, of := int64(-1), (*Share[uint32])(nil)
		for i := s.from; i < s.to; i++ {
			if !s.present(i) {
				continue
			}
			if id := s.columns[len(columns)].At(i); id != last {
				last, of = id, sums.share(uint32(id))
			}
			sums.count(of, s, i)
		}
		return nil
	})
	return sums.sorted(), err
}

// usage is what a pass that counts has counted so far.
type usage[K cmp.Ordered] struct {
	shares map[K]*Share[K]
	across *Classes
}

// share is that of k.
func (u *usage[K]) share(k K) *Share[K] {
	of := u.shares[k]
	if of == nil {
		of = &Share[K]{Of: k, Totals: evidence.Totals{LatestMtimeNs: evidence.NoMtime}}
		if u.across != nil {
			of.Across = u.across.buckets()
		}
		u.shares[k] = of
	}
	return of
}

// columns are the first ones of the pass: those of totals, and that of the classes.
func (u *usage[K]) columns() []layer.Column {
	if u.across == nil {
		return slices.Clone(countedColumns)
	}
	return append(slices.Clone(countedColumns), u.across.column)
}

// count adds row i of the span to a share.
func (u *usage[K]) count(of *Share[K], s *span, i int) {
	s.count(&of.Totals, i)
	if u.across == nil || !s.is(i, event.File) {
		return
	}
	b := u.across.bucket(of.Across, &of.Across[0], s.columns[len(countedColumns)].At(i))
	b.Files++
	b.Bytes = values.Sum(b.Bytes, s.columns[0].At(i))
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

// sorted are the shares, the most bytes first.
func (u *usage[K]) sorted() []Share[K] {
	out := make([]Share[K], 0, len(u.shares))
	for _, of := range u.shares {
		out = append(out, *of)
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

// extension is Extension, written into b, so that nothing is allocated.
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

// Extension is the extension of a file's name: what follows its last dot, in lower case. It is empty if the name has no dot or only a
// leading one, and if it would not be 1 to 16 letters, digits or any of + - _ ~.
func Extension(name string) string {
	var lower [maxExtension]byte
	return string(extension(name, &lower))
}

// ByExtension sums up the files by extension, the most bytes first; in a cross table by class as well, unless across is nil.
func (s Scope) ByExtension(ctx context.Context, across *Classes) ([]Share[string], error) {
	sums := usage[string]{map[string]*Share[string]{}, across}
	p := pass{ctx: ctx, scope: s, columns: sums.columns()}
	var lower [maxExtension]byte
	err := p.each(func(s *span) error {
		text, offsets := s.block.Names()
		for i := s.from; i < s.to; i++ {
			if !s.is(i, event.File) {
				continue
			}
			ext := extension(text[offsets[i]:offsets[i+1]], &lower)
			of := sums.shares[string(ext)]
			if of == nil {
				name := string(ext)
				if len(sums.shares) >= MaxExtensions {
					name = OtherExtensions
				}
				of = sums.share(name)
			}
			sums.count(of, s, i)
		}
		return nil
	})
	return sums.sorted(), err
}
