package main

import (
	"context"
	"errors"
	"time"

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
	query := client.Query{Pattern: c.Pattern, Types: filter.Types, Owner: filter.Owner, Limit: c.Limit}
	if c.Path != "" {
		query.Path = viewPath(c.Path)
	}
	if filter.MinSize != nil {
		query.MinSize = &filter.MinSize.Bytes
	}
	if filter.MaxSize != nil {
		query.MaxSize = &filter.MaxSize.Bytes
	}
	if filter.NewerThan != nil {
		query.NewerThanNs = &filter.NewerThan.Ns
	}
	if filter.OlderThan != nil {
		query.OlderThanNs = &filter.OlderThan.Ns
	}
	p := c.printer(a)
	err = server.Search(ctx, query, p.print)
	return errors.Join(p.out.Flush(), err)
}
