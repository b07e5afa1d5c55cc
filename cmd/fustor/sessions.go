package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/pipeapi"
)

// sessionsGroup is the sessions and what can be done to one. `fustor sessions` shows them.
type sessionsGroup struct {
	List   sessionsCmd      `cmd:"" default:"withargs" help:"Show the agents that feed the view, and who leads."`
	Pause  sessionPauseCmd  `cmd:"" overview:"no" help:"Have one neither scan nor send until it is resumed."`
	Resume sessionResumeCmd `cmd:"" overview:"no" help:"Have one that is paused run again."`
	Stop   sessionStopCmd   `cmd:"" overview:"no" help:"Have one send what is left, and end."`
	Reload sessionReloadCmd `cmd:"" overview:"no" help:"Have its agent read its config file again."`
	Scan   sessionScanCmd   `cmd:"" overview:"no" help:"Have PATH scanned through one, which must lead."`
}

type sessionsCmd struct {
	JSON bool `name:"json" help:"Print one JSON object a line."`
	serverFlags
}

// Help implements kong.HelpProvider.
func (sessionsCmd) Help() string {
	return `Each agent that feeds the view has a session. One of them leads: it scans and
audits. All of them report what their host does. COVERAGE is how much of the tree
an agent watches: realtime (all of it), realtime-hotset (the directories that were
active last, since watches are short), audit-only (nothing; changes are found by
audits). EV/S is how many events of its kernel an agent takes up a second, UNSENT
what has not arrived in the store yet; --json has all that agents tell, rates,
errors by kind and why it watches as it does among it.

Examples:

    fustor sessions
    fustor sessions --json | jq 'select(.role == "leader") | .agent_id'
    fustor sessions --json | jq '.agent_status.read_errors'
    fustor sessions pause nfs07 --wait`
}

func (c *sessionsCmd) Run(ctx context.Context, a *app) error {
	server, err := c.connect(a)
	if err != nil {
		return err
	}
	sessions, err := server.Sessions(ctx)
	if err != nil {
		return err
	}
	out := a.out()
	if len(sessions) == 0 && !c.JSON {
		fmt.Fprintln(out, "No agent feeds the view: it shows what is known, and nothing new.")
	}
	led := false
	for i, s := range sessions {
		led = led || s.Role == "leader"
		if c.JSON {
			fmt.Fprintf(out, "%s\n", s.Raw)
			continue
		}
		if i == 0 {
			fmt.Fprintln(out, out.Bold(fmt.Sprintf("%-8s  %-24s  %-10s  %-26s  %-10s  %-10s  %7s  %8s  SOURCE", "ROLE", "AGENT", "STATE", "COVERAGE", "SEEN", "FOR", "EV/S", "UNSENT")))
		}
		status := s.Status
		if status == nil {
			status = &pipeapi.AgentStatus{}
		}
		fmt.Fprintf(out, "%-8s  %-24s  %-10s  %-26s  %-10s  %-10s  %7s  %8s  %s\n", s.Role, s.Agent, cmp.Or(status.State, "starting"), coverage(s.Coverage, status.WatchMethod), age(s.LastActivity)+" ago", age(s.CreatedAt),
			show.Count(int64(status.Rates.Events+0.5)), show.Size(int64(status.BacklogBytes)), out.Name(s.Source))
	}
	if !led && len(sessions) > 0 && !c.JSON {
		why := "one that is not paused takes over with its next heartbeat"
		if !slices.ContainsFunc(sessions, func(s client.Session) bool { return !s.Paused }) {
			why = "all of them are paused (fustor sessions resume)"
		}
		fmt.Fprintf(out, "Nobody leads the view, so nothing is scanned: %s.\n", why)
	}
	return out.Flush()
}

// commandFlags are those of the commands to one session.
type commandFlags struct {
	Session string `arg:"" placeholder:"SESSION|AGENT" help:"Id of the session, or of its agent or task where that has one session only."`
	Wait    bool   `short:"w" help:"Wait until the agent has done it."`
	JSON    bool   `name:"json" help:"Print the job as JSON."`
	Ingest  string `placeholder:"URL" env:"FUSTOR_INGEST" group:"server" help:"Its ingest, where that is not behind the same URL."`
	serverFlags
}

// run asks for the command and, if it is to, waits for what comes of it.
func (f *commandFlags) run(ctx context.Context, a *app, order client.Order, done string) error {
	server, err := f.connectTo(a, f.Ingest)
	if err != nil {
		return err
	}
	s, err := f.find(ctx, server)
	if err != nil {
		return err
	}
	j, err := server.Command(ctx, s.ID, order)
	if err != nil {
		return commandFailure(err)
	}
	if f.Wait {
		if j, err = awaitJob(ctx, server, j, func(*client.Job) {}); err != nil {
			return err
		}
	}
	out := a.out()
	switch {
	case j.State == "failed":
		return &cliError{msg: fmt.Sprintf("agent %s, %s: %s", s.Agent, order.Command, j.Error), code: exitFailure}
	case f.JSON:
		if err := json.NewEncoder(out).Encode(j); err != nil {
			return err
		}
	case f.Wait:
		fmt.Fprintf(out, "agent %s: %s", s.Agent, done)
		if j.Note != "" {
			fmt.Fprintf(out, " (%s)", j.Note)
		}
		fmt.Fprintln(out)
	default:
		fmt.Fprintf(out, "agent %s hears of it with its next heartbeat; job %s\n", s.Agent, j.ID)
	}
	return out.Flush()
}

// find is the live session that is meant.
func (f *commandFlags) find(ctx context.Context, server *client.Client) (client.Session, error) {
	sessions, err := server.Sessions(ctx)
	if err != nil {
		return client.Session{}, err
	}
	var meant []client.Session
	for _, s := range sessions {
		if s.ID == f.Session {
			return s, nil
		}
		if s.Agent == f.Session || s.Task == f.Session {
			meant = append(meant, s)
		}
	}
	switch len(meant) {
	case 1:
		return meant[0], nil
	case 0:
		return client.Session{}, &cliError{msg: fmt.Sprintf("the view has no live session %q, nor one of such an agent or task", f.Session), hint: "`fustor sessions` shows them; --view names another view", code: exitNotFound}
	}
	var ids []string
	for _, s := range meant {
		ids = append(ids, s.ID+" ("+s.Source+")")
	}
	return client.Session{}, &cliError{msg: fmt.Sprintf("agent %q has %d sessions in the view", f.Session, len(meant)), hint: "name one: " + strings.Join(ids, ", "), code: exitUsage}
}

// commandFailure says what may be wrong where the server does not know the call.
func commandFailure(err error) error {
	var refused *client.Error
	if errors.As(err, &refused) && (refused.Status == http.StatusNotFound || refused.Status == http.StatusMethodNotAllowed) {
		return &cliError{msg: "this server takes no commands to agents: " + err.Error(), hint: "name the ingest with --ingest URL or FUSTOR_INGEST", code: exitFailure, err: err}
	}
	if errors.As(err, &refused) && refused.Status == http.StatusForbidden {
		return &cliError{msg: err.Error(), hint: "commands to agents need a key with the role admin", code: exitFailure, err: err}
	}
	return err
}

type sessionPauseCmd struct{ commandFlags }

// Help implements kong.HelpProvider.
func (sessionPauseCmd) Help() string {
	return `A pipe that is paused neither scans nor sends, and does not lead: another session
takes over. It keeps its watches, and what its kernel tells waits in its spool. The
pause outlives restarts of the agent; fustor agent pause does the same on the host.

Examples:

    fustor sessions pause nfs07 --wait
    fustor sessions pause 01KBS2M3QXTB1V6X2Y8Z9A0B1C-9f86d081884c7d65`
}

func (c *sessionPauseCmd) Run(ctx context.Context, a *app) error {
	return c.run(ctx, a, client.Order{Command: "pause"}, "paused")
}

type sessionResumeCmd struct{ commandFlags }

// Help implements kong.HelpProvider.
func (sessionResumeCmd) Help() string {
	return `What happened during the pause is sent, and the session may lead again.

Examples:

    fustor sessions resume nfs07 --wait`
}

func (c *sessionResumeCmd) Run(ctx context.Context, a *app) error {
	return c.run(ctx, a, client.Order{Command: "resume"}, "resumed")
}

type sessionStopCmd struct{ commandFlags }

// Help implements kong.HelpProvider.
func (sessionStopCmd) Help() string {
	return `The pipe sends what is left and ends until its agent is reloaded or restarted; the
other pipes of the agent go on. An agent of one tree alone ends with it, with exit
code 0; whether it is started again is its service manager's business.

Examples:

    fustor sessions stop nfs07 --wait`
}

func (c *sessionStopCmd) Run(ctx context.Context, a *app) error {
	return c.run(ctx, a, client.Order{Command: "stop"}, "stopped")
}

type sessionReloadCmd struct{ commandFlags }

// Help implements kong.HelpProvider.
func (sessionReloadCmd) Help() string {
	return `As fustor agent reload on its host: all pipes of the agent are as the file has them
then. It fails where the file has a mistake, and changes nothing; an agent without
a config file says so.

Examples:

    fustor sessions reload nfs07 --wait`
}

func (c *sessionReloadCmd) Run(ctx context.Context, a *app) error {
	return c.run(ctx, a, client.Order{Command: "reload"}, "reloaded")
}

type sessionScanCmd struct {
	commandFlags
	Path        string `arg:"" help:"What to scan, from the view's root."`
	NoRecursive bool   `help:"List PATH alone, not what is below it."`
}

// Help implements kong.HelpProvider.
func (sessionScanCmd) Help() string {
	return `As fustor scan, through this session and no other. It fails where the session does
not lead the view.

Examples:

    fustor sessions scan nfs07 /incoming --wait`
}

func (c *sessionScanCmd) Run(ctx context.Context, a *app) error {
	path := viewPath(c.Path)
	return c.run(ctx, a, client.Order{Command: "scan", Path: path, Recursive: !c.NoRecursive}, "scanned "+show.Quote(path))
}
