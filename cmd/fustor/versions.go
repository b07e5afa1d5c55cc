//go:build !reading

package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

type versionsCmd struct {
	Limit int  `default:"20" placeholder:"N" help:"Show at most N, the newest first (default: ${default})."`
	Kept  bool `help:"Leave out versions that are kept only because they are recent: show what stays after them, and pins."`
	formatFlags
	serverFlags
}

// Help implements kong.HelpProvider.
func (versionsCmd) Help() string {
	return `Each fold and each merge makes a new version of the view. Every version is kept for an
hour, some for longer: by default one an hour for two days, one a day for 90 days and
one a month for five years (fustor admin view configure), and those that are pinned
(fustor admin version pin). A busy view makes hundreds an hour: --kept shows those that
stay longer. fustor report growth compares with them.

Examples:

    fustor versions
    fustor versions --kept
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
	out, n := c.rows(a, "version", "published_at", "current", "member", "kept", "pins", "kept_until", "rows", "files", "directories", "bytes"), 0
	err = server.Versions(ctx, c.Limit, c.Kept, func(v *client.Version) error {
		switch out.Form {
		case show.CSV:
			return out.Record(v.Number, nsOfUnix(v.PublishedAt), v.Current, v.Member, strings.Join(v.Kept, " "), strings.Join(v.Pins, " "), nsOfUnix(v.Until), v.Rows, v.Files, v.Dirs, v.Bytes)
		case show.JSON, show.NDJSON:
			return out.Object(v.Raw)
		}
		if n++; n == 1 && out.Terminal {
			fmt.Fprintln(out, out.Bold(fmt.Sprintf("%10s  %-19s  %12s  %10s  %s", "VERSION", "PUBLISHED", "FILES", "SIZE", "KEPT")))
		}
		_, err := fmt.Fprintf(out, "%10d  %s  %12s  %10s  %s\n", v.Number, unixTime(v.PublishedAt).In(time.Local).Format(time.DateTime),
			show.Count(v.Files), show.Size(v.Bytes), keptText(v))
		return err
	})
	return out.End(err)
}

// keptText says why a version is kept, and until when: "hourly daily, until 2025-03-01 00:00:00, pinned as before-cleanup".
func keptText(v *client.Version) string {
	var parts []string
	if len(v.Kept) > 0 {
		parts = append(parts, strings.Join(v.Kept, " "))
	}
	if v.Until != 0 {
		parts = append(parts, "until "+unixTime(v.Until).In(time.Local).Format(time.DateTime))
	}
	if len(v.Pins) > 0 {
		parts = append(parts, "pinned as "+strings.Join(v.Pins, " "))
	}
	if v.Member != "" {
		parts = append(parts, "of "+v.Member)
	}
	return strings.Join(parts, ", ")
}
