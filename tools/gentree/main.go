// Gentree writes a generated view of any size straight as layers into a store, so that `fustor query` can serve it
// without anybody having scanned a tree. The same seed gives the same rows. About 1 µs a row, and 30 bytes of memory.
//
//	go run ./tools/gentree -rows 100000000 -store file:///tmp/big -view v -seed 1
//	fustor query --store file:///tmp/big --api-key secret
//
// With -dir in place of -store it makes a real directory of the same tree, of files without content.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/open"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/gentree"
)

func main() {
	w := writer{}
	dir := flag.String("dir", "", "make a real tree in this new directory, and no view")
	url := flag.String("store", "", "store to write into, as `URL`: file:///dir, s3://…, minio://…")
	flag.StringVar(&w.view, "view", "default", "view to make; it must not exist")
	flag.IntVar(&w.options.Rows, "rows", 1_000_000, "rows, the root's included")
	flag.Uint64Var(&w.options.Seed, "seed", 1, "the same seed gives the same rows")
	flag.Int64Var(&w.partition, "partition", 1<<20, "rows of a base partition")
	flag.Parse()
	var err error
	if *dir != "" {
		err = makeTree(*dir, w.options)
	} else {
		err = w.run(context.Background(), *url)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "gentree:", err)
		os.Exit(1)
	}
}

// writer makes one view.
type writer struct {
	options   gentree.Options
	view      string
	partition int64
	store     store.Store
	base      []layer.Info
	layer     *layer.Writer
}

func (w *writer) run(ctx context.Context, url string) error {
	if w.options.Rows < 1 || !layout.ValidView(w.view) || w.partition < 1 {
		return errors.New("-rows and -partition are at least 1, -view is 1 to 63 of a-z 0-9 - _")
	}
	var err error
	if w.store, err = open.Open(ctx, url); err != nil {
		return err
	}
	if _, _, err := manifest.Load(ctx, w.store, w.view); !errors.Is(err, manifest.ErrNoHead) {
		return errors.Join(err, fmt.Errorf("view %s exists already: choose another -view or -store", w.view))
	}
	began := time.Now()
	tree := gentree.New(w.options)
	for r := range tree.Rows() {
		if err := w.append(ctx, r); err != nil {
			return err
		}
	}
	if err := w.cut(ctx); err != nil {
		return err
	}
	if err := viewconfig.Save(ctx, w.store, viewconfig.Default(w.view)); err != nil {
		return err
	}
	m := w.manifest(tree)
	if m.Epoch, err = w.epoch(ctx); err != nil {
		return err
	}
	if _, err := manifest.Commit(ctx, w.store, m, ""); err != nil {
		return err
	}
	bytes := int64(0)
	for _, l := range m.Base {
		bytes += l.Bytes + l.IndexBytes
	}
	fmt.Printf("view %s: %d rows in %d partitions, %.2f bytes a row, after %.1f s\n", w.view, tree.Len(), len(m.Base),
		float64(bytes)/float64(tree.Len()), time.Since(began).Seconds())
	return nil
}

func (w *writer) append(ctx context.Context, r *evidence.Row) error {
	if w.layer == nil {
		w.layer = layer.NewWriter(layer.WriterOptions{ID: ulid.Make().String(), SizeHint: w.partition * 16})
	}
	if err := w.layer.Append(r); err != nil {
		return err
	}
	if w.layer.Rows() == w.partition {
		return w.cut(ctx)
	}
	return nil
}

// cut publishes the partition under way.
func (w *writer) cut(ctx context.Context) error {
	if w.layer == nil {
		return nil
	}
	built, err := w.layer.Finish()
	if err != nil {
		return err
	}
	w.layer = nil
	w.base = append(w.base, built.Info)
	return layer.Publish(ctx, w.store, w.view, built)
}

// epoch begins the view's first epoch: without one the first session of the view would begin it, and empty the view.
func (w *writer) epoch(ctx context.Context) (string, error) {
	clock := store.NewClock(time.Now)
	ledger, err := session.NewLedger(clock.Watch(w.store), clock, rand.Reader)
	if err != nil {
		return "", err
	}
	return ledger.NewEpoch(ctx, w.view)
}

// manifest is the view's first version: a snapshot is folded, and nothing since.
func (w *writer) manifest(tree *gentree.Tree) *manifest.Manifest {
	return &manifest.Manifest{
		Format: manifest.Format, View: w.view, Version: 1, Nonce: rand.Text(), Reason: "fold",
		FoldedAt: time.Now().UnixNano(), ObservedAt: time.Now().UnixNano(), Base: w.base, Term: 1, Totals: tree.Totals(),
		Scan:    manifest.Scan{SnapshotTerm: 1, SnapshotDone: 1, SnapshotStartedAt: gentree.ScanStart, SnapshotFinishedAt: time.Now().UnixNano()},
		Counted: manifest.Counted{Entries: uint64(tree.Len())},
	}
}
