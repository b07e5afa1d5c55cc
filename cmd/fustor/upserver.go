//go:build !reading

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/owners"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/cmd/fustor/internal/settings"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/ingest"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/admin"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/flock"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/internal/trace"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query"
)

// up is `fustor up`: the four parts in one process, wired to each other without a network.
type up struct {
	*upCmd
	app *app

	root, data string // absolute
	key, url   string
	log        *slog.Logger
	store      store.Store
	listener   net.Listener
	socket     net.Listener // for users of this host; nil: none
	callers    access.Options
	keys       *access.Authenticator
	unlock     func()

	agent   *agent.Agent
	compact *compactor.Compactor
	cors    httpapi.CORS
	handler http.Handler

	before  *manifest.Manifest      // what earlier runs left; nil: nothing
	scanned uint64                  // the term of the last snapshot of earlier runs
	first   chan *manifest.Manifest // takes the version with this run's first snapshot
}

// prepare does all that can fail for a reason the user can mend, before anything starts.
func (u *up) prepare(ctx context.Context) (err error) {
	u.log, u.first = u.app.logger("up"), make(chan *manifest.Manifest, 1)
	if err := errors.Join(checkView(u.View), checkExcludes(u.Exclude), checkDir(u.Dir)); err != nil {
		return err
	}
	if u.cors, err = u.check(); err != nil {
		return err
	}
	if u.callers, err = u.callerFlags.options(u.proxies, u.log); err != nil {
		return err
	}
	if u.root, err = tree.Resolve(u.Dir); err != nil {
		return err
	}
	if u.data, err = filepath.Abs(u.app.dataDir(u.Data)); err != nil {
		return err
	}
	if err := makeDataDir(u.data); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			u.close()
		}
	}()
	if err := u.lock(ctx); err != nil {
		return err
	}
	if u.store, err = local.Open(filepath.Join(u.data, "store")); err != nil {
		return storeFailure(err)
	}
	u.store = trace.Store(u.store)
	if u.listener, err = u.tlsFlags.listen(u.Listen, u.log); err != nil {
		return err
	}
	if u.socket, err = u.callerFlags.listen(ctx, u.log); err != nil {
		return err
	}
	u.url = ownURL(u.listener)
	if u.key, err = settings.KeepKey(u.data, u.APIKey, access.GenerateKey); err != nil {
		return &cliError{msg: err.Error(), hint: "check the data directory, or choose another with --data", code: exitFailure, err: err}
	}
	if err := u.prepareView(ctx); err != nil {
		if refused := new(cliError); errors.As(err, &refused) {
			return err
		}
		return storeFailure(err)
	}
	u.before, _, err = manifest.LoadRoot(ctx, u.store, u.View)
	switch {
	case err == nil:
		u.scanned = u.before.Scan.SnapshotDone
	case !errors.Is(err, manifest.ErrNoHead):
		return &cliError{
			msg:  err.Error(),
			hint: "fustor can rebuild the index: move the data directory away, or choose another with --data", code: exitFailure, err: err,
		}
	}
	return u.wire()
}

// lock keeps a second `fustor up` off the data directory.
func (u *up) lock(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	unlock, err := flock.Lock(ctx, filepath.Join(u.data, "up.lock"))
	if errors.Is(err, context.DeadlineExceeded) {
		return &cliError{
			msg:  fmt.Sprintf("another `fustor up` uses the data directory %s", u.data),
			hint: "stop it first, or choose another directory with --data", code: exitFailure, err: err,
		}
	}
	if err != nil {
		return &cliError{msg: fmt.Sprintf("data directory %s: %v", u.data, err), hint: "choose another with --data", code: exitFailure, err: err}
	}
	u.unlock = unlock
	return nil
}

// reachable is the address by which this machine reaches the listener.
func reachable(a net.Addr) string {
	t, ok := a.(*net.TCPAddr)
	if !ok || !t.IP.IsUnspecified() {
		return a.String()
	}
	return fmt.Sprintf("127.0.0.1:%d", t.Port)
}

// prepareView refuses a view that is an index of another directory, or starts it over if the user wants that.
func (u *up) prepareView(ctx context.Context) error {
	marker := filepath.Join(u.data, "dir-of-"+u.View)
	before, err := os.ReadFile(marker)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && string(before) != u.root && !u.Replace {
		return &cliError{
			msg:  fmt.Sprintf("view %q is an index of %s", u.View, show.Quote(string(before))),
			hint: "to keep both, choose another name with --view; to replace it by an index of this directory, pass --replace", code: exitFailure,
		}
	}
	if err == nil && string(before) != u.root {
		u.app.say("view %q was an index of %s; it starts over", u.View, show.Quote(string(before)))
		if err := u.forget(ctx); err != nil {
			return err
		}
	}
	return os.WriteFile(marker, []byte(u.root), 0o600)
}

// forget removes a view. Its head goes first: without one there is no view.
func (u *up) forget(ctx context.Context) error {
	if err := u.store.Delete(ctx, layout.Head(u.View)); err != nil {
		return err
	}
	for {
		page, err := u.store.List(ctx, layout.View(u.View), "", 0)
		if err != nil || len(page.Items) == 0 {
			break
		}
		for _, item := range page.Items {
			if err := u.store.Delete(ctx, item.Key); err != nil {
				return err
			}
		}
	}
	return removeIfThere(u.sessionFile())
}

func removeIfThere(path string) error {
	if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func (u *up) sessionFile() string { return filepath.Join(u.data, "session-of-"+u.View+".json") }

// upCompactMemory is the compactor's share of the memory of `fustor up`, bytes: beside it are the agent's watches and the
// query handler's cache.
const upCompactMemory = 160 << 20

// wire makes the parts and ties them: what the agent sends wakes the compactor, what the compactor publishes is news to
// the query handler.
func (u *up) wire() error {
	u.callers.Store = u.store
	keys, err := authenticator(u.callers, u.key)
	if u.keys = keys; err != nil {
		return &cliError{msg: err.Error(), hint: "choose another with --api-key", code: exitUsage, err: err}
	}
	registry := processMetrics()
	var q *query.Server
	var i *ingest.Ingest
	document := func() ([]byte, error) { // once somebody asks
		reads, err := q.OpenAPI()
		if err != nil {
			return nil, err
		}
		pipes, err := i.OpenAPI()
		if err != nil {
			return nil, err
		}
		return httpapi.MergeOpenAPI(reads, pipes, "Pipe")
	}
	retain := func(ctx context.Context, view string, dry bool) ([]admin.Removal, error) {
		return retention(u.compact)(ctx, view, dry)
	}
	q, err = query.New(query.Options{Store: u.store, Authenticator: keys, Logger: u.quiet("query"), Registry: registry, OpenAPI: document, OpenProbes: u.OpenProbes,
		Administer: true, Retain: retain})
	if err != nil {
		return err
	}
	u.compact, err = compactor.New(compactor.Options{Store: u.store, Logger: u.app.logger("compact"), Memory: upCompactMemory, OnCommit: func(m *manifest.Manifest) {
		q.Invalidate(m.View)
		u.published(m)
	}})
	if err != nil {
		return err
	}
	if err := u.compact.Register(registry); err != nil {
		return err
	}
	wake := func(view, _ string, _ uint64) { u.compact.Wake(view) }
	i, err = ingest.New(ingest.Options{Store: u.store, Authenticator: keys, Logger: u.quiet("ingest"), Registry: registry, OnSegment: wake})
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	mux.Handle("/api/v1/pipe/", i.Handler())
	mux.Handle(ingest.V2Prefix, i.Handler())
	for _, base := range ingest.V2Bases {
		mux.Handle(base+"/", i.Handler())
	}
	mux.Handle("/", q.Handler())
	u.handler = mux
	u.agent, err = agent.New(agent.Options{
		Root: u.root, View: u.View, IngestURL: "http://ingest", IngestHTTP: send.Handler(i.Handler()), APIKey: u.key,
		Sender:    &send.Store{Store: u.store, OnSegment: func(string) { u.compact.Wake(u.View) }},
		Excludes:  append(u.Exclude, u.ownData()...),
		StateFile: u.sessionFile(), CrossFilesystems: u.CrossFileSystems, Watch: u.Watch, Logger: u.quiet("agent"), Registry: registry,
		Version: buildVersion().Version, Owners: owners.Host(u.quiet("agent")),
	})
	return err
}

// quiet is the log of the parts whose every step is of no news to the user of `up`: warnings and errors only, unless
// the user asked for more.
func (u *up) quiet(part string) *slog.Logger {
	if u.app.LogLevel != "info" {
		return u.app.logger(part)
	}
	quiet := *u.app
	quiet.LogLevel = "warn"
	return quiet.logger(part)
}

// ownData excludes the data directory where it lies in the tree: what Fustor writes must not be news to it.
func (u *up) ownData() []string {
	data, err := filepath.EvalSymlinks(u.data)
	if err != nil {
		return nil
	}
	below, err := filepath.Rel(u.root, data)
	if err != nil || below == "." || below == ".." || strings.HasPrefix(filepath.ToSlash(below), "../") {
		return nil
	}
	return []string{"/" + escapeGlob(filepath.ToSlash(below))}
}

// escapeGlob makes a path a glob that matches it alone.
func escapeGlob(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`, `{`, `\{`, `}`, `\}`).Replace(path)
}

// published hears of every version.
func (u *up) published(m *manifest.Manifest) {
	if m.View != u.View || m.Scan.SnapshotDone <= u.scanned {
		return
	}
	select {
	case u.first <- m:
	default:
	}
}

// run starts the parts and ends them in the order in which the last change still finds its way: agent, compactor, server.
func (u *up) run(ctx context.Context) error {
	if err := settings.WriteUp(u.data, settings.Up{URL: u.url, View: u.View, PID: os.Getpid()}); err != nil {
		return &cliError{msg: fmt.Sprintf("cannot write to data directory %s: %v", u.data, plain(err)), hint: "choose another with --data", code: exitFailure, err: err}
	}
	defer settings.RemoveUp(u.data, os.Getpid())
	serving, stopServing := context.WithCancel(context.WithoutCancel(ctx))
	defer stopServing()
	g, ctx := errgroup.WithContext(ctx)
	listeners := []net.Listener{u.listener}
	if u.socket != nil {
		listeners = append(listeners, u.socket)
	}
	g.Go(func() error { return u.serveAll(serving, listeners, u.cors, u.handler, u.log) })
	findProvider(serving, u.callers)
	if err := u.greet(); err != nil {
		stopServing()
		return errors.Join(err, g.Wait())
	}
	folding, stopFolding := context.WithCancel(serving)
	g.Go(func() error { return ignoreEnd(folding, u.compact.Run(folding, u.View)) })
	g.Go(func() error {
		defer stopServing()
		err := u.agent.Run(ctx)
		if stopped := new(agent.StoppedError); errors.As(err, &stopped) { // what is indexed can be read on
			u.app.say("the index is no longer kept current: its agent was %s", stopped)
			<-ctx.Done()
		}
		err = ignoreEnd(ctx, err)
		stopFolding()
		last, cancel := context.WithTimeout(serving, drainTime)
		defer cancel()
		if _, foldErr := u.compact.Once(last, u.View); foldErr != nil && err == nil {
			u.log.Warn("the last changes are folded at the next start", "error", foldErr)
		}
		return err
	})
	g.Go(func() error { u.show(ctx); return nil })
	return g.Wait()
}

// ignoreEnd takes an error for none where it only says that ctx ended.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// greet says where to look, by a link with a one-time code, and with which key; in the journal of systemd, which others may read, only where the key is.
func (u *up) greet() error {
	page := u.url + "/?" + url.Values{"code": {u.keys.NewCode(u.key)}}.Encode()
	if u.JSON {
		return json.NewEncoder(u.app.stdout).Encode(map[string]any{
			"url": u.url, "open": page, "api_key": u.key, "view": u.View, "dir": u.root, "data": u.data, "pid": os.Getpid()})
	}
	key := u.key
	if u.app.getenv("JOURNAL_STREAM") != "" {
		page, key = u.url+"/", "in "+show.Quote(settings.KeyFile(u.data))
	}
	_, err := fmt.Fprintf(u.app.stdout, "fustor indexes %s as view %q\n  open  %s\n  url   %s\n  key   %s\n  data  %s\n",
		show.Quote(u.root), u.View, page, u.url, key, show.Quote(u.data))
	return err
}

// show tells of the first scan while it runs, and of what it found.
func (u *up) show(ctx context.Context) {
	began := time.Now()
	if m := u.before; m != nil && m.Ready() {
		u.app.say("the index of %s is already served; scanning again", time.Unix(0, m.FoldedAt).Format(time.DateTime))
	}
	scanning, done := context.WithCancel(ctx)
	var first *manifest.Manifest
	go func() {
		defer done()
		select {
		case first = <-u.first:
		case <-ctx.Done():
		}
	}()
	newProgress(u.app.screen(), u.app.say).follow(scanning, "scanning "+u.root, func() scanCounts {
		s := u.agent.Status()
		return scanCounts{Files: int64(s.Files), Directories: int64(s.Directories), Bytes: int64(s.Bytes)}
	})
	if first != nil { // follow has returned, so done was called after it was set
		u.announce(first, time.Since(began))
	}
}

// announce says what the view holds once the scan is folded.
func (u *up) announce(m *manifest.Manifest, took time.Duration) {
	t := m.Totals
	u.app.say("ready after %s: %s, %s, %s; the index stays current while fustor runs (try `fustor du /`)",
		took.Round(100*time.Millisecond), values.Plural(t.Files, "file", "files"), values.Plural(t.Directories, "directory", "directories"), show.Size(t.Bytes))
	if w := u.agent.Status().Watch; w.Coverage != "" {
		text := coverage(w.Coverage, w.Method)
		if w.Reason != "" {
			text += ": " + w.Reason
		}
		u.app.say("coverage %s", text)
	}
	if n := m.Scan.ErrorCount; n > 0 {
		u.app.say("%s could not be read; the index keeps what it knew about them (first: %s: %s)",
			values.Plural(n, "directory", "directories"), show.Quote(string(m.Scan.Errors[0].Path)), m.Scan.Errors[0].Message)
	}
}

// close gives back what prepare took.
func (u *up) close() {
	if u.listener != nil {
		u.listener.Close()
	}
	if u.socket != nil {
		u.socket.Close()
	}
	if u.unlock != nil {
		u.unlock()
	}
}
