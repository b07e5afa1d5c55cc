package engine

import (
	"context"
	"errors"
	"slices"
	"sort"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
)

// Search is the predicate of a search: a row is a hit if it lies at or below Path and everything here matches.
type Search struct {
	Path     string
	pattern  pattern
	anyName  bool            // the pattern matches everything
	literal  *literal        // of the pattern
	needles  []*layer.Needle // of the pattern
	either   *layer.Needle   // of names outside of subtrees, too; nil: none
	subtrees []keyRange
	Attributes
	atime bool  // hits have the day of their last access (WithAtime)
	gate  *gate // of the version that is searched: its reader sees nothing else; nil: everything
}

// NewSearch returns a search at and below a path for rows whose name, or path, matches a pattern.
func NewSearch(text, path string) (*Search, error) {
	p, err := compilePattern(text)
	if err != nil {
		return nil, &PatternError{err}
	}
	s := newSearch(p, path)
	s.anyName = text == "*"
	return s, nil
}

// NewPathSearch returns a search of the whole view for rows whose paths match a pattern of Python's fnmatch.
func NewPathSearch(text string) (*Search, error) {
	if len(text) > maxPattern {
		return nil, &PatternError{errPatternLong}
	}
	return newSearch(compileFnmatch(text), "/"), nil
}

func newSearch(p pattern, path string) *Search {
	return &Search{Path: path, Attributes: anyAttributes(), pattern: p, literal: p.literal(), needles: p.needles()}
}

// Search emits the hits of a search after a position, up to limit of them; 0: all. NoPathError if the path does not exist. The row
// of the path itself is looked up while the indexes below it are read.
func (v *Version) Search(ctx context.Context, s *Search, after *Position, limit int, out Emit) (*Position, error) {
	s, err := v.resolve(ctx, s)
	if s == nil || err != nil {
		return nil, err
	}
	s, err = v.withSubtrees(ctx, s)
	if s == nil || err != nil {
		return nil, err
	}
	from, until, some := s.keys(after)
	bounds, err := v.searchRanges(ctx, s.Path, from, until, limit)
	if err != nil {
		return nil, err
	}
	var root *evidence.Row
	var below *plan
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		root, err = v.lookup(gctx, s.gate, s.Path)
		return err
	})
	var planErr error // a missing path is reported rather than this
	if some {
		g.Go(func() error {
			below, planErr = v.plan(gctx, s, bounds[0], bounds[1])
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	page := pageLimiter{limit: limit, emit: out}
	if (after == nil || after.Including && after.Key == layer.KeyOf(s.Path)) && root.Parent != "" && s.Matches(root) {
		if some, err := s.gate.mayBeEmpty(&s.Attributes, root); err != nil || !some {
			return nil, err
		}
		s.gate.conceal(root, everything)
		if err := page.take(root); err != nil {
			return page.end(err)
		}
	}
	if root.Type != event.Directory || !some {
		return page.end(nil)
	}
	for i := 0; ; {
		if planErr != nil {
			return nil, planErr
		}
		if err := v.scan(ctx, s, below, limit, page.take); err != nil {
			return page.end(err)
		}
		if i++; i+1 == len(bounds) {
			return page.end(nil)
		}
		below, planErr = v.plan(ctx, s, bounds[i], bounds[i+1])
	}
}

// keys is the range of keys below the path that may have hits; some is false if it is empty.
func (s *Search) keys(after *Position) (from, until layer.Key, some bool) {
	parent := strings.TrimSuffix(s.Path, "/") + "/"
	from, until = layer.Key{Parent: parent}, subtreeEnd(parent)
	// If the pattern fixes how the paths of all matches begin, the rest is not read.
	if inside := s.pattern.inside(); strings.HasPrefix(inside, parent) {
		from, until = layer.Key{Parent: inside}, subtreeEnd(inside)
	} else if !strings.HasPrefix(parent, inside) {
		return from, until, false
	}
	if after != nil { // the key of the path itself is less than those of what is below it
		if next := after.next(); next.Compare(from) > 0 {
			from = next
		}
	}
	return from, until, true
}

// Matches reports whether a row is a hit, whatever its path.
func (s *Search) Matches(r *evidence.Row) bool {
	verdict := s.pattern.directory(r.Parent)
	return (verdict == matchesAll || verdict == matchesByName && s.pattern.name(r.Parent, r.Name)) && s.Attributes.match(r)
}

// maxSubtrees bounds the subtrees of a search by path.
const maxSubtrees = 1000

var errSubtrees = errors.New("too many subtrees")

// withSubtrees is a search by path with the subtrees whose directories have the pattern's piece; elsewhere the names have it. nil:
// nothing can match. If there are too many subtrees, the search does without.
func (v *Version) withSubtrees(ctx context.Context, s *Search) (*Search, error) {
	byPath, ok := s.pattern.(*fnmatch)
	if !ok {
		return s, nil
	}
	above := byPath.directories()
	if above == nil {
		return s, nil
	}
	complete := *s
	complete.either = byPath.pieceNeedle()
	outermost := map[string]bool{} // by the Parent of their entries
	_, err := v.Search(ctx, above, nil, 0, func(r *evidence.Row) error {
		for i, c := range r.Parent { // an outer directory comes before those in it
			if c == '/' && outermost[r.Parent[:i+1]] {
				return nil
			}
		}
		if len(outermost) == maxSubtrees {
			return errSubtrees
		}
		inside := strings.Clone(r.ChildParent())
		outermost[inside] = true
		complete.subtrees = append(complete.subtrees, keyRange{layer.Key{Parent: inside}, subtreeEnd(inside)})
		return nil
	})
	var unknown *NoPathError
	switch {
	case errors.As(err, &unknown):
		return nil, nil
	case errors.Is(err, errSubtrees):
		return s, nil
	case err != nil:
		return nil, err
	}
	slices.SortFunc(complete.subtrees, func(a, b keyRange) int { return a.from.Compare(b.from) })
	return &complete, nil
}

// inSubtrees reports whether a row group may have rows in the subtrees.
func (s *Search) inSubtrees(g *layer.Group) bool {
	i := sort.Search(len(s.subtrees), func(i int) bool { return s.subtrees[i].until.Compare(g.First) > 0 })
	return i < len(s.subtrees) && s.subtrees[i].from.Compare(g.Last) <= 0
}
