package compactor

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/trace"
	"github.com/fustor/fustor/internal/viewconfig"
)

// Fold folds the next batch of a view's segments and publishes the next version. It returns how many segments were folded, a
// part of one counting as one; 0 means that there are none. If another compactor publishes the same segments first, its version stands and nothing is done.
func (c *Compactor) Fold(ctx context.Context, view string) (int, error) {
	began := c.o.Now()
	n, all, err := c.foldInTurn(ctx, view)
	if errors.Is(err, errReset) {
		if err = c.follow(ctx, view); err == nil {
			n, all, err = c.foldInTurn(ctx, view)
		}
	}
	if errors.Is(err, store.ErrLost) || errors.Is(err, errReset) {
		return 0, nil // go on from the winner's version
	}
	if err != nil && ctx.Err() != nil { // it was stopped
		return n, fmt.Errorf("fold view %s: %w", view, err)
	}
	c.figures.folded(view, began, all, err)
	if err != nil {
		c.metrics.failures.WithLabelValues("fold").Inc()
		c.tell(ctx, view, err)
		return n, fmt.Errorf("fold view %s: %w", view, err)
	}
	return n, nil
}

// foldInTurn folds a small batch at once, and a large one when it is its turn. all: it took in all that there was.
func (c *Compactor) foldInTurn(ctx context.Context, view string) (n int, all bool, err error) {
	n, all, err = c.fold(ctx, view, c.turn(view))
	if errors.Is(err, errLarge) {
		c.found(view, true)
		n, all, err = c.fold(ctx, view, c.turn(view))
	}
	return n, all, err
}

func (c *Compactor) fold(ctx context.Context, view string, turn *turn) (n int, all bool, err error) {
	var span *trace.Span
	defer func() { span.EndWith(err) }()
	if turn.large { // it has nothing to read before
		if err := turn.begin(ctx); err != nil {
			return 0, false, err
		}
	}
	defer turn.end()
	ctx, cancel := context.WithTimeout(ctx, c.o.JobLimit)
	defer cancel()
	began := time.Now()
	head, err := c.current(ctx, view)
	if err != nil {
		return 0, false, err
	}
	config, err := c.configs.Load(ctx, view)
	if err != nil {
		return 0, false, err
	}
	rules := evidence.Rules{Hot: int64(config.Hot()), Staleness: int64(config.Staleness()), Skew: head.Clock.Skew()}
	in, err := c.readBatch(ctx, head.Manifest, rules, turn)
	if err != nil {
		return 0, false, err
	}
	if turn.large && in.batch.size < c.o.BatchClaims/smallShare {
		c.found(view, false)
	}
	if in.segments+in.parts == 0 && !in.dropped {
		return 0, true, c.atRest(ctx, head, config)
	}
	ctx, span = trace.Since(ctx, began, "fold", trace.View(view), trace.Number("fustor.segments", int64(in.segments)), trace.Number("fustor.version", int64(head.Version+1)))
	w, err := c.resolve(ctx, head.Manifest, rules, in.batch, turn, roomIn(head.Manifest, config.MaxEntries))
	if err != nil {
		return 0, false, err
	}
	defer w.close()
	layers, err := c.writeDelta(ctx, view, w)
	if err != nil {
		return 0, false, err
	}
	names, err := c.writeNames(ctx, head.Manifest, in.names)
	if err != nil {
		return 0, false, err
	}
	_, err = c.publish(ctx, head, "fold", func(m *manifest.Manifest) error {
		if !sameFold(m, head.Manifest) {
			return errOvertaken
		}
		in.recordIn(m)
		w.room.recordIn(m)
		m.Trouble = nil
		m.Counted.Stale += w.stale
		m.Names = names
		m.Live = config.Live
		m.Suspects = w.suspects.list()
		m.Deltas = append(slices.Clone(layers), m.Deltas...)
		if w.totals != nil {
			m.Totals = *w.totals
		}
		return nil
	})
	if err != nil {
		return 0, false, err
	}
	c.metrics.folded(in, time.Since(began))
	c.reportRefused(head.Manifest, in, w.room)
	return in.segments + in.parts, in.parts == 0 && in.batch.size < turn.claims, nil
}

// atRest does what a view without anything to fold may need all the same.
func (c *Compactor) atRest(ctx context.Context, head version, config viewconfig.Config) error {
	if err := c.recovered(ctx, head); err != nil || head.Trouble != nil {
		return err
	}
	if err := c.publishSettings(ctx, head, config); err != nil {
		return err
	}
	return c.fillAgain(ctx, head, config)
}

// publishSettings publishes a version for a changed setting that readers take from the manifest (live): a view at rest has no fold that
// would bring it. The settings are read again, as another compactor may have published newer ones than are remembered here.
func (c *Compactor) publishSettings(ctx context.Context, head version, config viewconfig.Config) error {
	if head.Version == 0 || head.Live == config.Live {
		return nil
	}
	c.configs.Forget(head.View)
	config, err := c.configs.Load(ctx, head.View)
	if err != nil || head.Live == config.Live {
		return err
	}
	_, err = c.publish(ctx, head, "settings", func(m *manifest.Manifest) error {
		m.Live = config.Live
		return nil
	})
	return err
}

// recordIn adds to the manifest that the batch is folded.
func (t *foldInput) recordIn(m *manifest.Manifest) {
	m.Sessions = maps.Clone(t.progress)
	m.Term = max(m.Term, t.batch.term)
	m.ObservedAt = max(m.ObservedAt, t.batch.observedAt)
	m.Clock = m.Clock.Add(t.batch.samples)
	m.Counted.Segments += uint64(t.segments)
	m.Counted.Events += t.batch.counted.Events
	m.Counted.Entries += t.batch.counted.Entries
	m.Counted.Fenced += t.batch.counted.Fenced
	for _, mark := range t.batch.marks {
		addMark(m, mark)
	}
	for _, r := range t.refused {
		m.Refuse(r)
	}
}

// addMark adds a mark to the manifest. What a leader of an older term says about its scan is fenced, like its listings.
func addMark(m *manifest.Manifest, s reportedMark) {
	fenced := s.by.term < m.Term
	switch s.mark.Kind {
	case event.Overflow:
		m.Counted.Overflows++
	case event.SubtreeError:
		if m.Scan.ErrorCount++; len(m.Scan.Errors) < manifest.MaxScanErrors {
			m.Scan.Errors = append(m.Scan.Errors, manifest.ScanError{Path: []byte(s.path), Message: s.mark.Message, ObservedAt: s.observedAt})
		}
	case event.SnapshotBegin:
		if !fenced {
			m.Scan.SnapshotTerm, m.Scan.SnapshotStartedAt = s.by.term, s.observedAt
			m.Scan.Errors, m.Scan.ErrorCount = nil, 0
			m.Full = nil // everything is listed again
		}
	case event.SnapshotEnd:
		if !fenced && m.Scan.SnapshotTerm == s.by.term {
			m.Scan.SnapshotDone, m.Scan.SnapshotFinishedAt = s.by.term, s.observedAt
		}
	case event.AuditBegin:
		if !fenced {
			m.Scan.AuditStartedAt = s.observedAt
			m.Scan.Errors, m.Scan.ErrorCount = nil, 0
		}
	case event.AuditEnd:
		if !fenced && m.Scan.AuditStartedAt > m.Scan.AuditFinishedAt {
			m.Scan.AuditFinishedAt = s.observedAt
			m.Scan.Audits++
		}
	}
}

// writeDelta writes the layers with a batch's changed rows, mostly one; none where nothing changed. Many rows that are in memory become
// several layers that are written at once, one after the other in key order.
func (c *Compactor) writeDelta(ctx context.Context, view string, r *resolved) ([]layer.Info, error) {
	inMemory, all := 0, true
	for _, b := range r.buffers() {
		inMemory, all = inMemory+len(b.rows), all && len(b.runs) == 0
	}
	if n := min(len(r.parts), inMemory/(layerShare*c.o.WorkerClaims)); all && n > 1 {
		return c.writeDeltas(ctx, view, r, inMemory, n)
	}
	out := c.newDelta(ctx, view)
	out.hint = deltaRowBytes * min(out.rows, int64(inMemory))
	if err := r.changes(out.append); err != nil {
		return nil, err
	}
	return out.finish()
}

// layerShare: a layer of its own is worth so many times the rows that a walk of its own is worth.
const layerShare = 16

// writeDeltas writes so many rows, all of them in memory, into n layers or more at once.
func (c *Compactor) writeDeltas(ctx context.Context, view string, r *resolved, rows, n int) ([]layer.Info, error) {
	inOrder := make([]*evidence.Row, 0, rows)
	if err := r.changes(func(row *evidence.Row) error {
		inOrder = append(inOrder, row)
		return nil
	}); err != nil {
		return nil, err
	}
	writing, ctx := errgroup.WithContext(ctx)
	written := make([][]layer.Info, n)
	for i := range n {
		mine := inOrder[i*rows/n : (i+1)*rows/n]
		out := c.newDelta(ctx, view)
		out.hint = deltaRowBytes * min(out.rows, int64(len(mine)))
		if _, err := out.open(); err != nil { // here, so that names are given in order
			return nil, errors.Join(writing.Wait(), err)
		}
		writing.Go(func() (err error) {
			for _, row := range mine {
				if err := out.append(row); err != nil {
					return err
				}
			}
			written[i], err = out.finish()
			return err
		})
	}
	err := writing.Wait()
	return slices.Concat(written...), err
}

// output writes rows in key order into layers of a bounded size.
type output struct {
	c      *Compactor
	ctx    context.Context
	view   string
	rows   int64 // of one layer, at most
	group  int   // rows of a row group; 0: the layer's own choice
	hint   int64 // how long a layer may become, bytes; 0: nobody knows
	writer *layer.Writer
	done   []layer.Info
}

func (c *Compactor) newOutput(ctx context.Context, view string, rows int64) *output {
	return &output{c: c, ctx: ctx, view: view, rows: rows}
}

// deltaRowBytes is about what a row takes in a delta.
const deltaRowBytes = 28

// newDelta is the output of a delta: its layers are smaller, as their many small row groups take memory while they are
// written.
func (c *Compactor) newDelta(ctx context.Context, view string) *output {
	out := c.newOutput(ctx, view, max(1, min(c.o.PartitionRows/4, c.o.Memory/2048)))
	out.group = layer.DeltaRowsPerGroup
	return out
}

// open returns the writer that the next row goes to.
func (o *output) open() (*layer.Writer, error) {
	if o.writer != nil && (o.writer.Rows() >= o.rows || o.writer.Bytes() >= o.c.o.Memory/8) {
		if err := o.cut(); err != nil {
			return nil, err
		}
	}
	if o.writer == nil {
		id, err := o.c.newID()
		if err != nil {
			return nil, err
		}
		o.writer = layer.NewWriter(layer.WriterOptions{ID: id, RowsPerGroup: o.group, Fast: o.group > 0, SizeHint: min(o.hint, o.c.o.Memory/8)})
	}
	return o.writer, nil
}

func (o *output) append(row *evidence.Row) error {
	w, err := o.open()
	if err != nil {
		return err
	}
	return w.Append(row)
}

// cut finishes the current layer and publishes it.
func (o *output) cut() error {
	if o.writer == nil || o.writer.Rows() == 0 {
		return nil
	}
	built, err := o.writer.Finish()
	if err != nil {
		return err
	}
	o.writer = nil
	if err := layer.Publish(o.ctx, o.c.o.Store, o.view, built); err != nil {
		return written(err)
	}
	o.done = append(o.done, built.Info)
	return nil
}

func (o *output) finish() ([]layer.Info, error) {
	if err := o.cut(); err != nil {
		return nil, err
	}
	return o.done, nil
}
