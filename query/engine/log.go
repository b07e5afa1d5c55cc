package engine

import (
	"context"
	"errors"
	"math"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/history"
)

// Log is what a path was in the kept versions of a view, the newest first.
type Log struct {
	Stages []Stage
	Looked int // how many versions
	// Next: versions before this number were not looked at; 0: there is none.
	Next uint64
	// Found: a version that was looked at has the path.
	Found bool
}

// Stage is a kept version in which a path is not what it was in the kept one before, or the oldest one, if that has the path.
type Stage struct {
	evidence.Change
	Subtree  bool // the sums of a directory differ
	In       LookedAt
	Previous *LookedAt // nil: In is the oldest that is kept
}

// LookedAt is a kept version that a log has looked at.
type LookedAt struct {
	Kept    history.Kept
	Version *Version
}

// logAtOnce bounds the versions that a log reads at once.
const logAtOnce = 8

// Log looks a path up in the newest limit kept versions below a number (0: all), of these, if lasting, only in those that are kept for
// more than being recent: one lookup each, and one in the version before them. A path may change and change back, so none is passed over.
// One that retention removes meanwhile is left out.
func (e *Engine) Log(ctx context.Context, now *Version, path string, before uint64, lasting bool, limit int) (*Log, error) {
	last := now.Manifest.Version
	if before > 0 {
		last = min(last, before-1)
	}
	kept, err := e.keptUpTo(ctx, now.Manifest, last, lasting, limit+1)
	if err != nil {
		return nil, err
	}
	looks, err := e.lookAll(ctx, now, path, kept, (*Version).lookupOrNone)
	if err != nil {
		return nil, err
	}
	begun := slices.IndexFunc(looks, func(l look) bool { return l.Version.Manifest.Ready() })
	more := len(kept) > limit && begun == 0 // before one whose first scan was not complete, no other was
	if begun > 0 {
		looks = looks[begun:]
	} else if begun < 0 {
		looks = nil
	}
	if more && len(looks) < 2 {
		return nil, &GoneError{kept[0].Version}
	}
	a := &Log{Looked: len(looks)}
	for i := len(looks) - 1; i >= 0; i-- {
		l := &looks[i]
		a.Found = a.Found || l.row != nil
		if i == 0 && more {
			a.Next = l.Kept.Version + 1
			a.Looked--
			break
		}
		s := Stage{Change: evidence.Change{After: l.row}, In: l.LookedAt}
		if i > 0 {
			s.Change.Before, s.Previous = looks[i-1].row, &looks[i-1].LookedAt
		}
		if s.compare() {
			a.Stages = append(a.Stages, s)
		}
	}
	return a, nil
}

// compare notes what differs, and reports whether anything does.
func (s *Stage) compare() bool {
	if s.Before == nil || s.After == nil {
		return s.Before != s.After
	}
	s.Fields = evidence.FieldsOf(s.Before, s.After)
	if isDirectory(s.Before) && isDirectory(s.After) {
		s.Subtree = sumsDiffer(&s.Before.Sub, &s.After.Sub)
	}
	return s.Fields != 0 || s.Subtree
}

func sumsDiffer(a, b *evidence.Totals) bool {
	return a.Files != b.Files || a.Directories != b.Directories || a.Others != b.Others || a.Bytes != b.Bytes || a.Allocated != b.Allocated
}

// Point is a path in a kept version; Row is nil if that has no such path.
type Point struct {
	LookedAt
	Row *evidence.Row
}

// Trend is a path in the kept versions of a view, in order: of each interval of time (by the clock of 1970, in UTC) in the last one that
// was published in it, of the newest limit intervals that have one. omitted is how many earlier ones have one.
func (e *Engine) Trend(ctx context.Context, now *Version, path string, every time.Duration, limit int) (points []Point, omitted int, err error) {
	kept, err := e.keptUpTo(ctx, now.Manifest, now.Manifest.Version, false, math.MaxInt)
	if err != nil {
		return nil, 0, err
	}
	var last []history.Kept
	for i, k := range kept {
		if i+1 == len(kept) || k.At.UnixNano()/int64(every) != kept[i+1].At.UnixNano()/int64(every) {
			last = append(last, k)
		}
	}
	omitted = max(0, len(last)-limit)
	looks, err := e.lookAll(ctx, now, path, last[omitted:], func(v *Version, ctx context.Context, path string) (*evidence.Row, error) {
		r, err := v.lookupOrNone(ctx, path)
		if r != nil {
			err = v.Sum(ctx, r)
		}
		return r, err
	})
	for _, l := range looks {
		if l.Version.Manifest.Ready() {
			points = append(points, Point{l.LookedAt, l.row})
		}
	}
	return points, omitted, err
}

// look is the row of a path in a version; nil: that has no such path.
type look struct {
	LookedAt
	row *evidence.Row
}

// lookAll looks a path up in versions, in their order.
func (e *Engine) lookAll(ctx context.Context, now *Version, path string, kept []history.Kept,
	lookup func(v *Version, ctx context.Context, path string) (*evidence.Row, error)) ([]look, error) {
	looks := make([]look, len(kept))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(logAtOnce)
	for i, k := range kept {
		g.Go(func() error {
			v, err := e.openPublished(gctx, now.Manifest, k.Published)
			if err == nil {
				looks[i].row, err = lookup(v, gctx, path)
			}
			var gone *GoneError
			if errors.As(err, &gone) {
				return nil
			}
			looks[i].LookedAt = LookedAt{k, v}
			return err
		})
	}
	err := g.Wait()
	return slices.DeleteFunc(looks, func(l look) bool { return l.Version == nil }), err
}
