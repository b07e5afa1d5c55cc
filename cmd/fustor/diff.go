//go:build !reading

package main

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

type diffCmd struct {
	From    string `default:"0" placeholder:"VERSION|TIME|NAME" help:"Version to compare with: a number, the version at a time (2h, 7d, 2026-01-31) or the name of a pin (default: the oldest one)."`
	To      string `placeholder:"VERSION|TIME|NAME" help:"The other version, in the same forms (default: the current one)."`
	Summary bool   `help:"Print the sums of directories instead of paths."`
	Depth   int    `short:"d" default:"1" placeholder:"N" help:"With --summary: directories down to N levels below PATH (default: ${default})."`
	reportFlags
}

// Help implements kong.HelpProvider.
func (diffCmd) Help() string {
	return `Prints the paths that were added, removed or changed between two versions of the view,
in key order. What both versions have in common is not read. fustor versions lists the
versions. An entry is printed if it is what the flags ask for in either version.
A file that was moved is printed twice, as removed and as added, each with the other
path. Up to 100,000 added and removed paths are matched, by inode, by name, size and
mtime, or by birth; if there are more, no move is recognised, and stderr says so.
On a terminal it prints a table, otherwise tab-separated lines: change, type, bytes
before, bytes after (- for none), the fields that differ (- for none), path, and the
other path of a move. With --summary: added, removed and changed files, paths that were
moved in and out, bytes added, removed and grown by changes, and the directory.
The exit code is 0 whether or not anything differs.

Examples:

    fustor diff
    fustor diff --from 2h
    fustor diff /projects --from 1042 --to 1050 --type f
    fustor diff --from 7d --summary --depth 2
    fustor diff --from yesterday --json | jq -r 'select(.change=="removed").path'`
}

func (c *diffCmd) Run(ctx context.Context, a *app) error {
	if c.Depth < 0 || c.Depth > 100 {
		return usageError("--depth must be from 0 to 100")
	}
	return c.report(ctx, a, func(server *client.Client, query client.Query) error {
		if c.Summary {
			return c.sums(ctx, a, server, query)
		}
		return c.paths(ctx, a, server, query)
	})
}

func (c *diffCmd) paths(ctx context.Context, a *app, server *client.Client, query client.Query) error {
	t := table{c.rows(a, "change", "path", "type", "fields", "size_before", "size_after", "mtime_before", "mtime_after", "mode_before", "mode_after",
		"uid_before", "uid_after", "gid_before", "gid_after", "moved_from", "moved_to", "path_b64"), []int{-8, 12, 12, -20}}
	header := sync.OnceFunc(func() { t.header("CHANGE", "BEFORE", "AFTER", "WHAT", "PATH") }) // after the first answer: PATH may be another path of the view
	any := false
	of, err := server.Diff(ctx, query, whichVersion(c.From), whichVersion(c.To), func(d *client.Change) error {
		any = true
		switch t.out.Form {
		case show.Text:
			header()
			printChange(&t, d)
			return nil
		case show.CSV:
			return t.out.Record(changeFields(d)...)
		}
		return t.out.Object(d.Raw)
	})
	if err == nil && !any && t.out.Terminal && t.out.Form == show.Text {
		fmt.Fprintf(t.out, "Nothing differs between version %d and version %d.\n", of.From, of.To)
	}
	err = t.out.End(err)
	if err == nil && of.ManyMoves {
		a.noteManyMoves()
	}
	return err
}

// noteManyMoves says on stderr that moves are not marked.
func (a *app) noteManyMoves() {
	a.note("too many paths were added and removed to tell which were moved; pass a PATH further down")
}

// printChange prints a path of a diff.
func printChange(t *table, d *client.Change) {
	before, after, size := "-", "-", [2]string{"-", "-"}
	if d.Before != nil {
		before, size[0] = number(d.Before.Size), show.Size(d.Before.Size)
	}
	if d.After != nil {
		after, size[1] = number(d.After.Size), show.Size(d.After.Size)
	}
	w := wordsOf(t.out, d)
	t.row(append([]string{d.Change, d.Type, before, after}, w.plain...), []string{d.Change, size[0], size[1], w.what, w.where})
}

// changeWords are what diff and watch print of a change alike.
type changeWords struct {
	plain       []string // for programs: the fields that differ, the path, and of a move the other path
	what, where string   // for eyes
}

func wordsOf(out *show.Rows, d *client.Change) changeWords {
	fields, path := strings.Join(d.Fields, ","), out.Name(d.Path)
	w := changeWords{plain: []string{cmp.Or(fields, "-"), path}, what: fields, where: path}
	switch {
	case d.MovedFrom != "":
		w.moved("moved here", "from", out.Name(d.MovedFrom))
	case d.MovedTo != "":
		w.moved("moved away", "to", out.Name(d.MovedTo))
	}
	return w
}

func (w *changeWords) moved(what, preposition, other string) {
	w.what = what
	w.where += "  (" + preposition + " " + other + ")"
	w.plain = append(w.plain, other)
}

// changeFields are the fields of CSV.
func changeFields(d *client.Change) []any {
	fields := []any{d.Change, d.Path, d.Type, strings.Join(d.Fields, ","), "", "", "", "", "", "", "", "", "", "", d.MovedFrom, d.MovedTo, show.B64(d.Path)}
	for i, s := range [2]*client.State{d.Before, d.After} {
		if s == nil {
			continue
		}
		fields[4+i], fields[6+i], fields[8+i] = s.Size, show.UTC{Ns: &s.MtimeNs}, strconv.FormatUint(uint64(s.Mode), 8)
		fields[10+i], fields[12+i] = s.UID, s.GID
	}
	return fields
}

func (c *diffCmd) sums(ctx context.Context, a *app, server *client.Client, query client.Query) error {
	r, err := server.DiffSums(ctx, query, whichVersion(c.From), whichVersion(c.To), c.Depth)
	if err != nil {
		return err
	}
	if r.ManyMoves() {
		a.noteManyMoves()
	}
	t := table{c.rows(a, "path", "added_files", "added_directories", "added_others", "added_bytes", "added_moved",
		"removed_files", "removed_directories", "removed_others", "removed_bytes", "removed_moved",
		"changed_files", "changed_directories", "changed_others", "changed_bytes", "path_b64"), []int{12, 12, 12, 9, 9, 12}}
	if t.out.Form != show.Text {
		return structured(t.out, &client.Report[client.DirectorySums]{Raw: r.Raw, Entries: r.Entries}, func(d client.DirectorySums) [][]any {
			return [][]any{{d.Path, d.Added.Files, d.Added.Directories, d.Added.Others, d.Added.Bytes, d.Added.Moved,
				d.Removed.Files, d.Removed.Directories, d.Removed.Others, d.Removed.Bytes, d.Removed.Moved,
				d.Changed.Files, d.Changed.Directories, d.Changed.Others, d.Changed.Bytes, show.B64(d.Path)}}
		})
	}
	if t.out.Terminal {
		fmt.Fprintf(t.out, "version %d of %s, since version %d of %s\n", r.Version, show.Time(unixTime(r.FoldedAt).UnixNano(), time.Local),
			r.From, show.Time(unixTime(r.FromFoldedAt).UnixNano(), time.Local))
	}
	t.header("ADDED", "REMOVED", "CHANGED", "MOVED IN", "MOVED OUT", "BYTES", "PATH")
	for _, d := range r.Entries {
		t.row([]string{number(d.Added.Files), number(d.Removed.Files), number(d.Changed.Files), number(d.Added.Moved), number(d.Removed.Moved),
			number(d.Added.Bytes), number(d.Removed.Bytes), number(d.Changed.Bytes), t.out.Name(d.Path)},
			[]string{show.Count(d.Added.Files), show.Count(d.Removed.Files), show.Count(d.Changed.Files), show.Count(d.Added.Moved), show.Count(d.Removed.Moved),
				signed(d.Added.Bytes-d.Removed.Bytes+d.Changed.Bytes, show.Size), t.out.Name(d.Path)})
	}
	return t.out.Flush()
}
