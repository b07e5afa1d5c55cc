package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"time"

	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/open"
)

// folds has single changes folded into a view: cold, each by a compactor that has just started, and warm, by one that
// goes on. It prints how long that takes and what it reads and writes.
func folds(ctx context.Context, args []string) error {
	l := &load{}
	flags := flag.NewFlagSet("folds", flag.ExitOnError)
	location := flags.String("store", "", "store that has the view, as `URL`")
	flags.StringVar(&l.view, "view", "default", "the view; it is changed")
	n := flags.Int("n", 20, "how many cold, and how many warm")
	asCSV := flags.Bool("csv", false, "print CSV")
	if err := flags.Parse(args); err != nil {
		return err
	}
	base, err := open.Open(ctx, *location)
	if err != nil {
		return err
	}
	l.agent, l.folds = store.Count(base), store.Count(base)
	l.rng = rand.New(rand.NewPCG(5, 5))
	if l.sample, err = takeSample(ctx, base, l.view, l.rng); err != nil {
		return err
	}
	if err := l.register(ctx); err != nil {
		return err
	}
	t := newTable(*asCSV, "rows", "state", "n", "p50_ms", "max_ms", "gets", "puts", "kib_read", "kib_written")
	var c *compactor.Compactor
	for state := range 2 {
		var took durations
		var sum store.Counts
		for i := range *n {
			if state == 0 || i == 0 {
				c, err = compactor.New(compactor.Options{Store: l.folds, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
				if err != nil {
					return err
				}
				if state == 1 { // its first is cold
					if _, _, err := l.foldOne(ctx, c, uint64(*n)); err != nil {
						return err
					}
				}
			}
			spent, d, err := l.foldOne(ctx, c, uint64(state*(*n+1)+i))
			if err != nil {
				return err
			}
			took = append(took, d)
			sum.Get, sum.Put, sum.BytesIn, sum.BytesOut = sum.Get+spent.Get, sum.Put+spent.Put, sum.BytesIn+spent.BytesIn, sum.BytesOut+spent.BytesOut
		}
		per := func(v uint64) string { return fmt.Sprintf("%.1f", float64(v)/float64(*n)) }
		t.line(strconv.FormatInt(l.sample.rows, 10), []string{"cold", "warm"}[state], strconv.Itoa(*n), ms(took.at(0.5)), ms(took.at(1)),
			per(sum.Get), per(sum.Put), fmt.Sprintf("%.1f", float64(sum.BytesIn)/1024/float64(*n)), fmt.Sprintf("%.1f", float64(sum.BytesOut)/1024/float64(*n)))
	}
	return l.ledger.End(ctx, l.view, l.session, "closed")
}

// foldOne sends a segment that rewrites a file, and has it folded.
func (l *load) foldOne(ctx context.Context, c *compactor.Compactor, seq uint64) (store.Counts, time.Duration, error) {
	now := time.Now()
	f := l.sample.files[l.rng.IntN(len(l.sample.files))]
	ev := event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: now.UnixNano(), Path: f.Path(), Atomic: true}
	if err := l.write(ctx, seq, []event.Event{put(ev, f.Size+1, now)}); err != nil {
		return store.Counts{}, 0, err
	}
	before := l.folds.Counts()
	n, err := c.Fold(ctx, l.view)
	if err == nil && n != 1 {
		err = errors.New("the fold took " + strconv.Itoa(n) + " segments, not the one that was sent")
	}
	return l.folds.Counts().Sub(before), time.Since(now), err
}
