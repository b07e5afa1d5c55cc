package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/fustor/fustor/cmd/internal/parts"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/doctor"
)

// drainTime is how long requests that are under way may go on once the process is asked to end.
const drainTime = 5 * time.Second

// serve answers on l until ctx ends, and lets what is under way finish.
func serve(ctx context.Context, l net.Listener, h http.Handler, logger *slog.Logger) error {
	server := &http.Server{
		Handler: httpapi.Pace{}.Wrap(h), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 1 << 18,
		ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(l) }()
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

// authenticator knows the keys in the store, and the one that the process was given for everything.
func authenticator(st store.Store, key string) (*access.Authenticator, error) {
	return parts.Keys(st, key)
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
