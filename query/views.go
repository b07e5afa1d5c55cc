package query

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/query/engine"
)

// viewsAnswer is the answer of /views: the views that the caller's key may read.
type viewsAnswer struct {
	Views []viewEntry `json:"views"`
	Count int         `json:"count"`
	More  bool        `json:"more"` // the store has more than are listed
}

// viewEntry is a view and how it is. Counts are those of its newest version, complete or not.
type viewEntry struct {
	View    string    `json:"view_id"`
	State   viewState `json:"state"`
	Members []string  `json:"members,omitempty"` // of a forest: names and globs of views
	Error   string    `json:"error,omitempty"`   // what is wrong with a damaged view
	// Troubles are what is wrong with the view; absent: nothing is known to be.
	Troubles []engine.Trouble `json:"troubles,omitempty"`
	Leader   *bool            `json:"has_leader,omitempty"` // users are not told, nor the counts
	Version  uint64           `json:"version,omitempty"`
	// FoldedAt is when the version was made, ObservedAt its newest observation; null before the first version.
	FoldedAt   *values.Seconds `json:"folded_at"`
	ObservedAt *values.Seconds `json:"observed_at"`
	*viewCounts
}

// viewCounts are what a view has; a user is not told, as they count what is hidden.
type viewCounts struct {
	Files     int64 `json:"total_files"`
	Dirs      int64 `json:"total_directories"`
	Bytes     int64 `json:"total_size"`
	Allocated int64 `json:"total_allocated"`
	Saturated bool  `json:"saturated,omitempty"` // total_size or total_allocated may be larger than it says
}

func (v *viewEntry) count(t evidence.Totals, leads bool) {
	v.viewCounts = &viewCounts{t.Files, t.Directories, t.Bytes, t.Allocated, t.Saturated()}
	v.Leader = &leads
}

// viewState is how a view is.
type viewState string

const (
	viewReady    viewState = "ready"
	viewScanning viewState = "scanning" // before the first snapshot
	viewForest   viewState = "forest"
	viewDamaged  viewState = "damaged" // its head cannot be read, or its settings before there is one
)

// views lists the views that the key may read. It reads the head of each.
func (s *Server) views(w http.ResponseWriter, r *http.Request, _ string) error {
	if err := httpapi.Query(r).Err(); err != nil {
		return err
	}
	key, _ := access.FromContext(r.Context())
	names, more := key.Views.Names, false
	if key.Views.All {
		var err error
		if names, _, err = s.engine.Views(r.Context()); err != nil {
			return err
		}
		more = len(names) >= engine.MaxViews
	}
	names = slices.DeleteFunc(slices.Clone(names), func(name string) bool { return !s.mayRead(r.Context())(name) })
	found := make([]*viewEntry, len(names))
	g, ctx := errgroup.WithContext(r.Context())
	g.SetLimit(16)
	for i, name := range names {
		g.Go(func() (err error) {
			found[i], err = s.viewEntry(ctx, name)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	a := viewsAnswer{Views: []viewEntry{}, More: more}
	for _, v := range found {
		if v != nil {
			a.Views = append(a.Views, *v)
		}
	}
	slices.SortFunc(a.Views, func(x, y viewEntry) int { return cmp.Compare(x.View, y.View) })
	a.Count = len(a.Views)
	httpapi.WriteJSON(w, r, http.StatusOK, &a)
	return nil
}

// viewEntry is nil where there is no such view. What is wrong with one view is no failure of the list.
func (s *Server) viewEntry(ctx context.Context, view string) (*viewEntry, error) {
	v := &viewEntry{View: view, State: viewScanning}
	_, restricted := engine.ReaderOf(ctx)
	if !restricted {
		v.count(evidence.Totals{}, false)
	}
	m, err := s.engine.Head(ctx, view)
	var unknown *engine.NoViewError
	var of *engine.ForestError
	var begun *engine.NotReadyError
	switch {
	case errors.As(err, &unknown):
		return nil, nil
	case errors.As(err, &of):
		v.State, v.Members = viewForest, of.Members
		return v, nil
	case errors.As(err, &begun) && restricted:
		return v, nil
	case errors.As(err, &begun):
		v.count(begun.Begun, begun.Leading.Session != "")
		v.Troubles = begun.Troubles
		return v, nil
	case errors.Is(err, manifest.ErrFormat), errors.Is(err, viewconfig.ErrInvalid):
		v.State, v.Error = viewDamaged, err.Error()
		return v, nil
	case err != nil:
		return nil, err
	}
	if m.Ready() {
		v.State = viewReady
	}
	v.Troubles = engine.TroublesOf(ctx, m)
	if restricted {
		return v, nil
	}
	leader, err := s.engine.Leader(ctx, view)
	if err != nil && !errors.Is(err, session.ErrDamaged) {
		return nil, err
	}
	folded, observed := values.Seconds(m.FoldedAt), values.Seconds(m.ObservedAt)
	v.Version, v.FoldedAt, v.ObservedAt = m.Version, &folded, &observed
	v.count(m.Totals, leader != "")
	return v, nil
}
