//go:build !reading

package main

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/owners"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/httpclient"
	"github.com/fustor/fustor/internal/values"
)

// agentGroup is the agent and what goes with it. `fustor agent DIR` runs one.
type agentGroup struct {
	Run    agentCmd       `cmd:"" default:"withargs" help:"Watch and scan DIR, and send the changes."`
	Check  agentCheckCmd  `cmd:"" overview:"no" help:"Check a config file and print its pipes."`
	Import agentImportCmd `cmd:"" overview:"no" help:"Make a config file of the configuration of a Fustor V2 agent."`
	Reload agentReloadCmd `cmd:"" overview:"no" help:"Make the running agent read its config file again."`
	Pause  agentPauseCmd  `cmd:"" overview:"no" help:"Pause a pipe of the running agent: it neither scans nor sends."`
	Resume agentResumeCmd `cmd:"" overview:"no" help:"Resume a paused pipe."`
	Status agentStatusCmd `cmd:"" overview:"no" help:"Show the status of the pipes of the running agent."`
}

type agentCmd struct {
	Dir              string        `arg:"" optional:"" help:"Directory to watch and scan."`
	Config           string        `placeholder:"FILE" env:"FUSTOR_AGENT_CONFIG" help:"Run the pipes of this file instead of watching DIR."`
	Ingest           string        `placeholder:"URL" env:"FUSTOR_INGEST" help:"Ingest to register with; --sender echo needs none."`
	Sender           string        `placeholder:"KIND" enum:",store,upload,http,echo" default:"" env:"FUSTOR_AGENT_SENDER" help:"How segments are sent: store, upload, http or echo, see above (default: store with --store, else upload)."`
	Store            string        `placeholder:"URL" env:"FUSTOR_STORE" help:"Store to write segments to directly."`
	View             string        `placeholder:"VIEW" env:"FUSTOR_VIEW" help:"View that this tree feeds (default: the view of the key, else default)."`
	APIKey           string        `name:"api-key" placeholder:"KEY" env:"FUSTOR_API_KEY" help:"Key for the ingest."`
	AgentID          string        `name:"agent-id" placeholder:"ID" env:"FUSTOR_AGENT_ID" help:"Unique, stable name of this agent (default: the host's name)."`
	State            string        `placeholder:"FILE" env:"FUSTOR_AGENT_STATE" help:"File in which the agent remembers its session (default: in ~/.local/state/fustor)."`
	Spool            string        `placeholder:"DIR" env:"FUSTOR_AGENT_SPOOL" help:"Directory for events that cannot be sent yet (default: beside the state file)."`
	SpoolSize        spoolSize     `placeholder:"SIZE" default:"1GiB" env:"FUSTOR_AGENT_SPOOL_SIZE" help:"Size limit of the spool; 0 for no spool (default: ${default})."`
	Exclude          []string      `sep:"none" placeholder:"PATTERN" help:"Leave out what matches this pattern, as in .gitignore; may be repeated."`
	Watch            string        `placeholder:"HOW" enum:"auto,fanotify,inotify,none" default:"auto" env:"FUSTOR_AGENT_WATCH" help:"Watching method: auto (the best that works), fanotify, inotify or none (audits only) (default: ${default})."`
	Metrics          string        `placeholder:"HOST:PORT" env:"FUSTOR_AGENT_METRICS" help:"Serve Prometheus metrics on this address, at /metrics."`
	ScanWorkers      int           `placeholder:"N" env:"FUSTOR_AGENT_SCAN_WORKERS" help:"At most N calls into the tree at once in a scan (default: 32)."`
	ScanRate         int           `placeholder:"N" env:"FUSTOR_AGENT_SCAN_RATE" help:"Read at most N entries a second in scans."`
	IOIdle           bool          `name:"io-idle" env:"FUSTOR_AGENT_IO_IDLE" help:"Scan with the lowest disk and processor priority (Linux)."`
	CrossFileSystems bool          `help:"Also index other file systems mounted below DIR, but never proc, sysfs and their like."`
	NoAtimes         bool          `name:"no-atimes" env:"FUSTOR_AGENT_NO_ATIMES" help:"Do not have audits look for files that were read (see docs/agent.md)."`
	ClockOffset      time.Duration `hidden:"" help:"For tests: the host's clock is ahead by this much."`
}

// Help implements kong.HelpProvider.
func (agentCmd) Help() string {
	return `Several agents may feed one view: one leads and scans, and all of them report the
changes that their kernels see. One of these senders sends the segments:

    store    writes into the store of --store; needs its credentials on the host
    upload   uploads with URLs that the ingest signs; needs no credentials. If the
             store cannot sign, it sends as http does
    http     sends through the ingest, for hosts that reach nothing else
    echo     prints to stdout, one JSON object per event, to show what would be
             sent; needs no ingest, no store and no view

With --config, a file defines the trees, the senders and the pipes between them
(docs/agent.md). SIGHUP, or fustor agent reload, makes the agent read it again.

Examples:

    fustor agent /mnt/data --ingest http://ingest:8081 --view research
    fustor agent --config /etc/fustor/agent.yaml
    FUSTOR_API_KEY=… fustor agent /mnt/data --ingest https://ingest.example.org --agent-id nfs07
    fustor agent /mnt/data --scan-rate 5000 --io-idle --ingest http://ingest:8081
    fustor agent /mnt/data --sender echo | jq -c 'select(.kind == "delete")'`
}

func (c *agentCmd) Run(ctx context.Context, a *app, parsed *kong.Context) error {
	end, err := a.startTraces(ctx, "agent", a.logger("agent"))
	if err != nil {
		return err
	}
	defer end()
	if c.Dir == "" {
		return c.runConfig(ctx, a, parsed)
	}
	if given := flagsGiven(parsed); slices.Contains(given, "config") {
		return usageError("DIR cannot be combined with --config: the file names the trees")
	}
	if err := errors.Join(checkExcludes(c.Exclude), checkDir(c.Dir)); err != nil {
		return err
	}
	if c.View != "" {
		if err := checkView(c.View); err != nil {
			return err
		}
	}
	if err := c.checkSender(); err != nil {
		return err
	}
	if err := c.checkScan(); err != nil {
		return err
	}
	log := a.logger("agent")
	o := agent.Options{
		Owners: owners.Host(log),
		Root:   c.Dir, AgentID: c.AgentID, IngestURL: c.Ingest, APIKey: c.APIKey,
		Excludes: c.Exclude, CrossFilesystems: c.CrossFileSystems, Watch: c.Watch, Logger: log, Version: buildVersion().Version,
		ScanWorkers: c.ScanWorkers, ScanRate: c.ScanRate, IOIdle: c.IOIdle, NoAtimes: c.NoAtimes,
	}
	if c.ClockOffset != 0 {
		o.Tuning.Clocks.Wall = func() time.Time { return time.Now().Add(c.ClockOffset) }
	}
	if c.Sender == "echo" {
		return c.echo(ctx, a, o)
	}
	if c.Store != "" {
		if o.Sender, err = storeSender(ctx, c.Store, log); err != nil {
			return err
		}
	}
	o.ThroughIngest = c.Sender == "http"
	if err = c.findView(ctx, log); err != nil {
		return err
	}
	o.View = c.View
	if o.StateFile, err = c.stateFile(a); err != nil {
		return err
	}
	if o.SpoolSize = int64(c.SpoolSize); o.SpoolSize > 0 {
		o.Spool = filepath.Join(cmp.Or(c.Spool, strings.TrimSuffix(o.StateFile, ".json")+".spool"), c.View)
	}
	return c.runAgent(ctx, a, o)
}

// checkScan checks what is said of scans.
func (c *agentCmd) checkScan() error {
	switch {
	case c.ScanRate < 0:
		return usageError("--scan-rate %d: must be a number of entries a second, or 0 for no limit", c.ScanRate)
	case c.ScanWorkers < 0 || c.ScanWorkers > 1024:
		return usageError("--scan-workers %d: must be from 1 to 1024, or 0 for the default", c.ScanWorkers)
	case c.IOIdle && !agent.CanIdle:
		return usageError("--io-idle works on Linux only: leave it out, and limit scans with --scan-rate")
	}
	return nil
}

func (c *agentCmd) runAgent(ctx context.Context, a *app, o agent.Options) error {
	registry := processMetrics()
	o.Registry = registry
	ag, err := agent.New(o)
	if err != nil {
		return err
	}
	served, err := serveMetrics(ctx, c.Metrics, registry, o.Logger)
	if err != nil {
		return err
	}
	defer served()
	o.Logger.Info("agent is ready", "dir", o.Root, "view", o.View, "ingest", o.IngestURL)
	defer superviseWith(ctx, o.Logger, func() { ag.Status() })()
	defer a.followScans(ctx, func() []agent.Status { return []agent.Status{ag.Status()} })()
	return stoppedWell(ctx, ag.Run(ctx), o.Logger)
}

// stoppedWell is what came of an agent's run: that it was asked to end, here or from afar, is no failure.
func stoppedWell(ctx context.Context, err error, log *slog.Logger) error {
	var stopped *agent.StoppedError
	if errors.As(err, &stopped) {
		log.Info("the agent ends", "reason", stopped.Error())
		return nil
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// findView asks the ingest which view the key is for, unless one is named. It waits for an ingest that cannot be reached.
func (c *agentCmd) findView(ctx context.Context, log *slog.Logger) error {
	if c.View != "" {
		return nil
	}
	client, err := send.NewClient(c.Ingest, c.APIKey, "", httpclient.New(&http.Client{Timeout: 10 * time.Second}), nil)
	if err != nil {
		return err
	}
	var redirected *httpclient.RedirectError
	for {
		view, err := client.KeyView(ctx)
		switch {
		case err == nil:
			c.View = cmp.Or(view, "default")
			return nil
		case errors.As(err, &redirected):
			return &cliError{msg: err.Error(), hint: "pass it with --ingest or FUSTOR_INGEST", code: exitFailure, err: err}
		case errors.Is(err, send.ErrRefused):
			return &cliError{msg: err.Error(), hint: "pass another key with --api-key or FUSTOR_API_KEY", code: exitFailure, err: err}
		}
		log.Warn("cannot ask the ingest for the view of the key; trying again. To name the view, pass --view", "error", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(2 * time.Second):
		}
	}
}

// spoolSize is a number of bytes, as users write it.
type spoolSize int64

// UnmarshalText implements encoding.TextUnmarshaler.
func (s *spoolSize) UnmarshalText(text []byte) error {
	bytes, err := values.ParseSize(string(text))
	*s = spoolSize(bytes)
	return err
}

// stateFile is where the agent of this tree, view and id remembers its session.
func (c *agentCmd) stateFile(a *app) (string, error) {
	if c.State != "" {
		return c.State, nil
	}
	dir := a.xdg("XDG_STATE_HOME", ".local/state")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", &cliError{
			msg:  fmt.Sprintf("cannot create state directory %s: %v", dir, plain(err)),
			hint: "choose another file with --state", code: exitFailure, err: err,
		}
	}
	root, err := filepath.Abs(c.Dir)
	if err != nil {
		return "", err
	}
	of := sha256.Sum256([]byte(c.AgentID + "\x00" + c.View + "\x00" + root))
	return filepath.Join(dir, fmt.Sprintf("agent-%s-%x.json", c.View, of[:6])), nil
}
