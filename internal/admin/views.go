package admin

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/internal/viewconfig"
)

// View is a view as an administrator sees it.
type View struct {
	ID         string            `json:"view_id"`
	Configured bool              `json:"configured"` // it has settings of its own, not the defaults
	Config     viewconfig.Config `json:"config"`
	Version    uint64            `json:"version"` // 0: none yet
	Epoch      string            `json:"epoch"`
	Ready      bool              `json:"ready"`
	FoldedAt   *values.Seconds   `json:"folded_at"`
	Files      int64             `json:"files"`
	Dirs       int64             `json:"directories"`
	Bytes      int64             `json:"bytes"`
	Sessions   int               `json:"live_sessions"`
	Leader     string            `json:"leader_agent_id"` // empty: nobody leads
}

// Views are those that scope has, by name.
func (a *Admin) Views(ctx context.Context, scope access.Views) ([]View, error) {
	names, err := viewconfig.Names(ctx, a.store)
	if err != nil {
		return nil, err
	}
	views := []View{}
	for _, name := range names {
		if !scope.Has(name) {
			continue
		}
		v, err := a.view(ctx, name)
		if err != nil {
			return nil, err
		}
		views = append(views, v)
	}
	return views, nil
}

// View is one of them.
func (a *Admin) View(ctx context.Context, view string) (View, error) {
	if err := a.exists(ctx, view); err != nil {
		return View{}, err
	}
	return a.view(ctx, view)
}

func (a *Admin) view(ctx context.Context, view string) (View, error) {
	v := View{ID: view, Config: viewconfig.Default(view)}
	object, err := a.store.Get(ctx, layout.ViewConfig(view))
	switch {
	case err == nil:
		v.Configured = true
		if v.Config, err = viewconfig.Decode(layout.ViewConfig(view), view, object.Body); err != nil {
			return View{}, err
		}
	case !errors.Is(err, store.ErrNotFound):
		return View{}, err
	}
	sessions, err := session.List(ctx, a.store, view)
	if err != nil {
		return View{}, err
	}
	v.Epoch = sessions.Epoch
	for _, s := range sessions.Sessions {
		if s.Lives {
			v.Sessions++
		}
		if s.Leads {
			v.Leader = s.Record.Agent
		}
	}
	m, _, err := manifest.LoadRoot(ctx, a.store, view)
	if errors.Is(err, manifest.ErrNoHead) {
		return v, nil
	}
	if err != nil {
		return View{}, err
	}
	folded := values.Seconds(m.FoldedAt)
	v.Version, v.Ready, v.FoldedAt = m.Version, m.Ready(), &folded
	v.Files, v.Dirs, v.Bytes = m.Totals.Files, m.Totals.Directories, m.Totals.Bytes
	return v, nil
}

// CreateView gives a view its settings: fields is a JSON object with those that differ from the defaults. Compactors that follow
// all views hear of it within seconds.
func (a *Admin) CreateView(ctx context.Context, view string, fields []byte) (viewconfig.Config, error) {
	c, err := merge(viewconfig.Default(view), fields)
	if err != nil {
		return c, err
	}
	if err := a.checkForest(ctx, c); err != nil {
		return c, err
	}
	err = a.saveView(ctx, c, "")
	if errors.Is(err, store.ErrLost) {
		err = refuse(Conflict, "`fustor admin view configure` changes its settings", "view %q already has settings", view)
	}
	if err == nil {
		_ = viewconfig.Ring(ctx, a.store, a.random)
	}
	return c, err
}

// ConfigureView changes the fields of the settings that are given, and leaves the others as they are.
func (a *Admin) ConfigureView(ctx context.Context, view string, fields []byte) (viewconfig.Config, error) {
	for tries := 0; ; tries++ {
		before, etag := viewconfig.Default(view), ""
		key := layout.ViewConfig(view)
		object, err := a.store.Get(ctx, key)
		switch {
		case err == nil:
			etag = object.ETag
			if before, err = viewconfig.Decode(key, view, object.Body); err != nil {
				return before, err
			}
		case !errors.Is(err, store.ErrNotFound):
			return before, err
		default:
			if err := a.exists(ctx, view); err != nil {
				return before, err
			}
		}
		c, err := merge(before, fields)
		if err != nil {
			return c, err
		}
		if before.IsForest() && !c.IsForest() {
			return c, refuse(Conflict, "delete it and create the view again", "view %q is a forest, and stays one: it needs at least one member", view)
		}
		if err := a.checkForest(ctx, c); err != nil {
			return c, err
		}
		err = a.saveView(ctx, c, etag)
		if errors.Is(err, store.ErrLost) && tries < 8 {
			continue // another administrator was faster, perhaps with other fields
		}
		return c, err
	}
}

// checkForest refuses a forest under the name of a view that has data or agents, and one with a forest as a member: forests do not
// nest. A member that does not exist yet is no mistake.
func (a *Admin) checkForest(ctx context.Context, c viewconfig.Config) error {
	if !c.IsForest() {
		return nil
	}
	for _, key := range []string{layout.Roster(c.View), layout.Head(c.View)} {
		_, err := a.store.Get(ctx, key)
		if err == nil {
			return refuse(Conflict, "give the forest a name of its own", "view %q has data or agents of its own, so it cannot be a forest", c.View)
		}
		if !errors.Is(err, store.ErrNotFound) {
			return err
		}
	}
	for _, member := range c.Members {
		if viewconfig.IsGlob(member) {
			continue // it matches no forests
		}
		config, err := a.config(ctx, member)
		if errors.Is(err, viewconfig.ErrInvalid) {
			continue // the forest's answers say so
		}
		if err != nil {
			return err
		}
		if config.IsForest() {
			return refuse(Conflict, "name the members of that forest instead", "member %q is a forest itself", member)
		}
	}
	return nil
}

func (a *Admin) saveView(ctx context.Context, c viewconfig.Config, etag string) error {
	body, err := c.Encode()
	if err != nil {
		return err
	}
	key := layout.ViewConfig(c.View)
	if etag == "" { // the settings of others may be the same to the byte, which a Swap would take for its own
		_, err = a.store.Create(ctx, key, body)
	} else {
		_, err = store.Swap(ctx, a.store, key, body, etag)
	}
	if errors.Is(err, store.ErrExists) {
		err = store.ErrLost
	}
	if err != nil {
		return fmt.Errorf("save configuration of view %s: %w", c.View, err)
	}
	return nil
}

// merge puts fields over a configuration, or says what is wrong with them.
func merge(c viewconfig.Config, fields []byte) (viewconfig.Config, error) {
	view := c.View
	if len(bytes.TrimSpace(fields)) > 0 {
		decoder := json.NewDecoder(bytes.NewReader(fields))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&c); err != nil {
			return c, refuse(Invalid, "`fustor admin view configure --help` lists the fields", "the settings cannot be read: %s", strings.TrimPrefix(err.Error(), "json: "))
		}
		if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
			return c, refuse(Invalid, "", "there is data after the settings")
		}
	}
	if c.View != view {
		return c, refuse(Invalid, "a view's name cannot be changed", "the settings name view %q, not %q", c.View, view)
	}
	if err := c.Check(); err != nil {
		return c, refuse(Invalid, "", "%s", err)
	}
	return c, nil
}

// DeleteView removes a view and all that it has. It refuses while sessions feed the view: they would make it anew.
func (a *Admin) DeleteView(ctx context.Context, view string) (objects int, err error) {
	v, err := a.View(ctx, view)
	if err != nil {
		return 0, err
	}
	if v.Sessions > 0 {
		return 0, refuse(Conflict, "stop its agents first; `fustor admin session list` names them", "view %q has %d live sessions", view, v.Sessions)
	}
	if v.Config.IsForest() {
		return 1, a.store.Delete(ctx, layout.ViewConfig(view))
	}
	// In a new epoch no fold that is under way can publish; without a head there is no view.
	if _, err := a.ledger.NewEpoch(ctx, view); err != nil {
		return 0, err
	}
	if err := a.store.Delete(ctx, layout.Head(view)); err != nil {
		return 0, err
	}
	remove := func(key string) error {
		if err := a.store.Delete(ctx, key); err != nil {
			return fmt.Errorf("remove %s: %w", key, err)
		}
		objects++
		return nil
	}
	err = store.Each(ctx, a.store, layout.View(view), func(i store.Item, _ time.Duration) error {
		if i.Key == layout.Roster(view) {
			return nil
		}
		return remove(i.Key)
	})
	if err == nil {
		err = remove(layout.Roster(view))
	}
	if err == nil && v.Configured {
		err = remove(layout.ViewConfig(view))
	}
	return objects, err
}
