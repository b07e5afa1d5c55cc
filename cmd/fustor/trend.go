//go:build !reading

package main

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/values"
)

type reportTrendCmd struct {
	Path  string `arg:"" optional:"" default:"/" help:"Directory or file to look up: a path of the view, or of a host that mounts it."`
	Every string `default:"1d" placeholder:"TIME" help:"Print the last version of each such interval, such as 1h, 1d or 2w (default: ${default}); days are in UTC."`
	By    string `enum:",owner,group" default:"" placeholder:"owner|group" help:"Print what each owner, or group, has of it, the most bytes first."`
	Limit int    `default:"100" placeholder:"N" help:"Print at most N, the newest (default: ${default})."`
	formatFlags
	serverFlags
}

// Help implements kong.HelpProvider.
func (reportTrendCmd) Help() string {
	return `Prints how large PATH was over the versions of the view that are kept, the oldest first.
PATH is looked up once in each version that is printed; nothing else is read. With --by,
everything below PATH is counted in the oldest of them, and then what changed from one
to the next. How long versions are kept is set with fustor admin view configure
(--keep-daily and its like). If the view is a forest, each member has its own versions.
On a terminal it prints a table, otherwise tab-separated lines: published, version,
files, directories, bytes and allocated bytes (- where there was no such path), with --by
the owner or group (- where there was no such path), and of a forest the member.

Examples:

    fustor report trend
    fustor report trend /projects --every 1h --limit 24
    fustor report trend /projects --every 30d --by owner
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
	r, err := server.Trend(ctx, path, c.Every, c.By, c.Limit)
	if err != nil {
		return err
	}
	t := table{c.rows(a, "version", "published_at", "exists", "files", "directories", "bytes", "allocated", "unmeasured", "member", "uid", "gid", "owner", "group"),
		[]int{-19, 9, 12, 12, 10, 10, 11, -16}}
	if t.out.Form != show.Text {
		return structured(t.out, r, func(p client.TrendPoint) (records [][]any) {
			for _, s := range c.shares(&p) {
				records = append(records, []any{p.Version, nsOfUnix(p.PublishedAt), p.Exists, s.Files, s.Directories, s.Bytes, s.Allocated, s.Unmeasured, p.Member,
					numberOrEmpty(s.UID), numberOrEmpty(s.GID), s.Owner, s.Group})
			}
			return records
		})
	}
	header := []string{"PUBLISHED", "VERSION", "FILES", "DIRECTORIES", "SIZE", "ON DISK", "CHANGE"}
	if c.By != "" {
		header = append(header, strings.ToUpper(c.By))
	}
	if server.IsForest() {
		header = append(header, "MEMBER")
	}
	t.header(header...)
	before := map[string]int64{} // bytes, by member and owner or group
	for _, p := range r.Entries {
		for _, s := range c.shares(&p) {
			c.line(&t, &p, &s, before)
		}
	}
	t.rest(r.More)
	return t.out.Flush()
}

// shares are the lines of a point: what each owner or group has, or everything as one.
func (c *reportTrendCmd) shares(p *client.TrendPoint) []client.TrendShare {
	if c.By == "" || !p.Exists {
		return []client.TrendShare{{TrendSums: p.TrendSums}}
	}
	return p.Shares
}

// line prints a line; before are the bytes in the last line of the same member and owner or group.
func (c *reportTrendCmd) line(t *table, p *client.TrendPoint, s *client.TrendShare, before map[string]int64) {
	published, version := unixTime(p.PublishedAt), strconv.FormatUint(p.Version, 10)
	plain := []string{published.UTC().Format(time.RFC3339), version, "-", "-", "-", "-"}
	eyes := []string{published.In(time.Local).Format(time.DateTime), version, "-", "-", "-", "-", "-"}
	if p.Exists {
		plain[2], plain[3], plain[4], plain[5] = number(s.Files), number(s.Directories), number(s.Bytes), number(s.Allocated)
		eyes[2], eyes[3], eyes[4], eyes[5] = show.Count(s.Files), show.Count(s.Directories), show.Size(s.Bytes), show.Size(s.Allocated)
	}
	name := t.out.Name(cmp.Or(s.Owner, s.Group, "-"))
	of := p.Member + "/" + name
	if was, any := before[of]; any {
		eyes[6] = signed(s.Bytes-was, show.Size)
	}
	before[of] = s.Bytes
	if c.By != "" {
		plain, eyes = append(plain, name), append(eyes, name)
	}
	if p.Member != "" {
		plain, eyes = append(plain, p.Member), append(eyes, p.Member)
	}
	t.row(plain, eyes)
}

// numberOrEmpty is a number as CSV has it; nil is not known.
func numberOrEmpty(n *uint32) any {
	if n == nil {
		return ""
	}
	return *n
}
