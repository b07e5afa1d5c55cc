//go:build !reading

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/match"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

// reportGroup is what storage admins ask of a whole subtree.
type reportGroup struct {
	Largest    reportLargestCmd    `cmd:"" help:"Print the largest files or directories."`
	Usage      reportUsageCmd      `cmd:"" help:"Sum up usage by owner, group or extension."`
	Histogram  reportHistogramCmd  `cmd:"" help:"Count files by size or age."`
	Growth     reportGrowthCmd     `cmd:"" help:"Print directories that grew or shrank."`
	Trend      reportTrendCmd      `cmd:"" help:"Print how large a path was over the kept versions."`
	Duplicates reportDuplicatesCmd `cmd:"" help:"Print files with the same name and size."`
	Empty      reportEmptyCmd      `cmd:"" help:"Print empty directories."`
	Odd        reportOddCmd        `cmd:"" help:"Print entries whose times, sizes or names are odd."`
}

// reportFlags are those of all reports.
type reportFlags struct {
	Path string `arg:"" optional:"" default:"/" help:"Directory to report on: a path of the view, or of a host that mounts it."`
	formatFlags
	filterFlags
	serverFlags
}

// report asks for a report on what PATH and the filter flags mean, and shows it.
func (f *reportFlags) report(ctx context.Context, a *app, show func(server *client.Client, query client.Query) error) error {
	return f.askFor(ctx, a, f.Path, &f.filterFlags, func(server *client.Client, path string, filter match.Filter) error {
		query, some := queryOf(&filter, "")
		if !some {
			return usageError("--name: a name has no slash")
		}
		query.Path = path
		return show(server, query)
	})
}

// pastReportFlags are those of a report on one version.
type pastReportFlags struct {
	asOfFlag
	reportFlags
}

// report is reportFlags.report on that version.
func (f *pastReportFlags) report(ctx context.Context, a *app, show func(server *client.Client, query client.Query) error) error {
	f.past = f.asOfFlag
	return f.reportFlags.report(ctx, a, show)
}

// table prints a report's lines: for eyes with a header, for programs with tabs between the fields.
type table struct {
	out    *show.Rows
	widths []int // negative: to the left; the last column has none
}

func (t *table) header(names ...string) {
	if t.out.Terminal {
		fmt.Fprintln(t.out, t.out.Bold(t.line(names)))
	}
}

// row prints one line: for programs plain, for eyes eyes.
func (t *table) row(plain, eyes []string) {
	if t.out.Terminal {
		fmt.Fprintln(t.out, t.line(eyes))
		return
	}
	fmt.Fprintln(t.out, strings.Join(plain, "\t"))
}

func (t *table) line(fields []string) string {
	var b strings.Builder
	for i, f := range fields {
		if i > 0 {
			b.WriteString("  ")
		}
		switch {
		case i >= len(t.widths):
			b.WriteString(f)
		case t.widths[i] < 0:
			b.WriteString(show.Left(f, -t.widths[i]))
		default:
			b.WriteString(show.Right(f, t.widths[i]))
		}
	}
	return b.String()
}

// rest says on a terminal what is not shown.
func (t *table) rest(n int) {
	if t.out.Terminal && n > 0 {
		fmt.Fprintf(t.out, "and %s more\n", show.Count(int64(n)))
	}
}

// structured prints the entries of a report for programs: as JSON as they came, and as CSV the records of each.
func structured[E any](out *show.Rows, r *client.Report[E], records func(E) [][]any) error {
	if out.Form != show.CSV {
		for _, e := range r.Raw {
			if err := out.Object(e); err != nil {
				return err
			}
		}
		return out.End(nil)
	}
	for _, e := range r.Entries {
		for _, record := range records(e) {
			if err := out.Record(record...); err != nil {
				return err
			}
		}
	}
	return out.End(nil)
}

// latest is the latest time of a file in both forms.
func latest(ns *int64) (plain, eyes string) {
	if ns == nil {
		return "-", "-"
	}
	return time.Unix(0, *ns).UTC().Format(time.RFC3339Nano), show.Time(*ns, time.Local)
}

func number(n int64) string { return strconv.FormatInt(n, 10) }

type reportLargestCmd struct {
	Directories bool `short:"D" help:"Print directories, by the bytes of their subtrees, instead of files."`
	Limit       int  `default:"20" placeholder:"N" help:"Print at most N (default: ${default})."`
	pastReportFlags
}

// Help implements kong.HelpProvider.
func (reportLargestCmd) Help() string {
	return `On a terminal it prints a table, otherwise tab-separated lines: bytes, mtime
(RFC 3339), uid and path.

Examples:

    fustor report largest
    fustor report largest /projects --directories --limit 100
    fustor report largest --json | jq -r .path`
}

func (c *reportLargestCmd) Run(ctx context.Context, a *app) error {
	if c.Limit < 1 || c.Limit > 1000 {
		return usageError("--limit must be from 1 to 1000")
	}
	if len(c.Type) > 1 || len(c.Type) == 1 && c.Type[0] != "f" && c.Type[0] != "d" || c.Directories && slices.Contains(c.Type, "f") {
		return usageError("the largest are files (--type f) or directories (--type d, or --directories)")
	}
	return c.report(ctx, a, func(server *client.Client, query client.Query) error { return c.show(ctx, a, server, query) })
}

func (c *reportLargestCmd) show(ctx context.Context, a *app, server *client.Client, query client.Query) error {
	directories := c.Directories || query.Types == "d"
	t := table{c.rows(a, entryColumns...), []int{12, -16, -12}}
	header := sync.OnceFunc(func() { // after the first answer: PATH may be another path of the view
		t.header("SIZE", "MODIFIED", "OWNER", "PATH")
	})
	err := server.Largest(ctx, query, directories, c.Limit, func(n *client.Node) error {
		switch t.out.Form {
		case show.CSV:
			return t.out.Record(entryFields(n)...)
		case show.JSON, show.NDJSON:
			return t.out.Object(show.AppendSummed(nil, n))
		}
		header()
		size, text, when := n.Size, show.Size(n.Size), &n.MtimeNs
		if n.Subtree != nil {
			size, text, when = n.Subtree.Bytes, show.Sum(n.Subtree.Bytes), nil
			if n.Subtree.HasMtime {
				when = &n.Subtree.LatestMtimeNs
			}
		}
		plain, eyes := latest(when)
		t.row([]string{number(size), plain, number(int64(n.UID)), t.out.Name(n.Where())},
			[]string{text, eyes, t.out.Name(owner(n.Owner, n.UID)), t.out.Colored(n, n.Where())})
		return nil
	})
	if err == nil {
		header()
	}
	return t.out.End(err)
}

type reportUsageCmd struct {
	By     string `enum:"owner,group,extension" default:"owner" placeholder:"owner|group|extension" help:"Key to sum up by (default: ${default})."`
	Across string `enum:",size,mtime,atime" default:"" placeholder:"size|mtime|atime" help:"Print a cross table: the files of each by size, or by age since modification or access."`
	pastReportFlags
}

// Help implements kong.HelpProvider.
func (reportUsageCmd) Help() string {
	return `The most bytes come first. User and group names are those of the hosts. On
a terminal it prints a table, otherwise tab-separated lines: bytes, files, directories,
latest mtime (RFC 3339), and uid, gid or extension (- for names without one). A cross
table has a column for each size or age, and otherwise a line for each of them: uid, gid
or extension, lower and upper bound as fustor report histogram has them, files and bytes.

Examples:

    fustor report usage
    fustor report usage /projects --by extension
    fustor report usage --by owner --accessed-before 1y     # who has data that nobody reads?
    fustor report usage --by owner --across atime
    fustor report usage --by group --json | jq '[.gid, .totals.bytes]'`
}

func (c *reportUsageCmd) Run(ctx context.Context, a *app) error {
	return c.report(ctx, a, func(server *client.Client, query client.Query) error { return c.show(ctx, a, server, query) })
}

func (c *reportUsageCmd) show(ctx context.Context, a *app, server *client.Client, query client.Query) error {
	r, err := server.Usage(ctx, query, c.By, c.Across)
	if err != nil {
		return err
	}
	of := map[string][]string{"owner": {"uid", "owner"}, "group": {"gid", "group"}, "extension": {"extension"}}[c.By]
	if c.Across != "" {
		return c.cross(c.rows(a, append(of, "from", "to", "files", "bytes")...), r)
	}
	t := table{c.rows(a, append(of, "bytes", "files", "directories", "others", "allocated", "linked_allocated", "unmeasured", "latest_mtime")...), []int{12, 14, 14, -16}}
	if t.out.Form != show.Text {
		return structured(t.out, r, func(e client.Usage) [][]any {
			s := e.Totals
			return [][]any{append(usageKey(&e), s.Bytes, s.Files, s.Directories, s.Others, s.Allocated, s.LinkedAllocated, s.Unmeasured, show.UTC{Ns: s.LatestMtimeNs})}
		})
	}
	name := usageNames()
	t.header("SIZE", "FILES", "DIRECTORIES", "LATEST", strings.ToUpper(c.By))
	for _, e := range r.Entries {
		plain, eyes := latest(e.Totals.LatestMtimeNs)
		of, shown := name(&e)
		t.row([]string{number(e.Totals.Bytes), number(e.Totals.Files), number(e.Totals.Directories), plain, of},
			[]string{show.Sum(e.Totals.Bytes), show.Count(e.Totals.Files), show.Count(e.Totals.Directories), eyes, shown})
	}
	t.rest(r.More)
	return t.out.Flush()
}

// usageKey is what an entry is about, in CSV: a number and its name, or an extension.
func usageKey(e *client.Usage) []any {
	switch {
	case e.UID != nil:
		return []any{*e.UID, owner(e.Owner, *e.UID)}
	case e.GID != nil:
		return []any{*e.GID, owner(e.Group, *e.GID)}
	case e.Extension != nil:
		return []any{*e.Extension}
	}
	return []any{""}
}

// usageNames names what an entry is about: for programs by number, and for eyes.
func usageNames() func(*client.Usage) (plain, eyes string) {
	return func(e *client.Usage) (plain, eyes string) {
		switch {
		case e.UID != nil:
			return number(int64(*e.UID)), owner(e.Owner, *e.UID)
		case e.GID != nil:
			return number(int64(*e.GID)), owner(e.Group, *e.GID)
		case e.Extension != nil && *e.Extension != "":
			return *e.Extension, *e.Extension
		}
		return "-", "-"
	}
}

// cross prints a cross table: for eyes a column for each bucket that anyone has files in, for programs a line for each of an entry.
func (c *reportUsageCmd) cross(out *show.Rows, r *client.Report[client.Usage]) error {
	if out.Form != show.Text {
		return structured(out, r, func(e client.Usage) (records [][]any) {
			for _, b := range e.Across {
				records = append(records, append(usageKey(&e), optional(b.From), optional(b.To), b.Files, b.Bytes))
			}
			return records
		})
	}
	name := usageNames()
	if !out.Terminal {
		for _, e := range r.Entries {
			of, _ := name(&e)
			for _, b := range e.Across {
				fmt.Fprintln(out, strings.Join([]string{of, bound(b.From), bound(b.To), number(b.Files), number(b.Bytes)}, "\t"))
			}
		}
		return out.Flush()
	}
	var columns []client.Bucket
	for _, e := range r.Entries {
		for _, b := range e.Across {
			if i, found := slices.BinarySearchFunc(columns, b, compareBuckets); !found {
				columns = slices.Insert(columns, i, b)
			}
		}
	}
	t := table{out, []int{-16, 12}}
	header := []string{strings.ToUpper(c.By), "SIZE"}
	for _, b := range columns {
		text := rangeText(b, c.Across == "size")
		header, t.widths = append(header, text), append(t.widths, max(10, len(text)))
	}
	t.header(header...)
	for _, e := range r.Entries {
		_, of := name(&e)
		line := []string{of, show.Sum(e.Totals.Bytes)}
		for _, b := range columns {
			i, found := slices.BinarySearchFunc(e.Across, b, compareBuckets)
			if !found {
				line = append(line, "-")
				continue
			}
			line = append(line, show.Sum(e.Across[i].Bytes))
		}
		t.row(nil, line)
	}
	t.rest(r.More)
	return out.Flush()
}

// compareBuckets orders buckets by their lower bound.
func compareBuckets(a, b client.Bucket) int {
	least := func(b client.Bucket) int64 {
		if b.From == nil {
			return math.MinInt64
		}
		return *b.From
	}
	return cmp.Compare(least(a), least(b))
}

type reportHistogramCmd struct {
	Of string `enum:"size,mtime,atime" default:"size" placeholder:"size|mtime|atime" help:"Count by size, or by age since modification or access (default: ${default})."`
	pastReportFlags
}

// Help implements kong.HelpProvider.
func (reportHistogramCmd) Help() string {
	return `Counts files by their size, or by the time since they were written (mtime) or read
(atime, by day; most file systems record a read at most once a day, some never). On a
terminal it prints a table, otherwise tab-separated lines: lower bound, upper bound
(exclusive; sizes in bytes, ages in seconds, - for no bound), files and bytes.

Examples:

    fustor report histogram
    fustor report histogram /archive --of atime
    fustor report histogram --of mtime --json | jq 'select(.from >= 31536000)'`
}

func (c *reportHistogramCmd) Run(ctx context.Context, a *app) error {
	return c.report(ctx, a, func(server *client.Client, query client.Query) error { return c.show(ctx, a, server, query) })
}

func (c *reportHistogramCmd) show(ctx context.Context, a *app, server *client.Client, query client.Query) error {
	r, err := server.Histogram(ctx, query, c.Of)
	if err != nil {
		return err
	}
	t := table{c.rows(a, "from", "to", "files", "bytes"), []int{-20, 14, 12}}
	if t.out.Form != show.Text {
		return structured(t.out, r, func(b client.Bucket) [][]any { return [][]any{{optional(b.From), optional(b.To), b.Files, b.Bytes}} })
	}
	most, last := int64(0), 0
	for i, b := range r.Entries {
		most = max(most, b.Bytes)
		if b.Files > 0 {
			last = i
		}
	}
	first := "SIZE"
	if c.Of != "size" {
		first = "AGE"
	}
	t.header(first, "FILES", "BYTES", "")
	for i, b := range r.Entries {
		if t.out.Terminal && (i > last || b.Files == 0 && b.From == nil) {
			continue // nothing is that large, that old or of the future
		}
		bar := ""
		if most > 0 {
			bar = strings.Repeat("█", int(math.Ceil(30*float64(b.Bytes)/float64(most))))
		}
		t.row([]string{bound(b.From), bound(b.To), number(b.Files), number(b.Bytes)},
			[]string{rangeText(b, c.Of == "size"), show.Count(b.Files), show.Sum(b.Bytes), bar})
	}
	return t.out.Flush()
}

// optional is a number of CSV that may be absent.
func optional(n *int64) any {
	if n == nil {
		return ""
	}
	return *n
}

func bound(n *int64) string {
	if n == nil {
		return "-"
	}
	return number(*n)
}

// rangeText says what is in a bucket.
func rangeText(b client.Bucket, isSize bool) string {
	text := func(n int64) string {
		const day = 24 * 3600
		switch {
		case isSize:
			return show.Size(n)
		case n >= 365*day:
			return number(n/(365*day)) + " y"
		}
		return number(n/day) + " d"
	}
	switch {
	case b.From == nil:
		return "in the future"
	case b.To == nil:
		return "from " + text(*b.From)
	case isSize && *b.To == 1:
		return "empty"
	}
	return "below " + text(*b.To)
}

type reportGrowthCmd struct {
	Since string `default:"0" placeholder:"VERSION|TIME|NAME" help:"Version to compare with: a number, the version at a time (2h, 7d, 2026-01-31) or the name of a pin (default: the oldest one)."`
	Depth int    `short:"d" default:"1" placeholder:"N" help:"Print directories down to N levels below PATH (default: ${default})."`
	Limit int    `default:"50" placeholder:"N" help:"Print at most N (default: ${default})."`
	pastReportFlags
}

// Help implements kong.HelpProvider.
func (reportGrowthCmd) Help() string {
	return `Compares two versions of the view. The largest changes in bytes come first; unchanged
directories are not read. fustor versions lists the versions. On a terminal it prints
a table, otherwise tab-separated lines: change in bytes, in files and in directories,
bytes before, bytes now, and path.

Examples:

    fustor report growth
    fustor report growth /projects --since 2h --depth 3
    fustor report growth --since 1042 --json | jq 'select(.bytes > 1e12)'`
}

func (c *reportGrowthCmd) Run(ctx context.Context, a *app) error {
	switch {
	case c.Limit < 1 || c.Limit > 1000:
		return usageError("--limit must be from 1 to 1000")
	case c.Depth < 1 || c.Depth > 100:
		return usageError("--depth must be from 1 to 100")
	}
	return c.report(ctx, a, func(server *client.Client, query client.Query) error { return c.show(ctx, a, server, query) })
}

func (c *reportGrowthCmd) show(ctx context.Context, a *app, server *client.Client, query client.Query) error {
	r, err := server.Growth(ctx, query, whichVersion(c.Since), c.Depth, c.Limit)
	if err != nil {
		return err
	}
	t := table{c.rows(a, "path", "bytes", "files", "directories", "bytes_before", "bytes_now", "member", "path_b64"), []int{12, 13, 12}}
	if t.out.Form != show.Text {
		return structured(t.out, r, func(g client.Growth) [][]any {
			return [][]any{{g.Path, g.Bytes, g.Files, g.Directories, g.From.Bytes, g.To.Bytes, g.Member, show.B64(g.Path)}}
		})
	}
	if t.out.Terminal && r.Version > 0 { // each member of a forest has versions of its own
		fmt.Fprintf(t.out, "version %d of %s, since version %d of %s\n", r.Version, show.Time(unixTime(r.Until).UnixNano(), time.Local),
			r.SinceVersion, show.Time(unixTime(r.Since).UnixNano(), time.Local))
	}
	if len(r.Entries) == 0 && t.out.Terminal {
		fmt.Fprintln(t.out, "No directory grew or shrank.")
		return t.out.Flush()
	}
	t.header("CHANGE", "FILES", "NOW", "PATH")
	for _, g := range r.Entries {
		t.row([]string{number(g.Bytes), number(g.Files), number(g.Directories), number(g.From.Bytes), number(g.To.Bytes), t.out.Name(client.Where(g.Member, g.Path))},
			[]string{signed(g.Bytes, show.Size), signed(g.Files, show.Count), show.Sum(g.To.Bytes), t.out.Name(client.Where(g.Member, g.Path))})
	}
	t.rest(r.More)
	return t.out.Flush()
}

// signed is a change, in the form of text.
func signed(n int64, text func(int64) string) string {
	switch {
	case n > 0:
		return "+" + text(n)
	case n < 0:
		return "-" + text(-n)
	}
	return "0"
}

// duplicatesFrom is how large a duplicate is at least, unless the user says otherwise: smaller ones waste little.
var duplicatesFrom = int64(1 << 20)

type reportDuplicatesCmd struct {
	Limit int `default:"50" placeholder:"N" help:"Print at most N groups (default: ${default})."`
	pastReportFlags
}

// Help implements kong.HelpProvider.
func (reportDuplicatesCmd) Help() string {
	return `Files with the same name and size may be copies; compare their content to be sure. A
file with several names (hard links) counts once, by its first name. Without --min-size it looks at files of at least 1 MiB. Groups that would free the most bytes come first. On a terminal it prints
a table with one of the paths, otherwise tab-separated lines: bytes of all files but
one, number of files, bytes of each, and up to ten paths.

Examples:

    fustor report duplicates
    fustor report duplicates /projects --min-size 1G
    fustor report duplicates --json | jq -r '.paths[].path' | xargs -d '\n' sha256sum`
}

func (c *reportDuplicatesCmd) Run(ctx context.Context, a *app) error {
	if c.Limit < 1 || c.Limit > 1000 {
		return usageError("--limit must be from 1 to 1000")
	}
	return c.report(ctx, a, func(server *client.Client, query client.Query) error { return c.show(ctx, a, server, query) })
}

func (c *reportDuplicatesCmd) show(ctx context.Context, a *app, server *client.Client, query client.Query) error {
	if query.MinSize == nil {
		query.MinSize = &duplicatesFrom
	}
	r, err := server.Duplicates(ctx, query, c.Limit)
	if err != nil {
		return err
	}
	t := table{c.rows(a, "group", "size", "count", "wasted", "path", "path_b64"), []int{12, 8, 12}}
	if t.out.Form != show.Text {
		group := 0
		return structured(t.out, r, func(d client.Duplicate) (records [][]any) {
			group++
			for _, p := range d.Paths {
				records = append(records, []any{group, d.Size, d.Count, d.Wasted, string(p), show.B64(string(p))})
			}
			return records
		})
	}
	if len(r.Entries) == 0 && t.out.Terminal {
		fmt.Fprintf(t.out, "No two files of at least %s have the same name and size.\n", show.Size(*query.MinSize))
		return t.out.Flush()
	}
	t.header("TO FREE", "FILES", "EACH", "ONE OF THEM")
	for _, d := range r.Entries {
		plain := []string{number(d.Wasted), number(d.Count), number(d.Size)}
		for _, p := range d.Paths {
			plain = append(plain, t.out.Name(string(p)))
		}
		t.row(plain, []string{show.Sum(d.Wasted), show.Count(d.Count), show.Size(d.Size), plain[3]})
	}
	return t.out.Flush()
}

type reportEmptyCmd struct {
	Print0 bool `name:"print0" short:"0" xor:"form" help:"End each path with a NUL byte, for xargs -0."`
	pastReportFlags
}

// Help implements kong.HelpProvider.
func (reportEmptyCmd) Help() string {
	return `Prints one path per line.

Examples:

    fustor report empty
    fustor report empty /scratch --print0 | xargs -0 -n 100 echo rmdir`
}

func (c *reportEmptyCmd) Run(ctx context.Context, a *app) error {
	return c.report(ctx, a, func(server *client.Client, query client.Query) error { return c.show(ctx, a, server, query) })
}

func (c *reportEmptyCmd) show(ctx context.Context, a *app, server *client.Client, query client.Query) error {
	p := (&entryFlags{formatFlags: c.formatFlags, Print0: c.Print0}).printer(a)
	err := server.EmptyDirectories(ctx, query, p.print)
	return p.rows.End(err)
}

type reportOddCmd struct {
	Print0 bool `name:"print0" short:"0" xor:"form" help:"End each path with a NUL byte, for xargs -0."`
	pastReportFlags
}

// Help implements kong.HelpProvider.
func (reportOddCmd) Help() string {
	return `Times: an mtime more than a day in the future when it was observed, before 1970, or
out of range (before 1677 or after 2262; such a time is shown as the nearest that
fits). Sizes: out of range. Names: not UTF-8, with a control character, or with a blank
at the beginning or end. On a terminal it prints a table, otherwise tab-separated
lines: the oddities with commas, and the path.

Examples:

    fustor report odd
    fustor report odd /projects --type f --owner alice
    fustor report odd --json | jq -r 'select(.oddities[] == "mtime-in-future") | .path'`
}

func (c *reportOddCmd) Run(ctx context.Context, a *app) error {
	return c.report(ctx, a, func(server *client.Client, query client.Query) error { return c.show(ctx, a, server, query) })
}

func (c *reportOddCmd) show(ctx context.Context, a *app, server *client.Client, query client.Query) error {
	t := table{c.rows(a, append([]string{"oddities"}, entryColumns...)...), []int{12, -16, -34}}
	n := 0
	err := server.Odd(ctx, query, func(e *client.Node) error {
		odd := e.Oddities
		n++
		switch {
		case t.out.Form == show.CSV:
			return t.out.Record(append([]any{odd}, entryFields(e)...)...)
		case t.out.Form != show.Text:
			words, err := json.Marshal(strings.Split(odd, ","))
			b := show.AppendEntry(nil, e)
			return errors.Join(err, t.out.Object(fmt.Appendf(b[:len(b)-1], `,"oddities":%s}`, words)))
		case c.Print0:
			_, err := t.out.WriteString(e.Where() + "\x00")
			return err
		case n == 1:
			t.header("SIZE", "MODIFIED", "ODD", "PATH")
		}
		_, eyes := latest(&e.MtimeNs)
		t.row([]string{odd, t.out.Name(e.Where())}, []string{show.Size(e.Size), eyes, odd, t.out.Colored(e, e.Where())})
		return nil
	})
	if err == nil && t.out.Terminal && !c.Print0 && n == 0 {
		fmt.Fprintln(t.out, "Nothing is odd.")
	}
	return t.out.End(err)
}
