package main

import (
	"cmp"
	"context"

	"github.com/fustor/fustor/cmd/fustor/internal/match"
	"github.com/fustor/fustor/internal/client"
)

type searchCmd struct {
	Pattern string `arg:"" help:"Part of a name, ignoring case, or a glob (*, ?, [a-z], **). With a slash it matches the path."`
	Path    string `placeholder:"PATH" group:"filter" help:"Only below this directory."`
	Limit   int    `placeholder:"N" group:"filter" help:"Stop after N entries."`
	filterFlags
	entryFlags
	pastFlags
}

// Help implements kong.HelpProvider.
func (searchCmd) Help() string {
	return `The server searches, so this is fast for views of any size.

Examples:

    fustor search readme
    fustor search '*.parquet' --min-size 100M --owner alice
    fustor search '/projects/**/raw/*.fastq' --newer-than 7d --json`
}

func (c *searchCmd) Run(ctx context.Context, a *app) error {
	if c.Limit < 0 {
		return usageError("--limit must not be negative")
	}
	return c.askFor(ctx, a, cmp.Or(c.Path, "/"), &c.filterFlags, func(server *client.Client, path string, filter match.Filter) error {
		query, some := queryOf(&filter, c.Pattern)
		query.Limit = c.Limit
		p := c.printer(a)
		if !some {
			return p.rows.End(nil)
		}
		if query.Path = path; path == "/" {
			query.Path = ""
		}
		return p.rows.End(server.Search(ctx, query, p.print))
	})
}

// queryOf is a search for what a filter wants. some is false if it can find nothing.
func queryOf(f *match.Filter, pattern string) (q client.Query, some bool) {
	names, not, nothing := f.Served()
	q = client.Query{Pattern: pattern, Names: names, NotNames: not, Types: f.Types, Owner: f.Owner, Group: f.Group, Inode: f.Inode, Empty: f.Empty,
		MinSize: bytesOf(f.MinSize), MaxSize: bytesOf(f.MaxSize), MinAllocated: bytesOf(f.MinAllocated), MaxAllocated: bytesOf(f.MaxAllocated),
		NewerThanNs: nsOf(f.NewerThan), OlderThanNs: nsOf(f.OlderThan), ChangedAfterNs: nsOf(f.ChangedAfter), ChangedBeforeNs: nsOf(f.ChangedBefore),
		BornAfterNs: nsOf(f.BornAfter), BornBeforeNs: nsOf(f.BornBefore),
		AccessedAfterNs: nsOf(f.AccessedAfter), AccessedBeforeNs: nsOf(f.AccessedBefore)}
	if f.Regex != nil {
		q.Regex = f.Regex.String()
	}
	if f.Perm != nil {
		q.Perm = f.Perm.String()
	}
	if f.Links != nil {
		q.MinLinks, q.MaxLinks = f.Links.Least, f.Links.Most
	}
	return q, !nothing
}

func bytesOf(s *match.Size) *int64 {
	if s == nil {
		return nil
	}
	return &s.Bytes
}

func nsOf(t *match.Time) *int64 {
	if t == nil {
		return nil
	}
	return &t.Ns
}
