//go:build !reading

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/cmd/internal/parts"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/hint"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/doctor"
)

// drainTime is how long requests that are under way may go on once the process is asked to end.
const drainTime = 5 * time.Second

// servingFlags are those of every command that serves on an address.
type servingFlags struct {
	ConnectionsPerAddress int `default:"256" placeholder:"N" env:"FUSTOR_CONNECTIONS_PER_ADDRESS" help:"Connections that one address may have open (default 256); 0 for no limit."`

	proxies httpapi.Proxies `kong:"-"`
}

func (f servingFlags) check() error {
	if f.ConnectionsPerAddress < 0 {
		return usageError("--connections-per-address must not be negative")
	}
	return nil
}

// hintFlags are those of the commands that pass hints on to compactors, or hear them from there.
type hintFlags struct {
	Compactor []string `placeholder:"URL" env:"FUSTOR_COMPACTOR" help:"A compactor that runs with --listen, such as http://compactor:8082; may be repeated. Changes then show at once, and not when a poll finds them."`
}

func (f hintFlags) check() error {
	for _, c := range f.Compactor {
		if err := hint.CheckURL(c); err != nil {
			return usageError("--compactor: %v", err)
		}
	}
	return nil
}

// apiFlags are those of the commands that serve an API.
type apiFlags struct {
	servingFlags `embed:""`
	OpenProbes   bool     `name:"open-probes" env:"FUSTOR_OPEN_PROBES" help:"Answer /readyz and /metrics without a key. Metrics have the names of views and agents, and no paths."`
	TrustedProxy []string `placeholder:"CIDR" env:"FUSTOR_TRUSTED_PROXIES" help:"An address of a reverse proxy, such as 10.1.2.3 or 10.1.2.0/24; may be repeated. X-Forwarded-For (or Forwarded) from there says who asks, for the log and the limits per address; from elsewhere it says nothing."`
	CORSOrigin   []string `name:"cors-origin" placeholder:"ORIGIN" env:"FUSTOR_CORS_ORIGINS" help:"Let web pages of this origin, such as https://app.example.org, call with a key; may be repeated; * for all."`
}

// check also makes what the pages of other sites may do.
func (f *apiFlags) check() (httpapi.CORS, error) {
	if err := f.servingFlags.check(); err != nil {
		return httpapi.CORS{}, err
	}
	var err error
	if f.proxies, err = httpapi.ParseProxies(f.TrustedProxy); err != nil {
		return httpapi.CORS{}, usageError("--trusted-proxy: %v", err)
	}
	cors, err := httpapi.NewCORS(f.CORSOrigin)
	if err != nil {
		return cors, usageError("--cors-origin: %v", err)
	}
	return cors, nil
}

// serve answers on l until ctx ends, and lets what is under way finish.
func serve(ctx context.Context, l net.Listener, h http.Handler, logger *slog.Logger) error {
	return servingFlags{ConnectionsPerAddress: httpapi.DefaultConnections}.serve(ctx, l, httpapi.CORS{}, h, logger)
}

// serve also lets the pages of other sites call, as cors has it. Nothing that answers stands outside of cors but net/http, which refuses what
// no browser sends.
func (f servingFlags) serve(ctx context.Context, l net.Listener, cors httpapi.CORS, h http.Handler, logger *slog.Logger) error {
	limit := httpapi.LimitConnections(l, f.ConnectionsPerAddress, logger)
	limit.Proxies = f.proxies
	server := &http.Server{
		Handler: f.proxies.Wrap(httpapi.Pace{}.Wrap(limit.Wrap(cors, h))), ConnContext: limit.Context, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 1 << 18,
		BaseContext: func(net.Listener) context.Context { return httpapi.WithEnding(context.Background(), ctx.Done()) },
		ErrorLog:    slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() {
		if s, ok := l.(secured); ok {
			server.TLSConfig = s.config
			ended <- server.ServeTLS(limit, "", "")
			return
		}
		ended <- server.Serve(limit)
	}()
	select {
	case err := <-ended:
		return fmt.Errorf("serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
	defer cancel()
	if err := server.Shutdown(drain); err != nil {
		server.Close()
	}
	return nil
}

// serveAll is serve on several listeners. The first that fails ends the others.
func (f servingFlags) serveAll(ctx context.Context, listeners []net.Listener, cors httpapi.CORS, h http.Handler, logger *slog.Logger) error {
	g, ctx := errgroup.WithContext(ctx)
	for _, l := range listeners {
		g.Go(func() error { return f.serve(ctx, l, cors, h, logger) })
	}
	return g.Wait()
}

// authenticator knows the keys in the store, and the one that the process was given for everything.
func authenticator(o access.Options, key string) (*access.Authenticator, error) {
	return parts.Keys(o, key)
}

// openForReading opens a store and asks it one thing, so that a wrong URL or key is found now, not by the first reader.
func openForReading(ctx context.Context, url string) (store.Store, error) {
	st, err := parts.OpenForReading(ctx, url)
	return opened(st, err)
}

// openForWriting opens a store and refuses one that does not keep the rules that writers rely on.
func openForWriting(ctx context.Context, url string) (store.Store, error) {
	st, err := parts.OpenForWriting(ctx, url)
	if errors.Is(err, doctor.ErrUnfit) {
		return nil, &cliError{
			msg:  err.Error(),
			hint: fmt.Sprintf("`fustor doctor '%s'` shows every rule; docs/operations.md names stores that keep them", st), code: exitFailure, err: err,
		}
	}
	return opened(st, err)
}
