package main

import (
	"context"
	"strconv"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/match"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/values"
)

type lsCmd struct {
	Path string `arg:"" optional:"" default:"/" help:"Directory to list, or any other path of the view, or of a host that mounts it."`
	Long bool   `short:"l" xor:"form" help:"Print the table even if stdout is not a terminal."`
	formatFlags
	Bytes bool   `short:"b" help:"Print sizes in bytes."`
	Sort  string `enum:"name,size,allocated,files,mtime" default:"name" placeholder:"BY" help:"Order: name, size (largest first), allocated (what occupies most on the disk first), files (what has most files first) or mtime (newest first)."`
	pastFlags
}

// Help implements kong.HelpProvider.
func (lsCmd) Help() string {
	return `On a terminal it prints a table, otherwise one name per line. SIZE and FILES of a
directory count everything below it. If the view is a forest, each entry has its member.

Examples:

    fustor ls
    fustor ls /projects --sort size
    fustor ls /projects --json
    fustor ls /projects --as-of yesterday
    fustor ls default:/projects      # of the view default`
}

func (c *lsCmd) Run(ctx context.Context, a *app) error {
	return c.ask(ctx, a, c.Path, func(server *client.Client, path string) error { return c.list(ctx, a, server, path) })
}

func (c *lsCmd) list(ctx context.Context, a *app, server *client.Client, path string) error {
	all, err := server.Stat(ctx, path)
	if err != nil {
		return err
	}
	rows := c.rows(a, entryColumns...)
	l := lister{rows: rows, table: rows.Form == show.Text && (c.Long || rows.Terminal), bytes: c.Bytes, forest: all[0].Member != ""}
	l.header()
	directories := 0
	for i := range all {
		if all[i].Letter() == 'd' {
			directories++
		} else if err := l.print(&all[i]); err != nil {
			return err
		}
	}
	if directories > 0 {
		err = server.List(ctx, path, c.Sort, l.print)
	}
	return rows.End(err)
}

// lister prints entries as ls does, line by line: a directory may have millions.
type lister struct {
	rows         *show.Rows
	table, bytes bool
	forest       bool // entries have members
	paths        bool // print paths, with their members, rather than names
}

func (l *lister) header() {
	if l.table {
		l.row(l.rows.Bold, "MEMBER", "MODE", "OWNER", "GROUP", "FILES", "SIZE", "MODIFIED", l.rows.Bold("NAME"))
	}
}

func (l *lister) print(n *client.Node) error {
	name := match.Base(n.Path)
	switch {
	case l.rows.Form == show.CSV:
		return l.rows.Record(entryFields(n)...)
	case l.rows.Form != show.Text:
		return l.rows.Object(show.AppendSummed(nil, n))
	case !l.table:
		_, err := l.rows.WriteString(l.rows.Name(client.Where(n.Member, name)) + "\n")
		return err
	}
	files, size := "", sizeText(n.Size, l.bytes)
	if n.Subtree != nil {
		files, size = show.Count(n.Subtree.Files), sumText(n.Subtree.Bytes, l.bytes)
	}
	if l.paths {
		name = n.Where()
	}
	shown := l.rows.Colored(n, name)
	if n.Letter() == 'd' && name != "/" {
		shown += "/"
	}
	if n.Letter() == 'l' {
		shown += " -> " + l.rows.Name(n.Target)
	}
	return l.row(plainText, n.Member, show.Mode(n.Letter(), n.Mode), l.rows.Name(owner(n.Owner, n.UID)), l.rows.Name(owner(n.Group, n.GID)),
		files, size, show.Time(n.MtimeNs, time.Local), shown)
}

func (l *lister) row(paint func(string) string, member, mode, owner, group, files, size, modified, name string) error {
	line := show.Left(mode, 10) + " " + show.Left(owner, 8) + " " + show.Left(group, 8) + " " + show.Right(files, 11) + " " +
		show.Right(size, 10) + "  " + show.Left(modified, 16)
	if l.forest {
		line = show.Left(member, 16) + " " + line
	}
	_, err := l.rows.WriteString(paint(line) + "  " + name + "\n")
	return err
}

func plainText(s string) string { return s }

func sizeText(bytes int64, exact bool) string {
	if exact {
		return strconv.FormatInt(bytes, 10)
	}
	return show.Size(bytes)
}

// sumText is sizeText for a sum, which may be saturated.
func sumText(bytes int64, exact bool) string {
	if exact && bytes == values.MaxSum {
		return ">=" + strconv.FormatInt(bytes, 10)
	}
	if exact {
		return strconv.FormatInt(bytes, 10)
	}
	return show.Sum(bytes)
}
