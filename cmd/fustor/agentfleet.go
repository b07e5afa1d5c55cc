//go:build !reading

package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/bus"
	"github.com/fustor/fustor/agent/config"
	"github.com/fustor/fustor/agent/fleet"
	"github.com/fustor/fustor/agent/openapi"
	"github.com/fustor/fustor/agent/owners"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/httpclient"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/store/flock"
)

// defaultAgentConfig is the config file where none is named.
const defaultAgentConfig = "/etc/fustor/agent.yaml"

// flagsGiven are the flags of the command alone that are on the command line.
func flagsGiven(parsed *kong.Context) (names []string) {
	for _, p := range parsed.Path {
		if p.Flag != nil && p.Flag.Group == nil {
			names = append(names, p.Flag.Name)
		}
	}
	return names
}

// runConfig runs the pipes of a config file.
func (c *agentCmd) runConfig(ctx context.Context, a *app, parsed *kong.Context) error {
	for _, name := range flagsGiven(parsed) {
		if name != "config" {
			return usageError("--%s is for `fustor agent DIR`; with a config file, set it in the file", name)
		}
	}
	path := c.Config
	if path == "" {
		if path = defaultAgentConfig; !exists(path) {
			return &cliError{msg: "no directory to watch given", hint: "pass a DIR, or a file with pipes: --config FILE", code: exitUsage}
		}
	}
	s, err := newAgentService(a, path)
	if err != nil {
		return err
	}
	defer s.close()
	return s.run(ctx)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// configFailure tells what is wrong with a config file.
func configFailure(path string, err error) error {
	var e *config.Error
	switch {
	case errors.As(err, &e) && e.V2:
		return &cliError{msg: path + " is a configuration of Fustor V2", hint: "`fustor agent import " + path + " -o agent.yaml` makes a config file of it", code: exitFailure, err: err}
	case errors.As(err, &e):
		word := "problems"
		if len(e.Problems) == 1 {
			word = "problem"
		}
		return &cliError{
			msg: fmt.Sprintf("%s has %d %s\n%s", path, len(e.Problems), word, e), code: exitFailure, err: err,
			hint: "docs/agent.md describes the file; `fustor agent check` checks it without running anything",
		}
	case errors.Is(err, syscall.EISDIR):
		return &cliError{msg: fmt.Sprintf("config file %s is a directory", path), hint: "if it is one of Fustor V2, `fustor agent import " + path + " -o agent.yaml` makes a config file of it", code: exitFailure, err: err}
	case errors.Is(err, fs.ErrNotExist):
		return &cliError{msg: fmt.Sprintf("config file %s does not exist", path), hint: "pass one with --config or FUSTOR_AGENT_CONFIG", code: exitFailure, err: err}
	}
	return err
}

// agentService is an agent with a config file.
type agentService struct {
	a       *app
	path    string
	log     *slog.Logger
	http    *http.Client // for all pipes
	state   string       // directory
	unlock  func()
	started time.Time
	fleet   *fleet.Fleet
	bus     *bus.Bus // the pipes' sources

	mu     sync.Mutex // one reload at a time
	config *config.Config
}

// newAgentService reads the config file and takes the state directory.
func newAgentService(a *app, path string) (*agentService, error) {
	c, err := config.Load(path, a.getenv)
	if err != nil {
		return nil, configFailure(path, err)
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = 100
	log := a.logger("agent")
	s := &agentService{
		a: a, path: path, log: log, bus: bus.New(lease.Host(), log), config: c, started: time.Now(), state: agentStateDir(a, c.State),
		http: httpclient.New(&http.Client{Timeout: time.Minute, Transport: transport}), unlock: func() {},
	}
	if err := os.MkdirAll(s.state, 0o700); err != nil {
		return nil, &cliError{msg: fmt.Sprintf("cannot create state directory %s: %v", s.state, plain(err)), hint: "set another state directory in the config file", code: exitFailure, err: err}
	}
	if flock.Supported {
		unlock, err := flock.TryLock(filepath.Join(s.state, "agent.lock"))
		if errors.Is(err, flock.ErrLocked) {
			return nil, &cliError{
				msg:  fmt.Sprintf("another agent is already running with the state directory %s", s.state),
				hint: "`fustor agent reload` makes it read its file again; a second agent needs another state directory in its config file", code: exitFailure, err: err,
			}
		}
		if err != nil {
			return nil, err
		}
		s.unlock = unlock
	}
	return s, nil
}

func (s *agentService) close() { s.unlock() }

// agentStateDir is where an agent with a config file keeps what it remembers.
func agentStateDir(a *app, named string) string {
	return cmp.Or(named, filepath.Join(a.xdg("XDG_STATE_HOME", ".local/state"), "agent"))
}

// run runs the pipes until ctx ends.
func (s *agentService) run(ctx context.Context) error {
	s.fleet = fleet.New(ctx, s.log)
	stopMetrics, err := serveMetrics(ctx, s.config.Metrics, prometheus.Gatherers{processMetrics(), s.fleet}, s.log)
	if err != nil {
		return err
	}
	defer stopMetrics()
	stopControl := s.serveControl(ctx)
	defer stopControl()
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	signal.Ignore(syscall.SIGPIPE)

	s.apply(s.config)
	s.log.Info("agent is ready", "config", s.path, "pipes", len(s.config.Pipes), "state", s.state)
	defer superviseWith(ctx, s.log, func() { s.fleet.Status() })()
	defer s.a.followScans(ctx, func() (all []agent.Status) {
		for _, p := range s.fleet.Status() {
			if p.Agent != nil {
				all = append(all, *p.Agent)
			}
		}
		return all
	})()
	for {
		select {
		case <-hangups:
			_, _ = s.reload() // it logs what comes of it
		case <-ctx.Done():
			notify(s.log, daemon.SdNotifyStopping)
			s.fleet.Wait()
			return nil
		}
	}
}

// reloaded is what a reload did.
type reloaded struct {
	fleet.Changes
	Notes []string `json:"notes"` // what takes a restart
}

// String is a line for people.
func (r reloaded) String() string {
	s := fmt.Sprintf("%d added, %d changed, %d removed, %d as before", len(r.Added), len(r.Changed), len(r.Removed), len(r.Kept))
	if n := len(r.Started); n > 0 {
		s = fmt.Sprintf("%d started again, %s", n, s)
	}
	return s
}

// reload reads the config file again and applies it. If there is anything wrong with it, nothing is changed.
func (s *agentService) reload() (reloaded, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	notify(s.log, daemon.SdNotifyReloading+"\n"+daemon.SdNotifyMonotonicUsec())
	defer notify(s.log, daemon.SdNotifyReady)
	c, err := config.Load(s.path, s.a.getenv)
	if err != nil {
		var e *config.Error
		if !errors.As(err, &e) {
			s.log.Error("cannot read the config file; nothing was changed", "error", err)
			return reloaded{}, err
		}
		for _, p := range e.Problems {
			s.log.Error("the config file has a mistake; nothing was changed", "line", p.Line, "column", p.Column, "problem", p.Text)
		}
		return reloaded{}, err
	}
	done := reloaded{Notes: []string{}}
	if agentStateDir(s.a, c.State) != s.state {
		done.Notes = append(done.Notes, "changing the state directory needs a restart")
	}
	if c.Metrics != s.config.Metrics {
		done.Notes = append(done.Notes, "changing the metrics address needs a restart")
	}
	for _, note := range done.Notes {
		s.log.Warn("reloaded, but " + note)
	}
	metrics := s.config.Metrics
	done.Changes = s.apply(c)
	s.config = c
	s.config.Metrics = metrics
	s.log.Info("reloaded", "added", len(done.Added), "changed", len(done.Changed), "removed", len(done.Removed), "kept", len(done.Kept), "started", len(done.Started))
	return done, nil
}

func (s *agentService) apply(c *config.Config) fleet.Changes {
	pipes := make([]fleet.Pipe, len(c.Pipes))
	homes := make([]string, len(c.Pipes))
	for i, p := range c.Pipes {
		homes[i] = s.home(p)
		pipes[i] = fleet.Pipe{
			Name: p.Name, Version: p.Version(c.AgentID), View: p.View, Source: p.Source.Path, Sender: p.To + " (" + p.Sender.Type + ")",
			New: func(ctx context.Context, metrics prometheus.Registerer) (fleet.Runner, error) {
				return s.newPipe(ctx, c.AgentID, p, metrics)
			},
		}
	}
	s.tellLeftBehind(homes)
	return s.fleet.Apply(pipes)
}

// home is the directory of what a pipe remembers. It goes with the view and where it is, so that events of one view are
// never sent to another after a change of the file.
func (s *agentService) home(p config.Pipe) string {
	of := sha256.Sum256([]byte(p.Source.Path + "\x00" + p.View + "\x00" + cmp.Or(p.Sender.Ingest, p.Sender.Server, p.Sender.Document)))
	return filepath.Join(s.state, "pipes", fmt.Sprintf("%s-%x", strings.ReplaceAll(p.Name, ":", "_"), of[:6]))
}

// tellLeftBehind names the directories of pipes that are no more and had something to send.
func (s *agentService) tellLeftBehind(homes []string) {
	spools, err := filepath.Glob(filepath.Join(s.state, "pipes", "*", "spool", "*.seg"))
	if err != nil {
		return
	}
	told := map[string]bool{}
	for _, file := range spools {
		home := filepath.Dir(filepath.Dir(file))
		if told[home] || slices.Contains(homes, home) || s.beingSent(home) {
			continue
		}
		told[home] = true
		s.log.Warn("a pipe that is no longer in the config file left unsent events; put it back to send them, or remove the directory", "directory", home)
	}
}

// beingSent reports whether a pipe that runs, or is about to end, has this home.
func (s *agentService) beingSent(home string) bool {
	for _, p := range s.config.Pipes {
		if s.home(p) == home {
			return true
		}
	}
	return false
}

// newPipe makes the agent of a pipe.
func (s *agentService) newPipe(ctx context.Context, agentID string, p config.Pipe, metrics prometheus.Registerer) (fleet.Runner, error) {
	if err := checkDir(p.Source.Path); err != nil {
		return nil, err
	}
	if err := p.CheckTree(); err != nil {
		return nil, err
	}
	log := s.log.With("pipe", p.Name)
	o := agent.Options{
		Owners: owners.Host(log),
		Bus:    s.bus, Root: p.Source.Path, View: p.View, AgentID: agentID, TaskID: p.Task,
		IngestURL: p.Sender.Ingest, IngestHTTP: s.http, APIKey: p.Sender.Key, ThroughIngest: p.Sender.Type == config.HTTP,
		Excludes: p.Source.Exclude, NoDefaultExclude: p.Source.NoDefaultExclude, CrossFilesystems: p.Source.CrossFilesystems, NoAtimes: p.Source.NoAtimes,
		ScanWorkers: p.Source.Workers, ScanRate: p.Source.ScanRate, IOIdle: p.Source.IOIdle, Watch: p.Source.Watch, Logger: log, Registry: metrics, Version: buildVersion().Version,
		Reload: func() (string, error) {
			done, err := s.reload()
			return done.String(), err
		},
	}
	if p.Sender.Type == config.Echo {
		return newEcho(ctx, s.a.stdout, o, p.Fields)
	}
	if p.Sender.Type == config.OpenAPI {
		if err := s.toOpenAPI(ctx, &o, p); err != nil {
			return nil, err
		}
	}
	if p.Sender.Type == config.Store {
		var err error
		if o.Sender, err = storeSender(ctx, p.Sender.Store, log); err != nil {
			return nil, err
		}
	}
	home := s.home(p)
	if err := os.MkdirAll(home, 0o700); err != nil {
		return nil, fmt.Errorf("the pipe's state: %w", err)
	}
	o.StateFile = filepath.Join(home, "session.json")
	if o.SpoolSize = p.SpoolSize; o.SpoolSize > 0 {
		o.Spool = filepath.Join(home, "spool")
	}
	return agent.New(o)
}

// toOpenAPI has an agent feed the server of an OpenAPI document.
func (s *agentService) toOpenAPI(ctx context.Context, o *agent.Options, p config.Pipe) error {
	target, err := openapi.New(ctx, openapi.Options{
		Document: p.Sender.Document, Server: p.Sender.Server, Key: p.Sender.Key, Operations: p.Sender.Operations,
		Fields: p.Fields, View: p.View, HTTP: s.http, Logger: o.Logger,
	})
	if err != nil {
		return err
	}
	o.IngestURL, o.IngestHTTP, o.Sender = openapi.URL, send.Handler(target.Handler()), target
	return nil
}
