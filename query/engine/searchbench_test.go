package engine

import (
	"slices"
	"strings"
	"testing"

	"github.com/fustor/fustor/testkit/gentree"
)

// BenchmarkNames measures the search for a part in any case over the names of row groups as they are stored, and as they lie one after
// the other: of ASCII alone, with one name beyond it in each group, and with ideographs in front of every name.
func BenchmarkNames(b *testing.B) {
	const group = 7168
	var ascii []string
	for r := range gentree.New(gentree.Options{Seed: 1, Rows: 8 * group}).Rows() {
		ascii = append(ascii, r.Name)
	}
	some, all := slices.Clone(ascii), slices.Clone(ascii)
	for i := range all {
		all[i] = "数据" + all[i]
		if i%group == 0 {
			some[i] = "Ärger " + some[i]
		}
	}
	for _, c := range []struct {
		kind  string
		names []string
	}{{"ascii", ascii}, {"one", some}, {"ideographs", all}} {
		b.Run(c.kind, func(b *testing.B) {
			p, err := compilePattern("quixotic")
			if err != nil {
				b.Fatal(err)
			}
			l, found := p.literal(), 0
			names := coded(c.names[:group])
			text, offsets := strings.Join(c.names[:group], ""), []uint32{0}
			for _, name := range c.names[:group] {
				offsets = append(offsets, offsets[len(offsets)-1]+uint32(len(name)))
			}
			for b.Loop() {
				if l.inCoded(names) {
					found++
				}
				next := candidates{finder: l.finder(text, isASCII(text)), offsets: offsets, to: group}
				for i := next.next(0); i < group; i = next.next(i + 1) {
					if p.name("/", text[offsets[i]:offsets[i+1]]) {
						found++
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/group, "ns/name")
		})
	}
}
