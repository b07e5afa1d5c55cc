//go:build !reading

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/expected"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/sleep"
	"github.com/fustor/fustor/internal/values"
)

type waitCmd struct {
	Path     string `arg:"" help:"Path to wait for: a path of the view, or of a host that mounts it. It need not exist yet."`
	Quiet    string `default:"60s" placeholder:"DURATION" help:"For how long nothing may have changed (default: ${default})."`
	MinFiles int64  `placeholder:"N" help:"Wait until there are at least N files."`
	MinBytes string `placeholder:"SIZE" help:"Wait until there are at least so many bytes: 500M, 2G."`
	Expect   string `placeholder:"MANIFEST" help:"Wait until all files of this list are there, with these sizes: lines of find -printf '%s %P\\n', of PATH, a tab and bytes, or of sha256sum (names alone); - reads stdin."`
	Timeout  string `placeholder:"DURATION" help:"Give up after this time; 0s asks once (default: wait for ever)."`
	Scan     bool   `help:"Have the leader scan PATH where reports of agents do not suffice, instead of waiting for its next audit."`
	JSON     bool   `name:"json" help:"Print the last answer as JSON."`
	serverFlags
}

// Help implements kong.HelpProvider.
func (waitCmd) Help() string {
	return `Waits until what is at and below PATH is complete: no file is being written, nothing
changed for the quiet time, every agent that watches is live and has sent all that it saw,
and what --min-files, --min-bytes and --expect ask for is there. Then it prints what the
answer rests on. stderr shows what it waits for.
A change on a host without an agent is not reported. Where other hosts may have made one,
as on a file server, a scan of every file must have seen PATH unchanged: with --scan one
that this command requests, otherwise the next audit. Audits do not look at every file
where access times are off (noatime, --no-atimes): there only --scan helps. A file that
such a host holds open, and does not write to for the quiet time, looks finished.
The exit code is 0 once PATH is complete, 6 if it was not within --timeout, and 7 if that
could not be known by then: an agent was away, say, or a scan is missing.

Examples:

    fustor wait /incoming/run42 && echo "complete"
    fustor wait /incoming/run42 --quiet 5m --timeout 12h --json
    fustor wait /incoming/run42 --expect run42.sha256
    ssh source "cd /run42 && find . -type f -printf '%s %P\n'" | fustor wait /incoming/run42 --expect -
    fustor wait /incoming/run42 --timeout 0s >/dev/null || echo "not yet"`
}

const (
	// waitPoll is how long a call waits for something new.
	waitPoll = 25 * time.Second
	// waitRetry is after how long a call that failed is made again.
	waitRetry = 5 * time.Second
	// expectEvery is how often the list is held against a tree that is not complete yet.
	expectEvery = 20 * time.Second
)

// waiting is a wait under way.
type waiting struct {
	*waitCmd
	app      *app
	server   *client.Client
	query    client.CompleteQuery
	list     *expected.List // nil: none
	missing  expected.Result
	checked  time.Time // when the list was held against the tree last
	checkedV uint64    // the version
	scanAt   time.Time // the earliest time of the next scan
	said     string
}

func (c *waitCmd) Run(ctx context.Context, a *app) error {
	w := &waiting{waitCmd: c, app: a, query: client.CompleteQuery{MinFiles: c.MinFiles}}
	var err error
	if w.query.Quiet, err = values.ParseDuration(c.Quiet); err != nil {
		return usageError("--quiet: %v", err)
	}
	if c.MinBytes != "" {
		if w.query.MinBytes, err = values.ParseSize(c.MinBytes); err != nil {
			return usageError("--min-bytes: %v", err)
		}
	}
	if c.MinFiles < 0 {
		return usageError("--min-files must not be negative")
	}
	end := time.Time{}
	if c.Timeout != "" {
		limit, err := values.ParseDuration(c.Timeout)
		if err != nil {
			return usageError("--timeout: %v", err)
		}
		end = time.Now().Add(limit)
	}
	if w.list, err = readExpected(c.Expect, a.stdin); err != nil {
		return err
	}
	if w.server, w.query.Path, err = c.place(ctx, a, c.Path); err != nil {
		return err
	}
	answer, err := w.follow(ctx, end)
	a.screen().draw("")
	if err != nil {
		return err
	}
	return w.finish(answer)
}

func readExpected(name string, stdin io.Reader) (*expected.List, error) {
	if name == "" {
		return nil, nil
	}
	in := stdin
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, &cliError{msg: fmt.Sprintf("--expect: %v", err), code: exitUsage}
		}
		defer f.Close()
		in = f
	}
	list, err := expected.Read(in)
	if err != nil {
		return nil, &cliError{msg: fmt.Sprintf("--expect: %v", err), code: exitUsage,
			hint: `write lines of find -printf '%s %P\n', of PATH, a tab and bytes, or of sha256sum`}
	}
	return list, nil
}

// follow asks until PATH is complete or the time is over (zero: never), and returns the last answer.
func (w *waiting) follow(ctx context.Context, end time.Time) (*client.Completeness, error) {
	for first := true; ; first = false {
		left := waitPoll
		if !end.IsZero() {
			left = min(left, time.Until(end))
		}
		w.query.Wait = 0
		if !first && left > 0 {
			w.query.Wait = left
		}
		answer, err := w.server.Complete(ctx, w.query)
		switch {
		case err != nil && !mayPass(err, first):
			return nil, err
		case err != nil:
			w.show("the server: " + err.Error())
			if !end.IsZero() && time.Now().Add(waitRetry).After(end) {
				return nil, err
			}
			if err := sleep.For(ctx, waitRetry); err != nil {
				return nil, err
			}
			continue
		}
		if err := w.check(ctx, answer); err != nil {
			return nil, err
		}
		if answer.Complete || !end.IsZero() && !time.Now().Before(end) {
			return answer, nil
		}
		w.show(w.state(answer))
		if err := w.scan(ctx, answer, end); err != nil {
			return nil, err
		}
		if w.query.Known == answer.Version && w.query.Wait == 0 && !first {
			if err := sleep.For(ctx, time.Second); err != nil { // a server that does not wait
				return nil, err
			}
		}
		w.query.Known = answer.Version
	}
}

// mayPass reports whether an error may be gone at the next call. A server that does not answer the first call may be a wrong one.
func mayPass(err error, first bool) bool {
	var refused *client.Error
	return passes(err) && (!first || errors.As(err, &refused))
}

// check holds the list against the version of an answer. What it lacks is a further reason.
func (w *waiting) check(ctx context.Context, answer *client.Completeness) error {
	if w.list == nil {
		return nil
	}
	if w.checkedV != answer.Version && (answer.Complete || time.Since(w.checked) >= expectEvery) {
		w.list.Begin()
		var err error
		if answer.Exists {
			prefix := strings.TrimSuffix(w.query.Path, "/") + "/"
			err = w.server.At(answer.Version).Search(ctx, client.Query{Pattern: "*", Path: w.query.Path, Types: "f"}, func(n *client.Node) error {
				w.list.Found(strings.TrimPrefix(n.Path, prefix), n.Size)
				return nil
			})
		}
		if err != nil && !isNotFound(err) {
			return err
		}
		w.missing, w.checked, w.checkedV = w.list.End(), time.Now(), answer.Version
	}
	if text := w.missing.Text(w.list.Len()); text != "" {
		answer.Complete = false
		answer.Reasons = append(answer.Reasons, client.Reason{Code: "missing", Text: text})
	}
	return nil
}

// scan requests a scan where one is needed, and waits for its end.
func (w *waiting) scan(ctx context.Context, answer *client.Completeness, end time.Time) error {
	needed := slices.ContainsFunc(answer.Reasons, func(r client.Reason) bool { return r.Code == "not-watched" })
	if !w.Scan || !needed || time.Now().Before(w.scanAt) {
		return nil
	}
	if !end.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, end)
		defer cancel()
	}
	j, err := w.server.Scan(ctx, w.query.Path, true)
	if err == nil {
		_, err = awaitJob(ctx, w.server, j, func(j *client.Job) {
			w.app.screen().draw(fmt.Sprintf("scan of %s %s: %s, %s", show.Quote(w.query.Path), j.State, values.Plural(j.Files, "file", "files"), values.Plural(j.Directories, "directory", "directories")))
		})
	}
	w.scanAt = time.Now().Add(max(w.query.Quiet, 5*time.Second))
	if errors.Is(err, context.DeadlineExceeded) {
		return nil
	}
	return err
}

// state is what the wait is for, on one line.
func (w *waiting) state(a *client.Completeness) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: %s, %s", show.Quote(w.query.Path), values.Plural(a.Files, "file", "files"), show.Size(a.Bytes))
	for _, r := range a.Reasons {
		b.WriteString("; " + r.Text)
		if r.Code == "writing" && len(a.Suspects.First) > 0 {
			b.WriteString(": " + show.Quote(a.Suspects.First[0].Path))
		}
	}
	return b.String()
}

// show shows what the wait is for: on a terminal as a line that is drawn again, otherwise as a line for each new state.
func (w *waiting) show(line string) {
	screen := w.app.screen()
	if screen.terminal {
		screen.draw("waiting for " + line)
		return
	}
	if line != w.said {
		w.said = line
		fmt.Fprintln(screen, "waiting for "+line)
	}
}

// unknowable are the reasons that say that it cannot be known, not that something lacks.
var unknowable = []string{"no-leader", "agent", "behind", "earlier-build", "not-watched", "unreadable", "full"}

func (w *waiting) finish(a *client.Completeness) error {
	out := w.app.out()
	switch {
	case w.JSON:
		fmt.Fprintf(out, "%s\n", w.answerJSON(a))
	case a.Complete:
		w.explain(out, a)
	}
	if err := out.Flush(); err != nil || a.Complete {
		return err
	}
	e := &cliError{msg: show.Quote(w.query.Path) + " is not complete", code: exitNotYet}
	if !slices.ContainsFunc(a.Reasons, func(r client.Reason) bool { return !slices.Contains(unknowable, r.Code) }) {
		e.msg, e.code = "it is not known whether "+show.Quote(w.query.Path)+" is complete", exitUnknown
	}
	var texts []string
	for _, r := range a.Reasons {
		texts = append(texts, r.Text)
	}
	e.msg += ": " + strings.Join(texts, "; ")
	return e
}

// answerJSON is the server's answer, with what the list lacks.
func (w *waiting) answerJSON(a *client.Completeness) []byte {
	if w.list == nil {
		return a.Raw
	}
	return w.missing.AppendTo(a.Raw, a.Complete)
}

// explain prints what the answer rests on.
func (w *waiting) explain(out *show.Output, a *client.Completeness) {
	now := unixTime(a.Now)
	fmt.Fprintf(out, "%s is complete: %s, %s, %s\n", out.Name(w.query.Path), values.Plural(a.Files, "file", "files"), values.Plural(a.Directories, "directory", "directories"), show.Size(a.Bytes))
	since := "nothing below it changed for " + w.Quiet
	if a.LastChange != nil {
		since = fmt.Sprintf("the last change was seen at %s", unixTime(a.LastChange.At).Local().Format(time.DateTime))
	}
	if a.KnownUntil != nil {
		since += fmt.Sprintf("; everything until %s is known", unixTime(*a.KnownUntil).Local().Format(time.DateTime))
	}
	fmt.Fprintf(out, "  %s\n", since)
	if w.list != nil {
		there := "the one file of the list is there"
		if n := w.list.Len(); n != 1 {
			there = "all " + values.Plural(n, "", "files of the list are there")
		}
		fmt.Fprintf(out, "  %s%s\n", there, w.list.Compared())
	}
	for _, g := range a.RestsOn.Agents {
		how := "reports nothing; the tree is audited"
		switch {
		case g.Coverage == "realtime" && g.Local:
			how = "reports every change as it happens (its own file system)"
		case g.Coverage == "realtime":
			how = "reports the changes of its host as they happen"
		case g.Coverage != "":
			how = "watches a part of the tree (" + g.Coverage + ")"
		}
		fmt.Fprintf(out, "  agent %s, %s: %s\n", out.Name(g.Agent), g.Role, how)
	}
	if s := a.RestsOn.Scan; s != nil {
		what := "other hosts may change the tree without a report; "
		if a.RestsOn.Realtime {
			what = ""
		}
		fmt.Fprintf(out, "  %slast scan that looked at every file: %s, began %s before\n", what, s.Scan, now.Sub(unixTime(s.BeganAt)).Round(time.Second))
	}
	if a.BlindSpots > 0 {
		fmt.Fprintf(out, "  %s below it were found by scans and not reported by an agent: a host without one changes this tree\n", values.Plural(a.BlindSpots, "entry", "entries"))
	}
}
