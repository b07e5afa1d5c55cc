package engine

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/casefold"
	"github.com/fustor/fustor/internal/layer"
)

// coded are names as a row group has them, in that order.
func coded(names []string) *layer.CodedNames {
	c := &layer.CodedNames{Starts: []uint32{0}}
	before := ""
	for _, name := range names {
		shared := 0
		for shared < min(len(name), len(before)) && name[shared] == before[shared] {
			shared++
		}
		c.Shared = append(c.Shared, int32(shared))
		c.Rest += name[shared:]
		c.Starts = append(c.Starts, uint32(len(c.Rest)))
		before = name
	}
	return c
}

// TestLiteralsInCodedNames: a literal that a name has is never missed where names are looked at as they are stored, and one
// that none has is hardly ever thought to be there.
func TestLiteralsInCodedNames(t *testing.T) {
	gen := rapid.OneOf(
		rapid.StringMatching(`[abAB]{0,6}`),
		rapid.StringMatching(`(run|RUN|scan)_00[0-2]{3}\.(npy|dcm)`),
		rapid.StringMatching(`a{0,70}b?`),
	)
	wrong, right := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(gen, 1, 60).Draw(t, "names")
		if rapid.Bool().Draw(t, "in order") {
			slices.Sort(names)
		}
		part := gen.Draw(t, "literal")
		if rapid.Bool().Draw(t, "of a name") {
			part = rapid.SampledFrom(names).Draw(t, "name")
		}
		from := rapid.IntRange(0, len(part)).Draw(t, "from")
		part = part[from:rapid.IntRange(from, len(part)).Draw(t, "to")]
		fold := rapid.Bool().Draw(t, "fold")
		if fold {
			part = strings.ToLower(part)
		}
		l := newLiteral(part, fold)
		if l == nil {
			return
		}
		has := slices.ContainsFunc(names, func(name string) bool {
			return strings.Contains(name, part) || fold && strings.Contains(strings.ToLower(name), part)
		})
		if may := l.inCoded(coded(names)); has && !may {
			t.Fatalf("%q (fold %v) is missed in %q", part, fold, names)
		} else if may && !has {
			wrong++
		} else if !has {
			right++
		}
	})
	if wrong > right/4 {
		t.Errorf("of literals that no name has, %d were taken to be there and %d were not", wrong, right)
	}
}

// TestLiteralsInFoldedNames: a name that has a literal when it is folded is never missed, neither where names are looked at as they are
// stored nor where they lie one after the other.
func TestLiteralsInFoldedNames(t *testing.T) {
	piece := rapid.SampledFrom([]string{"s", "S", "ß", "ſ", "ä", "Ã", "ê", "f", "i", "ﬁ", "ﬃ", "ﬀ", "İ", "I", "\u0307", "\u0301", "e", "k", "\u212a", "中", "ḿ", "ẞ", "ẚ", "\xc3", "\x9f", "\xef"})
	name := rapid.Custom(func(t *rapid.T) string { return strings.Join(rapid.SliceOfN(piece, 1, 5).Draw(t, "pieces"), "") })
	rapid.Check(t, func(t *rapid.T) {
		names := rapid.SliceOfN(name, 1, 12).Draw(t, "names")
		slices.Sort(names)
		folded := casefold.String(rapid.SampledFrom(names).Draw(t, "name"))
		from := rapid.IntRange(0, len(folded)).Draw(t, "from")
		p := namePart{newFolded(folded[from:rapid.IntRange(from, len(folded)).Draw(t, "to")])}
		l := p.literal()
		if l == nil {
			return
		}
		if slices.ContainsFunc(names, func(name string) bool { return p.name("/", name) }) && !l.inCoded(coded(names)) {
			t.Fatalf("%q is missed in %q", l.part, names)
		}
		text, offsets := "", []uint32{0}
		for _, name := range names {
			text += name
			offsets = append(offsets, uint32(len(text)))
		}
		next := candidates{finder: l.finder(text, false), offsets: offsets, to: len(names)}
		for i, at := 0, next.next(0); i < len(names); i++ {
			for at < i {
				at = next.next(at + 1)
			}
			if p.name("/", names[i]) && at != i {
				t.Fatalf("%q in %q is no candidate for %q", names[i], names, l.part)
			}
		}
	})
}
