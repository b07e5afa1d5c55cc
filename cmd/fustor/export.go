//go:build !reading

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/export"
	"github.com/fustor/fustor/cmd/fustor/internal/match"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/flock"
	"github.com/fustor/fustor/internal/values"
)

type exportCmd struct {
	Path    string  `arg:"" optional:"" default:"/" help:"Where to start: a path of the view, or of a host that mounts it."`
	Format  *string `enum:"parquet,csv,ndjson,ncdu" placeholder:"parquet|csv|ndjson|ncdu" help:"Format of the file (default: by the end of its name)."`
	Output  string  `short:"o" default:"-" placeholder:"FILE|-|URL" help:"File to write, - for stdout, or an object: s3://bucket/key or minio://host/bucket/key, with the parameters of a store (default: -)."`
	Resume  bool    `help:"Continue an export to FILE that was interrupted, at the version that it began with."`
	Pattern string  `placeholder:"PATTERN" group:"filter" help:"Part of a name, ignoring case, or a glob, as fustor search has it."`
	filterFlags
	pastFlags
}

// Help implements kong.HelpProvider.
func (exportCmd) Help() string {
	return `Writes PATH and everything below it, or what the flags ask for, into one file. All of it
is of one version of the view. parquet is for DuckDB, pandas, Spark and the like; csv and
ndjson are what fustor find prints; ncdu -f opens the format of ncdu.
A file grows as FILE.part and gets its name when it is complete. If the export is
interrupted, the same command with --resume continues it. Output to stdout and to object
storage cannot be continued; an incomplete object never appears.
A version is kept for an hour unless it is pinned: for a slow reader, pin it and pass its
name with --as-of. On a terminal, stderr shows the progress.

Examples:

    fustor export --output tree.parquet
    fustor export /projects --newer-than 30d --type f --output new.csv
    fustor export --as-of 2026-01-31 --format parquet --output 's3://lake/tree.parquet?region=eu-west-3'
    fustor export --format ncdu | ncdu -f -
    fustor export --format ndjson | zstd > tree.ndjson.zst`
}

// formatOf are the formats by the ends of names.
var formatOf = map[string]string{".parquet": "parquet", ".csv": "csv", ".ndjson": "ndjson", ".jsonl": "ndjson", ".ncdu": "ncdu"}

func (c *exportCmd) Run(ctx context.Context, a *app) error {
	format, err := c.format()
	if err != nil {
		return err
	}
	moment, known := c.moment()
	question, err := c.question(format, moment)
	if err != nil {
		return err
	}
	if c.Output == "-" && format == "parquet" && terminal(a.stdout) {
		return usageError("parquet is not for a terminal; pass --output FILE, or pipe it")
	}
	to, err := c.open(ctx, a, question)
	if err != nil {
		return err
	}
	if f, is := to.(*export.File); is {
		moment, c.AsOf = time.Unix(0, f.Question().MomentNs), f.Question().AsOf
	}
	filter, ages, err := c.filter(moment)
	if err != nil {
		to.Abort()
		return err
	}
	started := time.Now()
	p := &exportProgress{screen: a.screen(), started: started, silent: c.Output == "-" && terminal(a.stdout)}
	var at export.Checkpoint
	err = c.ask(ctx, a, c.Path, func(server *client.Client, path string) (err error) {
		if ages && !known { // the version is named by its number or a pin: ages count from when it was published
			version, err := server.Moment(ctx)
			if err != nil {
				return err
			}
			if filter, _, err = c.filter(unixTime(version.PublishedAt).Local()); err != nil {
				return err
			}
		}
		job := export.Job{Read: c.reader(server, path, &filter, p), Count: p.count, Format: c.encoder(format, path, moment)}
		at, err = job.Run(ctx, to)
		return err
	})
	p.screen.draw("")
	if err != nil {
		to.Abort()
		return c.failed(a, to, err)
	}
	if c.Output != "-" {
		a.say("%s: %s of %s in %s", show.Quote(c.Output), values.Plural(at.Rows, "entry", "entries"), show.Size(at.Bytes), time.Since(started).Round(100*time.Millisecond))
	}
	return nil
}

// format is the format that was asked for, or that the output's name says.
func (c *exportCmd) format() (string, error) {
	if c.Format != nil {
		return *c.Format, nil
	}
	name := c.Output
	if u, err := url.Parse(name); err == nil && isObject(name) {
		name = u.Path
	}
	if format := formatOf[path.Ext(name)]; format != "" {
		return format, nil
	}
	return "", usageError("pass --format parquet, csv, ndjson or ncdu")
}

// question is what is exported, in the words of the command line: what another run must have in common to go on.
func (c *exportCmd) question(format string, moment time.Time) (q export.Question, err error) {
	filter, _, err := c.filter(time.Unix(0, 0)) // so that 7d is 7d whenever it is asked for
	if err != nil {
		return q, err
	}
	query, _ := queryOf(&filter, c.Pattern)
	query.Path = c.Path
	q = export.Question{MomentNs: moment.UnixNano(), AsOf: whichVersion(c.AsOf)}
	q.Asked, err = json.Marshal(struct {
		View, Format, AsOf string
		Query              client.Query
	}{c.View, format, c.AsOf, query})
	return q, err
}

func isObject(output string) bool {
	return strings.HasPrefix(output, "s3://") || strings.HasPrefix(output, "minio://")
}

// open opens the output.
func (c *exportCmd) open(ctx context.Context, a *app, q export.Question) (export.Output, error) {
	if (c.Output == "-" || isObject(c.Output)) && c.Resume {
		return nil, usageError("--resume is for files; an export to stdout or to object storage starts anew")
	}
	switch {
	case c.Output == "-":
		return export.Stream{Writer: a.stdout}, nil
	case isObject(c.Output):
		return c.upload(ctx)
	}
	f, partial, err := export.OpenFile(c.Output, q, c.Resume)
	switch {
	case errors.Is(err, export.ErrOther):
		return nil, &cliError{msg: fmt.Sprintf("%s is of an export with other flags", show.Quote(c.Output+".part")), hint: "pass the same flags, or leave out --resume to start anew", code: exitUsage, err: err}
	case errors.Is(err, flock.ErrLocked):
		return nil, &cliError{msg: fmt.Sprintf("another fustor export is writing %s", show.Quote(c.Output)), code: exitFailure, err: err}
	case err != nil:
		return nil, err
	}
	if partial && !f.Resumes() {
		why := "without --resume"
		if c.Resume {
			why = "as it has no checkpoint yet"
		}
		a.note("%s of an interrupted export is replaced, %s", show.Quote(c.Output+".part"), why)
	}
	return f, nil
}

// upload begins an upload to an object.
func (c *exportCmd) upload(ctx context.Context) (export.Output, error) {
	u, err := url.Parse(c.Output)
	if err != nil {
		return nil, usageError("%q is no URL", c.Output)
	}
	key := path.Base(u.Path)
	if strings.HasSuffix(u.Path, "/") || u.Scheme == "minio" && strings.Count(u.Path, "/") < 2 || key == "." || key == "/" {
		return nil, usageError("%s names no object; end it with a key: s3://bucket/key", c.Output)
	}
	u.Path, u.RawPath = path.Dir(u.Path), ""
	if u.Path == "/" {
		u.Path = ""
	}
	st, err := openStore(ctx, u.String())
	if err != nil {
		return nil, err
	}
	uploader, is := st.(store.Uploader)
	if !is {
		return nil, usageError("%s is no object storage", c.Output)
	}
	return export.NewUpload(func(body io.Reader) error {
		if err := uploader.Upload(ctx, key, body); err != nil {
			return storeFailure(err)
		}
		return nil
	}), nil
}

// Entries in a page. A page of a search has at most 10,000; the pages of a tree fill row groups of Parquet.
const (
	searchPage = 10_000
	treePage   = export.GroupRows / 2
)

// reader reads the pages of what a filter wants at and below a path.
func (c *exportCmd) reader(server *client.Client, at string, filter *match.Filter, p *exportProgress) func(context.Context, string, client.Each) (string, error) {
	if filter.Everything() && c.Pattern == "" {
		p.all = at
		return func(ctx context.Context, cursor string, each client.Each) (string, error) {
			return server.Page(ctx, client.Slice{Path: at, Cursor: cursor, Limit: treePage}, each)
		}
	}
	pattern := c.Pattern
	if pattern == "" {
		pattern = "*"
	}
	query, some := queryOf(filter, pattern)
	return func(ctx context.Context, cursor string, each client.Each) (string, error) {
		out := each
		each = func(n *client.Node) error {
			if !filter.Match(n) { // as fustor find: this side looks again, and at the root
				return nil
			}
			return out(n)
		}
		if cursor == "" && c.Pattern == "" {
			if err := findRoot(ctx, server, at, filter, each); err != nil {
				return "", err
			}
		}
		if !some {
			return "", nil
		}
		return server.Page(ctx, client.Slice{Path: at, Query: &query, Cursor: cursor, Limit: searchPage}, each)
	}
}

// encoder makes the encoder of a format for what is at and below a path.
func (c *exportCmd) encoder(format, at string, moment time.Time) export.Format {
	switch format {
	case "csv":
		return export.Text(entryColumns, entryFields, export.CheckpointBytes)
	case "ndjson":
		return export.Text(nil, nil, export.CheckpointBytes)
	case "ncdu":
		return export.NCDU(at, buildVersion().Version, moment.Unix(), export.CheckpointBytes)
	}
	return export.Parquet(buildVersion().Version, export.GroupRows)
}

// failed says what is wrong, and how to go on.
func (c *exportCmd) failed(a *app, to export.Output, err error) error {
	var refused *client.Error
	f, is := to.(*export.File)
	switch {
	case errors.Is(err, export.ErrForest):
		return &cliError{msg: err.Error(), hint: "export its members one by one, with --view MEMBER", code: exitUsage, err: err}
	case is && f.Partial() && errors.As(err, &refused) && refused.Status == 410:
		return &cliError{msg: fmt.Sprintf("the version of %s is no longer there", show.Quote(c.Output+".part")), hint: "start anew without --resume; pin a version and pass --as-of NAME for exports that take long", code: exitFailure, err: err}
	case is && f.Partial():
		a.note("%s has what was exported so far; the same command with --resume continues it", show.Quote(c.Output+".part"))
	}
	return err
}

// exportProgress shows on a terminal how far an export is.
type exportProgress struct {
	screen  *console
	silent  bool
	started time.Time
	drawn   time.Time
	all     string // the path of which everything is exported; empty: what will be found is not known
	total   int64  // entries; 0: not known
	from    int64  // rows of an earlier run
}

// count notes an entry that was written.
func (p *exportProgress) count(n *client.Node, rows, bytes int64) {
	if n.Path == p.all && n.Subtree != nil {
		p.total += n.Subtree.Files + n.Subtree.Directories + n.Subtree.Others
	}
	if p.from == 0 {
		p.from = rows
	}
	if !p.screen.terminal || p.silent || rows&1023 != 0 {
		return
	}
	if now := time.Now(); now.Sub(p.drawn) >= 200*time.Millisecond {
		p.drawn = now
		p.screen.draw(p.line(rows, bytes, now.Sub(p.started)))
	}
}

// line is how far it is: "1,204,224 of 10,000,000 entries, 62 MiB, 210,000/s, 42s left".
func (p *exportProgress) line(rows, bytes int64, elapsed time.Duration) string {
	rate := float64(rows-p.from) / max(elapsed.Seconds(), 1e-3)
	of, left := "", ""
	if p.total > 0 {
		of = " of " + show.Count(p.total)
		if rest := p.total - rows; rest > 0 && rate > 0 {
			left = fmt.Sprintf(", %s left", (time.Duration(float64(rest)/rate) * time.Second).Round(time.Second))
		}
	}
	return fmt.Sprintf("%s%s entries, %s, %s/s%s", show.Count(rows), of, show.Size(bytes), show.Count(int64(rate)), left)
}
