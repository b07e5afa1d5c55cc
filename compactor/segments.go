package compactor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
)

// foldInput is what one fold reads: its batch, and how far each session is folded with it.
type foldInput struct {
	batch    *batch
	segments int
	progress map[string]manifest.Progress
	names    map[string][]event.OwnerName // by source: what the segments say
	dropped  bool                         // a session left the roster, or its segment is damaged: there is something to publish even without a segment
	decoder  *segmentDecoder
}

// segmentDecoder reads one segment after the other. Its buffers are kept from fold to fold.
type segmentDecoder struct {
	reader *event.Reader
	events []event.Event // of the current segment
}

// open begins to read a segment.
func (d *segmentDecoder) open(key string, body []byte) (err error) {
	if d.reader != nil {
		return d.reader.Reset(key, bytes.NewReader(body), event.Limits{})
	}
	d.reader, err = event.NewReader(key, bytes.NewReader(body), event.Limits{})
	return err
}

// forget drops the events, so that what they refer to can be freed.
func (d *segmentDecoder) forget() {
	clear(d.events)
	d.events = d.events[:0]
}

// readBatch reads the next segments of every session until the batch is full or there are none. Sessions take turns, a
// segment each, so that a scan does not delay what other hosts report.
func (c *Compactor) readBatch(ctx context.Context, m *manifest.Manifest, rules evidence.Rules) (*foldInput, error) {
	t := &foldInput{batch: newBatch(m.Term, observationDefaults{rules.Staleness, rules.Skew}), progress: maps.Clone(m.Sessions),
		names: map[string][]event.OwnerName{}}
	if t.progress == nil {
		t.progress = map[string]manifest.Progress{}
	}
	t.decoder, _ = c.decoders.Get().(*segmentDecoder)
	if t.decoder == nil {
		t.decoder = &segmentDecoder{}
	}
	defer func() {
		t.decoder.forget()
		c.decoders.Put(t.decoder)
		t.decoder = nil
	}()
	open, err := c.sessions(ctx, m, t)
	if err != nil {
		return nil, err
	}
	for len(open) > 0 && t.batch.size < c.o.BatchClaims {
		bodies, err := c.readNext(ctx, m.View, open, t.progress)
		if err != nil {
			return nil, err
		}
		var still []string
		for i, id := range open {
			if bodies[i] == nil || t.batch.size >= c.o.BatchClaims {
				continue
			}
			ok, err := c.addSegment(ctx, m.View, id, bodies[i], t)
			if err != nil {
				return nil, err
			}
			if ok {
				still = append(still, id)
			}
		}
		open = still
	}
	return t, nil
}

// sessions are those that may have segments, in order. A session that has left the roster has none, and leaves the manifest.
func (c *Compactor) sessions(ctx context.Context, m *manifest.Manifest, t *foldInput) ([]string, error) {
	roster, err := c.roster(ctx, m.View)
	if err != nil {
		return nil, err
	}
	switch {
	case roster == nil:
		roster = &session.Roster{}
	case m.Version == 0:
		m.Epoch = roster.Epoch
	case m.Epoch != roster.Epoch:
		return nil, errReset
	}
	for id := range t.progress {
		if _, listed := roster.Sessions[id]; !listed {
			delete(t.progress, id)
			t.dropped = true
		}
	}
	maps.DeleteFunc(roster.Sessions, func(_ string, entry session.RosterEntry) bool { return entry.Epoch != m.Epoch })
	for id, entry := range roster.Sessions {
		if _, known := t.progress[id]; !known {
			t.progress[id] = manifest.Progress{Agent: entry.Agent}
		}
	}
	ids := slices.Sorted(maps.Keys(roster.Sessions))
	return slices.DeleteFunc(ids, func(id string) bool { return t.progress[id].Broken }), nil
}

// roster is the view's; nil where it has none.
func (c *Compactor) roster(ctx context.Context, view string) (*session.Roster, error) {
	r, meta, err := session.ReadRoster(ctx, c.o.Store, view)
	if err != nil || meta.ETag == "" {
		return nil, err
	}
	return &r, nil
}

// errReset: the view was reset, and its head has not followed yet.
var errReset = errors.New("the view was reset, and its head is still of the earlier epoch")

// follow completes a reset: mostly whoever asked for it has done so already.
func (c *Compactor) follow(ctx context.Context, view string) error {
	_, err := manifest.Follow(ctx, c.o.Store, view, func() (string, error) {
		r, _, err := session.ReadRoster(ctx, c.o.Store, view)
		return r.Epoch, err
	}, c.newNonce, c.clock.Now)
	if err != nil {
		return err
	}
	return c.ledger.EndOld(ctx, view)
}

// readNext reads the next segment of each session, nil where there is none yet.
func (c *Compactor) readNext(ctx context.Context, view string, ids []string, at map[string]manifest.Progress) ([][]byte, error) {
	bodies := make([][]byte, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(16)
	for i, id := range ids {
		key := layout.Segment(view, id, at[id].Next)
		g.Go(func() error {
			o, err := c.o.Store.Get(ctx, key)
			if errors.Is(err, store.ErrNotFound) {
				return nil
			}
			if err != nil {
				return fmt.Errorf("read segment %s: %w", key, err)
			}
			bodies[i] = o.Body
			return nil
		})
	}
	return bodies, g.Wait()
}

// addSegment adds one segment to the batch. A segment that cannot be read, or is another one than its name says, ends its
// session: the agent then begins a new session and scans again, and what came before the segment stays folded. It reports
// whether the session goes on.
func (c *Compactor) addSegment(ctx context.Context, view, id string, body []byte, t *foldInput) (bool, error) {
	p := t.progress[id]
	key := layout.Segment(view, id, p.Next)
	by, err := t.decode(key, body, view, id, p.Next)
	var damaged *event.FormatError
	if errors.As(err, &damaged) {
		c.o.Logger.Error("a segment is damaged; its session is ended, and its agent will scan again", "segment", key, "error", err)
		c.metrics.damaged.Inc()
		p.Broken, t.dropped = true, true
		t.progress[id] = p
		return false, c.ledger.End(ctx, view, id, "damaged segment")
	}
	if err != nil {
		return false, err
	}
	for i := range t.decoder.events {
		t.batch.add(&t.decoder.events[i], by)
	}
	if names := t.decoder.reader.Names(); len(names) > 0 {
		t.names[by.source] = append(t.names[by.source], names...)
	}
	t.batch.term = max(t.batch.term, by.term)
	p.Next, p.Agent = p.Next+1, by.agent
	t.progress[id] = p
	t.segments++
	return true, nil
}

// decode reads a whole segment into events, before any of it counts.
func (t *foldInput) decode(key string, body []byte, view, id string, seq uint64) (*origin, error) {
	d := t.decoder
	if err := d.open(key, body); err != nil {
		return nil, err
	}
	r := d.reader
	h := r.Header()
	if h.View != view || h.Session != id || h.Seq != seq {
		return nil, &event.FormatError{Object: key, Reason: fmt.Sprintf(
			"its header says segment %d of session %s of view %s, its key says something else", h.Seq, h.Session, h.View)}
	}
	by := &origin{session: id, agent: h.Agent, source: h.Source, term: h.Term, leaseUntil: h.LeaseUntil, skew: t.batch.defaults.skew}
	if h.SkewKnown {
		by.skew = h.Skew
	}
	if !h.Local {
		by.lag = t.batch.defaults.staleness
	}
	d.events = d.events[:0]
	for {
		ev, err := r.Next()
		if err == io.EOF {
			return by, nil
		}
		if err != nil {
			return nil, err
		}
		d.events = append(d.events, *ev)
		kept := &d.events[len(d.events)-1]
		kept.Entries = slices.Clone(ev.Entries)
	}
}
