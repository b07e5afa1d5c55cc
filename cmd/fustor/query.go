//go:build !reading

package main

import (
	"context"
	"runtime/debug"

	"github.com/fustor/fustor/cmd/fustor/internal/match"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/query"
)

type queryCmd struct {
	Store    string      `required:"" placeholder:"URL" env:"FUSTOR_STORE" help:"Store with the views."`
	Listen   string      `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Address to serve on (default 127.0.0.1:8080)."`
	Memory   *match.Size `placeholder:"SIZE" env:"FUSTOR_QUERY_MEMORY" help:"Memory limit of the process (default 256MiB), caches included."`
	APIKey   string      `name:"api-key" placeholder:"KEY" env:"FUSTOR_API_KEY" help:"Accept this key for everything, in addition to the keys in the store."`
	apiFlags `embed:""`
}

// Help implements kong.HelpProvider.
func (queryCmd) Help() string {
	return `It keeps no state of its own, so you may run any number of them.

Examples:

    fustor query --store file:///srv/fustor
    fustor query --store 'minio://127.0.0.1:9000/fustor?tls=false' --listen 0.0.0.0:8080
    fustor query --store file:///srv/fustor --memory 1GiB`
}

const (
	defaultQueryMemory = 256 << 20
	leastQueryMemory   = 64 << 20
)

func (c *queryCmd) Run(ctx context.Context, a *app) error {
	cors, err := c.apiFlags.check()
	if err != nil {
		return err
	}
	memory := int64(defaultQueryMemory)
	if c.Memory != nil {
		memory = c.Memory.Bytes
	}
	if memory < leastQueryMemory {
		return usageError("--memory must be at least %s", show.Size(leastQueryMemory))
	}
	st, err := openForReading(ctx, c.Store)
	if err != nil {
		return err
	}
	keys, err := authenticator(st, c.APIKey)
	if err != nil {
		return err
	}
	if a.getenv("GOMEMLIMIT") == "" {
		// The collector's limit leaves out the program itself and what the kernel holds for it.
		debug.SetMemoryLimit(memory - memory/5)
	}
	log := a.logger("query")
	q, err := query.New(query.Options{Store: st, Authenticator: keys, MemoryBytes: memory, Logger: log, Registry: processMetrics(), OpenProbes: c.OpenProbes})
	if err != nil {
		return err
	}
	l, err := listen(c.Listen)
	if err != nil {
		return err
	}
	log.Info("query is ready", "memory", show.Size(memory), "url", "http://"+l.Addr().String(), "store", st.String())
	return c.serve(ctx, l, cors, q.Handler(), log)
}
