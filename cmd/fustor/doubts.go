//go:build !reading

package main

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/values"
)

// doubtFlags are those of the commands that print doubtful entries.
type doubtFlags struct {
	Path string `arg:"" optional:"" default:"/" help:"Path to start at: a path of the view, or of a host that mounts it."`
	formatFlags
	Print0 bool `name:"print0" short:"0" xor:"form" help:"End each path with a NUL byte, for xargs -0."`
	// FailIfAny makes the exit code the answer, for scripts.
	FailIfAny bool `help:"Exit with code 5 if there are any, and 0 only if there are none."`
	pastFlags
}

// result is how the command ends after printing n entries.
func (f *doubtFlags) result(a *app, n int, err error) error {
	if f.FailIfAny && n > 0 && (err == nil || a.unread(err)) {
		return &cliError{code: exitFound}
	}
	return err
}

type suspectsCmd struct{ doubtFlags }

// Help implements kong.HelpProvider.
func (suspectsCmd) Help() string {
	return `A file is suspect while it may still be written to: it is open for writing on a
host with an agent, or it changed within the view's hot time. The mark ends by
itself when the file is closed, or when this time passes without another change.
With --fail-if-any the exit code is 5 if there are suspects, and 0 if there are none.

Examples:

    fustor suspects
    fustor suspects /incoming/run42 --fail-if-any && echo "complete"
    until fustor suspects /incoming/run42 --fail-if-any >/dev/null; do sleep 10; done
    fustor suspects --json | jq -r .path`
}

func (c *suspectsCmd) Run(ctx context.Context, a *app) error {
	return c.ask(ctx, a, c.Path, func(server *client.Client, path string) error { return c.list(ctx, a, server, path) })
}

func (c *suspectsCmd) list(ctx context.Context, a *app, server *client.Client, path string) error {
	out, n := c.rows(a, "path", "size", "mtime", "suspect_until", "agent", "member", "path_b64"), 0
	err := server.Suspects(ctx, path, func(e *client.Found) error {
		n++
		switch {
		case out.Form == show.CSV:
			return out.Record(e.Path, e.Size, nsOfUnix(e.Modified), nsOfUnix(e.SuspectUntil), e.Agent, e.Member, show.B64(e.Path))
		case out.Form != show.Text:
			return out.Object(e.Raw)
		case c.Print0:
			fmt.Fprintf(out, "%s\x00", e.Where())
			return nil
		case !out.Terminal:
			fmt.Fprintln(out, e.Where())
			return nil
		case n == 1:
			fmt.Fprintln(out, out.Bold(fmt.Sprintf("%12s  %-16s  %-10s  PATH", "SIZE", "MODIFIED", "FOR")))
		}
		left := time.Until(unixTime(e.SuspectUntil)).Round(time.Second)
		fmt.Fprintf(out, "%12s  %-16s  %-10s  %s\n", show.Size(e.Size), show.Time(unixTime(e.Modified).UnixNano(), time.Local), max(0, left), out.Name(e.Where()))
		return nil
	})
	if err == nil && out.Terminal && n == 0 {
		fmt.Fprintln(out, "No files may still be written to.")
	}
	return c.result(a, n, out.End(err))
}

type blindSpotsCmd struct{ doubtFlags }

// Help implements kong.HelpProvider.
func (blindSpotsCmd) Help() string {
	return `A blind spot is a change that a scan found and that no agent's kernel reported: it
was made on a host without an agent, or while no agent ran. The mark stays until an
agent reports the path. + means new or changed, - means deleted. With --fail-if-any
the exit code is 5 if there are any.

Examples:

    fustor blind-spots
    fustor blind-spots /projects --json | jq -r '[.found_at, .path] | @tsv'`
}

func (c *blindSpotsCmd) Run(ctx context.Context, a *app) error {
	return c.ask(ctx, a, c.Path, func(server *client.Client, path string) error { return c.list(ctx, a, server, path) })
}

func (c *blindSpotsCmd) list(ctx context.Context, a *app, server *client.Client, path string) error {
	out, n := c.rows(a, "deleted", "path", "type", "size", "mtime", "found_at", "agent", "member", "path_b64"), 0
	err := server.BlindSpots(ctx, path, func(e *client.Found) error {
		n++
		sign := "+"
		if e.Deleted {
			sign = "-"
		}
		switch {
		case out.Form == show.CSV:
			return out.Record(e.Deleted, e.Path, e.Type, e.Size, nsOfUnix(e.Modified), nsOfUnix(e.FoundAt), e.Agent, e.Member, show.B64(e.Path))
		case out.Form != show.Text:
			return out.Object(fmt.Appendf(nil, "{\"deleted\":%v,%s", e.Deleted, e.Raw[1:]))
		case c.Print0:
			fmt.Fprintf(out, "%s\x00", e.Where())
		case !out.Terminal:
			fmt.Fprintf(out, "%s %s\n", sign, e.Where())
		default:
			if n == 1 {
				fmt.Fprintln(out, out.Bold(fmt.Sprintf("%s  %-16s  %12s  PATH", " ", "FOUND", "SIZE")))
			}
			fmt.Fprintf(out, "%s  %-16s  %12s  %s\n", sign, show.Time(unixTime(e.FoundAt).UnixNano(), time.Local), show.Size(e.Size), out.Name(e.Where()))
		}
		return nil
	})
	if err == nil && out.Terminal && !c.Print0 && n == 0 {
		fmt.Fprintln(out, "No blind spots: agents have reported everything that changed.")
	}
	return c.result(a, n, out.End(err))
}

type jobsCmd struct {
	Limit int `default:"20" placeholder:"N" help:"Show at most N, the newest first (default 20)."`
	formatFlags
	serverFlags
}

// Help implements kong.HelpProvider.
func (jobsCmd) Help() string {
	return `Jobs are the scans that users requested, with fustor scan or over HTTP, and the
commands to single sessions (such as fustor sessions pause). They are kept for a day
after their end.

Examples:

    fustor jobs
    fustor jobs --json | jq 'select(.state == "failed")'`
}

func (c *jobsCmd) Run(ctx context.Context, a *app) error {
	if c.Limit < 1 || c.Limit > 1000 {
		return usageError("--limit must be from 1 to 1000")
	}
	server, err := c.connect(a)
	if err != nil {
		return err
	}
	jobs, err := server.Jobs(ctx, c.Limit)
	if err != nil {
		return err
	}
	out := c.rows(a, "job_id", "state", "command", "path", "files", "directories", "requested_at", "error", "note", "view_id", "path_b64")
	if len(jobs) == 0 && out.Form == show.Text {
		fmt.Fprintln(out, "No jobs; `fustor scan PATH` requests a scan.")
	}
	for i, j := range jobs {
		if out.Form != show.Text {
			if err := c.row(out, &j); err != nil {
				return err
			}
			continue
		}
		if i == 0 {
			fmt.Fprintln(out, out.Bold(fmt.Sprintf("%-26s  %-8s  %10s  %10s  %-10s  PATH", "JOB", "STATE", "FILES", "DIRS", "ASKED")))
		}
		what := out.Name(j.Path)
		if server.IsForest() {
			what = out.Name(client.Where(j.View, j.Path))
		}
		if j.Command != "" && j.Command != "scan" {
			what = fmt.Sprintf("(%s session %s)", j.Command, j.Target)
		}
		fmt.Fprintf(out, "%-26s  %-8s  %10s  %10s  %-10s  %s", j.ID, j.State, show.Count(j.Files), show.Count(j.Directories), age(j.RequestedAt)+" ago", what)
		if why := cmp.Or(j.Error, j.Note); why != "" {
			fmt.Fprintf(out, ": %s", why)
		}
		fmt.Fprintln(out)
	}
	return out.End(nil)
}

// row prints a job for programs.
func (c *jobsCmd) row(out *show.Rows, j *client.Job) error {
	if out.Form == show.CSV {
		return out.Record(j.ID, j.State, j.Command, j.Path, j.Files, j.Directories, nsOfUnix(j.RequestedAt), j.Error, j.Note, j.View, show.B64(j.Path))
	}
	return out.Object(j.Raw)
}

type scanCmd struct {
	Path        string `arg:"" help:"Path to scan: a path of the view, or of a host that mounts it."`
	NoRecursive bool   `help:"List PATH alone, and nothing below it."`
	Wait        bool   `short:"w" help:"Wait until the results are in the view."`
	JSON        bool   `name:"json" help:"Print the job as JSON."`
	serverFlags
}

// Help implements kong.HelpProvider.
func (scanCmd) Help() string {
	return `The agent that leads the view scans PATH now, without waiting for its next audit.
Changes that no agent has reported are marked as blind spots. With --wait the command
ends when the results can be read. It fails if the scan fails; the exit code is 3 if
PATH does not exist.

Examples:

    fustor scan /incoming/run42 --wait && fustor du /incoming/run42
    fustor scan /projects --json | jq -r .job_id`
}

func (c *scanCmd) Run(ctx context.Context, a *app) error {
	server, path, err := c.place(ctx, a, c.Path)
	if err != nil {
		return err
	}
	j, err := server.Scan(ctx, path, !c.NoRecursive)
	if err != nil {
		return err
	}
	if c.Wait {
		j, err = awaitJob(ctx, server, j, func(j *client.Job) {
			if a.out().Terminal {
				fmt.Fprintf(a.stderr, "\r\x1b[K%s: %s, %s", j.State, values.Plural(j.Files, "file", "files"), values.Plural(j.Directories, "directory", "directories"))
			}
		})
		if err != nil {
			return err
		}
	}
	out := a.out()
	if out.Terminal && c.Wait {
		fmt.Fprint(a.stderr, "\r\x1b[K")
	}
	if c.Wait && j.State == "done" {
		if _, err := server.Metadata(ctx, path); err != nil {
			return err // the agent has looked, and there is no such path
		}
	}
	switch {
	case j.State == "failed":
		return fmt.Errorf("the scan of %s failed: %s", show.Quote(j.Path), j.Error)
	case c.JSON:
		fmt.Fprintf(out, "%s\n", j.Raw)
	case c.Wait:
		fmt.Fprintf(out, "%s: scanned %s and %s; they are in the view\n", out.Name(j.Path), values.Plural(j.Files, "file", "files"), values.Plural(j.Directories, "directory", "directories"))
	default:
		fmt.Fprintf(out, "job %s: %s\n", j.ID, j.State)
	}
	return out.Flush()
}

// age is how long ago a time was, in words of one unit.
func age(seconds float64) string {
	d := max(0, time.Since(unixTime(seconds)))
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%d h", d/time.Hour)
	}
	return fmt.Sprintf("%d d", d/(24*time.Hour))
}

// awaitJob asks for a job four times a second until it has ended, and shows each answer but the last.
func awaitJob(ctx context.Context, server *client.Client, j *client.Job, progress func(*client.Job)) (*client.Job, error) {
	for !j.Ended() {
		progress(j)
		select {
		case <-ctx.Done():
			return j, ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
		var err error
		if j, err = server.Job(ctx, j.ID); err != nil {
			return j, err
		}
	}
	return j, nil
}
