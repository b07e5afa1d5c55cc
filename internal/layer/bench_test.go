package layer

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/gentree"
)

// partition is how many rows the benchmarks' base partitions have: FUSTOR_BENCH_PARTITION, or a million. Views have one or ten.
var partition = int64(1_000_000)

func init() {
	if n, err := strconv.ParseInt(os.Getenv("FUSTOR_BENCH_PARTITION"), 10, 64); err == nil && n > 0 {
		partition = n
	}
}

// benchView writes a view of that many rows, and of some deltas that change one row in a hundred each.
func benchView(b *testing.B, st store.Store, rows, deltas int) (base, over []Info) {
	b.Helper()
	tree := gentree.New(gentree.Options{Seed: 1, Rows: rows})
	w := NewWriter(WriterOptions{ID: id(0)})
	for r := range tree.Rows() {
		if err := w.Append(r); err != nil {
			b.Fatal(err)
		}
		if w.Rows() == partition {
			base = append(base, publish(b, st, w))
			w = NewWriter(WriterOptions{ID: id(len(base))})
		}
	}
	if w.Rows() > 0 {
		base = append(base, publish(b, st, w))
	}
	for d := range deltas {
		w := NewWriter(WriterOptions{ID: id(1000 + d), RowsPerGroup: DeltaRowsPerGroup})
		for r := range tree.Changes(uint64(d), 100) {
			if err := w.Append(r); err != nil {
				b.Fatal(err)
			}
		}
		over = slices.Insert(over, 0, publish(b, st, w))
	}
	return base, over
}

func benchOpen(b *testing.B, st store.Store, base, deltas []Info, c *Cache) *View {
	b.Helper()
	v, err := OpenView(st, testView, base, deltas, c)
	if err != nil {
		b.Fatal(err)
	}
	return v
}

func perRow(b *testing.B, rows int64, what string) {
	b.ReportMetric(float64(rows)*float64(b.N)/b.Elapsed().Seconds(), what+"/s")
	b.ReportMetric(0, "ns/op")
}

func BenchmarkWriteRows(b *testing.B) {
	var rows []evidence.Row
	for r := range gentree.New(gentree.Options{Seed: 1, Rows: int(partition)}).Rows() {
		rows = append(rows, *r)
	}
	var built Built
	for b.Loop() {
		w := NewWriter(WriterOptions{ID: id(1)})
		for i := range rows {
			if err := w.Append(&rows[i]); err != nil {
				b.Fatal(err)
			}
		}
		var err error
		if built, err = w.Finish(); err != nil {
			b.Fatal(err)
		}
	}
	perRow(b, partition, "rows")
	b.ReportMetric(float64(built.Info.Bytes)/float64(partition), "bytes/row")
	b.ReportMetric(float64(len(built.Index)), "index-bytes/Mrow")
}

// BenchmarkRest measures a view at rest, its indexes included.
func BenchmarkRest(b *testing.B) {
	for _, rows := range []int{int(partition), 10 * int(partition)} {
		b.Run(fmt.Sprint(rows), func(b *testing.B) {
			for b.Loop() {
				base, _ := benchView(b, openStore(b), rows, 0)
				n, index := int64(0), int64(0)
				for _, i := range base {
					n, index = n+i.Bytes, index+i.IndexBytes
				}
				b.ReportMetric(float64(n+index)/float64(rows), "bytes/row")
				b.ReportMetric(float64(index)/float64(rows)*1e6, "index-bytes/Mrow")
			}
		})
	}
}

func BenchmarkCopy(b *testing.B) {
	st := openStore(b)
	base, _ := benchView(b, st, int(partition), 0)
	l := open(b, st, base[0])
	groups, _ := l.Groups(b.Context())
	for _, how := range []string{"block", "verbatim"} {
		b.Run(how, func(b *testing.B) {
			for b.Loop() {
				w := NewWriter(WriterOptions{ID: id(1)})
				for i := range groups {
					var err error
					if how == "block" {
						var block *Block
						if block, err = l.Block(b.Context(), i); err == nil {
							err = w.AppendBlock(block, 0, block.Len())
						}
					} else {
						var raw RawGroup
						if raw, err = l.RawGroup(b.Context(), i); err == nil {
							err = w.AppendGroup(raw)
						}
					}
					if err != nil {
						b.Fatal(err)
					}
				}
				if _, err := w.Finish(); err != nil {
					b.Fatal(err)
				}
			}
			perRow(b, partition, "rows")
		})
	}
}

func BenchmarkDecode(b *testing.B) {
	st := openStore(b)
	base, _ := benchView(b, st, 100_000, 0)
	l := open(b, st, base[0])
	groups, err := l.Groups(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	raw, err := l.RawGroups(b.Context(), 0, len(groups))
	if err != nil {
		b.Fatal(err)
	}
	for _, what := range []string{"keys", "all", "rows"} {
		b.Run(what, func(b *testing.B) {
			n := int64(0)
			for b.Loop() {
				n = 0
				for i := range raw {
					block, err := decodeBlock(raw[i])
					if err == nil && what != "keys" {
						_, err = block.loadAll()
					}
					if err != nil {
						b.Fatal(err)
					}
					n += int64(block.Len())
					if what != "rows" {
						continue
					}
					var r evidence.Row
					for j := range block.Len() {
						if err := block.Row(j, &r); err != nil {
							b.Fatal(err)
						}
					}
				}
			}
			perRow(b, n, "rows")
		})
	}
}

// BenchmarkScan goes through a whole view, cold: every row group is read and decoded.
func BenchmarkScan(b *testing.B) {
	rows := 10 * int(partition)
	st := openStore(b)
	base, deltas := benchView(b, st, rows, 8)
	for _, n := range []int{0, 8} {
		for _, what := range []string{"spans", "keys", "rows"} {
			b.Run(fmt.Sprintf("%s-%d-deltas", what, n), func(b *testing.B) {
				seen := int64(0)
				var m Meter
				for b.Loop() {
					seen = 0
					m = Meter{}
					v := benchOpen(b, st, base, deltas[:n], NewCache(8<<20))
					c := v.Cursor(WithMeter(b.Context(), &m)).ReadAhead(2 << 20)
					seen = goThrough(b, c, what)
				}
				perRow(b, seen, "rows")
				b.ReportMetric(float64(m.Cost().Gets), "GETs")
			})
		}
	}
}

func goThrough(b *testing.B, c *Cursor, what string) (n int64) {
	if what == "spans" {
		for ok := c.NextSpan(); ok; ok = c.NextSpan() {
			_, from, to := c.Span()
			n += int64(to - from)
		}
	} else {
		var r evidence.Row
		for c.Next() {
			n++
			if what == "rows" {
				if err := c.Row(&r); err != nil {
					b.Fatal(err)
				}
			} else if c.Key().Name == "no such name" {
				b.Fatal("found")
			}
		}
	}
	if err := c.Err(); err != nil {
		b.Fatal(err)
	}
	return n
}

// BenchmarkGet looks keys up: cold in a view just opened, warm in one whose row groups are in the cache.
func BenchmarkGet(b *testing.B) {
	for _, rows := range []int{int(partition), 10 * int(partition)} {
		st := openStore(b)
		base, deltas := benchView(b, st, rows, 8)
		keys := sampleKeys(b, benchOpen(b, st, base, nil, NewCache(1<<30)), 2000)
		for _, n := range []int{0, 8} {
			b.Run(fmt.Sprintf("cold-%d-rows-%d-deltas", rows, n), func(b *testing.B) {
				most, sum, i := Cost{}, int64(0), 0
				for b.Loop() {
					var m Meter
					v := benchOpen(b, st, base, deltas[:n], NewCache(64<<20))
					get(b, WithMeter(b.Context(), &m), v, keys[i%len(keys)])
					i++
					sum += m.Cost().Bytes
					c := m.Cost()
					most = Cost{Gets: max(most.Gets, c.Gets), Bytes: max(most.Bytes, c.Bytes)}
				}
				b.ReportMetric(float64(most.Gets), "max-GETs")
				b.ReportMetric(float64(most.Bytes), "max-bytes")
				b.ReportMetric(float64(sum)/float64(b.N), "mean-bytes")
			})
			b.Run(fmt.Sprintf("warm-%d-rows-%d-deltas", rows, n), func(b *testing.B) {
				v := benchOpen(b, st, base, deltas[:n], NewCache(4<<30))
				for _, k := range keys {
					get(b, b.Context(), v, k)
				}
				var took []time.Duration
				for i := 0; b.Loop(); i++ {
					start := time.Now()
					get(b, b.Context(), v, keys[i%len(keys)])
					took = append(took, time.Since(start))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds()), "p99-ns")
			})
		}
	}
}

func get(b *testing.B, ctx context.Context, v *View, k Key) {
	var r evidence.Row
	if found, err := v.Get(ctx, k, &r); err != nil || !found {
		b.Fatal(k, found, err)
	}
}

// sampleKeys are keys from all over a view.
func sampleKeys(b *testing.B, v *View, n int) (out []Key) {
	rng := rand.New(rand.NewPCG(1, 2))
	for range n {
		l := v.Base()[rng.IntN(len(v.Base()))]
		groups, err := l.Groups(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		block, err := l.Block(b.Context(), rng.IntN(len(groups)))
		if err != nil {
			b.Fatal(err)
		}
		out = append(out, block.Key(rng.IntN(block.Len())))
	}
	return out
}
