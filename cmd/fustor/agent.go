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
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/values"
)

// agentGroup is the agent and what goes with it. `fustor agent DIR` runs one.
type agentGroup struct {
	Run    agentCmd       `cmd:"" default:"withargs" help:"Watch and scan DIR, and send what is seen."`
	Check  agentCheckCmd  `cmd:"" overview:"no" help:"Check a config file, and print what it says."`
	Reload agentReloadCmd `cmd:"" overview:"no" help:"Have the running agent take in its config file."`
	Pause  agentPauseCmd  `cmd:"" overview:"no" help:"Have a pipe of the running agent neither scan nor send."`
	Resume agentResumeCmd `cmd:"" overview:"no" help:"Have a pipe that is paused run again."`
	Status agentStatusCmd `cmd:"" overview:"no" help:"Show how the pipes of the running agent are doing."`
}

type agentCmd struct {
	Dir              string        `arg:"" optional:"" help:"Directory to watch and scan."`
	Config           string        `placeholder:"FILE" env:"FUSTOR_AGENT_CONFIG" help:"Run the pipes of this file instead of one of DIR."`
	Ingest           string        `placeholder:"URL" env:"FUSTOR_INGEST" help:"The ingest to register with; not needed to echo."`
	Sender           string        `placeholder:"KIND" enum:",store,upload,http,echo" default:"" env:"FUSTOR_AGENT_SENDER" help:"Where segments go: store, upload, http or echo, see above (default: store with --store, else upload)."`
	Store            string        `placeholder:"URL" env:"FUSTOR_STORE" help:"Store to put segments into directly."`
	View             string        `placeholder:"VIEW" env:"FUSTOR_VIEW" help:"View that this tree feeds (default: the one that the key is for, else default)."`
	APIKey           string        `name:"api-key" placeholder:"KEY" env:"FUSTOR_API_KEY" help:"Key for the ingest."`
	AgentID          string        `name:"agent-id" placeholder:"ID" env:"FUSTOR_AGENT_ID" help:"Unique, stable name of this agent (default: the host's name)."`
	State            string        `placeholder:"FILE" env:"FUSTOR_AGENT_STATE" help:"Where the agent remembers its session (default: in ~/.local/state/fustor)."`
	Spool            string        `placeholder:"DIR" env:"FUSTOR_AGENT_SPOOL" help:"Where events wait that cannot be sent yet (default: beside the state file)."`
	SpoolSize        spoolSize     `placeholder:"SIZE" default:"1GiB" env:"FUSTOR_AGENT_SPOOL_SIZE" help:"How much may wait there; 0 for no spool (default: ${default})."`
	Exclude          []string      `sep:"none" placeholder:"GLOB" help:"Leave out what this glob matches; may be repeated."`
	Watch            string        `placeholder:"HOW" enum:"auto,fanotify,inotify,none" default:"auto" env:"FUSTOR_AGENT_WATCH" help:"How to watch: auto, the best that works; fanotify or inotify; none, to leave it to audits (default: ${default})."`
	Metrics          string        `placeholder:"HOST:PORT" env:"FUSTOR_AGENT_METRICS" help:"Serve metrics for Prometheus there, on /metrics."`
	ScanWorkers      int           `placeholder:"N" env:"FUSTOR_AGENT_SCAN_WORKERS" help:"At most so many calls into the tree at once in a scan (default: 32)."`
	ScanRate         int           `placeholder:"N" env:"FUSTOR_AGENT_SCAN_RATE" help:"Look at no more than N entries a second in scans."`
	IOIdle           bool          `name:"io-idle" env:"FUSTOR_AGENT_IO_IDLE" help:"Scan with the lowest priorities for disk and processor (Linux)."`
	CrossFileSystems bool          `help:"Also index other file systems that are mounted below DIR."`
	ClockOffset      time.Duration `hidden:"" help:"For tests: the host's clock is ahead by this much."`
}

// Help implements kong.HelpProvider.
func (agentCmd) Help() string {
	return `Several agents may feed one view: one leads and scans, all of them report what
their kernels see. Segments go by one of these senders:

    store    into the store that --store names; the host has its credentials
    upload   to single uploads that the ingest signs; no credentials on the host.
             Where its store cannot sign, as http
    http     through the ingest, for hosts that reach nothing else
    echo     to stdout, one JSON object an event; no ingest, no store, no view:
             to see what would be sent

With --config the trees, the senders and the pipes that join them are in a file
(docs/agent.md); on SIGHUP, or fustor agent reload, it is read again.

Examples:

    fustor agent /mnt/data --ingest http://ingest:8081 --view research
    fustor agent --config /etc/fustor/agent.yaml
    FUSTOR_API_KEY=… fustor agent /mnt/data --ingest https://ingest.example.org --agent-id nfs07
    fustor agent /mnt/data --scan-rate 5000 --io-idle --ingest http://ingest:8081
    fustor agent /mnt/data --sender echo | jq -c 'select(.kind == "delete")'`
}

func (c *agentCmd) Run(ctx context.Context, a *app, parsed *kong.Context) error {
	if c.Dir == "" {
		return c.runConfig(ctx, a, parsed)
	}
	if given := flagsGiven(parsed); slices.Contains(given, "config") {
		return usageError("DIR does not go with --config: the file names the trees")
	}
	if err := checkDir(c.Dir); err != nil {
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
		Root: c.Dir, AgentID: c.AgentID, IngestURL: c.Ingest, APIKey: c.APIKey,
		Excludes: c.Exclude, CrossFilesystems: c.CrossFileSystems, Watch: c.Watch, Logger: log, Version: buildVersion().Version,
		ScanWorkers: c.ScanWorkers, ScanRate: c.ScanRate, IOIdle: c.IOIdle,
	}
	if c.ClockOffset != 0 {
		o.Tuning.Clocks.Wall = func() time.Time { return time.Now().Add(c.ClockOffset) }
	}
	if c.Sender == "echo" {
		return c.echo(ctx, a, o)
	}
	var err error
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
		return usageError("--scan-rate %d: entries a second, 0 for no bound", c.ScanRate)
	case c.ScanWorkers < 0 || c.ScanWorkers > 1024:
		return usageError("--scan-workers %d: 1 to 1024, or 0 for the default", c.ScanWorkers)
	case c.IOIdle && !agent.CanIdle:
		return usageError("--io-idle is for Linux: leave it out, and bound scans with --scan-rate")
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
	client, err := send.NewClient(c.Ingest, c.APIKey, "", &http.Client{Timeout: 10 * time.Second}, nil)
	if err != nil {
		return err
	}
	for {
		view, err := client.KeyView(ctx)
		switch {
		case err == nil:
			c.View = cmp.Or(view, "default")
			return nil
		case errors.Is(err, send.ErrRefused):
			return &cliError{msg: err.Error(), hint: "give another with --api-key or FUSTOR_API_KEY", code: exitFailure, err: err}
		}
		log.Warn("the ingest has to say which view the key is for; trying again, or name it with --view", "error", err)
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
			msg:  fmt.Sprintf("state directory %s cannot be made: %v", dir, plain(err)),
			hint: "choose a file elsewhere with --state", code: exitFailure, err: err,
		}
	}
	root, err := filepath.Abs(c.Dir)
	if err != nil {
		return "", err
	}
	of := sha256.Sum256([]byte(c.AgentID + "\x00" + c.View + "\x00" + root))
	return filepath.Join(dir, fmt.Sprintf("agent-%s-%x.json", c.View, of[:6])), nil
}
