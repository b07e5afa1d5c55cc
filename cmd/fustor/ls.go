package main

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/match"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

type lsCmd struct {
	Path  string `arg:"" optional:"" default:"/" help:"Directory to list, or any other path of the view, or of a host that mounts it."`
	Long  bool   `short:"l" xor:"form" help:"Print the table even if stdout is not a terminal."`
	JSON  bool   `name:"json" xor:"form" help:"Print one JSON object per line."`
	Bytes bool   `short:"b" help:"Print sizes in bytes."`
	Sort  string `enum:"name,size,mtime" default:"name" placeholder:"BY" help:"Order: name, size (largest first) or mtime (newest first)."`
	serverFlags
}

// Help implements kong.HelpProvider.
func (lsCmd) Help() string {
	return `On a terminal it prints a table, otherwise one name per line. SIZE and FILES of a
directory count everything below it. If the view is a forest, each entry has its member.

Examples:

    fustor ls
    fustor ls /projects --sort size
    fustor ls /projects --json
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
	out := a.out()
	l := lister{out: out, json: c.JSON, table: !c.JSON && (c.Long || out.Terminal), bytes: c.Bytes, forest: all[0].Member != ""}
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
	return errors.Join(out.Flush(), err)
}

// lister prints entries as ls does, line by line: a directory may have millions.
type lister struct {
	out                *show.Output
	json, table, bytes bool
	forest             bool // entries have members
}

func (l *lister) header() {
	if l.table {
		l.row(l.out.Bold, "MEMBER", "MODE", "UID", "GID", "FILES", "SIZE", "MODIFIED", l.out.Bold("NAME"))
	}
}

func (l *lister) print(n *client.Node) error {
	name := match.Base(n.Path)
	switch {
	case l.json:
		b := show.AppendEntry(nil, n)
		if n.Subtree != nil {
			b = append(b[:len(b)-1], `,"subtree":{`...)
			b = append(show.AppendSubtree(b, n.Subtree), "}}"...)
		}
		_, err := l.out.Write(append(b, '\n'))
		return err
	case !l.table:
		_, err := l.out.WriteString(l.out.Name(client.Where(n.Member, name)) + "\n")
		return err
	}
	files, size := "", n.Size
	if n.Subtree != nil {
		files, size = show.Count(n.Subtree.Files), n.Subtree.Bytes
	}
	shown := l.out.Colored(n, name)
	if n.Letter() == 'd' {
		shown += "/"
	}
	if n.Letter() == 'l' {
		shown += " -> " + l.out.Name(n.Target)
	}
	return l.row(plainText, n.Member, show.Mode(n.Letter(), n.Mode), strconv.Itoa(int(n.UID)), strconv.Itoa(int(n.GID)),
		files, sizeText(size, l.bytes), show.Time(n.MtimeNs, time.Local), shown)
}

func (l *lister) row(paint func(string) string, member, mode, uid, gid, files, size, modified, name string) error {
	line := show.Left(mode, 10) + " " + show.Right(uid, 6) + " " + show.Right(gid, 6) + " " + show.Right(files, 11) + " " +
		show.Right(size, 10) + "  " + show.Left(modified, 16)
	if l.forest {
		line = show.Left(member, 16) + " " + line
	}
	_, err := l.out.WriteString(paint(line) + "  " + name + "\n")
	return err
}

func plainText(s string) string { return s }

func sizeText(bytes int64, exact bool) string {
	if exact {
		return strconv.FormatInt(bytes, 10)
	}
	return show.Size(bytes)
}
