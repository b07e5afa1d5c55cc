//go:build !reading

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
	"github.com/fustor/fustor/internal/values"
)

// sessionsGroup is the sessions and what can be done to one. `fustor sessions` shows them.
type sessionsGroup struct {
	List   sessionsCmd      `cmd:"" default:"withargs" help:"Show the agents that feed the view, and their leader."`
	Pause  sessionPauseCmd  `cmd:"" overview:"no" help:"Pause a session: it neither scans nor sends until it is resumed."`
	Resume sessionResumeCmd `cmd:"" overview:"no" help:"Resume a paused session."`
	Stop   sessionStopCmd   `cmd:"" overview:"no" help:"Stop a session: it sends what is left and ends."`
	Reload sessionReloadCmd `cmd:"" overview:"no" help:"Make its agent read its config file again."`
	Scan   sessionScanCmd   `cmd:"" overview:"no" help:"Scan PATH through this session, which must lead."`
}

type sessionsCmd struct {
	formatFlags
	serverFlags
}

// Help implements kong.HelpProvider.
func (sessionsCmd) Help() string {
	return `Each agent that feeds the view has a session. One session leads: it scans and audits.
All of them report the changes on their hosts. COVERAGE is how much of the tree an
agent watches: realtime (all of it), realtime-hotset (only the directories that were
active last, because there are too few watches, or changes that came without a notice
are still being scanned), audit-only (nothing; audits find changes). EV/S is the number of kernel events per second, UNSENT the data that is not
in the store yet. A scan that runs has a line with how far it is; how long it still takes
is from the size of the last one. --json has everything that agents report, such as rates,
errors by kind, and the reason for the watching method.

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
	feeding, err := server.Feeding(ctx)
	if err != nil {
		return err
	}
	sessions := feeding.Sessions
	out := c.rows(a, "role", "agent", "state", "coverage", "last_activity", "created_at", "events_per_second", "unsent_bytes", "source", "session_id", "task_id", "member")
	if out.Form != show.Text {
		return c.structured(out, sessions)
	}
	if len(sessions) == 0 && server.IsForest() {
		fmt.Fprintln(out, "No agent feeds a member of the forest: they show the last known state, and no new changes.")
	} else if len(sessions) == 0 {
		fmt.Fprintln(out, "No agent feeds the view: it shows the last known state, and no new changes.")
	}
	led := false
	line := func(member, rest string) {
		if server.IsForest() {
			rest = show.Left(member, 16) + "  " + rest
		}
		fmt.Fprintln(out, rest)
	}
	for i, s := range sessions {
		led = led || s.Role == "leader"
		if i == 0 {
			line("MEMBER", out.Bold(fmt.Sprintf("%-8s  %-24s  %-10s  %-26s  %-10s  %-10s  %7s  %8s  SOURCE", "ROLE", "AGENT", "STATE", "COVERAGE", "SEEN", "FOR", "EV/S", "UNSENT")))
		}
		status := s.Status
		if status == nil {
			status = &pipeapi.AgentStatus{}
		}
		line(s.Member, fmt.Sprintf("%-8s  %-24s  %-10s  %-26s  %-10s  %-10s  %7s  %8s  %s", s.Role, s.Agent, cmp.Or(status.State, "starting"), coverage(s.Coverage, status.WatchMethod), age(s.LastActivity)+" ago", age(s.CreatedAt),
			show.Count(int64(status.Rates.Events+0.5)), show.Size(int64(status.BacklogBytes)), out.Name(s.Source)))
	}
	for _, s := range sessions {
		if scan := s.Status.Progress(); scan != nil {
			fmt.Fprintf(out, "Agent %s scans. %s.\n", s.Agent, scan)
		}
	}
	for _, s := range sessions {
		switch {
		case s.Silence == nil:
		case s.Role == "leader":
			fmt.Fprintf(out, "Agent %s leads, and last got something done %s: %s. Another agent that can takes over.\n", s.Agent, ago(s.Silence.Since), s.Silence.Reason)
		default:
			fmt.Fprintf(out, "Agent %s lost the lease, as it last got something done %s: %s.\n", s.Agent, ago(s.Silence.Since), s.Silence.Reason)
		}
	}
	if !led && !server.IsForest() && len(sessions) > 0 {
		why := "a session that is not paused takes over with its next heartbeat"
		if !slices.ContainsFunc(sessions, func(s client.Session) bool { return !s.Paused }) {
			why = "all sessions are paused (fustor sessions resume)"
		}
		fmt.Fprintf(out, "The view has no leader, so nothing is scanned: %s.\n", why)
	}
	for _, r := range feeding.Refused {
		what := "was refused, and its session ended"
		if r.Names > 0 {
			what = "lost " + values.Plural(int64(r.Names), "new name", "new names")
		}
		fmt.Fprintf(out, "%s: segment %s of agent %s %s: %s\n", ago(r.At), r.Segment, out.Name(r.Agent), what, out.Name(r.Reason))
	}
	return out.Flush()
}

// structured prints sessions for programs.
func (c *sessionsCmd) structured(out *show.Rows, sessions []client.Session) error {
	for _, s := range sessions {
		if out.Form != show.CSV {
			if err := out.Object(s.Raw); err != nil {
				return err
			}
			continue
		}
		status := s.Status
		if status == nil {
			status = &pipeapi.AgentStatus{}
		}
		if err := out.Record(s.Role, s.Agent, status.State, s.Coverage, nsOfUnix(s.LastActivity), nsOfUnix(s.CreatedAt), status.Rates.Events, status.BacklogBytes,
			s.Source, s.ID, s.Task, s.Member); err != nil {
			return err
		}
	}
	return out.End(nil)
}

// commandFlags are those of the commands to one session.
type commandFlags struct {
	Session string `arg:"" placeholder:"SESSION|AGENT" help:"Id of the session, or of its agent or task if that has only one session."`
	Wait    bool   `short:"w" help:"Wait until the agent has done it."`
	JSON    bool   `name:"json" help:"Print the job as JSON."`
	Ingest  string `placeholder:"URL" env:"FUSTOR_INGEST" group:"server" help:"Ingest, if it is not behind the same URL."`
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
		fmt.Fprintf(out, "agent %s gets the command with its next heartbeat; job %s\n", s.Agent, j.ID)
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
		return client.Session{}, &cliError{msg: fmt.Sprintf("the view has no live session, agent or task %q", f.Session), hint: "`fustor sessions` lists them; --view selects another view", code: exitNotFound}
	}
	var ids []string
	for _, s := range meant {
		ids = append(ids, s.ID+" ("+s.Source+")")
	}
	return client.Session{}, &cliError{msg: fmt.Sprintf("agent %q has %d sessions in the view", f.Session, len(meant)), hint: "pass one of them: " + strings.Join(ids, ", "), code: exitUsage}
}

// commandFailure says what may be wrong where the server does not know the call.
func commandFailure(err error) error {
	var refused *client.Error
	if errors.As(err, &refused) && (refused.Status == http.StatusNotFound || refused.Status == http.StatusMethodNotAllowed) {
		return &cliError{msg: "this server does not accept commands to agents: " + err.Error(), hint: "pass the ingest with --ingest URL or FUSTOR_INGEST", code: exitFailure, err: err}
	}
	if errors.As(err, &refused) && refused.Status == http.StatusForbidden {
		return &cliError{msg: err.Error(), hint: "commands to agents need a key with the role admin", code: exitFailure, err: err}
	}
	return err
}

type sessionPauseCmd struct{ commandFlags }

// Help implements kong.HelpProvider.
func (sessionPauseCmd) Help() string {
	return `A paused pipe neither scans nor sends, and does not lead: another session takes over.
It keeps its watches, and changes wait in its spool. The pause outlives restarts of
the agent. fustor agent pause does the same on the host.

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
	return `The session sends the changes from the pause, and may lead again.

Examples:

    fustor sessions resume nfs07 --wait`
}

func (c *sessionResumeCmd) Run(ctx context.Context, a *app) error {
	return c.run(ctx, a, client.Order{Command: "resume"}, "resumed")
}

type sessionStopCmd struct{ commandFlags }

// Help implements kong.HelpProvider.
func (sessionStopCmd) Help() string {
	return `The pipe sends what is left and ends until its agent is reloaded or restarted. The
other pipes of the agent go on. An agent with only one tree ends too, with exit code
0; its service manager decides whether to start it again.

Examples:

    fustor sessions stop nfs07 --wait`
}

func (c *sessionStopCmd) Run(ctx context.Context, a *app) error {
	return c.run(ctx, a, client.Order{Command: "stop"}, "stopped")
}

type sessionReloadCmd struct{ commandFlags }

// Help implements kong.HelpProvider.
func (sessionReloadCmd) Help() string {
	return `Does the same as fustor agent reload on the host: all pipes of the agent follow the
file. If the file has a mistake, it fails and changes nothing. It also fails for an
agent without a config file.

Examples:

    fustor sessions reload nfs07 --wait`
}

func (c *sessionReloadCmd) Run(ctx context.Context, a *app) error {
	return c.run(ctx, a, client.Order{Command: "reload"}, "reloaded")
}

type sessionScanCmd struct {
	commandFlags
	Path        string `arg:"" help:"Path to scan: a path of the view, or of a host that mounts it."`
	NoRecursive bool   `help:"List PATH alone, and nothing below it."`
}

// Help implements kong.HelpProvider.
func (sessionScanCmd) Help() string {
	return `Does the same as fustor scan, but only through this session. It fails if the session
does not lead the view.

Examples:

    fustor sessions scan nfs07 /incoming --wait`
}

func (c *sessionScanCmd) Run(ctx context.Context, a *app) error {
	_, path, err := c.place(ctx, a, c.Path)
	if err != nil {
		return err
	}
	return c.run(ctx, a, client.Order{Command: "scan", Path: path, Recursive: !c.NoRecursive}, "scanned "+show.Quote(path))
}
