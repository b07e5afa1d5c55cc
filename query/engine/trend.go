package engine

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/query/report"
)

// OwnerShare is what one owner, or group, has below a path. Of its totals, only what is counted by entry is set: no times.
type OwnerShare = report.Share[uint32]

// shares are what each owner or group has. The sums are exact as long as they fit, also after some that did not.
type shares struct {
	of    func(*evidence.Row) uint32
	byOne map[uint32]*evidence.Totals
}

func (s *shares) add(r *evidence.Row, sign int64) {
	id := s.of(r)
	to := s.byOne[id]
	if to == nil {
		to = &evidence.Totals{LatestMtimeNs: evidence.NoMtime}
		s.byOne[id] = to
	}
	own := r.Own()
	to.Files += sign * own.Files
	to.Directories += sign * own.Directories
	to.Others += sign * own.Others
	to.Bytes += sign * own.Bytes
	to.Allocated += sign * own.Allocated
	to.Unmeasured += sign * own.Unmeasured
	if to.Files|to.Directories|to.Others == 0 {
		delete(s.byOne, id)
	}
}

// sorted are the shares, the most bytes first.
func (s *shares) sorted() (list []OwnerShare) {
	for _, id := range slices.Sorted(maps.Keys(s.byOne)) {
		list = append(list, OwnerShare{Of: id, Totals: *s.byOne[id]})
	}
	slices.SortStableFunc(list, func(a, b OwnerShare) int {
		return cmp.Or(cmp.Compare(b.Totals.Bytes, a.Totals.Bytes), cmp.Compare(b.Totals.Files, a.Totals.Files))
	})
	return list
}

// TrendShares calls each for the points of a trend, in order, with what each owner, or group, has at and below the path. The first version
// is counted as a whole; from then on, what differs between a version and the next is added and taken away, so the cost follows the changes.
// For a reader who may not see everything each version is counted: what differs does not tell of attributes that become visible.
func TrendShares(ctx context.Context, points []Point, path string, group bool, each func(i int, list []OwnerShare) error) error {
	sums := shares{of: func(r *evidence.Row) uint32 { return r.UID }}
	if group {
		sums.of = func(r *evidence.Row) uint32 { return r.GID }
	}
	for i := range points {
		p := &points[i]
		gate, err := p.Version.gate(ctx)
		if err != nil {
			return err
		}
		switch {
		case p.Row == nil:
			sums.byOne = map[uint32]*evidence.Totals{}
		case gate == nil && i > 0 && points[i-1].Row != nil && isDirectory(p.Row) && isDirectory(points[i-1].Row):
			err = sums.follow(ctx, points[i-1].Version, p.Version, path)
		default:
			err = sums.begin(ctx, p, path, group)
		}
		if err != nil {
			return err
		}
		if err := each(i, sums.sorted()); err != nil {
			return err
		}
	}
	return nil
}

// begin counts everything at and below the path in a version.
func (s *shares) begin(ctx context.Context, p *Point, path string, group bool) error {
	s.byOne = map[uint32]*evidence.Totals{}
	if p.Row.Type != event.Directory {
		s.add(p.Row, 1)
		return nil
	}
	wanted, err := NewSearch("*", path)
	if err != nil {
		return err
	}
	scope, err := p.Version.Scope(ctx, wanted)
	if closed := new(NotReadableError); errors.As(err, &closed) { // its own row is all that the reader sees of it
		s.add(p.Row, 1)
		return nil
	}
	if err != nil {
		return err
	}
	by := scope.ByOwner
	if group {
		by = scope.ByGroup
	}
	list, err := by(ctx, nil)
	for _, share := range list {
		s.byOne[share.Of] = &share.Totals
	}
	s.add(p.Row, 1) // the scope of a report is what is below the path; a diff is of the path, too
	return p.Version.ReadError(err)
}

// follow takes in what differs between two versions.
func (s *shares) follow(ctx context.Context, from, to *Version, path string) error {
	if from.Manifest.Version == to.Manifest.Version {
		return nil
	}
	wanted, err := NewSearch("*", path)
	if err != nil {
		return err
	}
	d, err := NewDiff(ctx, from, to, wanted)
	if err != nil {
		return err
	}
	_, err = d.Page(ctx, nil, 0, func(c *evidence.Change) error {
		if c.Before != nil {
			s.add(c.Before, -1)
		}
		if c.After != nil {
			s.add(c.After, 1)
		}
		return nil
	})
	if none := new(NoPathError); errors.As(err, &none) {
		return nil
	}
	return err
}
