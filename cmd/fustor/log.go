//go:build !reading

package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

type logCmd struct {
	Path  string `arg:"" help:"Path to look up: a path of the view, or of a host that mounts it."`
	Limit int    `default:"0" placeholder:"N" help:"Print at most N changes, the newest (default: all)."`
	Kept  bool   `help:"Look only at versions that are kept for more than being recent, as versions --kept lists them: fewer lookups, and only the changes between those."`
	formatFlags
	serverFlags
}

// Help implements kong.HelpProvider.
func (logCmd) Help() string {
	return `Prints what PATH was in the versions of the view that are kept (fustor versions), the
newest first: when it was added, changed or removed, and what it was from then on. A
change happened between the version that is printed and the kept one before it. existing
says that the oldest kept version has the path already: what was before is not known.
A directory has the sums of what is below it, and changed when they did: subtree.
PATH is looked up once in each version.
On a terminal it prints a table, otherwise tab-separated lines: published, version,
change, type, bytes, allocated bytes, owner, group, mode, mtime, files and directories
below (- for what is not known, and where the path was removed), and the fields that
differ (- for none).

Examples:

    fustor log /projects/alpha/reads.bam
    fustor log /projects --kept
    fustor log /projects/alpha --kept --json | jq '[.version, .after.subtree.bytes]'`
}

// errEnough ends a log whose limit is reached.
var errEnough = errors.New("enough")

func (c *logCmd) Run(ctx context.Context, a *app) error {
	if c.Limit < 0 {
		return usageError("--limit must be at least 0")
	}
	return c.ask(ctx, a, c.Path, func(server *client.Client, path string) error { return c.show(ctx, a, server, path) })
}

func (c *logCmd) show(ctx context.Context, a *app, server *client.Client, path string) error {
	t := table{c.rows(a, "change", "version", "published_at", "previous_version", "previous_published_at", "type", "size", "allocated", "links", "mode", "uid", "gid",
		"owner", "group", "mtime", "subtree_files", "subtree_directories", "subtree_bytes", "subtree_allocated", "fields"),
		[]int{-19, 9, -8, 10, 10, -16, -10, -19, 9}}
	n := 0
	err := server.Log(ctx, path, c.Kept, func(s *client.Stage) (err error) {
		if n++; n == 1 && t.out.Form == show.Text {
			t.header("PUBLISHED", "VERSION", "CHANGE", "SIZE", "ON DISK", "OWNER", "MODE", "MODIFIED", "FILES", "WHAT")
		}
		switch t.out.Form {
		case show.Text:
			printStage(&t, s)
		case show.CSV:
			err = t.out.Record(stageFields(s)...)
		default:
			err = t.out.Object(s.Raw)
		}
		if err == nil && n == c.Limit {
			return errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return t.out.End(err)
}

// printStage prints a line of a log.
func printStage(t *table, s *client.Stage) {
	published := unixTime(s.PublishedAt)
	plain := []string{published.UTC().Format(time.RFC3339), strconv.FormatUint(s.Version, 10), s.Change, s.Type, "-", "-", "-", "-", "-", "-", "-", "-", "-"}
	eyes := []string{published.In(time.Local).Format(time.DateTime), strconv.FormatUint(s.Version, 10), s.Change, "-", "-", "-", "-", "-", "-"}
	if n := s.After; n != nil {
		user, group := t.out.Name(owner(n.Owner, n.UID)), t.out.Name(owner(n.Group, n.GID))
		mtime := n.MtimeNs
		plain[6], plain[7], plain[8], plain[9] = user, group, fmt.Sprintf("%04o", n.Mode), show.UTC{Ns: &mtime}.String()
		eyes[5], eyes[6], eyes[7] = user+":"+group, show.Mode(s.Type[0], n.Mode), show.Time(n.MtimeNs, time.Local)
		size, allocated, measured := n.Size, n.Allocated, n.Links > 0
		if b := n.Subtree; b != nil {
			size, allocated, measured = b.Bytes, b.Allocated, b.Unmeasured == 0
			plain[10], plain[11] = number(b.Files), number(b.Directories)
			eyes[8] = show.Count(b.Files)
		}
		plain[4], eyes[3] = number(size), show.Size(size)
		if measured {
			plain[5], eyes[4] = number(allocated), show.Size(allocated)
		}
	}
	if len(s.Fields) > 0 {
		plain[12] = strings.Join(s.Fields, ",")
		eyes = append(eyes, plain[12])
	}
	t.row(plain, eyes)
}

// stageFields are the fields of CSV; those that are not known are empty.
func stageFields(s *client.Stage) []any {
	fields := []any{s.Change, s.Version, nsOfUnix(s.PublishedAt), "", show.UTC{}, s.Type, "", "", "", "", "", "", "", "", show.UTC{}, "", "", "", "", strings.Join(s.Fields, ",")}
	if s.Previous != 0 {
		fields[3], fields[4] = s.Previous, nsOfUnix(s.PreviousPublishedAt)
	}
	n := s.After
	if n == nil {
		return fields
	}
	fields[6] = n.Size
	if n.Links > 0 {
		fields[7], fields[8] = n.Allocated, n.Links
	}
	fields[9], fields[10], fields[11] = strconv.FormatUint(uint64(n.Mode), 8), n.UID, n.GID
	fields[12], fields[13], fields[14] = owner(n.Owner, n.UID), owner(n.Group, n.GID), show.UTC{Ns: &n.MtimeNs}
	if b := n.Subtree; b != nil {
		fields[15], fields[16], fields[17] = b.Files, b.Directories, b.Bytes
		if b.Unmeasured == 0 {
			fields[18] = b.Allocated
		}
	}
	return fields
}
