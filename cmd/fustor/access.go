//go:build !reading

package main

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

type accessCmd struct {
	Path string `arg:"" help:"Path to explain: a path of the view, or of a host that mounts it."`
	JSON bool   `name:"json" help:"Print a JSON object."`
	pastFlags
}

// Help implements kong.HelpProvider.
func (accessCmd) Help() string {
	return `Prints for each directory from the root of the view to PATH which rights you have, and
the entry of its mode or ACL that says so, in the words of getfacl; then what you see of
PATH. An administrator asks it of another user with --as. Below a directory that you may
not search, the answer is the same whether there is something or not.
The columns are the path, its mode, owner and group, the rights (r: list the names, x: use
them), and the entry.

Examples:

    fustor access /projects/alpha
    fustor access /projects/alpha/reads.bam --as alice
    fustor access /projects --as 1000:100,4711 --json`
}

func (c *accessCmd) Run(ctx context.Context, a *app) error {
	return c.ask(ctx, a, c.Path, func(server *client.Client, path string) error { return c.show(ctx, a, server, path) })
}

func (c *accessCmd) show(ctx context.Context, a *app, server *client.Client, path string) error {
	found, err := server.Access(ctx, path)
	if err != nil {
		return err
	}
	out := a.out()
	if c.JSON {
		out.Write(append(found.Raw, '\n'))
		return out.Flush()
	}
	printAccess(out, found)
	return out.Flush()
}

// printAccess prints the rights to the directories, and what follows from them.
func printAccess(out *show.Output, a *client.Access) {
	printRights(out, a.Directories)
	if len(a.Today) > 0 {
		fmt.Fprintln(out, "\ntoday:")
		printRights(out, a.Today)
	}
	fmt.Fprintln(out)
	for _, line := range conclusion(out, a) {
		fmt.Fprintln(out, line)
	}
}

// printRights prints a line for each directory.
func printRights(out *show.Output, all []client.DirectoryAccess) {
	var paths, owners int
	name := func(d *client.DirectoryAccess) (path, owner string) {
		return out.Name(d.Path), out.Name(d.Owner) + ":" + out.Name(d.Group)
	}
	for i := range all {
		path, owner := name(&all[i])
		paths, owners = max(paths, utf8.RuneCountInString(path)), max(owners, utf8.RuneCountInString(owner))
	}
	for i := range all {
		path, owner := name(&all[i])
		fmt.Fprintf(out, "%s  %s  %s  %s  %s\n", show.Left(path, paths), show.Mode('d', all[i].Mode), show.Left(owner, owners), rights(&all[i]), all[i].By)
	}
}

// rights are r-x, as far as they are given.
func rights(d *client.DirectoryAccess) string {
	r, x := "-", "-"
	if d.Read {
		r = "r"
	}
	if d.Search {
		x = "x"
	}
	return r + "-" + x
}

// conclusion says what the user sees of the path.
func conclusion(out *show.Output, a *client.Access) []string {
	groups := make([]string, len(a.Groups))
	for i, g := range a.Groups {
		groups[i] = fmt.Sprint(g)
	}
	user := fmt.Sprintf("%s (uid %d, groups %s)", out.Name(a.User), a.UID, strings.Join(groups, ","))
	if a.Squashed {
		user = fmt.Sprintf("%s, judged as nobody (uid %d) because the view squashes root,", out.Name(a.User), a.UID)
	}
	path := out.Name(a.Path)
	if !a.Visible {
		lines := []string{fmt.Sprintf("%s does not see %s: it may not be reached through %s", user, path, out.Name(a.DeniedAt))}
		if a.Listed {
			lines = append(lines, "Names in the directory of "+path+" are listed, without attributes.")
		}
		return lines
	}
	lines := []string{fmt.Sprintf("%s sees %s", user, path)}
	if last := len(a.Directories) - 1; last >= 0 && a.Directories[last].Path == a.Path {
		if a.Contents {
			lines[0] += ", and lists what is in it"
		} else {
			lines[0] += ", and may not list what is in it"
		}
	}
	if !a.Listed {
		lines = append(lines, "find shows it only to who names it, or a directory below the last one that may not be read.")
	}
	return lines
}
