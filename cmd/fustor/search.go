package main

import (
	"context"
	"errors"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/match"
	"github.com/fustor/fustor/internal/client"
)

type searchCmd struct {
	Pattern string `arg:"" help:"Part of a name, ignoring case, or a glob (*, ?, [a-z], **). With a slash it matches the path."`
	Path    string `placeholder:"PATH" group:"filter" help:"Only below this directory."`
	Limit   int    `placeholder:"N" group:"filter" help:"Stop after N entries."`
	filterFlags
	entryFlags
	serverFlags
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
	filter, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	server, err := c.connect(a)
	if err != nil {
		return err
	}
	query := queryOf(filter, c.Pattern)
	query.Limit = c.Limit
	if c.Path != "" {
		query.Path = viewPath(c.Path)
	}
	p := c.printer(a)
	err = server.Search(ctx, query, p.print)
	return errors.Join(p.out.Flush(), err)
}

// queryOf is a search for what a filter wants; its name aside.
func queryOf(f match.Filter, pattern string) client.Query {
	q := client.Query{Pattern: pattern, Types: f.Types, Owner: f.Owner}
	if f.MinSize != nil {
		q.MinSize = &f.MinSize.Bytes
	}
	if f.MaxSize != nil {
		q.MaxSize = &f.MaxSize.Bytes
	}
	if f.NewerThan != nil {
		q.NewerThanNs = &f.NewerThan.Ns
	}
	if f.OlderThan != nil {
		q.OlderThanNs = &f.OlderThan.Ns
	}
	return q
}
