//go:build !reading

package main

import (
	"context"
	"errors"
	"log/slog"
	"runtime/debug"

	"github.com/fustor/fustor/cmd/fustor/internal/match"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/internal/diskcache"
	"github.com/fustor/fustor/internal/hint"
	"github.com/fustor/fustor/query"
)

type queryCmd struct {
	Store       string      `required:"" placeholder:"URL" env:"FUSTOR_STORE" help:"Store with the views."`
	Listen      string      `default:"127.0.0.1:8080" placeholder:"HOST:PORT" help:"Address to serve on (default 127.0.0.1:8080); 'none' serves at the socket alone."`
	Memory      *match.Size `placeholder:"SIZE" env:"FUSTOR_QUERY_MEMORY" help:"Memory limit of the process (default 256MiB), caches included."`
	Cache       string      `placeholder:"DIR" env:"FUSTOR_QUERY_CACHE" help:"Keep what is read of layers in this directory as well, for the next start and for what memory does not hold."`
	CacheSize   match.Size  `default:"2GiB" placeholder:"SIZE" env:"FUSTOR_QUERY_CACHE_SIZE" help:"About how much that may be (default 2GiB)."`
	APIKey      string      `name:"api-key" placeholder:"KEY" env:"FUSTOR_API_KEY" help:"Accept this key for everything, in addition to the keys in the store."`
	Administer  bool        `env:"FUSTOR_QUERY_ADMINISTER" help:"Answer what administrators change, too, so that the page has it: views, keys, sessions, retention. It needs a key of the role admin, and a store that may be written."`
	Hints       hintFlags   `embed:""`
	apiFlags    `embed:""`
	callerFlags `embed:""`
	tlsFlags    `embed:""`
}

// Help implements kong.HelpProvider.
func (queryCmd) Help() string {
	return `It keeps no state of its own, so you may run any number of them.

Examples:

    fustor query --store file:///srv/fustor
    fustor query --store 'minio://127.0.0.1:9000/fustor?tls=false' --listen 0.0.0.0:8080
    fustor query --store file:///srv/fustor --memory 1GiB
    fustor query --store file:///srv/fustor --compactor http://127.0.0.1:8082
    fustor query --store 's3://fustor?region=eu-central-1' --cache /var/cache/fustor --cache-size 10GiB
    fustor query --store file:///srv/fustor --listen 0.0.0.0:443 --tls-cert /etc/fustor/tls.crt --tls-key /etc/fustor/tls.key
    fustor query --store file:///srv/fustor --administer
    fustor query --store file:///srv/fustor --listen none --socket /run/fustor/query.sock`
}

const (
	defaultQueryMemory = 256 << 20
	leastQueryMemory   = 64 << 20
)

func (c *queryCmd) Run(ctx context.Context, a *app) error {
	cors, err := c.apiFlags.check()
	if err = errors.Join(err, c.Hints.check()); err != nil {
		return err
	}
	memory := int64(defaultQueryMemory)
	if c.Memory != nil {
		memory = c.Memory.Bytes
	}
	if memory < leastQueryMemory {
		return usageError("--memory must be at least %s", show.Size(leastQueryMemory))
	}
	log := a.logger("query")
	options, err := c.callerFlags.options(c.proxies, log)
	if err != nil {
		return err
	}
	if c.Listen == listenNowhere && c.Socket == "" {
		return usageError("--listen none needs --socket")
	}
	end, err := a.startTraces(ctx, "query", log)
	if err != nil {
		return err
	}
	defer end()
	opened := openForReading
	if c.Administer {
		opened = openForWriting
	}
	st, err := opened(ctx, c.Store)
	if err != nil {
		return err
	}
	options.Store = st
	keys, err := authenticator(options, c.APIKey)
	if err != nil {
		return err
	}
	if a.getenv("GOMEMLIMIT") == "" {
		// The collector's limit leaves out the program itself and what the kernel holds for it.
		debug.SetMemoryLimit(memory - memory/5)
	}
	disk, err := c.openCache(log)
	if err != nil {
		return err
	}
	defer disk.Close()
	o := query.Options{
		Store: st, Authenticator: keys, MemoryBytes: memory, Disk: disk, Logger: log, Registry: processMetrics(), OpenProbes: c.OpenProbes, Administer: c.Administer,
	}
	if c.Administer {
		compact, err := compactor.New(compactor.Options{Store: st, Logger: log})
		if err != nil {
			return err
		}
		o.Retain = retention(compact)
	}
	q, err := query.New(o)
	if err != nil {
		return err
	}
	listeners, err := c.listeners(ctx, c.Listen, c.tlsFlags, log)
	if err != nil {
		return err
	}
	for _, compactor := range c.Hints.Compactor {
		go hint.Listen(ctx, compactor, log, q.Invalidate)
	}
	log.Info("query is ready", append([]any{"memory", show.Size(memory), "store", st.String()}, addresses(listeners)...)...)
	findProvider(ctx, options)
	return c.serveAll(ctx, listeners, cors, q.Handler(), log)
}

// openCache opens the cache on disk; nil if none is wanted.
func (c *queryCmd) openCache(log *slog.Logger) (*diskcache.Cache, error) {
	if c.CacheSize.Bytes < diskcache.LeastSize {
		return nil, usageError("--cache-size must be at least %s", show.Size(diskcache.LeastSize))
	}
	if c.Cache == "" {
		return nil, nil
	}
	disk, err := diskcache.Open(c.Cache, c.CacheSize.Bytes, log)
	if err != nil {
		return nil, err
	}
	f := disk.Figures()
	log.Info("cache on disk", "dir", c.Cache, "size", show.Size(c.CacheSize.Bytes), "held", show.Size(f.Bytes), "parts", f.Parts)
	return disk, nil
}
