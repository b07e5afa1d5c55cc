package compactor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/iceberg"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// Each view is a table of Iceberg as well (package iceberg): a snapshot every few minutes while the view changes, none at rest, and one
// for each version that the history keeps for longer.

// tableDone is what is known of a view's table since this process began.
type tableDone struct {
	asked     bool      // whether there was one when this process began is known
	published uint64    // the version of its current snapshot; 0: there is none
	at        time.Time // when that was published, or failed to be
	retry     time.Time // not before
	seen      uint64    // the newest version of the view that this process knows of
}

func (c *Compactor) tableDone(view string) tableDone {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tables[view]
}

func (c *Compactor) changeTableDone(view string, change func(*tableDone)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	d := c.tables[view]
	change(&d)
	c.tables[view] = d
}

// sawVersion notes that a view has a version.
func (c *Compactor) sawVersion(view string, version uint64) {
	c.changeTableDone(view, func(d *tableDone) { d.seen = max(d.seen, version) })
}

// publisher publishes tables of the compactor's store; nil where engines have no name for it.
func (c *Compactor) publisher() *iceberg.Publisher {
	root, err := iceberg.Root(c.o.Store.String())
	if err != nil {
		return nil
	}
	return &iceberg.Publisher{Store: c.o.Store, Root: root, Cache: c.cache, Leaves: c.leaves, Now: c.clock.Now, Random: c.o.Random}
}

// tableDue reports whether the view's table may have to be published. It asks nothing.
func (c *Compactor) tableDue(view string, interval time.Duration) bool {
	d := c.tableDone(view)
	return d.seen > 0 && (!d.asked || d.seen != d.published) && c.o.Now().Sub(d.at) >= interval && !c.o.Now().Before(d.retry)
}

// firstVersion is how often a view is looked at that has no complete version yet.
const firstVersion = 10 * time.Second

// tendTable publishes the view's table if that is due, or withdraws it if the view's settings say that there is none.
func (c *Compactor) tendTable(ctx context.Context, view string) error {
	if !c.tableDue(view, tendEvery) || c.publisher() == nil {
		return nil
	}
	config, err := c.configs.Load(ctx, view)
	if err != nil {
		return err
	}
	d := c.tableDone(view)
	if !d.asked {
		switch t, err := iceberg.Load(ctx, c.o.Store, view); {
		case errors.Is(err, iceberg.ErrNone):
		case err != nil:
			return err
		default:
			d.published = uint64(max(0, t.Metadata.CurrentSnapshotID))
			d.at = c.o.Now().Add(-time.Duration(c.clock.Now() - t.Metadata.LastUpdatedMs*1e6))
		}
		d.asked = true
		c.changeTableDone(view, func(now *tableDone) { now.asked, now.published, now.at = true, d.published, d.at })
	}
	interval := config.IcebergInterval()
	if interval == 0 {
		if d.published == 0 {
			return nil
		}
		return c.withdraw(ctx, view)
	}
	if !c.tableDue(view, interval) {
		return nil
	}
	_, err = c.PublishTable(ctx, view)
	return err
}

func (c *Compactor) withdraw(ctx context.Context, view string) error {
	var err error
	for _, table := range iceberg.Tables(view) {
		err = errors.Join(err, iceberg.Withdraw(ctx, c.o.Store, table))
	}
	if err == nil {
		c.changeTableDone(view, func(d *tableDone) { d.published, d.at = 0, c.o.Now() })
	}
	return err
}

// PublishTable publishes the view's newest version as a snapshot of its table, and those before it that the history keeps for longer and
// that are newer than the table. A view that has no complete version yet is not published. One table is published at once.
func (c *Compactor) PublishTable(ctx context.Context, view string) (done iceberg.Published, err error) {
	p := c.publisher()
	if p == nil {
		return done, fmt.Errorf("store %s: engines have no name for it: %w", c.o.Store, store.ErrUnsupported)
	}
	if err := c.publishing.Acquire(ctx, 1); err != nil {
		return done, err
	}
	defer c.publishing.Release(1)
	ctx, cancel := context.WithTimeout(ctx, c.o.JobLimit)
	defer cancel()
	began := time.Now()
	head, err := c.current(ctx, view)
	if err != nil || head.Version == 0 || !head.Ready() {
		c.changeTableDone(view, func(d *tableDone) { d.retry = c.o.Now().Add(firstVersion) })
		return done, err
	}
	c.changeTableDone(view, func(d *tableDone) { d.at = c.o.Now() }) // one that fails is tried again after the interval
	pins, _, err := history.ReadPins(ctx, c.o.Store, view)
	if err != nil {
		return done, err
	}
	var versions []*manifest.Manifest
	done, err = p.Publish(ctx, view, func(t *iceberg.Table) ([]*manifest.Manifest, error) {
		versions, err = c.toPublish(ctx, head.Manifest, pins, t)
		return versions, err
	}, pins)
	if err == nil {
		err = c.publishChanges(ctx, p, view, versions)
	}
	if err != nil {
		c.metrics.failures.WithLabelValues("publish").Inc()
		return done, err
	}
	c.metrics.duration.WithLabelValues("publish").Observe(time.Since(began).Seconds())
	c.changeTableDone(view, func(d *tableDone) {
		d.asked, d.published, d.seen = true, head.Version, max(d.seen, head.Version)
	})
	return done, nil
}

// publishChanges brings the table of the view's changes up to date, if its settings ask for one. One that they no longer ask for is
// withdrawn by retention.
func (c *Compactor) publishChanges(ctx context.Context, p *iceberg.Publisher, view string, versions []*manifest.Manifest) error {
	config, err := c.configs.Load(ctx, view)
	if err != nil {
		return err
	}
	keep, wanted := config.IcebergChanges()
	if !wanted || len(versions) == 0 {
		return nil
	}
	_, err = p.PublishChanges(ctx, view, versions, keep)
	return err
}

// toPublish are the versions that a table lacks: head, those that are pinned, and those since its newest snapshot that are the last of
// their hour, day and so on.
func (c *Compactor) toPublish(ctx context.Context, head *manifest.Manifest, pins history.Pins, t *iceberg.Table) ([]*manifest.Manifest, error) {
	newest := t.Current()
	if newest != nil && int64(head.Version) < newest.ID { // another process was faster
		return nil, nil
	}
	versions := []*manifest.Manifest{head}
	wanted := map[uint64]string{} // the keys of their manifests
	for _, pin := range pins {
		if pin.Version == head.Version || t.Has(pin.Version) || wanted[pin.Version] != "" {
			continue
		}
		p, err := manifest.At(ctx, c.o.Store, head, pin.Version)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		wanted[pin.Version] = p.Key
	}
	// Where head is of the same hour as the newest snapshot, no version between them was the last of an hour.
	if hour := time.Hour.Milliseconds(); newest != nil && newest.TimestampMs/hour != head.FoldedAt/1e6/hour {
		if err := c.lastOfTheirHours(ctx, head, pins, uint64(newest.ID), wanted); err != nil {
			return nil, err
		}
	}
	for _, key := range wanted {
		m, err := c.leaves.LoadKey(ctx, c.o.Store, head.View, key)
		if errors.Is(err, store.ErrNotFound) { // it is not kept any more
			continue
		}
		if err != nil {
			return nil, err
		}
		versions = append(versions, m)
	}
	return versions, nil
}

// lastOfTheirHours adds the versions after newest that the history keeps for more than being recent.
func (c *Compactor) lastOfTheirHours(ctx context.Context, head *manifest.Manifest, pins history.Pins, newest uint64, wanted map[uint64]string) error {
	list, now, err := manifest.List(ctx, c.o.Store, head.View, newest, 0, nil)
	if err != nil {
		return err
	}
	chain, _, err := manifest.Chain(ctx, c.o.Store, head, list)
	if err != nil {
		return err
	}
	config, err := c.configs.Load(ctx, head.View)
	if err != nil {
		return err
	}
	for _, k := range config.Keep().All(chain, head, pins, now) {
		if k.Version > newest && k.Version < head.Version && k.Lasting() {
			wanted[k.Version] = k.Key
		}
	}
	return nil
}
