//go:build !reading

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/cmd/fustor/internal/match"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/internal/hint"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/doctor"
	"github.com/fustor/fustor/internal/values"
)

type compactCmd struct {
	Store        string     `required:"" placeholder:"URL" env:"FUSTOR_STORE" help:"Store with the views."`
	View         []string   `placeholder:"VIEW" help:"Only this view; may be repeated (default: all)."`
	Follow       bool       `short:"f" help:"Keep running and fold new segments, instead of ending when all are folded."`
	Memory       match.Size `default:"256MiB" placeholder:"SIZE" help:"Memory limit (default 256MiB, at least 96MiB); larger work goes to a temporary file."`
	Temp         string     `placeholder:"DIR" type:"existingdir" help:"Directory for temporary files (default: $$TMPDIR, or the system's)."`
	Listen       string     `placeholder:"HOST:PORT" env:"FUSTOR_COMPACT_LISTEN" help:"With --follow: serve /healthz, /readyz and /metrics on this address, without a key, and take and give hints of what is new."`
	JSON         bool       `name:"json" help:"Print the results, one JSON object per view."`
	servingFlags `embed:""`
}

// Help implements kong.HelpProvider.
func (compactCmd) Help() string {
	return `You may run two at once: this is safe, but wasteful. Without --follow it also checks that the
store has every layer of the newest versions.

Examples:

    fustor compact --store file:///srv/fustor
    fustor compact --store 's3://bucket/fustor?region=eu-central-1' --view research --follow
    fustor compact --store file:///srv/fustor --follow --listen 127.0.0.1:8082
    fustor compact --store file:///srv/fustor --memory 1GiB --temp /var/tmp`
}

func (c *compactCmd) Run(ctx context.Context, a *app) error {
	for _, v := range c.View {
		if err := checkView(v); err != nil {
			return err
		}
	}
	if err := c.check(); err != nil {
		return err
	}
	if c.Memory.Bytes < compactor.MinMemory {
		return usageError("--memory: %s is less than the %s that a fold needs", show.Size(c.Memory.Bytes), show.Size(compactor.MinMemory))
	}
	log := a.logger("compact")
	end, err := a.startTraces(ctx, "compactor", log)
	if err != nil {
		return err
	}
	defer end()
	if !c.Follow { // there is nothing to fold in a store that nobody has made
		if _, err := openExisting(ctx, c.Store); err != nil {
			return err
		}
	}
	st, err := openForWriting(ctx, c.Store)
	if err != nil {
		return err
	}
	// What lives is about half of this; without the limit the collector would let garbage grow as large again. The rest of
	// the memory is the program's own, and what the system keeps for it.
	if a.getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(c.Memory.Bytes / 32 * 25)
	}
	var compact *compactor.Compactor
	hints := hint.NewHub(func(view string) { compact.Wake(view) })
	compact, err = compactor.New(compactor.Options{Store: st, Logger: log, Memory: c.Memory.Bytes, TempDir: c.Temp,
		OnCommit: func(m *manifest.Manifest) { hints.Published(m.View) }})
	if err != nil {
		return err
	}
	if !c.Follow {
		return c.once(ctx, a, st, compact)
	}
	g, ctx := errgroup.WithContext(ctx)
	if c.Listen != "" {
		handler, err := compactCalls(st, compact, hints)
		if err != nil {
			return err
		}
		l, err := listen(c.Listen)
		if err != nil {
			return err
		}
		g.Go(func() error { return c.serve(ctx, l, httpapi.CORS{}, handler, log) })
	}
	log.Info("compactor is ready", "store", st.String())
	g.Go(func() error { return ignoreEnd(ctx, compact.Run(ctx, c.View...)) })
	return g.Wait()
}

// compactCalls is what a compactor serves: whether it lives, whether it reaches its store, metrics, and hints. There is nothing
// in them that needs a key.
func compactCalls(st store.Store, compact *compactor.Compactor, hints *hint.Hub) (http.Handler, error) {
	registry := processMetrics()
	if err := compact.Register(registry); err != nil {
		return nil, err
	}
	mux := httpapi.NewMux()
	httpapi.Probes{Gatherer: registry, OpenAPI: func() ([]byte, error) { return []byte("{}"), nil }, Ready: func(ctx context.Context) error {
		if _, err := st.Get(ctx, doctor.Marker); !errors.Is(err, store.ErrNotFound) {
			return err
		}
		return compact.Ready()
	}}.Register(mux)
	hints.Register(mux)
	return mux, nil
}

// once folds what there is. A view that fails does not keep the others from it.
func (c *compactCmd) once(ctx context.Context, a *app, st store.Store, compact *compactor.Compactor) error {
	views, err := c.View, error(nil)
	if len(views) == 0 {
		if views, err = compact.Views(ctx); err != nil {
			return storeFailure(err)
		}
	}
	var failed error
	var damaged []string
	for _, view := range views {
		before := broken(ctx, st, view)
		segments, err := compact.Once(ctx, view)
		if err == nil {
			err = compact.CheckLayers(ctx, view)
		}
		if err != nil {
			failed = errors.Join(failed, err)
			if segments == 0 {
				continue
			}
		}
		for id, key := range broken(ctx, st, view) {
			if before[id] == "" {
				damaged = append(damaged, key)
			}
		}
		if c.JSON {
			err = json.NewEncoder(a.stdout).Encode(map[string]any{"view": view, "segments": segments})
		} else {
			_, err = fmt.Fprintf(a.stdout, "%s: %s folded\n", view, values.Plural(segments, "segment", "segments"))
		}
		if err != nil {
			return err
		}
	}
	if failed != nil {
		return storeFailure(failed)
	}
	if len(damaged) > 0 {
		return &cliError{
			msg:  "cannot read " + strings.Join(damaged, ", "),
			hint: "everything else is folded; these sessions were ended, and their agents begin new ones and scan again", code: exitFailure,
		}
	}
	return nil
}

// broken are the segments at which sessions of the view are broken, by session.
func broken(ctx context.Context, st store.Store, view string) map[string]string {
	found := map[string]string{}
	m, _, err := manifest.LoadRoot(ctx, st, view)
	if err != nil {
		return found // Once has said so, or there is no version yet
	}
	for id, p := range m.Sessions {
		if p.Broken {
			found[id] = layout.Segment(view, id, p.Next)
		}
	}
	return found
}
