//go:build !reading

package main

import (
	"context"
	"errors"

	"github.com/fustor/fustor/cmd/fustor/internal/match"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/ingest"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/hint"
)

type ingestCmd struct {
	Store    string     `required:"" placeholder:"URL" env:"FUSTOR_STORE" help:"Store with the views."`
	Listen   string     `default:"127.0.0.1:8081" placeholder:"HOST:PORT" help:"Address to serve on (default 127.0.0.1:8081)."`
	APIKey   string     `name:"api-key" placeholder:"KEY" env:"FUSTOR_API_KEY" help:"Accept this key for everything, in addition to the keys in the store."`
	Uploads  match.Size `name:"upload-memory" default:"128MiB" placeholder:"SIZE" help:"Memory for segments that come in at once (default 128MiB, at least 64MiB); further uploads wait."`
	Hints    hintFlags  `embed:""`
	apiFlags `embed:""`
	tlsFlags `embed:""`
}

// Help implements kong.HelpProvider.
func (ingestCmd) Help() string {
	return `It keeps no state of its own, so you may run any number of them.

Examples:

    fustor ingest --store file:///srv/fustor
    fustor ingest --store 'minio://127.0.0.1:9000/fustor?tls=false' --listen 0.0.0.0:8081
    fustor ingest --store file:///srv/fustor --compactor http://127.0.0.1:8082`
}

func (c *ingestCmd) Run(ctx context.Context, a *app) error {
	cors, err := c.apiFlags.check()
	if err = errors.Join(err, c.Hints.check()); err != nil {
		return err
	}
	if c.Uploads.Bytes < ingest.MinUploadMemory {
		return usageError("--upload-memory must be at least %s", show.Size(ingest.MinUploadMemory))
	}
	log := a.logger("ingest")
	end, err := a.startTraces(ctx, "ingest", log)
	if err != nil {
		return err
	}
	defer end()
	st, err := openForWriting(ctx, c.Store)
	if err != nil {
		return err
	}
	keys, err := authenticator(access.Options{Store: st}, c.APIKey)
	if err != nil {
		return err
	}
	compact, err := compactor.New(compactor.Options{Store: st, Logger: log}) // for retention, when an administrator asks
	if err != nil {
		return err
	}
	o := ingest.Options{Store: st, Authenticator: keys, Logger: log, Registry: processMetrics(), OpenProbes: c.OpenProbes, UploadMemory: c.Uploads.Bytes, Retain: retention(compact)}
	if len(c.Hints.Compactor) > 0 {
		teller := hint.NewTeller(c.Hints.Compactor, log)
		go teller.Run(ctx)
		o.OnSegment = func(view, _ string, _ uint64) { teller.Segments(view) }
	}
	i, err := ingest.New(o)
	if err != nil {
		return err
	}
	l, err := c.tlsFlags.listen(c.Listen, log)
	if err != nil {
		return err
	}
	log.Info("ingest is ready", "url", urlOf(l), "store", st.String())
	return c.serve(ctx, l, cors, i.Handler(), log)
}
