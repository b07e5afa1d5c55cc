package main

import (
	"context"
	"fmt"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

type versionsCmd struct {
	Limit int `default:"20" placeholder:"N" help:"Show at most N, the newest first (default: ${default})."`
	formatFlags
	serverFlags
}

// Help implements kong.HelpProvider.
func (versionsCmd) Help() string {
	return `Each fold and each merge makes a new version of the view. Earlier versions are kept
for a while; fustor report growth compares with them.

Examples:

    fustor versions
    fustor versions --limit 1 --json | jq .version`
}

func (c *versionsCmd) Run(ctx context.Context, a *app) error {
	if c.Limit < 1 {
		return usageError("--limit must be at least 1")
	}
	server, err := c.connect(a)
	if err != nil {
		return err
	}
	out, n := c.rows(a, "version", "published_at", "current", "member"), 0
	err = server.Versions(ctx, c.Limit, func(v *client.Version) error {
		switch out.Form {
		case show.CSV:
			return out.Record(v.Number, nsOfUnix(v.PublishedAt), v.Current, v.Member)
		case show.JSON, show.NDJSON:
			return out.Object(v.Raw)
		}
		if n++; n == 1 && out.Terminal {
			fmt.Fprintln(out, out.Bold(fmt.Sprintf("%10s  %-19s", "VERSION", "PUBLISHED")))
		}
		current := ""
		if v.Current {
			current = "  current"
		}
		if v.Member != "" {
			current += "  " + v.Member
		}
		_, err := fmt.Fprintf(out, "%10d  %s%s\n", v.Number, unixTime(v.PublishedAt).In(time.Local).Format(time.DateTime), current)
		return err
	})
	return out.End(err)
}
