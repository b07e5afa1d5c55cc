package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thejerf/suture/v4"
	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/agent/hang"
	"github.com/fustor/fustor/agent/known"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/agent/spool"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/pipeapi"
)

// Agent feeds one view from one tree. Run runs it, once.
type Agent struct {
	o        Options
	excludes *tree.Excludes
	clock    *pipe.Clock
	stream   *pipe.Stream
	client   *send.Client
	sender   send.Sender
	spool    *spool.Spool // nil: none, or none that works
	spoolErr error        // why it does not

	mount   string                        // where the root's file system is mounted, or was before; the watch task's own
	watcher atomic.Pointer[watch.Watcher] // nil until Run
	gone    chan string                   // sessions that were found dead by others than the heartbeat
	wake    chan struct{}                 // a token when the scans have something new to decide

	demand demand
	notes  struct { // the state file
		mu sync.Mutex
		is remembered
	}
	beatNow    chan struct{} // a token when ingest is to hear of something at once
	draining   chan struct{} // closed when no more events come
	tally      tally
	seen       *seen
	dirs       atomic.Pointer[known.Log] // nil: what was listed is not remembered
	calls      *hang.Calls
	rate       *scan.Rate
	patterns   []string
	leaseUntil atomic.Int64 // the store's time, ns; 0: this agent does not lead

	mu     sync.Mutex
	stand  standing
	scans  scans
	counts *scan.Counts // of the scan that runs, or ran last
	sent   struct{ segments, bytes, failures uint64 }
	lost   error // why the root is lost
	cancel context.CancelFunc
	// cancelDemand ends the scan on demand that runs, stopRun ends Run.
	cancelDemand context.CancelFunc
	stopRun      context.CancelCauseFunc
	stopJob      *job.Command   // that asked for the end
	pause        *pipeapi.Pause // nil: it runs
	resumed      chan struct{}  // closed at the end of the pause; nil: it runs
	state        state
	// refused counts what happened in states that know nothing of it.
	refused  uint64
	failures map[string]taskFailure
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
		o: o, excludes: excludes, patterns: patterns, rate: scan.NewRate(o.ScanRate), clock: pipe.NewClock(o.Tuning.Clocks), counts: &scan.Counts{},
		demand:       demand{seen: map[string]bool{}, jobs: make(chan job.Command, 100), orders: make(chan job.Command, 100)},
		cancelDemand: func() {}, stopRun: func(error) {}, beatNow: make(chan struct{}, 1), draining: make(chan struct{}), tally: tally{began: time.Now()},
		gone: make(chan string, 1), wake: make(chan struct{}, 1), cancel: func() {},
		state: stopped, failures: map[string]taskFailure{},
	}
	a.calls = hang.New(o.Tuning.HangAfter, a.answered)
	if a.client, err = send.NewClient(o.IngestURL, o.APIKey, o.View, o.IngestHTTP, a.clock); err != nil {
		return nil, err
	}
	switch a.sender = o.Sender; {
	case o.ThroughIngest:
		a.sender = send.NewThrough(a.client)
	case a.sender == nil:
		a.sender = send.NewIngest(a.client, nil)
	}
	a.recall()
	a.openSpool()
	remote := o.Tuning.System.Remote(o.Root)
	a.seen = newSeen(remote)
	if o.Tuning.Racy > 0 {
		a.seen.racy = o.Tuning.Racy
	}
	a.stream = pipe.New(pipe.Config{
		View: o.View, Agent: o.AgentID, Source: o.SourceURI, Local: !remote, Now: a.clock.Now, LeaseUntil: a.leaseUntil.Load,
		MaxAge: o.Tuning.SegmentAge, MaxBacklog: o.Tuning.MaxBacklog, ScanBacklog: o.Tuning.ScanBacklog,
		Spool: a.spool, Lost: a.spoolLost,
	})
	if err := a.register(o.Registry); err != nil {
		a.closeSpool()
		return nil, err
	}
	return a, nil
}

// Run works until ctx ends, then sends what is left, for at most a grace period, and closes the session. It returns
// nil after a clean end; errors of the network, ingest or the tree do not end it.
//
// Tasks that fail, or panic, are started again. The source's are in one tree and the sending ones, heartbeats among them,
// in another: whatever becomes of the former, heartbeats go on.
func (a *Agent) Run(ctx context.Context) error {
	defer a.closeSpool()
	defer a.closeDirs()
	defer a.calls.Stop()
	defer context.AfterFunc(ctx, a.calls.Hurry)()
	a.mount = a.rememberedMount()
	if err := a.newWatcher(); err != nil {
		return err
	}
	ctx, stopRun := context.WithCancelCause(ctx)
	defer stopRun(nil)
	a.mu.Lock()
	a.stopRun = stopRun
	a.occur(start)
	a.mu.Unlock()
	defer a.happened(drained)
	if err := a.watcher.Load().Lost(); err != nil {
		a.rootLost(fmt.Errorf("%w; if the tree has moved there for good, remove %s", err, a.o.StateFile))
	}

	// The sending side outlives the source, to send what the source leaves.
	after, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	sending, afterSending := errgroup.WithContext(after)
	sending.Go(func() error {
		return a.supervise(afterSending, "sending",
			task{name: "upload", run: a.upload}, task{name: "spool", run: a.runSpool},
			task{name: "heartbeat", run: a.keepSession}, task{name: "lease", run: a.guardLease},
			task{name: "measure", run: a.measure})
	})
	err := a.supervise(ctx, "source",
		task{name: "watch", run: a.runWatch}, task{name: "scan", run: a.runScans}, task{name: "on-demand", run: a.runDemand},
		task{name: "commands", run: a.awaitCommands}, task{name: "orders", run: a.runOrders}, task{name: "sentinel", run: a.runSentinel})
	a.happened(stop)
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
		a.reportStopped(ctx)
		err = errors.Join(stopped, err)
	}
	a.closeSession(ctx)
	return err
}

// errNotWatched: the watch has failed and is about to begin anew.
var errNotWatched = errors.New("the tree is not watched at present")

// newWatcher begins to watch the root.
func (a *Agent) newWatcher() error {
	w, err := watch.New(watch.Config{
		Root: a.o.Root, Excludes: a.excludes, CrossFilesystems: a.o.CrossFilesystems, Mount: a.mount, Now: a.clock.Now,
		Emit: a.emitRealtime, HasRoom: a.stream.HasRoom, OnError: a.countUnreadable,
		Method: a.o.Watch, Skew: a.stream.Skew, CoverAgain: a.coverAgain,
		Overflow: a.overflowed, RootLost: a.rootLost, RootBack: a.rootBack, Logger: a.o.Logger,
		Window: a.o.Tuning.Window, RootEvery: a.o.Tuning.RootEvery, RetryEvery: a.o.Tuning.WatchEvery, MaxPending: a.o.Tuning.MaxPending,
		System: hang.System(a.o.Tuning.System, a.calls), Notifier: a.o.Tuning.Notifier,
	})
	if err == nil {
		a.watcher.Store(w)
		a.mount = w.Mount()
	}
	return err
}

// runWatch watches. After a failure it begins anew, and has everything scanned again: what happened between is not known.
func (a *Agent) runWatch(ctx context.Context) error {
	w := a.watcher.Load()
	if w == nil {
		if err := a.newWatcher(); err != nil {
			return err
		}
		w = a.watcher.Load()
		a.mu.Lock()
		a.scans.covered = false
		a.mu.Unlock()
		if err := w.Lost(); err != nil {
			a.rootLost(err)
		}
		a.needRescan()
	}
	err := w.Run(ctx)
	if ctx.Err() == nil {
		a.watcher.CompareAndSwap(w, nil)
	}
	return err
}

// coverAgain asks for every directory to be met: some can be watched that could not.
func (a *Agent) coverAgain() {
	a.mu.Lock()
	a.scans.covered = false
	a.mu.Unlock()
	a.poke()
}

// needRescan asks for everything to be scanned again: notices, or listings, were lost.
func (a *Agent) needRescan() {
	a.mu.Lock()
	a.scans.rescan = true
	a.mu.Unlock()
	a.poke()
}

// overflowed asks for what is below these directories to be scanned again. nil: for everything.
func (a *Agent) overflowed(subtrees []string) {
	if subtrees == nil {
		a.needRescan()
		return
	}
	a.mu.Lock()
	a.scans.dirty.add(subtrees)
	a.mu.Unlock()
	a.poke()
}

// poke makes the scans decide anew.
func (a *Agent) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// rootLost stops the scans. What the view knows stands.
func (a *Agent) rootLost(err error) {
	a.o.Logger.Error("the root is lost; the view keeps what it knows until it is back", "root", a.o.Root, "error", err)
	a.mu.Lock()
	a.lost = err
	a.cancel()
	a.occur(rootLost)
	a.mu.Unlock()
	a.stream.Realtime([]event.Event{{
		Kind: event.Marked, Evidence: event.Realtime, ObservedAt: a.clock.Now(), Path: "/",
		Mark: event.Mark{Kind: event.SubtreeError, Errors: 1, Message: fmt.Sprintf("the root is lost: %.500q", err.Error())},
	}})
	a.poke()
}

// rootBack has everything scanned again.
func (a *Agent) rootBack() {
	a.o.Logger.Info("the root is back and is scanned again", "root", a.o.Root)
	a.mu.Lock()
	a.lost = nil
	a.occur(rootFound)
	a.occurPause()
	a.scans.rescan, a.scans.covered = true, false
	a.seen.forget()
	a.mu.Unlock()
	a.poke()
}
