//go:build !reading

package main

import (
	"context"
	"strconv"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/values"
)

type reportTrendCmd struct {
	Path  string `arg:"" optional:"" default:"/" help:"Directory or file to look up: a path of the view, or of a host that mounts it."`
	Every string `default:"1d" placeholder:"TIME" help:"Print the last version of each such interval, such as 1h, 1d or 2w (default: ${default}); days are in UTC."`
	Limit int    `default:"100" placeholder:"N" help:"Print at most N, the newest (default: ${default})."`
	formatFlags
	serverFlags
}

// Help implements kong.HelpProvider.
func (reportTrendCmd) Help() string {
	return `Prints how large PATH was over the versions of the view that are kept, the oldest first.
PATH is looked up once in each version that is printed; nothing else is read. How long
versions are kept is set with fustor admin view configure (--keep-daily and its like).
On a terminal it prints a table, otherwise tab-separated lines: published, version,
files, directories, bytes and allocated bytes (- where there was no such path).

Examples:

    fustor report trend
    fustor report trend /projects --every 1h --limit 24
    fustor report trend /projects --every 1w --format csv`
}

func (c *reportTrendCmd) Run(ctx context.Context, a *app) error {
	if c.Limit < 1 || c.Limit > 1000 {
		return usageError("--limit must be from 1 to 1000")
	}
	if every, err := values.ParseDuration(c.Every); err != nil || every < time.Second {
		return usageError("--every must be a duration of at least 1s, such as 1h or 1d")
	}
	return c.ask(ctx, a, c.Path, func(server *client.Client, path string) error { return c.show(ctx, a, server, path) })
}

func (c *reportTrendCmd) show(ctx context.Context, a *app, server *client.Client, path string) error {
	r, err := server.Trend(ctx, path, c.Every, c.Limit)
	if err != nil {
		return err
	}
	t := table{c.rows(a, "version", "published_at", "exists", "files", "directories", "bytes", "allocated", "unmeasured"), []int{-19, 9, 12, 12, 10, 10, 11}}
	if t.out.Form != show.Text {
		return structured(t.out, r, func(p client.TrendPoint) [][]any {
			return [][]any{{p.Version, nsOfUnix(p.PublishedAt), p.Exists, p.Files, p.Directories, p.Bytes, p.Allocated, p.Unmeasured}}
		})
	}
	t.header("PUBLISHED", "VERSION", "FILES", "DIRECTORIES", "SIZE", "ON DISK", "CHANGE")
	for i, p := range r.Entries {
		published, version := unixTime(p.PublishedAt), strconv.FormatUint(p.Version, 10)
		plain := []string{published.UTC().Format(time.RFC3339), version, "-", "-", "-", "-"}
		eyes := []string{published.In(time.Local).Format(time.DateTime), version, "-", "-", "-", "-", "-"}
		if p.Exists {
			plain[2], plain[3], plain[4], plain[5] = number(p.Files), number(p.Directories), number(p.Bytes), number(p.Allocated)
			eyes[2], eyes[3], eyes[4], eyes[5] = show.Count(p.Files), show.Count(p.Directories), show.Size(p.Bytes), show.Size(p.Allocated)
		}
		if i > 0 {
			eyes[6] = signed(p.Bytes-r.Entries[i-1].Bytes, show.Size)
		}
		t.row(plain, eyes)
	}
	t.rest(r.More)
	return t.out.Flush()
}
