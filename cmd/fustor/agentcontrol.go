//go:build !reading

package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/fustor/fustor/agent/config"
	"github.com/fustor/fustor/agent/fleet"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/httpclient"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/values"
)

// An agent with a config file answers HTTP on a Unix socket in its state directory, which only its user may enter.

const controlSocket = "agent.sock"

// pipeStatus is what an agent tells of a pipe.
type pipeStatus struct {
	Pipe         string `json:"pipe"`
	View         string `json:"view"`
	Source       string `json:"source"`
	Sender       string `json:"sender"`
	State        string `json:"state"` // of docs/agent.md; waiting: it cannot begin; stopped: somebody has stopped it
	Role         string `json:"role,omitempty"`
	Session      string `json:"session_id,omitempty"`
	Scan         string `json:"scan,omitempty"`
	Files        uint64 `json:"files"` // of the scan that runs, or ran last
	Directories  uint64 `json:"directories"`
	Coverage     string `json:"coverage,omitempty"` // realtime, realtime-hotset or audit-only
	WatchMethod  string `json:"watch_method,omitempty"`
	WatchReason  string `json:"watch_reason,omitempty"` // why it is no better
	WatchLimit   int    `json:"watch_limit,omitempty"`  // watches that may be held
	Watches      int    `json:"watches"`
	Unwatched    int    `json:"unwatched"`
	Pending      int    `json:"pending"`
	BacklogBytes int    `json:"backlog_bytes"`
	SpoolBytes   int64  `json:"spool_bytes"`
	SentSegments uint64 `json:"sent_segments"`
	SentBytes    uint64 `json:"sent_bytes"`
	Starts       int    `json:"starts"`
	Error        string `json:"error,omitempty"`
	// UploadsRefused is why segments go through ingest though it signs uploads.
	UploadsRefused string `json:"uploads_refused,omitempty"`

	Paused          *pipeapi.Pause                `json:"paused,omitempty"`
	Rates           *pipeapi.Rates                `json:"rates,omitempty"`
	ReadErrors      map[string]pipeapi.ReadErrors `json:"read_errors,omitempty"`
	LastScan        *pipeapi.LastScan             `json:"last_scan,omitempty"`
	ClockOffset     float64                       `json:"clock_offset_s"`
	Skew            float64                       `json:"clock_skew_s"`
	UptimeSeconds   float64                       `json:"uptime_s"`
	BacklogSegments int                           `json:"backlog_segments"`

	// How the pipe keeps up with its source, which others may share.
	SourceNumber  int    `json:"source_number,omitempty"` // that of the source in this process
	SourcePipes   int    `json:"source_pipes,omitempty"`  // pipes that share it, this one among them
	SourceEvents  uint64 `json:"source_events"`           // that the kernel has led to since the source's first pipe began
	TakenEvents   uint64 `json:"taken_events"`            // of these, that the pipe has taken
	QueuedEvents  int    `json:"queued_events"`           // that wait for the pipe
	DroppedEvents uint64 `json:"dropped_events"`          // that it was too slow for; what they were about was scanned again
	ScansLeft     uint64 `json:"scans_left"`              // shared scans that it was too slow for, and made again by itself
}

type agentStatus struct {
	Config    string       `json:"config"`
	Version   string       `json:"version"`
	StartedAt time.Time    `json:"started_at"`
	Pipes     []pipeStatus `json:"pipes"`
}

func newPipeStatus(s fleet.Status) pipeStatus {
	p := pipeStatus{Pipe: s.Name, View: s.View, Source: s.Source, Sender: s.Sender, State: "waiting", Starts: s.Starts}
	if s.Err != nil {
		p.Error = s.Err.Error()
	}
	if a := s.Agent; a != nil {
		p.State, p.Session, p.Scan, p.Files, p.Directories = a.State, a.Session, a.Scan, a.Files, a.Directories
		p.Watches, p.Unwatched, p.Pending = a.Watch.Watches, a.Watch.Unwatched, a.Watch.Pending
		p.Paused, p.Rates, p.ReadErrors, p.LastScan, p.BacklogSegments = a.Paused, &a.Rates, a.ReadErrors, a.LastScan, a.BacklogSegments
		p.ClockOffset, p.Skew, p.UptimeSeconds = a.ClockOffset.Round(time.Millisecond).Seconds(), a.Skew.Seconds(), math.Round(a.Uptime.Seconds())
		p.Coverage, p.WatchMethod, p.WatchReason, p.WatchLimit = a.Watch.Coverage, a.Watch.Method, a.Watch.Reason, a.Watch.Limit
		p.BacklogBytes, p.SpoolBytes, p.SentSegments, p.SentBytes = a.BacklogBytes, a.Spool.Bytes, a.SentSegments, a.SentBytes
		p.SourceNumber, p.SourcePipes, p.SourceEvents, p.TakenEvents = a.Source.Source, a.Source.Pipes, a.Source.Emitted, a.Source.Delivered
		p.QueuedEvents, p.DroppedEvents, p.ScansLeft = a.Source.Queued, a.Source.Dropped, a.Source.ScansLeft
		if a.UploadsRefused != nil {
			p.UploadsRefused = a.UploadsRefused.Error()
		}
		switch {
		case a.Leader:
			p.Role = "leader"
		case a.Session != "":
			p.Role = "follower"
		}
		for _, err := range []error{a.RootLost, a.Spool.Err, a.SendError} {
			if err != nil && p.Error == "" {
				p.Error = err.Error()
			}
		}
	}
	if s.Stopped {
		p.State = "stopped"
	}
	if s.Ending {
		p.State = "ending"
	}
	return p
}

// serveControl answers `fustor agent reload` and `fustor agent status` until stop is called. An agent that cannot works
// without: signals reach it all the same.
func (s *agentService) serveControl(ctx context.Context) (stop func()) {
	path := filepath.Join(s.state, controlSocket)
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.log.Warn("fustor agent reload and status will not work", "error", err)
		return func() {}
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		s.log.Warn("fustor agent reload and status will not work", "error", err)
		return func() {}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) {
		st := agentStatus{Config: s.path, Version: buildVersion().Version, StartedAt: s.started, Pipes: []pipeStatus{}}
		for _, p := range s.fleet.Status() {
			st.Pipes = append(st.Pipes, newPipeStatus(p))
		}
		answer(w, http.StatusOK, st)
	})
	mux.HandleFunc("POST /reload", func(w http.ResponseWriter, _ *http.Request) {
		done, err := s.reload()
		if err != nil {
			answer(w, http.StatusUnprocessableEntity, map[string]string{"error": err.Error()})
			return
		}
		answer(w, http.StatusOK, done)
	})
	mux.HandleFunc("POST /pause", s.answerPause(true))
	mux.HandleFunc("POST /resume", s.answerPause(false))
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := serve(ctx, l, mux, s.log); err != nil {
			s.log.Error("fustor agent reload and status no longer work", "error", err)
		}
	}()
	return func() { cancel(); <-ended }
}

// pausedPipe is what came of pausing a pipe, or having it run again.
type pausedPipe struct {
	Pipe    string `json:"pipe"`
	Changed bool   `json:"changed"` // false: it was so before
	Note    string `json:"note,omitempty"`
}

func (s *agentService) answerPause(pause bool) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := r.URL.Query().Get("pipe")
		changed, err := s.fleet.SetPaused(name, pause, "a user of this host")
		done := pausedPipe{Pipe: name, Changed: changed}
		switch {
		case errors.Is(err, fleet.ErrNoPipe):
			var names []string
			for _, p := range s.fleet.Status() {
				names = append(names, p.Name)
			}
			answer(w, http.StatusNotFound, map[string]string{"error": fmt.Sprintf("there is no pipe %q; the pipes are %s", name, strings.Join(names, ", "))})
			return
		case err != nil && !changed:
			answer(w, http.StatusUnprocessableEntity, map[string]string{"error": fmt.Sprintf("pipe %s: %v", name, err)})
			return
		case err != nil:
			done.Note = err.Error()
		}
		answer(w, http.StatusOK, done)
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whoever asked is gone
}

// agentFlags say which agent of this machine is meant.
type agentFlags struct {
	Config string `placeholder:"FILE" env:"FUSTOR_AGENT_CONFIG" help:"The agent's config file (default: /etc/fustor/agent.yaml)."`
}

func (f *agentFlags) path() string { return cmp.Or(f.Config, defaultAgentConfig) }

// call asks the running agent.
func (f *agentFlags) call(ctx context.Context, a *app, method, path string, v any) error {
	named, err := config.State(f.path())
	if err != nil {
		return configFailure(f.path(), err)
	}
	state := agentStateDir(a, named)
	client := httpclient.New(&http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(state, controlSocket))
	}}})
	request, err := http.NewRequestWithContext(ctx, method, "http://agent"+path, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return &cliError{
			msg:  fmt.Sprintf("no agent with the config file %s is running", f.path()),
			hint: fmt.Sprintf("start one with `fustor agent --config %s`; its state directory is %s", f.path(), state), code: exitFailure, err: err,
		}
	case errors.Is(err, fs.ErrPermission):
		return &cliError{msg: fmt.Sprintf("cannot use the agent's socket in %s: permission denied", state), hint: "run this as the user of the agent, or as root", code: exitFailure, err: err}
	case err != nil:
		return err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		var refusal struct {
			Error string `json:"error"`
		}
		_ = json.Unmarshal(body, &refusal)
		return &cliError{msg: cmp.Or(refusal.Error, response.Status), code: exitFailure}
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("the answer of the agent in %s is not valid: %w", state, err)
	}
	return nil
}

type agentReloadCmd struct {
	agentFlags
	JSON bool `name:"json" help:"Print the changes as JSON."`
}

// Help implements kong.HelpProvider.
func (agentReloadCmd) Help() string {
	return `New pipes start. Removed pipes send what is left and end. Changed pipes do both.
The other pipes go on undisturbed. If the file has a mistake, nothing changes and
the exit code is 1. SIGHUP does the same and writes the result to the log.

Examples:

    fustor agent reload
    fustor agent reload --config /etc/fustor/agent.yaml --json | jq .added`
}

func (c *agentReloadCmd) Run(ctx context.Context, a *app) error {
	var done reloaded
	err := c.call(ctx, a, http.MethodPost, "/reload", &done)
	if refused := new(cliError); errors.As(err, &refused) && refused.hint == "" {
		refused.msg = "the agent did not accept the file, and continues as before\n" + refused.msg
		refused.hint = "correct the file and reload again; `fustor agent check` checks it without changing anything"
	}
	if err != nil {
		return err
	}
	out := a.out()
	if c.JSON {
		if err := json.NewEncoder(out).Encode(done); err != nil {
			return err
		}
		return out.Flush()
	}
	for _, change := range []struct {
		what  string
		names []string
	}{{"started", done.Started}, {"added", done.Added}, {"changed", done.Changed}, {"removed", done.Removed}} {
		for _, name := range change.names {
			fmt.Fprintf(out, "%-8s %s\n", change.what, name)
		}
	}
	fmt.Fprintln(out, done)
	for _, note := range done.Notes {
		fmt.Fprintln(out, note)
	}
	return out.Flush()
}

type agentPauseCmd struct {
	Pipe string `arg:"" help:"Name of the pipe in the config file."`
	agentFlags
}

// Help implements kong.HelpProvider.
func (agentPauseCmd) Help() string {
	return `A paused pipe neither scans nor sends, and does not lead its view: another agent
takes over. It keeps its watches, and changes wait in its spool. A pause outlives
restarts. fustor sessions pause does the same remotely.

Examples:

    fustor agent pause projects
    fustor agent status --json | jq '.pipes[] | select(.paused) | .paused.by'`
}

func (c *agentPauseCmd) Run(ctx context.Context, a *app) error {
	return c.setPaused(ctx, a, c.Pipe, "pause", "paused", "is already paused")
}

type agentResumeCmd struct {
	Pipe string `arg:"" help:"Name of the pipe in the config file."`
	agentFlags
}

// Help implements kong.HelpProvider.
func (agentResumeCmd) Help() string {
	return `The pipe sends the changes from the pause, and may lead its view again.

Examples:

    fustor agent resume projects`
}

func (c *agentResumeCmd) Run(ctx context.Context, a *app) error {
	return c.setPaused(ctx, a, c.Pipe, "resume", "is running again", "is not paused")
}

// setPaused asks for it, and says what came of it.
func (f *agentFlags) setPaused(ctx context.Context, a *app, pipe, what, done, before string) error {
	var p pausedPipe
	if err := f.call(ctx, a, http.MethodPost, "/"+what+"?"+url.Values{"pipe": {pipe}}.Encode(), &p); err != nil {
		return err
	}
	out := a.out()
	if !p.Changed {
		done = before
	}
	fmt.Fprintf(out, "pipe %s %s\n", pipe, done)
	if p.Note != "" {
		fmt.Fprintln(out, p.Note)
	}
	return out.Flush()
}

type agentStatusCmd struct {
	agentFlags
	JSON bool `name:"json" help:"Print the complete status as JSON."`
}

// Help implements kong.HelpProvider.
func (agentStatusCmd) Help() string {
	return `Asks the agent of this machine. To see all agents, use fustor sessions.

Examples:

    fustor agent status
    fustor agent status --json | jq '.pipes[] | select(.state == "waiting")'`
}

func (c *agentStatusCmd) Run(ctx context.Context, a *app) error {
	var st agentStatus
	if err := c.call(ctx, a, http.MethodGet, "/status", &st); err != nil {
		return err
	}
	out := a.out()
	if c.JSON {
		encoder := json.NewEncoder(out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(st); err != nil {
			return err
		}
		return out.Flush()
	}
	rows := [][]string{{"PIPE", "VIEW", "STATE", "ROLE", "COVERAGE", "WATCHED", "EV/S", "UNSENT", "ERRORS", "SOURCE"}}
	for _, p := range st.Pipes {
		state := p.State
		if p.Scan != "" && p.Scan != state {
			state += " (" + p.Scan + ")"
		}
		rate, failed := 0.0, uint64(0)
		if p.Rates != nil {
			rate = p.Rates.Events
		}
		for _, e := range p.ReadErrors {
			failed += e.Count
		}
		rows = append(rows, []string{p.Pipe, p.View, state, cmp.Or(p.Role, "-"), coverage(p.Coverage, p.WatchMethod), watched(p.Watches, p.Unwatched), show.Count(int64(math.Round(rate))),
			show.Size(int64(p.BacklogBytes) + p.SpoolBytes), show.Count(int64(failed)), out.Name(p.Source)})
	}
	printRows(out, rows)
	for _, line := range sharedSources(st.Pipes) {
		fmt.Fprintf(out, "\n%s\n", line)
	}
	for _, p := range st.Pipes {
		if p.UploadsRefused != "" {
			fmt.Fprintf(out, "\n%s: its segments go through ingest, as uploads that ingest signs fail: %s\n", p.Pipe, out.Name(p.UploadsRefused))
		}
		if p.QueuedEvents > 0 {
			fmt.Fprintf(out, "\n%s: %s for it\n", p.Pipe, values.Plural(p.QueuedEvents, "event waits", "events wait"))
		}
		if p.DroppedEvents > 0 || p.ScansLeft > 0 {
			fmt.Fprintf(out, "\n%s: it was too slow for %s events and %s scans of its source; they were made up for by scans of its own\n",
				p.Pipe, show.Count(int64(p.DroppedEvents)), show.Count(int64(p.ScansLeft)))
		}
		if p.Coverage != "" && p.Coverage != watch.Realtime {
			fmt.Fprintf(out, "\n%s: %s: %s\n", p.Pipe, p.Coverage, p.WatchReason)
		}
		if p.LastScan != nil && len(p.LastScan.Excluded) > 0 {
			fmt.Fprintln(out)
			for _, e := range p.LastScan.Excluded {
				fmt.Fprintf(out, "%s: %s\n", p.Pipe, sayExcluded(out, e, "in the last scan"))
			}
		}
		if p.Error != "" {
			fmt.Fprintf(out, "\n%s: %s\n", p.Pipe, p.Error)
		}
		if p.Paused != nil {
			fmt.Fprintf(out, "\n%s: paused by %s since %s; `fustor agent resume %s` resumes it\n", p.Pipe, p.Paused.By, p.Paused.Since.Local().Format(time.DateTime), p.Pipe)
		}
		for _, kind := range slices.Sorted(maps.Keys(p.ReadErrors)) {
			fmt.Fprintf(out, "\n%s: %s not be read (%s); the last is %s\n", p.Pipe, values.Plural(p.ReadErrors[kind].Count, "path could", "paths could"), kind, out.Name(p.ReadErrors[kind].Example))
		}
	}
	return out.Flush()
}

// sayExcluded says what an exclude pattern came to. where says what was read.
func sayExcluded(out *show.Output, e pipeapi.Excluded, where string) string {
	verb := "leaves out"
	if strings.HasPrefix(e.Pattern, "!") {
		verb = "takes back in"
	}
	if e.Entries == 0 {
		return fmt.Sprintf("warning: exclude %s %s nothing %s", out.Name(e.Pattern), verb, where)
	}
	noun := "entries"
	if e.Entries == 1 {
		noun = "entry"
	}
	return fmt.Sprintf("exclude %s %s %s %s", out.Name(e.Pattern), verb, show.Count(int64(e.Entries)), noun)
}

// sharedSources says which pipes share a source.
func sharedSources(pipes []pipeStatus) (lines []string) {
	names := map[int][]string{}
	for _, p := range pipes {
		if p.SourcePipes > 1 {
			names[p.SourceNumber] = append(names[p.SourceNumber], p.Pipe)
		}
	}
	for _, number := range slices.Sorted(maps.Keys(names)) {
		lines = append(lines, strings.Join(names[number], ", ")+": one source, watched and scanned once")
	}
	return lines
}

// coverage is how much of a tree is watched, and how.
func coverage(word, method string) string {
	if word == "" {
		return "-"
	}
	if method == "" || method == watch.None {
		return word
	}
	return word + " (" + method + ")"
}

// watched is how many directories are watched, of how many.
func watched(watches, unwatched int) string {
	if unwatched == 0 {
		return show.Count(int64(watches))
	}
	return show.Count(int64(watches)) + " of " + show.Count(int64(watches+unwatched))
}

// printRows prints columns, as wide as they have to be; the first row is their names.
func printRows(out *show.Output, rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], len([]rune(cell)))
		}
	}
	for n, row := range rows {
		var line bytes.Buffer
		for i, cell := range row {
			line.WriteString(cell)
			if i < len(row)-1 {
				line.WriteString(strings.Repeat(" ", widths[i]-len([]rune(cell))+2))
			}
		}
		text := line.String()
		if n == 0 {
			text = out.Bold(text)
		}
		fmt.Fprintln(out, text)
	}
}

type agentCheckCmd struct {
	agentFlags
	JSON bool `name:"json" help:"Print the pipes, or the problems, as JSON."`
}

// Help implements kong.HelpProvider.
func (agentCheckCmd) Help() string {
	return `Reads the file as the agent would, and prints every mistake with its line and
column; the exit code is then 1. It also checks whether the trees exist now. A
missing tree is not a mistake: its pipe waits for it. No server is contacted.

For each exclude pattern it says how many entries the pattern leaves out, and warns
of one that matches nothing. For that it reads each tree, for at most 10 seconds.

Examples:

    fustor agent check --config agent.yaml
    fustor agent check && systemctl reload fustor-agent`
}

// answersSoon is check of a directory whose file server may hang: then it is an error after a while.
func answersSoon(dir string, within time.Duration, check func(string) error) error {
	done := make(chan error, 1)
	go func() { done <- check(dir) }() // there is no way to call a system call back
	select {
	case err := <-done:
		return err
	case <-time.After(within):
		return fmt.Errorf("directory %q does not answer: is its file server down?", dir)
	}
}

// countFor is how long `fustor agent check` reads a tree to say what its exclude patterns leave out.
const countFor = 10 * time.Second

// countExcluded counts what patterns leave out of a tree, for as long as it may take. partial: there was more to read.
func countExcluded(dir string, patterns []string, within time.Duration) (excluded []pipeapi.Excluded, partial bool) {
	if len(patterns) == 0 {
		return nil, false
	}
	x, err := tree.NewExcludes(patterns)
	if err != nil {
		return nil, false // the file was refused before
	}
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	complete := false
	var tally *tree.Tally
	err = answersSoon(dir, within+time.Second, func(dir string) error {
		var err error
		tally, complete, err = x.Count(ctx, dir)
		return err
	})
	if err != nil {
		return nil, true
	}
	for pattern, entries := range tally.Each {
		excluded = append(excluded, pipeapi.Excluded{Pattern: pattern, Entries: entries})
	}
	return excluded, !complete
}

type checkedPipe struct {
	Pipe   string `json:"pipe"`
	View   string `json:"view"`
	Source string `json:"source"`
	Sender string `json:"sender"`
	Ingest string `json:"ingest,omitempty"`
	// Document is the OpenAPI document of a sender that has no ingest.
	Document string `json:"document,omitempty"`
	Missing  string `json:"missing,omitempty"` // why the tree cannot be read now
	// Excluded is what the exclude patterns of the source leave out, as far as the tree was read.
	Excluded []pipeapi.Excluded `json:"excluded,omitempty"`
	// ExcludedOfPart says that the tree was not read to its end in time.
	ExcludedOfPart bool `json:"excluded_of_part,omitempty"`
}

func (c *agentCheckCmd) Run(a *app) error {
	cfg, err := config.Load(c.path(), a.getenv)
	out := a.out()
	var e *config.Error
	if errors.As(err, &e) && c.JSON {
		problems := make([]map[string]any, len(e.Problems))
		for i, p := range e.Problems {
			problems[i] = map[string]any{"line": p.Line, "column": p.Column, "problem": p.Text}
		}
		_ = json.NewEncoder(out).Encode(map[string]any{"problems": problems})
		if err := out.Flush(); err != nil {
			return err
		}
	}
	if err != nil {
		return configFailure(c.path(), err)
	}
	pipes := make([]checkedPipe, len(cfg.Pipes))
	for i, p := range cfg.Pipes {
		pipes[i] = checkedPipe{Pipe: p.Name, View: p.View, Source: p.Source.Path, Sender: p.To + " (" + p.Sender.Type + ")", Ingest: p.Sender.Ingest, Document: p.Sender.Document}
		check := func(dir string) error {
			if err := checkDir(dir); err != nil {
				return err
			}
			return p.CheckTree()
		}
		if err := answersSoon(p.Source.Path, 5*time.Second, check); err != nil {
			pipes[i].Missing = err.Error()
			continue
		}
		pipes[i].Excluded, pipes[i].ExcludedOfPart = countExcluded(p.Source.Path, p.Source.Exclude, countFor)
	}
	if c.JSON {
		if err := json.NewEncoder(out).Encode(map[string]any{"pipes": pipes}); err != nil {
			return err
		}
		return out.Flush()
	}
	rows := [][]string{{"PIPE", "VIEW", "SENDER", "INGEST", "SOURCE"}}
	for _, p := range pipes {
		rows = append(rows, []string{p.Pipe, p.View, p.Sender, cmp.Or(p.Ingest, p.Document, "-"), out.Name(p.Source)})
	}
	printRows(out, rows)
	for _, p := range pipes {
		if p.Missing != "" {
			fmt.Fprintf(out, "pipe %s would wait: %s\n", p.Pipe, p.Missing)
		}
		where := "in the tree"
		if p.ExcludedOfPart {
			where = fmt.Sprintf("in the part of the tree that was read in %v", countFor)
		}
		for _, e := range p.Excluded {
			fmt.Fprintf(out, "pipe %s: %s\n", p.Pipe, sayExcluded(out, e, where))
		}
	}
	fmt.Fprintf(out, "%s is valid\n", c.path())
	return out.Flush()
}
