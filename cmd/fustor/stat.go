package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

type statCmd struct {
	Path string `arg:"" help:"Path to show: a path of the view, or of a host that mounts it."`
	JSON bool   `name:"json" help:"Print a JSON object."`
	pastFlags
}

// Help implements kong.HelpProvider.
func (statCmd) Help() string {
	return `If the view is a forest, it shows the path in each member that has it.

Examples:

    fustor stat /projects/alpha/reads.bam
    fustor stat / --json`
}

func (c *statCmd) Run(ctx context.Context, a *app) error {
	return c.ask(ctx, a, c.Path, func(server *client.Client, path string) error { return c.show(ctx, a, server, path) })
}

func (c *statCmd) show(ctx context.Context, a *app, server *client.Client, path string) error {
	all, err := server.Stat(ctx, path)
	if err != nil {
		return err
	}
	out := a.out()
	for i := range all {
		n := &all[i]
		if c.JSON {
			out.Write(append(show.AppendDetails(nil, n), '\n'))
			continue
		}
		if i > 0 {
			fmt.Fprintln(out)
		}
		for _, f := range statFields(out, n) {
			fmt.Fprintf(out, "%s %s\n", out.Bold(show.Right(f[0], 12)+":"), f[1])
		}
	}
	return out.Flush()
}

// statFields are all that is known of the entry, as label and value.
func statFields(out *show.Output, n *client.Node) [][2]string {
	var fields [][2]string
	if n.Member != "" {
		fields = append(fields, [2]string{"member", n.Member})
	}
	fields = append(fields, [2]string{"path", out.Colored(n, n.Path)}, [2]string{"type", n.Type})
	add := func(label, format string, args ...any) {
		fields = append(fields, [2]string{label, fmt.Sprintf(format, args...)})
	}
	if n.Letter() == 'l' {
		add("target", "%s", out.Name(n.Target))
	}
	add("size", "%d", n.Size)
	add("modified", "%s", show.ExactTime(n.MtimeNs, time.Local))
	add("mode", "%04o %s", n.Mode, show.Mode(n.Letter(), n.Mode))
	if n.Owner == "" {
		add("owner", "%d:%d", n.UID, n.GID)
	} else {
		add("owner", "%s:%s (%d:%d)", out.Name(n.Owner), out.Name(n.Group), n.UID, n.GID)
	}
	if n.Links > 0 {
		add("allocated", "%d", n.Allocated)
		add("links", "%d", n.Links)
		add("changed", "%s", show.ExactTime(n.CtimeNs, time.Local))
	}
	if n.BirthNs != 0 {
		add("birth", "%s", strings.Replace(show.ExactTime(n.BirthNs, time.Local), ".000000000", "", 1)) // known by the second
	}
	if n.ACL != "" {
		add("ACL", "%s", out.Name(n.ACL))
	}
	if n.Inode != "" {
		add("inode", "%s", n.Inode)
	}
	if s := n.Subtree; s != nil {
		add("files", "%d", s.Files)
		add("directories", "%d", s.Directories)
		add("bytes", "%s", sumText(s.Bytes, true))
		add("on disk", "%s", allocatedText(s, true))
		if s.HasMtime {
			add("latest", "%s", show.ExactTime(s.LatestMtimeNs, time.Local))
		}
		if n.Unreadable > 0 {
			add("unreadable", "%d: the sums are of what could be read", n.Unreadable)
		}
	}
	add("agent", "%s", out.Name(n.LastAgent))
	add("source", "%s", out.Name(n.Source))
	add("suspect", "%s", yes(n.Suspect, "it may still be written to"))
	add("blind spot", "%s", yes(n.AgentMissing, "found by a scan; no agent reported it"))
	return fields
}

func yes(is bool, why string) string {
	if is {
		return "yes: " + why
	}
	return "no"
}
