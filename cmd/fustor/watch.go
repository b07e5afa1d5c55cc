//go:build !reading

package main

import (
	"context"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

type watchCmd struct {
	Path  string `arg:"" optional:"" default:"/" help:"Directory or file to watch: a path of the view, or of a host that mounts it."`
	After string `placeholder:"VERSION|TIME|NAME|CURSOR" help:"Begin after this version: a number, the version at a time (2h, 7d, 2026-01-31), the name of a pin, 0 for the oldest; or at the cursor of a line of --json (default: only what is new)."`
	State string `placeholder:"FILE" help:"Keep the position in FILE, and go on there at the next start; --after counts only without the file."`
	Exec  string `placeholder:"CMD" help:"Run CMD with sh for each version that has changes, with their lines on its stdin."`
	Once  bool   `help:"End at the current version, instead of waiting for changes."`
	JSON  bool   `name:"json" help:"Print one JSON object per line, as GET /changes does."`
	filterFlags
	serverFlags
}

// Help implements kong.HelpProvider.
func (watchCmd) Help() string {
	return `Prints what changes in the view, as it becomes visible there: each change once, version by
version, and in key order within one. An entry is printed if it is what the flags ask
for before or after the change. It waits for changes until it is interrupted, and
connects again by itself when the server is away. Where versions were thinned out (all
of the last hour are kept), it prints the net changes between those that are left; after
a version that is not kept at all, it fails and names the nearest ones.
On a terminal it prints a table, otherwise tab-separated lines: time of the version,
change (added, removed, changed), type, bytes, the fields that differ (- for none), path,
and the other path of a move. --json prints the server's lines: changes, and a line with
"complete" when all of a version were printed. Each has a cursor.

With --state, a watch that is started again goes on where it was: nothing is lost. The
position is replaced after the lines were written, at the end of each version and every
1,000 lines; so after a kill, up to 1,000 lines come again, with the cursors that they
had. Who stores the cursor together with what it made of the line, and begins with
--after CURSOR, gets each line exactly once.

With --exec, CMD runs once for each version with changes, one after the other. Its stdin
has the lines as they would be printed, FUSTOR_VERSION the number. The position is
replaced when it has ended well, so a version is passed again if the watch is killed
before that. If CMD fails, the watch ends with exit code 1 and stays before that version.
Interrupted, it waits for a CMD that has all lines, and kills one that has not. Killed
itself, it leaves CMD a stdin that ends early: with --json the last line has "complete".

Examples:

    fustor watch /incoming --type f
    fustor watch /projects --name '*.bam' --json | jq -r .path
    fustor watch --once --after 0 --json
    fustor watch /incoming --once --state ~/incoming.position --exec 'cut -f 2,6'`
}

const (
	// watchWait is how long one call waits for changes: less than proxies wait for an answer.
	watchWait = 50 * time.Second
	// watchSave is how many lines are printed before the position is kept, within a version.
	watchSave = 1000
)

func (c *watchCmd) Run(ctx context.Context, a *app) error {
	filter, _, err := c.filter(time.Now())
	if err != nil {
		return err
	}
	query, some := queryOf(&filter, "")
	if !some {
		return usageError("--name: a name has no slash")
	}
	position, err := openPosition(c.State)
	if err != nil {
		return err
	}
	defer position.close()
	err = c.ask(ctx, a, c.Path, func(server *client.Client, path string) error {
		if err := position.of(path); err != nil {
			return err
		}
		query.Path = path
		f := &follower{server: server, query: query, cursor: whichVersion(c.After), once: c.Once, note: a.note}
		if position.Cursor != "" {
			f.cursor, f.began = position.Cursor, !c.Once // a watch that goes on waits for its server
		}
		out := c.printer(a)
		if c.Exec == "" {
			return out.out.End(f.run(ctx, (&printed{watchPrinter: out, position: position}).line))
		}
		e := &executed{command: c.Exec, app: a, printer: out, position: position}
		defer e.kill()
		return f.run(ctx, e.line)
	})
	if other := new(otherPathError); errors.As(err, &other) {
		return usageError("%s", other.Error())
	}
	return err
}

// watchPrinter prints the lines of a feed.
type watchPrinter struct {
	table
	json   bool
	header func()
	many   func() // says that moves are not marked
	ended  uint64 // the last version whose end was printed
}

func (c *watchCmd) printer(a *app) *watchPrinter {
	rows := &show.Rows{Output: a.out()}
	if c.JSON || c.Exec != "" {
		rows.Terminal, rows.Color = false, false
	}
	if c.JSON {
		rows.Form = show.NDJSON
	}
	p := &watchPrinter{table: table{rows, []int{-19, -8, 12, -20}}, json: c.JSON, many: sync.OnceFunc(a.noteManyMoves)}
	p.header = sync.OnceFunc(func() { p.table.header("TIME", "CHANGE", "SIZE", "WHAT", "PATH") })
	return p
}

// print prints a change, or of JSON the end of a version.
func (p *watchPrinter) print(l *client.FeedLine) error {
	if l.ManyMoves() {
		p.many()
	}
	switch {
	case l.Change == nil && (!l.Complete || l.Version <= p.ended):
		return nil
	case l.Change == nil:
		p.ended = l.Version
	}
	switch {
	case p.json:
		return p.out.Object(l.Raw)
	case l.Change != nil:
		p.header()
		p.change(l)
	}
	return nil
}

func (p *watchPrinter) change(l *client.FeedLine) {
	d := l.Change
	state := d.After
	if state == nil {
		state = d.Before
	}
	w := wordsOf(p.out, d)
	at := time.Unix(0, int64(math.Round(l.FoldedAt*1e3))*1e6)
	p.row(append([]string{at.UTC().Format("2006-01-02T15:04:05.000Z"), d.Change, d.Type, number(state.Size)}, w.plain...),
		[]string{at.In(time.Local).Format(time.DateTime), d.Change, show.Size(state.Size), w.what, w.where})
}

// printed prints a feed to stdout, and keeps the position behind what was written.
type printed struct {
	*watchPrinter
	position *position
	lines    int // since the position was kept
	at       string
}

func (p *printed) line(l *client.FeedLine) error {
	if err := p.print(l); err != nil {
		return err
	}
	if l.Cursor != "" {
		p.at = l.Cursor
		p.lines++
	}
	if l.Change != nil && p.lines < watchSave {
		return nil
	}
	if err := p.out.Flush(); err != nil || p.lines == 0 {
		return err
	}
	p.lines = 0
	return p.position.keep(p.at, l.Version)
}
