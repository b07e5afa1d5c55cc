package forest

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/query/engine"
)

// Forests opens the forests of one store. It is safe for concurrent use.
type Forests struct {
	engine *engine.Engine
	now    func() time.Time
	names  *names
}

// New returns a Forests. It reads nothing yet.
func New(e *engine.Engine, now func() time.Time) *Forests {
	return &Forests{engine: e, now: now, names: &names{turn: make(chan struct{}, 1), bell: viewconfig.NewBell(e.Store())}}
}

// Members are the members of a forest, without a version; those that the reader may not read are Forbidden.
func (f *Forests) Members(ctx context.Context, of *engine.ForestError, may func(view string) bool) (*Forest, error) {
	globbed := map[string]bool{}
	for _, member := range of.Members {
		if !viewconfig.IsGlob(member) {
			globbed[member] = false
			continue
		}
		all, err := f.views(ctx)
		if err != nil {
			return nil, err
		}
		for _, view := range all {
			if _, named := globbed[view]; !named && view != of.View && viewconfig.MatchesGlob(member, view) {
				globbed[view] = true
			}
		}
	}
	fo := &Forest{View: of.View}
	for i, view := range slices.Sorted(maps.Keys(globbed)) {
		m := &Member{View: view, Status: OK, index: i, globbed: globbed[view]}
		if !may(view) {
			m.Status, m.Err = Forbidden, &ForbiddenError{view}
		}
		fo.Members = append(fo.Members, m)
	}
	return fo, nil
}

// Open opens the version of each member that is meant: the current one, or the one of a time; NoTimeError for others.
func (f *Forests) Open(ctx context.Context, of *engine.ForestError, w engine.Which, may func(view string) bool) (*Forest, error) {
	if !w.IsCurrent() && !w.IsTime() {
		return nil, &NoTimeError{of.View, w.String()}
	}
	fo, err := f.Members(ctx, of, may)
	if err != nil {
		return nil, err
	}
	return fo, fo.open(ctx, func(ctx context.Context, m *Member) (*engine.Version, error) { return f.engine.Open(ctx, m.View, w) })
}

// open opens a version of each member that is OK.
func (f *Forest) open(ctx context.Context, version func(ctx context.Context, m *Member) (*engine.Version, error)) error {
	versions, err := Ask(ctx, f, Deadline, version)
	if ctx.Err() != nil {
		return err
	}
	for i, m := range f.Members {
		if m.Status == OK {
			m.Version = versions[i]
		}
	}
	return err
}

// names remembers the names of all views, for globs.
type names struct {
	turn    chan struct{} // holds a token while one looks; nobody waits beyond its own context
	bell    *viewconfig.Bell
	all     []string
	listed  time.Time // zero: they are to be listed
	checked time.Time // when the bell was last looked at
}

const (
	// hearViews is how often the bell of new views is looked at, where a glob is asked for: a new view is a member within that time.
	hearViews = 5 * time.Second
	// listViews is how often the views are listed without it, as it may have failed to ring.
	listViews = 10 * time.Minute
)

// views are the names of all views, at most hearViews old. It makes no LIST unless views may have been made.
func (f *Forests) views(ctx context.Context) ([]string, error) {
	n := f.names
	select {
	case n.turn <- struct{}{}:
		defer func() { <-n.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	now := f.now()
	if !n.listed.IsZero() && now.Sub(n.checked) < hearViews {
		return n.all, nil
	}
	rang, err := n.bell.Rang(ctx) // before the listing, so that a view made meanwhile rings again
	if err != nil {
		return nil, err
	}
	n.checked = now
	if rang || now.Sub(n.listed) >= listViews {
		n.listed = time.Time{}
	}
	if n.listed.IsZero() {
		if n.all, err = viewconfig.Names(ctx, f.engine.Store()); err != nil {
			return nil, err
		}
		n.listed = now
	}
	return n.all, nil
}
