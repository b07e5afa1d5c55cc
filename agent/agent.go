package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/thejerf/suture/v4"
	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/agent/bus"
	"github.com/fustor/fustor/agent/known"
	"github.com/fustor/fustor/agent/owners"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/event"
)

// Agent feeds one view from one tree. Run runs it, once. It only connects its parts: what may be done now is in situation,
// and each part has a file of its own.
type Agent struct {
	o           Options
	clock       *pipe.Clock
	stream      *pipe.Stream
	sender      send.Sender
	situation   *situation
	stateFile   *stateFile
	spooling    *spooling
	counters    *counters
	supervisor  *supervisor
	watching    *watching
	directories *directories
	session     *sessionKeeper
	control     *control
	owners      *owners.Keeper // nil: numbers alone

	source, sending []service                               // what Run runs
	draining        chan struct{}                           // closed when no more events come
	stopRun         atomic.Pointer[context.CancelCauseFunc] // ends Run; nil before
}

// New makes an agent. It fails with a clear error where the directory, the view or a pattern is no good.
func New(o Options) (*Agent, error) {
	o, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	patterns := o.Excludes
	if !o.NoDefaultExclude {
		patterns = append(append([]string{}, tree.DefaultExcludes...), patterns...)
	}
	excludes, err := tree.NewExcludes(patterns)
	if err != nil {
		return nil, err
	}
	a := &Agent{
		o: o, clock: pipe.NewClock(o.Bus.Ticks()), counters: newCounters(), supervisor: newSupervisor(o.Logger, o.Tuning.Backoff),
		draining: make(chan struct{}),
	}
	client, err := send.NewClient(o.IngestURL, o.APIKey, o.View, o.IngestHTTP, a.clock)
	if err != nil {
		return nil, err
	}
	a.stateFile = openStateFile(o.StateFile)
	client.Secret = a.stateFile.secret()
	pause := a.stateFile.read().Paused
	if pause != nil {
		o.Logger.Info("the pipe is paused since before this start", "by", pause.By, "since", pause.Since)
	}
	a.situation = newSituation(&a.o, a.clock, pause)
	a.spooling = openSpool(o.Spool, o.SpoolSize, o.Logger)
	remote := o.Tuning.System.Remote(o.Root)
	config := pipe.Config{
		View: o.View, Agent: o.AgentID, Source: o.SourceURI, Local: !remote, Now: a.clock.Now, LeaseUntil: a.situation.leaseUntil,
		MaxAge: o.Tuning.SegmentAge, MaxBacklog: o.Tuning.MaxBacklog, ScanBacklog: o.Tuning.ScanBacklog,
		Spool: a.spooling.spool, Lost: a.spoolLost,
	}
	if o.Owners != nil {
		a.owners = owners.New(o.Owners, func(names []event.OwnerName) { a.stream.Names(names) }, o.Logger)
		config.Met = a.owners.Meet
	}
	a.stream = pipe.New(config)
	a.watching = &watching{subscription: a.subscribe(patterns, excludes), situation: a.situation, rootLost: a.rootLost}
	a.directories = &directories{
		identity: known.Identity{View: o.View, Root: o.Root, Excludes: patterns, Cross: o.CrossFilesystems},
		log:      o.Logger, now: a.clock.Now, stream: a.stream, leads: a.situation.leadership, mtimes: newMtimes(remote, o.Tuning.Racy),
		remote: remote, noAtimes: o.NoAtimes,
	}
	if len(o.Excludes) > 0 {
		a.directories.identity.ExcludeRules = known.Gitignore
	}
	if o.StateFile != "" {
		a.directories.path = strings.TrimSuffix(o.StateFile, ".json") + ".dirs"
	}
	a.addServices(client, excludes)
	if err := a.register(o.Registry); err != nil {
		a.watching.subscription.Close()
		a.spooling.close()
		return nil, err
	}
	return a, nil
}

// subscribe joins the source, which other pipes of the process may share.
func (a *Agent) subscribe(patterns []string, excludes *tree.Excludes) *bus.Subscription {
	t := &a.o.Tuning
	return a.o.Bus.Subscribe(bus.Spec{
		Watch: watch.Config{
			Root: a.o.Root, Excludes: excludes, CrossFilesystems: a.o.CrossFilesystems, Method: a.o.Watch, Mount: a.stateFile.mount(a.o.Root),
			Window: t.Window, RootEvery: t.RootEvery, RetryEvery: t.WatchEvery, QuotaEvery: t.WatchEvery, MaxPending: t.MaxPending, System: t.System, Notifier: t.Notifier,
		},
		Patterns: patterns, Workers: a.o.ScanWorkers, Rate: a.o.ScanRate, Idle: a.o.IOIdle, HangAfter: t.HangAfter,
	}, bus.Subscriber{
		Clock: a.clock, Events: a.emitRealtime, HasRoom: a.stream.HasRoom, Skew: a.stream.Skew, Hot: a.situation.hot,
		Lost: a.situation.lost, RootLost: a.rootLost, RootBack: a.rootBack, Uncover: a.situation.uncover,
		OnError: a.counters.unreadable, Answers: a.answersAgain,
	})
}

// addServices makes the parts that work by themselves.
func (a *Agent) addServices(client *send.Client, excludes *tree.Excludes) {
	commands := newCommands(client, a.situation, a.o.Logger)
	scans := &scanner{
		o: &a.o, situation: a.situation, watching: a.watching, stream: a.stream, directories: a.directories, counters: a.counters,
		clock: a.clock, progress: a.progress, excludes: excludes, hot: &hotFiles{hot: a.situation.hot},
	}
	demand := &demandScanner{scanner: scans, commands: commands, every: func(report func()) (stop func()) { return a.supervisor.every("job", reportEvery, report) }}
	suspects := &sentinel{client: client, situation: a.situation, watching: a.watching, stream: a.stream, now: a.clock.Now, hot: scans.hot}
	a.control = &control{commands: commands, log: a.o.Logger, pause: a.SetPaused, reload: a.o.Reload, stop: a.Stop}
	a.session = &sessionKeeper{
		o: &a.o, client: client, situation: a.situation, stream: a.stream, watching: a.watching, directories: a.directories, stateFile: a.stateFile,
		commands: commands, status: a.Status, gone: make(chan string, 1), soon: make(chan struct{}, 1),
	}
	a.sender = a.o.sender(client)
	upload := &uploader{
		stream: a.stream, sender: a.sender, situation: a.situation, directories: a.directories, counters: a.counters, log: a.o.Logger,
		sessionGone: a.session.sessionGone, draining: a.draining,
	}
	a.source = []service{
		{"watch", a.watching.run}, {"scan", scans.run}, {"on-demand", demand.run},
		{"commands", commands.run}, {"orders", a.control.run}, {"sentinel", suspects.run},
	}
	if a.owners != nil {
		a.source = append(a.source, service{"owners", a.owners.Run})
	}
	a.sending = []service{
		{"upload", upload.run}, {"spool", func(ctx context.Context) error { return a.spooling.run(ctx, a.stream) }},
		{"heartbeat", a.session.run}, {"lease", a.session.guardLease}, {"measure", a.counters.measure},
	}
}

// Run works until ctx ends, then sends what is left, for at most a grace period, and closes the session. It returns
// nil after a clean end; errors of the network, ingest or the tree do not end it.
//
// Services that fail, or panic, are started again. The source's are in one tree and the sending ones, heartbeats among them,
// in another: whatever becomes of the former, heartbeats go on.
func (a *Agent) Run(ctx context.Context) error {
	defer a.spooling.close()
	defer a.directories.close()
	defer a.watching.subscription.Close()
	defer context.AfterFunc(ctx, a.watching.subscription.Hurry)()
	watcher, err := a.watching.begin()
	if err != nil {
		return err
	}
	ctx, stopRun := context.WithCancelCause(ctx)
	defer stopRun(nil)
	a.stopRun.Store(&stopRun)
	a.situation.apply(start)
	defer a.situation.apply(drained)
	if err := watcher.Lost(); err != nil {
		a.rootLost(fmt.Errorf("%w; if the tree has moved there for good, remove %s", err, a.o.StateFile))
	}

	// The sending side outlives the source, to send what the source leaves.
	after, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	sending, afterSending := errgroup.WithContext(after)
	sending.Go(func() error { return a.supervisor.run(afterSending, "sending", a.sending) })
	err = a.supervisor.run(ctx, "source", a.source)
	a.situation.apply(stop)
	close(a.draining)
	a.stream.Close()
	end := time.AfterFunc(a.o.Tuning.GracePeriod, stopSending)
	defer end.Stop()
	sendErr := sending.Wait()
	if err := a.stream.KeepOpen(0); err != nil {
		sendErr = errors.Join(sendErr, err)
	}
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	if sendErr != nil && !errors.Is(sendErr, context.Canceled) && !errors.Is(sendErr, suture.ErrTerminateSupervisorTree) {
		err = errors.Join(err, sendErr)
	}
	var stopped *StoppedError
	if errors.As(context.Cause(ctx), &stopped) {
		bytes, segments := a.stream.Backlog()
		a.control.reportEnd(ctx, a.stream.Session(), bytes, segments, a.spooling.spool != nil)
		err = errors.Join(stopped, err)
	}
	a.session.close(ctx)
	return err
}

// Stop has Run send what is left, and return a *StoppedError.
func (a *Agent) Stop(by string) {
	if stop := a.stopRun.Load(); stop != nil {
		(*stop)(&StoppedError{by})
	}
}

// emitRealtime gives the kernel's events to the stream. False: it takes none at present.
func (a *Agent) emitRealtime(events []event.Event) bool {
	n := len(events)
	if !a.stream.Realtime(events) {
		return false
	}
	a.counters.events.Add(uint64(n))
	return true
}

// rootLost stops the scans, and tells the view, which keeps what it knows.
func (a *Agent) rootLost(err error) {
	a.o.Logger.Error("the root is lost; the view keeps its rows until the root is back", "root", a.o.Root, "error", err)
	a.situation.setRootLost(err)
	a.stream.Realtime([]event.Event{{
		Kind: event.Marked, Evidence: event.Realtime, ObservedAt: a.clock.Now(), Path: "/",
		Mark: event.Mark{Kind: event.SubtreeError, Errors: 1, Message: fmt.Sprintf("the root is lost: %.500q", err.Error())},
	}})
}

// rootBack has everything scanned again.
func (a *Agent) rootBack() {
	a.o.Logger.Info("the root is back and is scanned again", "root", a.o.Root)
	a.directories.mtimes.forget()
	a.situation.setRootBack()
}

// spoolLost has everything scanned again.
func (a *Agent) spoolLost(err error) {
	a.o.Logger.Error("the spool lost events; the tree is scanned again", "spool", a.o.Spool, "error", err)
	a.situation.lost(nil)
}

// answersAgain has a path scanned at which a call hung that has returned.
func (a *Agent) answersAgain(path string) {
	a.o.Logger.Info("a path that did not respond responds again and is scanned", "path", fmt.Sprintf("%q", path))
	if path == "/" {
		a.situation.lost(nil)
		return
	}
	a.situation.lost([]string{path})
}
