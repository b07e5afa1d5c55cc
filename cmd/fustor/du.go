package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/values"
)

type duCmd struct {
	Path      string `arg:"" optional:"" default:"/" help:"Directory to sum up: a path of the view, or of a host that mounts it."`
	Depth     int    `short:"d" placeholder:"N" help:"Also print the directories down to N levels below PATH."`
	LinksOnce bool   `name:"links-once" help:"Count what a file with several names occupies once, as du(1) does."`
	formatFlags
	Bytes bool `short:"b" help:"Print sizes in bytes."`
	pastFlags
}

// Help implements kong.HelpProvider.
func (duCmd) Help() string {
	return `The figures are the sums over the output of fustor find PATH. Bytes and the latest
time count regular files, and PATH itself is one of the directories. A line on stderr
says if paths below PATH could not be read, so that the sums are too small. A sum from
2^63 bytes on, as sparse files make it, is 9223372036854775807, with >= before it on a
terminal and "saturated" in JSON. Allocated is what
everything occupies on the disk, directories included; a file with several names counts
once for each of them, and stderr says so. With --links-once it counts once in
ALLOCATED; files and bytes go on counting names. A + after it says that some entries are not measured yet. On a
terminal it prints a table, otherwise tab-separated lines: files, directories, bytes,
allocated bytes (- if some are not measured), latest time (RFC 3339, - for none) and
path. If the view is a forest, there is a line for each member that has PATH, and the
total.

Examples:

    fustor du
    fustor du .      # of the working directory, if a host mounts the view above it
    fustor du /projects --depth 1
    fustor du /projects --links-once
    fustor du /projects --json | jq .bytes`
}

func (c *duCmd) Run(ctx context.Context, a *app) error {
	if c.Depth < 0 {
		return usageError("--depth must not be negative")
	}
	if c.Depth > 0 && c.LinksOnce {
		return usageError("--links-once is for one directory: leave --depth out")
	}
	return c.ask(ctx, a, c.Path, func(server *client.Client, path string) error { return c.sum(ctx, a, server, path) })
}

func (c *duCmd) sum(ctx context.Context, a *app, server *client.Client, path string) error {
	out := c.rows(a, "path", "files", "directories", "others", "bytes", "allocated", "linked_allocated", "unmeasured", "latest_mtime", "member", "path_b64")
	print := c.line
	if out.Terminal {
		header := sync.OnceFunc(func() { // after the first answer: PATH may be another path of the view
			fmt.Fprintln(out, out.Bold(fmt.Sprintf("%12s %12s %14s %14s  %-16s", "FILES", "DIRECTORIES", "SIZE", "ALLOCATED", "LATEST"))+"  "+out.Bold("PATH"))
		})
		print = func(out *show.Rows, n *client.Node) error {
			header()
			return c.row(out, n)
		}
	}
	total := client.Node{Type: "directory", Subtree: &client.Subtree{}}
	members, linked := 0, int64(0)
	var err error
	each := func(n *client.Node) error {
		if n.Path == path && n.Subtree != nil {
			linked = values.Sum(linked, n.Subtree.LinkedAllocated)
		}
		if n.Path == path && n.Member != "" {
			members++
			total.Subtree.Add(sumsOf(n))
			total.Unreadable += n.Unreadable
		}
		if n.Letter() != 'd' && n.Path != path {
			return nil
		}
		if n.Path == path {
			a.noteSaturated(n)
		}
		return print(out, n)
	}
	if c.Depth == 0 {
		stat := server.Stat
		if c.LinksOnce {
			stat = server.StatLinksOnce
		}
		all, err := stat(ctx, path)
		if err != nil {
			return err
		}
		for i := range all {
			if err := each(&all[i]); err != nil {
				return err
			}
		}
	} else {
		err = server.Tree(ctx, path, c.Depth, false, each)
	}
	if err == nil && members > 0 {
		err = print(out, &total)
	}
	if linked > 0 && !c.LinksOnce && err == nil {
		err = out.Flush()
		a.note("%s of what is allocated are names of files with several names, and each name counts; --links-once counts such files once", show.Sum(linked))
	}
	return out.End(err)
}

// line is for programs.
func (c *duCmd) line(out *show.Rows, n *client.Node) error {
	sums := sumsOf(n)
	switch out.Form {
	case show.CSV:
		latest := show.UTC{}
		if sums.HasMtime {
			latest.Ns = &sums.LatestMtimeNs
		}
		return out.Record(cmp.Or(n.Path, "total"), sums.Files, sums.Directories, sums.Others, sums.Bytes, sums.Allocated, sums.LinkedAllocated, sums.Unmeasured,
			latest, n.Member, show.B64(n.Path))
	case show.JSON, show.NDJSON:
		b := []byte("{")
		switch {
		case n.Path == "":
			b = append(b, `"total":true`...)
		case n.Member != "":
			b = append(show.AppendName(b, "member", n.Member), ',')
			fallthrough
		default:
			b = show.AppendName(b, "path", n.Path)
		}
		b = show.AppendUnreadable(show.AppendSubtree(append(b, ','), &sums), n)
		return out.Object(append(b, '}'))
	}
	latest := "-"
	if sums.HasMtime {
		latest = time.Unix(0, sums.LatestMtimeNs).UTC().Format(time.RFC3339Nano)
	}
	allocated := "-"
	if sums.Unmeasured == 0 {
		allocated = strconv.FormatInt(sums.Allocated, 10)
	}
	_, err := fmt.Fprintf(out, "%d\t%d\t%d\t%s\t%s\t%s\n", sums.Files, sums.Directories, sums.Bytes, allocated, latest, out.Name(duName(n)))
	return err
}

// duName is what a line is about: a path, or all members of a forest.
func duName(n *client.Node) string {
	if n.Path == "" {
		return "total"
	}
	return n.Where()
}

// row is for eyes.
func (c *duCmd) row(out *show.Rows, n *client.Node) error {
	sums := sumsOf(n)
	latest := "-"
	if sums.HasMtime {
		latest = show.Time(sums.LatestMtimeNs, time.Local)
	}
	_, err := fmt.Fprintf(out, "%12s %12s %14s %14s  %-16s  %s\n", show.Count(sums.Files), show.Count(sums.Directories),
		sumText(sums.Bytes, c.Bytes), allocatedText(&sums, c.Bytes), latest, out.Colored(n, duName(n)))
	return err
}

// sumsOf are an entry's sums: a directory's over its subtree, a regular file's its own, and none of anything else.
func sumsOf(n *client.Node) client.Subtree {
	switch {
	case n.Subtree != nil:
		return *n.Subtree
	case n.Letter() == 'f':
		sums := client.Subtree{Files: 1, Bytes: n.Size, LatestMtimeNs: n.MtimeNs, HasMtime: true}
		measure(&sums, n)
		return sums
	}
	sums := client.Subtree{}
	measure(&sums, n)
	return sums
}

// measure adds what one entry occupies.
func measure(sums *client.Subtree, n *client.Node) {
	switch {
	case n.Links == 0:
		sums.Unmeasured++
	case n.Links > 1:
		sums.LinkedAllocated = n.Allocated
		fallthrough
	default:
		sums.Allocated = n.Allocated
	}
}

// allocatedText is what is allocated, with a + where some of it is not known, and - where nothing is.
func allocatedText(s *client.Subtree, bytes bool) string {
	switch {
	case s.Unmeasured == 0:
		return sumText(s.Allocated, bytes)
	case s.Allocated == 0:
		return "-"
	}
	return sumText(s.Allocated, bytes) + "+"
}

// noteSaturated says on stderr that a sum of a directory may be larger than it says.
func (a *app) noteSaturated(n *client.Node) {
	if n.Subtree != nil && n.Subtree.Saturated() {
		a.note("%s: a sum of %s bytes stands for as many or more", show.Quote(client.Where(n.Member, n.Path)), show.Count(values.MaxSum))
	}
}
