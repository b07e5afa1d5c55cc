//go:build !reading

package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"text/tabwriter"
	"time"

	"golang.org/x/term"

	"github.com/fustor/fustor/cmd/fustor/internal/settings"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/admin"
	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/httpclient"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/internal/viewconfig"
)

// adminGroup is what an administrator does, on a store or through an ingest.
type adminGroup struct {
	Setup    adminSetupCmd    `cmd:"" overview:"no" help:"Prepare a store: bucket, views and keys."`
	Import   adminImportCmd   `cmd:"" overview:"no" help:"Make views and keys of the configuration of a Fustor V2 server."`
	View     adminViewGroup   `cmd:"" help:"Create, configure, show and delete views."`
	Key      adminKeyGroup    `cmd:"" help:"Create, list and revoke API keys."`
	Session  adminSessions    `cmd:"" help:"List and end sessions."`
	Reset    adminResetCmd    `cmd:"" overview:"no" help:"Start a view over: empty it, and let its agents scan again."`
	Versions adminVersionsCmd `cmd:"" overview:"no" help:"Show a view's versions with their layers, and its objects."`
	Version  adminVersionPins `cmd:"" help:"Pin and unpin versions."`
	Publish  adminPublishCmd  `cmd:"" overview:"no" help:"Publish views as Iceberg tables now."`
	Retain   adminRetainCmd   `cmd:"" overview:"no" help:"Remove the objects that no version of a view needs."`
}

// administrator is a store, or an ingest that is asked over HTTP.
type administrator interface {
	Views(ctx context.Context) ([]admin.View, error)
	View(ctx context.Context, view string) (admin.View, error)
	CreateView(ctx context.Context, view string, fields []byte) (viewconfig.Config, error)
	ConfigureView(ctx context.Context, view string, fields []byte) (viewconfig.Config, error)
	DeleteView(ctx context.Context, view string) (int, error)
	Reset(ctx context.Context, view string) (string, error)
	Sessions(ctx context.Context, view string) ([]admin.Session, error)
	EndSession(ctx context.Context, view, id string) error
	History(ctx context.Context, view string, limit int) (*admin.History, error)
	Pin(ctx context.Context, view, name string, number uint64, at int64) (admin.Pinned, error)
	Unpin(ctx context.Context, view, name string) error
	Retain(ctx context.Context, view string, dry bool) ([]admin.Removal, error)
	Keys(ctx context.Context) ([]admin.Key, error)
	CreateKey(ctx context.Context, n admin.NewKey) (admin.MadeKey, error)
	RevokeKey(ctx context.Context, word string) (admin.Key, error)
}

// direct is an administrator with the store's own credentials, who may do everything.
type direct struct{ *admin.Admin }

func (d direct) Views(ctx context.Context) ([]admin.View, error) {
	return d.Admin.Views(ctx, access.AllViews)
}
func (d direct) Keys(ctx context.Context) ([]admin.Key, error) {
	return d.Admin.Keys(ctx, access.AllViews)
}
func (d direct) CreateKey(ctx context.Context, n admin.NewKey) (admin.MadeKey, error) {
	return d.Admin.CreateKey(ctx, access.AllViews, n)
}
func (d direct) RevokeKey(ctx context.Context, word string) (admin.Key, error) {
	return d.Admin.RevokeKey(ctx, access.AllViews, word)
}

// adminFlags say where to work.
type adminFlags struct {
	Store  string `placeholder:"URL" group:"where" help:"Work on this store directly, with its credentials ($$FUSTOR_STORE)."`
	URL    string `name:"url" placeholder:"URL" group:"where" help:"Ask this ingest, or fustor up, over HTTP ($$FUSTOR_INGEST)."`
	APIKey string `name:"api-key" placeholder:"KEY" group:"where" help:"Key with the role admin. Prefer $$FUSTOR_API_KEY: process lists show flags."`
	Data   string `placeholder:"DIR" group:"where" help:"Ask the fustor up with this data directory ($$FUSTOR_DATA)."`
	JSON   bool   `name:"json" help:"Print JSON."`
}

// yesFlag is of commands that take something away.
type yesFlag struct {
	Yes bool `short:"y" help:"Do not ask for confirmation."`
}

// confirm asks on a terminal; elsewhere it refuses unless --yes is given.
func (f yesFlag) confirm(a *app, question string) error {
	if f.Yes {
		return nil
	}
	if in, ok := a.stdin.(interface{ Fd() uintptr }); !ok || !term.IsTerminal(int(in.Fd())) {
		return &cliError{msg: "refusing to ask for confirmation: stdin is not a terminal", hint: "to confirm, pass --yes: " + question, code: exitUsage}
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", question)
	answer, _ := bufio.NewReader(a.stdin).ReadString('\n')
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return nil
	}
	return &cliError{msg: "cancelled; nothing was changed", code: exitFailure}
}

// storeURL is the store to work on; empty where a server is to be asked.
func (f *adminFlags) storeURL(a *app) (string, error) {
	switch {
	case f.Store != "" && (f.URL != "" || f.Data != ""):
		return "", usageError("--store cannot be combined with --url or --data: use the store directly, or ask a server")
	case f.Store != "":
		return f.Store, nil
	case f.URL != "" || f.Data != "":
		return "", nil
	}
	return a.getenv("FUSTOR_STORE"), nil
}

// open finds the store, or the server.
func (f *adminFlags) open(ctx context.Context, a *app, writes bool) (administrator, error) {
	url, err := f.storeURL(a)
	if err != nil {
		return nil, err
	}
	if url == "" {
		return f.connect(a)
	}
	opened := openForWriting
	if !writes {
		if _, err := openExisting(ctx, url); err != nil {
			return nil, err
		}
		opened = openForReading
	}
	st, err := opened(ctx, url)
	if err != nil {
		return nil, err
	}
	return openDirect(a, st)
}

func openDirect(a *app, st store.Store) (direct, error) {
	compact, err := compactor.New(compactor.Options{Store: st, Logger: a.logger("admin")})
	if err != nil {
		return direct{}, err
	}
	d, err := admin.New(admin.Options{Store: st, Now: time.Now, Random: rand.Reader, Retain: retention(compact)})
	return direct{d}, err
}

// retention is what an administrator's retention runs.
func retention(c *compactor.Compactor) func(context.Context, string, bool) ([]admin.Removal, error) {
	return func(ctx context.Context, view string, dry bool) ([]admin.Removal, error) {
		removed, err := c.Retention(ctx, view, dry)
		out := make([]admin.Removal, 0, len(removed))
		for _, r := range removed {
			out = append(out, admin.Removal{Key: r.Key, Bytes: r.Bytes, AgeSeconds: r.Age.Seconds(), Why: r.Why})
		}
		return out, err
	}
}

func (f *adminFlags) connect(a *app) (administrator, error) {
	given := settings.Given{
		URL: f.URL, Key: f.APIKey, Data: f.Data, EnvURL: a.getenv("FUSTOR_INGEST"), EnvKey: a.getenv("FUSTOR_API_KEY"),
		EnvData: a.getenv("FUSTOR_DATA"), ConfigFile: a.configFile(), DefaultData: a.defaultDataDir(),
	}
	server, err := settings.Find(given)
	if errors.Is(err, settings.ErrNoServer) {
		return nil, &cliError{msg: "no store and no server given", hint: "give a store with --store or FUSTOR_STORE, or an ingest with --url or FUSTOR_INGEST", code: exitUsage, err: err}
	}
	if err != nil {
		return nil, err
	}
	c, err := client.NewAdmin(client.Options{URL: server.URL, Key: server.Key, UserAgent: "fustor/" + buildVersion().Version})
	if err != nil {
		return nil, &cliError{msg: fmt.Sprintf("%s: %v", server.From, err), code: exitUsage}
	}
	return c, nil
}

// adminFailure puts what an administrator is refused into the command line's form.
func adminFailure(err error) error {
	var refused *admin.Error
	var answered *client.Error
	var away *client.Unreachable
	var redirected *httpclient.RedirectError
	var foreign *httpclient.AnswerError
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &refused):
		code := exitFailure
		switch refused.Kind {
		case admin.NotFound:
			code = exitNotFound
		case admin.Invalid:
			code = exitUsage
		}
		return &cliError{msg: refused.Detail, hint: refused.Hint, code: code, err: err}
	case errors.As(err, &answered) && answered.Status == http.StatusBadRequest && !answered.Foreign:
		return &cliError{msg: answered.Detail, hint: answered.Hint, code: exitUsage, err: err}
	case errors.As(err, &answered), errors.As(err, &away), errors.As(err, &redirected), errors.As(err, &foreign):
		return err // explained as for the reading commands
	case errors.Is(err, viewconfig.ErrInvalid):
		return &cliError{msg: err.Error(), hint: "repair or remove that object; until then the view refuses its agents", code: exitFailure, err: err}
	}
	return storeFailure(err)
}

// print prints v as JSON, or as table makes it.
func (f *adminFlags) print(a *app, v any, table func(out *show.Output)) error {
	out := a.out()
	if f.JSON {
		encoder := json.NewEncoder(out)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(v); err != nil {
			return err
		}
		return out.Flush()
	}
	table(out)
	return out.Flush()
}

// columns prints rows in columns, a heading first.
func columns(out *show.Output, heading []string, rows [][]string) {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, row := range append([][]string{heading}, rows...) {
		fmt.Fprintln(w, strings.Join(row, "\t"))
	}
	w.Flush()
}

// ago is when a time in Unix seconds was, for a table.
func ago(seconds float64) string { return age(seconds) + " ago" }

type adminResetCmd struct {
	View string `arg:"" help:"View to start over."`
	yesFlag
	adminFlags
}

// Help implements kong.HelpProvider.
func (adminResetCmd) Help() string {
	return `The view is empty at once and answers 503 until the first scan of its next leader
is folded. Its sessions end. The agents notice this with their next heartbeat, begin
new sessions and scan; they need no restart. Nothing that was sent before counts any
more. Retention removes the old layers.

Examples:

    fustor admin reset research --store s3://bucket/fustor
    fustor admin reset research --url https://ingest.example.org --yes`
}

func (c *adminResetCmd) Run(ctx context.Context, a *app) error {
	d, err := c.begin(ctx, a, c.View, true)
	if err != nil {
		return err
	}
	if err := c.confirm(a, fmt.Sprintf("start view %s over?", c.View)); err != nil {
		return err
	}
	epoch, err := d.Reset(ctx, c.View)
	if err != nil {
		return adminFailure(err)
	}
	return c.print(a, map[string]any{"view_id": c.View, "epoch": epoch}, func(out *show.Output) {
		fmt.Fprintf(out, "view %s starts over; its agents scan again\n", c.View)
	})
}

// begin checks the view's name and opens where to work.
func (f *adminFlags) begin(ctx context.Context, a *app, view string, writes bool) (administrator, error) {
	if err := checkView(view); err != nil {
		return nil, err
	}
	return f.open(ctx, a, writes)
}

type adminVersionsCmd struct {
	View  string `arg:"" help:"View to show."`
	Limit int    `default:"10" placeholder:"N" help:"Show at most N versions, the newest first (default 10)."`
	adminFlags
}

// Help implements kong.HelpProvider.
func (adminVersionsCmd) Help() string {
	return `Shows the manifests that are kept, from the current one backwards, and how far each
session is folded. Also shows manifests beside them (orphans of lost races, which
retention removes), and the view's objects and bytes in the store.

Examples:

    fustor admin versions research --store s3://bucket/fustor
    fustor admin versions research --limit 100 --json | jq '.versions[0].sessions'`
}

func (c *adminVersionsCmd) Run(ctx context.Context, a *app) error {
	if c.Limit < 1 || c.Limit > admin.MaxVersions {
		return usageError("--limit must be from 1 to %d", admin.MaxVersions)
	}
	d, err := c.begin(ctx, a, c.View, false)
	if err != nil {
		return err
	}
	h, err := d.History(ctx, c.View, c.Limit)
	if err != nil {
		return adminFailure(err)
	}
	return c.print(a, h, func(out *show.Output) { printHistory(out, h) })
}

func printHistory(out *show.Output, h *admin.History) {
	var rows [][]string
	for _, v := range h.Versions {
		rows = append(rows, []string{fmt.Sprint(v.Version), v.Reason, ago(float64(v.FoldedAt) / 1e9), fmt.Sprintf("%d, %s", v.Base.Objects, show.Size(v.Base.Bytes)),
			fmt.Sprintf("%d, %s", v.Deltas.Objects, show.Size(v.Deltas.Bytes)), show.Count(v.Rows), show.Count(v.Files), show.Count(v.Dirs)})
	}
	columns(out, []string{"VERSION", "BY", "MADE", "BASE", "DELTAS", "ROWS", "FILES", "DIRS"}, rows)
	if h.More {
		fmt.Fprintln(out, "older ones: --limit")
	}
	for _, key := range h.Orphans {
		fmt.Fprintf(out, "orphan: %s\n", key)
	}
	current := h.Versions[0]
	fmt.Fprintf(out, "\nepoch %s, term %d, ready: %t\n", current.Epoch, current.Term, current.Ready)
	rows = nil
	for _, id := range sortedKeys(current.Sessions) {
		p := current.Sessions[id]
		state := ""
		if p.Broken {
			state = "broken there"
		}
		rows = append(rows, []string{id, p.Agent, fmt.Sprint(p.Next), state})
	}
	if len(rows) > 0 {
		columns(out, []string{"SESSION", "AGENT", "NEXT SEGMENT", ""}, rows)
	}
	o := h.Objects
	usage := func(name string, u admin.Usage) []string {
		return []string{name, show.Count(int64(u.Objects)), show.Size(u.Bytes)}
	}
	fmt.Fprintln(out)
	columns(out, []string{"OBJECTS", "NUMBER", "SIZE"}, [][]string{usage("layers", o.Layers), usage("  not of the current version", o.Superseded),
		usage("manifests", o.Manifests), usage("segments", o.Segments), usage("  not folded yet", h.Unfolded)})
}

type adminRetainCmd struct {
	View   string `arg:"" help:"View to clean up."`
	DryRun bool   `short:"n" help:"Remove nothing; list what would be removed."`
	adminFlags
}

// Help implements kong.HelpProvider.
func (adminRetainCmd) Help() string {
	return `Compactors do this by themselves. Use this command to see what they would remove, or
for a store without a running compactor. It removes the versions that the view's
settings do not keep (fustor admin view show), layers that no kept version has, folded
segments, and objects left by lost races and killed processes. It removes nothing
younger than an hour by the store's clock.

Examples:

    fustor admin retain research --dry-run
    fustor admin retain research --store s3://bucket/fustor`
}

func (c *adminRetainCmd) Run(ctx context.Context, a *app) error {
	d, err := c.begin(ctx, a, c.View, !c.DryRun)
	if err != nil {
		return err
	}
	removed, err := d.Retain(ctx, c.View, c.DryRun)
	if err != nil {
		return adminFailure(err)
	}
	return c.print(a, map[string]any{"view_id": c.View, "dry_run": c.DryRun, "removed": removed, "count": len(removed)}, func(out *show.Output) {
		var bytes int64
		for _, r := range removed {
			bytes += r.Bytes
			fmt.Fprintf(out, "%10s  %s  %s\n", show.Size(r.Bytes), r.Key, out.Dim(r.Why))
		}
		verb := "removed"
		if c.DryRun {
			verb = "would be removed"
		}
		fmt.Fprintf(out, "%s, %s %s\n", values.Plural(len(removed), "object", "objects"), show.Size(bytes), verb)
	})
}
