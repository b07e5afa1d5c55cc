//go:build !reading

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/record"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/ingest"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/doctor"
)

// checkSender refuses flags that do not go together.
func (c *agentCmd) checkSender() error {
	switch {
	case c.Sender == "store" && c.Store == "":
		return usageError("--sender store needs --store URL")
	case c.Sender != "" && c.Sender != "store" && c.Store != "":
		return usageError("--sender %s cannot be combined with --store, which is for --sender store", c.Sender)
	case c.Sender == "echo":
		return nil
	case c.Ingest == "":
		return &cliError{msg: "no ingest given", hint: "pass it with --ingest URL or FUSTOR_INGEST; --sender echo needs none", code: exitUsage}
	}
	if u, err := url.Parse(c.Ingest); err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return &cliError{msg: fmt.Sprintf("%q is not the URL of an ingest", c.Ingest), hint: "use the form http://HOST:PORT", code: exitUsage}
	}
	return nil
}

// echo runs the agent until nobody reads what it prints, or ctx ends.
func (c *agentCmd) echo(ctx context.Context, a *app, o agent.Options) error {
	o.View = cmp.Or(c.View, "default")
	e, err := newEcho(ctx, a.stdout, o, nil)
	if err != nil {
		return err
	}
	o.Logger.Info("agent is ready", "dir", o.Root, "view", o.View, "sender", "echo")
	return stoppedWell(ctx, e.Run(ctx), o.Logger)
}

// echo is an agent with an ingest of its own, in this process and on a directory that is removed in the end, so that it
// leads a view that nobody reads; its events are printed.
type echo struct {
	*agent.Agent
	dir  string
	gone chan error
}

// newEcho prints to w: events as they are, or records with these fields.
func newEcho(ctx context.Context, w io.Writer, o agent.Options, fields []record.Field) (*echo, error) {
	dir, err := os.MkdirTemp("", "fustor-echo-")
	if err != nil {
		return nil, err
	}
	e := &echo{dir: dir, gone: make(chan error, 1)}
	if err := e.open(ctx, w, o, fields); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return e, nil
}

func (e *echo) open(ctx context.Context, w io.Writer, o agent.Options, fields []record.Field) error {
	st, err := openStore(ctx, "file://"+e.dir)
	if err != nil {
		return err
	}
	o.APIKey = access.GenerateKey()
	keys, err := authenticator(access.Options{Store: st}, o.APIKey)
	if err != nil {
		return err
	}
	quiet := slog.New(slog.DiscardHandler)
	i, err := ingest.New(ingest.Options{Store: st, Authenticator: keys, Logger: quiet, Registry: prometheus.NewRegistry()})
	if err != nil {
		return err
	}
	o.IngestURL, o.IngestHTTP = "http://echo", send.Handler(i.Handler())
	o.Tuning.GracePeriod = time.Second
	signal.Ignore(syscall.SIGPIPE) // a reader that goes away ends the agent, not the process: there is a directory to remove
	o.Sender = &echoSender{Echo: send.Echo{W: w, Fields: fields}, gone: e.gone}
	e.Agent, err = agent.New(o)
	return err
}

// Run implements fleet.Runner. It ends when nobody reads on.
func (e *echo) Run(ctx context.Context) error {
	defer os.RemoveAll(e.dir)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	go func() {
		select {
		case err := <-e.gone:
			cancel(err)
		case <-ctx.Done():
		}
	}()
	err := e.Agent.Run(ctx)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// echoSender ends the agent when nobody reads on.
type echoSender struct {
	send.Echo
	gone chan<- error
}

// Send implements send.Sender.
func (s *echoSender) Send(ctx context.Context, seg pipe.Segment) error {
	err := s.Echo.Send(ctx, seg)
	if err != nil {
		select {
		case s.gone <- err:
		default:
		}
	}
	return err
}

// storeSender sends to a store that is checked before it is written to. One that is no good is refused at once. One that
// cannot be asked is waited for: an agent has a tree to watch meanwhile.
func storeSender(ctx context.Context, url string, log *slog.Logger) (send.Sender, error) {
	st, err := openExisting(ctx, url) // ingest made it, or it is another one, whose segments nobody folds
	if err != nil {
		return nil, err
	}
	if err = storeAnswers(ctx, st); err == nil {
		now, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		var checked store.Store
		if checked, err = openForWriting(now, url); err == nil {
			return &send.Store{Store: checked}, nil
		}
		var network net.Error
		if ctx.Err() != nil || now.Err() == nil && !errors.As(err, &network) {
			return nil, err
		}
	}
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	log.Warn("cannot reach the store; the agent watches the tree and sends when the store answers", "store", st.String(), "error", err)
	return &uncheckedStore{Store: send.Store{Store: st}}, nil
}

// storeAnswers fails if the store does not answer soon, whatever it answers: what happens in the tree before it is watched is not seen.
func storeAnswers(ctx context.Context, st store.Store) error {
	const soon = 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, soon)
	defer cancel()
	_, err := st.Get(ctx, doctor.Marker)
	var network net.Error
	if errors.As(err, &network) || ctx.Err() != nil {
		return err
	}
	return nil
}

// uncheckedStore checks its store before the first segment goes there. It is used by one goroutine.
type uncheckedStore struct {
	send.Store
	fit bool
}

// Send implements send.Sender.
func (s *uncheckedStore) Send(ctx context.Context, seg pipe.Segment) error {
	if !s.fit {
		if err := doctor.Require(ctx, s.Store.Store); err != nil {
			return err
		}
		s.fit = true
	}
	return s.Store.Send(ctx, seg)
}
