package main

import (
	"context"
	"fmt"
	"math/rand/v2"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
)

// sampleGroups is how many row groups a sample is of.
const sampleGroups = 200

// sample are files and directories of a view, from row groups that are spread over it, and their number of rows.
type sample struct {
	files []evidence.Row
	dirs  []string
	rows  int64
}

func takeSample(ctx context.Context, st store.Store, view string, rng *rand.Rand) (*sample, error) {
	m, _, err := manifest.Load(ctx, st, view)
	if err != nil {
		return nil, err
	}
	v, err := layer.OpenView(st, view, m.Base, nil, layer.NewCache(1<<20))
	if err != nil {
		return nil, err
	}
	s := &sample{dirs: []string{"/"}, rows: m.Rows()}
	for range sampleGroups {
		if len(v.Base()) == 0 {
			break
		}
		l := v.Base()[rng.IntN(len(v.Base()))]
		groups, err := l.Groups(ctx)
		if err != nil {
			return nil, err
		}
		b, err := l.Block(ctx, rng.IntN(len(groups)))
		if err != nil {
			return nil, err
		}
		for i := rng.IntN(16); i < b.Len(); i += 1 + rng.IntN(32) {
			var r evidence.Row
			if err := b.Row(i, &r); err != nil {
				return nil, err
			}
			switch {
			case r.Removed || r.Parent == "":
			case r.Type == event.Directory:
				s.dirs = append(s.dirs, r.Path())
			case r.Type == event.File:
				s.files = append(s.files, r)
			}
		}
	}
	if len(s.files) == 0 {
		return nil, fmt.Errorf("view %s has no files in its base: make one with tools/gentree", view)
	}
	// In no order, so that the first few are of all parts of the view.
	rng.Shuffle(len(s.files), func(i, j int) { s.files[i], s.files[j] = s.files[j], s.files[i] })
	rng.Shuffle(len(s.dirs), func(i, j int) { s.dirs[i], s.dirs[j] = s.dirs[j], s.dirs[i] })
	return s, nil
}
