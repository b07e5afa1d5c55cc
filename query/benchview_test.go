package query

import (
	"context"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/gentree"
)

// benchLayers writes the layers of the benchmarks' views: of generated rows, in base partitions of a million.
type benchLayers struct {
	*fixture
	b    *testing.B
	base []layer.Info
}

const benchPartition = 1_000_000

func (l *benchLayers) writer() *layer.Writer {
	return layer.NewWriter(layer.WriterOptions{ID: ulid.Make().String()})
}

func (l *benchLayers) deltaWriter() *layer.Writer {
	return layer.NewWriter(layer.WriterOptions{ID: ulid.Make().String(), RowsPerGroup: *benchDeltaRows})
}

func (l *benchLayers) publish(w *layer.Writer) layer.Info {
	l.b.Helper()
	built, err := w.Finish()
	if err == nil {
		err = layer.Publish(context.Background(), l.st, testView, built)
	}
	if err != nil {
		l.b.Fatal(err)
	}
	return built.Info
}

// writeBase writes all rows of a tree, and shows them to each before, which may change them.
func (l *benchLayers) writeBase(tree *gentree.Tree, each func(*evidence.Row)) {
	w := l.writer()
	for r := range tree.Rows() {
		if each != nil {
			each(r)
		}
		if err := w.Append(r); err != nil {
			l.b.Fatal(err)
		}
		if w.Rows() == benchPartition {
			l.base = append(l.base, l.publish(w))
			w = l.writer()
		}
	}
	if w.Rows() > 0 {
		l.base = append(l.base, l.publish(w))
	}
}

// measured is what a question costs a server that has just started, and then one that has answered it before.
type measured struct {
	cold, warm         store.Counts
	coldTook, warmTook time.Duration
}

// ask asks a new server over a store that counts, and asks it again.
func (l *benchLayers) ask(target, accept string, cache int64) (m measured) {
	l.b.Helper()
	counted := store.Count(l.st)
	server := benchServer(l.b, l.fixture, counted, cache)
	begin := time.Now()
	ask(l.b, server, target, accept)
	m.coldTook, m.cold = time.Since(begin), counted.Counts()
	begin = time.Now()
	ask(l.b, server, target, accept)
	m.warmTook, m.warm = time.Since(begin), counted.Counts().Sub(m.cold)
	return m
}

func (m *measured) report(b *testing.B) {
	b.ReportMetric(float64(m.cold.Get), "gets")
	b.ReportMetric(float64(m.cold.List), "lists")
	b.ReportMetric(float64(m.cold.BytesIn)/1024, "KiB")
	b.ReportMetric(float64(m.coldTook.Microseconds())/1000, "ms")
	b.ReportMetric(float64(m.warm.Get), "warm-gets")
	b.ReportMetric(float64(m.warm.List), "warm-lists")
	b.ReportMetric(float64(m.warmTook.Microseconds())/1000, "warm-ms")
	b.ReportMetric(0, "ns/op")
}
