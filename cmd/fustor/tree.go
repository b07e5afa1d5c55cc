package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/fustor/fustor/cmd/fustor/internal/match"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/values"
)

type treeCmd struct {
	Path  string `arg:"" optional:"" default:"/" help:"Where to start: a path of the view, or of a host that mounts it."`
	Depth depth  `short:"d" default:"3" placeholder:"N" help:"Draw N levels, or all (default 3)."`

	Format *string `enum:"table,json,ndjson,csv" xor:"form" placeholder:"table|json|ndjson|csv" help:"Print the drawing (table), nested JSON objects, or the entries one by one as JSON lines or CSV."`
	JSON   bool    `name:"json" xor:"form" help:"Print nested JSON objects."`
	pastFlags
}

// Help implements kong.HelpProvider.
func (treeCmd) Help() string {
	return `The command holds all drawn entries in memory; for a large view, use fustor find.
If the view is a forest, it draws a tree for each member.

Examples:

    fustor tree
    fustor tree /projects --depth 1
    fustor tree /projects/alpha --depth all --json`
}

// depth is a number of levels; negative is all.
type depth int

// UnmarshalText reads a number, or all.
func (d *depth) UnmarshalText(text []byte) error {
	if string(text) == "all" {
		*d = -1
		return nil
	}
	n, err := strconv.ParseUint(string(text), 10, 31)
	if err != nil {
		return fmt.Errorf("%q is not a number of levels or 'all'", text)
	}
	*d = depth(n)
	return nil
}

func (c *treeCmd) Run(ctx context.Context, a *app) error {
	return c.ask(ctx, a, c.Path, func(server *client.Client, path string) error { return c.show(ctx, a, server, path) })
}

func (c *treeCmd) show(ctx context.Context, a *app, server *client.Client, path string) error {
	format := formatFlags{Format: c.Format}
	if word := format.word(); word == "ndjson" || word == "csv" {
		p := (&entryFlags{formatFlags: format}).printer(a)
		return p.rows.End(server.Tree(ctx, path, int(c.Depth), false, p.print))
	}
	var b treeBuilder
	if err := server.Tree(ctx, path, int(c.Depth), false, b.add); err != nil {
		return err
	}
	out := a.out()
	if c.JSON || format.word() == "json" {
		return errors.Join(b.json(out), out.Flush())
	}
	out.Terminal = out.Terminal || format.word() == "table"
	for i, root := range b.roots {
		if i > 0 {
			fmt.Fprintln(out)
		}
		fmt.Fprintln(out, out.Colored(&root.node, root.node.Where()))
		b.draw(out, root, "")
	}
	fmt.Fprintf(out, "\n%s, %s\n", values.Plural(b.directories, "directory", "directories"), values.Plural(b.others, "file", "files"))
	return out.Flush()
}

// treeBuilder hangs the entries of a stream, in which a directory comes before what is in it, into a tree.
type treeBuilder struct {
	roots               []*branch          // one, or one for each member of a forest
	at                  map[string]*branch // directories by member and path
	path                string             // of the roots
	directories, others int64              // the root apart, as tree(1) counts
}

type branch struct {
	node     client.Node
	children []*branch
}

func (b *treeBuilder) add(n *client.Node) error {
	x := &branch{node: *n}
	if b.at == nil {
		b.at, b.path = map[string]*branch{}, n.Path
	}
	switch {
	case n.Path == b.path:
		b.roots = append(b.roots, x)
	default:
		parent := b.at[client.Where(n.Member, n.Path[:max(1, strings.LastIndexByte(n.Path, '/'))])]
		if parent == nil {
			return fmt.Errorf("the server sent %q before its directory", n.Path)
		}
		parent.children = append(parent.children, x)
		if n.Letter() == 'd' {
			b.directories++
		} else {
			b.others++
		}
	}
	if n.Letter() == 'd' {
		b.at[n.Where()] = x
	}
	return nil
}

func (b *treeBuilder) draw(out *show.Output, x *branch, indent string) {
	for i, child := range x.children {
		stem, under := "├── ", "│   "
		if i == len(x.children)-1 {
			stem, under = "└── ", "    "
		}
		line := out.Colored(&child.node, match.Base(child.node.Path))
		if child.node.Letter() == 'l' {
			line += " -> " + out.Name(child.node.Target)
		}
		if s := child.node.Subtree; s != nil {
			line += "/" + out.Dim(fmt.Sprintf("  %s, %s", values.Plural(s.Files, "file", "files"), show.Sum(s.Bytes)))
		}
		fmt.Fprintln(out, indent+stem+line)
		b.draw(out, child, indent+under)
	}
}

func (b *treeBuilder) json(out *show.Output) error {
	for _, root := range b.roots {
		appendBranch(out, root)
		if err := out.WriteByte('\n'); err != nil {
			return err
		}
	}
	return nil
}

func appendBranch(out *show.Output, x *branch) {
	entry := show.AppendEntry(nil, &x.node)
	if x.node.Letter() != 'd' {
		out.Write(entry)
		return
	}
	out.Write(append(entry[:len(entry)-1], `,"children":[`...))
	for i, child := range x.children {
		if i > 0 {
			out.WriteByte(',')
		}
		appendBranch(out, child)
	}
	out.WriteString("]}")
}
