package main

import (
	"context"

	"github.com/fustor/fustor/cmd/fustor/internal/match"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

type findCmd struct {
	Path string `arg:"" optional:"" default:"/" help:"Where to start: a path of the view, or of a host that mounts it."`
	filterFlags
	entryFlags
	pastFlags
}

// Help implements kong.HelpProvider.
func (findCmd) Help() string {
	return `Prints PATH itself and everything below it, one path per line, from the view's root.
The server looks for what the flags ask for. All of them must hold; of several --name, one.
A pipe gets names byte for byte; a terminal gets names quoted if they cannot be
printed. If the view is a forest, a path has its member in front: nfs03:/data/x.bam.
If a member does not answer, the rest is printed, and the exit code is 4.

Examples:

    fustor find
    fustor find /projects --name '*.bam' --min-size 1G --type f
    fustor find --name '*.{bam,cram}' --not-name 'tmp*' --name '*.gz'
    fustor find --regex '.*/run[0-9]+/.*[.]bam' --born-after 2024-05
    fustor find --newer-than 2h --json | jq .path
    fustor find --view all --name 'run42*.bam'     # on which server is it?
    fustor find /old --older-than 2020-01-01 --print0 | xargs -0 ls -ld`
}

func (c *findCmd) Run(ctx context.Context, a *app) error {
	return c.askFor(ctx, a, c.Path, &c.filterFlags, func(server *client.Client, path string, filter match.Filter) error {
		return c.below(ctx, a, server, path, filter)
	})
}

func (c *findCmd) below(ctx context.Context, a *app, server *client.Client, path string, filter match.Filter) error {
	p := c.printer(a)
	each := func(n *client.Node) error {
		if !filter.Match(n) {
			return nil
		}
		return p.print(n)
	}
	var err error
	if filter.Everything() {
		err = server.Tree(ctx, path, -1, p.onlyPaths(), each)
	} else {
		err = findSome(ctx, server, path, &filter, each)
	}
	return p.rows.End(err)
}

// findRoot looks at the root by itself if path is that: a search does not have it, as it has no name there.
func findRoot(ctx context.Context, server *client.Client, path string, filter *match.Filter, each client.Each) error {
	if path != "/" || filter.OfAccess() { // an answer does not say when its entry was last read
		return nil
	}
	roots, err := server.Stat(ctx, path)
	if err != nil {
		return err
	}
	for i := range roots {
		if err := each(&roots[i]); err != nil {
			return err
		}
	}
	return nil
}

// findSome asks the server for what a filter wants.
func findSome(ctx context.Context, server *client.Client, path string, filter *match.Filter, each client.Each) error {
	if err := findRoot(ctx, server, path, filter, each); err != nil {
		return err
	}
	query, some := queryOf(filter, "*")
	if !some {
		return nil
	}
	query.Path = path
	return server.Search(ctx, query, each)
}

// entryFlags say how entries are printed.
type entryFlags struct {
	formatFlags
	Print0 bool `name:"print0" short:"0" xor:"form" help:"End each path with a NUL byte, for xargs -0."`
}

// printer prints entries in the form that was asked for.
func (f *entryFlags) printer(a *app) *entryPrinter {
	return &entryPrinter{entryFlags: *f, rows: f.rows(a, entryColumns...)}
}

type entryPrinter struct {
	entryFlags
	rows *show.Rows
	buf  []byte
	list *lister // of --format table
}

// onlyPaths reports whether nothing but paths is printed, without their colours.
func (p *entryPrinter) onlyPaths() bool {
	return p.rows.Form == show.Text && p.word() != "table" && !p.rows.Color
}

func (p *entryPrinter) print(n *client.Node) error {
	p.buf = p.buf[:0]
	switch {
	case p.rows.Form == show.CSV:
		return p.rows.Record(entryFields(n)...)
	case p.rows.Form != show.Text:
		p.buf = show.AppendEntry(p.buf, n)
		return p.rows.Object(p.buf)
	case p.word() == "table":
		return p.inTable(n)
	case p.Print0:
		p.buf = append(append(p.buf, n.Where()...), 0)
	default:
		p.buf = append(append(p.buf, p.rows.Colored(n, n.Where())...), '\n')
	}
	_, err := p.rows.Write(p.buf)
	return err
}

func (p *entryPrinter) inTable(n *client.Node) error {
	if p.list == nil {
		p.list = &lister{rows: p.rows, table: true, paths: true}
		p.list.header()
	}
	return p.list.print(n)
}
