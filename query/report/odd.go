package report

import (
	"context"
	"math"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// Oddities are what is odd about an entry, a bit each.
type Oddities uint8

const (
	MtimeInFuture   Oddities = 1 << iota // by more than a day when it was observed
	MtimeBefore1970                      // but not out of range
	MtimeOutOfRange                      // beyond what 64 bits of ns hold: before 1677 or after 2262
	SizeOutOfRange                       // the size, or what the entry occupies, is more than 64 bits hold
	NameNotUTF8
	NameControl // it has a control character
	NameBlank   // it begins or ends with a blank
)

// oddityWords are the names of the bits.
var oddityWords = []string{"mtime-in-future", "mtime-before-1970", "mtime-out-of-range", "size-out-of-range", "name-not-utf8", "name-control-character", "name-blank-at-end"}

// Words are the oddities by name.
func (o Oddities) Words() (words []string) {
	for i, word := range oddityWords {
		if o&(1<<i) != 0 {
			words = append(words, word)
		}
	}
	return words
}

// OdditiesOf are what is odd about a row that has all columns.
func OdditiesOf(r *evidence.Row) Oddities {
	o := mtimeOddities(r.MtimeNs, r.ObservedAt) | nameOddities(r.Name)
	if outOfRange(r.Size) || r.Allocated >= math.MaxInt64/512*512 {
		o |= SizeOutOfRange
	}
	return o
}

func outOfRange(size int64) bool { return size < 0 || size == math.MaxInt64 }

func mtimeOddities(mtime, observed int64) Oddities {
	switch {
	case mtime == math.MaxInt64, mtime == math.MinInt64:
		return MtimeOutOfRange
	case mtime < 0:
		return MtimeBefore1970
	case evidence.InFuture(mtime, observed):
		return MtimeInFuture
	}
	return 0
}

// nameOddities looks closely only at names with a byte that is not of everyday ASCII.
func nameOddities(name string) (o Oddities) {
	plain := true
	for i := range len(name) {
		plain = plain && name[i] > ' ' && name[i] < 0x7f
	}
	if plain {
		return 0
	}
	if !utf8.ValidString(name) {
		o |= NameNotUTF8
	}
	if strings.ContainsFunc(name, unicode.IsControl) {
		o |= NameControl
	}
	if strings.TrimFunc(name, unicode.IsSpace) != name {
		o |= NameBlank
	}
	return o
}

// Odd calls f for the entries below the root that have oddities, in key order from a key on. The row has all columns, and is good
// until f returns.
func (s Scope) Odd(ctx context.Context, from layer.Key, f func(*evidence.Row) error) error {
	var row evidence.Row
	p := pass{ctx: ctx, scope: s, columns: []layer.Column{layer.ColumnMtimeNs, layer.ColumnObservedAtNs, layer.ColumnSize, layer.ColumnAllocatedExcess},
		skip: func(g *layer.Group) bool { return g.Last.Compare(from) < 0 }}
	return p.each(func(s *span) error {
		text, offsets := s.block.Names()
		for i := s.block.SearchFrom(s.from, from); i < s.to; i++ {
			size := s.columns[2].At(i)
			huge := outOfRange(size) || size > math.MaxInt64>>1 || s.columns[3].At(i) > math.MaxInt64>>1 // the row says whether
			if !s.present(i) || !huge && mtimeOddities(s.columns[0].At(i), s.columns[1].At(i))|nameOddities(text[offsets[i]:offsets[i+1]]) == 0 {
				continue
			}
			if err := s.block.Row(i, &row); err != nil {
				return err
			}
			if OdditiesOf(&row) == 0 {
				continue
			}
			if err := f(&row); err != nil {
				return err
			}
		}
		return nil
	})
}
