package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/job"
)

// Agent feeds one view from one tree. Run runs it, once.
type Agent struct {
	o        Options
	excludes *tree.Excludes
	clock    *pipe.Clock
	stream   *pipe.Stream
	client   *send.Client
	sender   send.Sender

	watcher atomic.Pointer[watch.Watcher] // nil until Run
	gone    chan string                   // sessions that were found dead by others than the heartbeat
	wake    chan struct{}                 // a token when the scans have something new to decide

	demand     demand
	seen       *seen
	leaseUntil atomic.Int64 // the store's time, ns; 0: this agent does not lead

	mu     sync.Mutex
	stand  standing
	scans  scans
	counts *scan.Counts // of the scan that runs, or ran last
	sent   struct{ segments, bytes, failures uint64 }
	lost   error // why the root is lost
	cancel context.CancelFunc
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
		o: o, excludes: excludes, clock: pipe.NewClock(o.Tuning.Steady, o.Tuning.Wall), counts: &scan.Counts{},
		demand: demand{seen: map[string]bool{}, jobs: make(chan job.Command, 100)},
		gone:   make(chan string, 1), wake: make(chan struct{}, 1), cancel: func() {},
	}
	if a.client, err = send.NewClient(o.IngestURL, o.APIKey, o.View, o.IngestHTTP, a.clock); err != nil {
		return nil, err
	}
	a.sender = o.Sender
	if a.sender == nil {
		a.sender = send.NewIngest(a.client, nil)
	}
	remote := o.Tuning.System.Remote(o.Root)
	a.seen = newSeen(remote)
	a.stream = pipe.New(pipe.Config{
		View: o.View, Agent: o.AgentID, Source: o.SourceURI, Local: !remote, Now: a.clock.Now, LeaseUntil: a.leaseUntil.Load,
		MaxAge: o.Tuning.SegmentAge, MaxBacklog: o.Tuning.MaxBacklog, ScanBacklog: o.Tuning.ScanBacklog,
	})
	return a, a.register(o.Registry)
}

// Run works until ctx ends, then sends what is left, for at most a grace period, and closes the session. It returns
// nil after a clean end; errors of the network, ingest or the tree do not end it.
func (a *Agent) Run(ctx context.Context) error {
	w, err := watch.New(watch.Config{
		Root: a.o.Root, Excludes: a.excludes, CrossFilesystems: a.o.CrossFilesystems, Now: a.clock.Now,
		Emit: a.stream.Realtime, HasRoom: a.stream.HasRoom,
		Overflow: a.needRescan, RootLost: a.rootLost, RootBack: a.rootBack, Logger: a.o.Logger,
		Window: a.o.Tuning.Window, RootEvery: a.o.Tuning.RootEvery, MaxPending: a.o.Tuning.MaxPending,
		System: a.o.Tuning.System, Notifier: a.o.Tuning.Notifier,
	})
	if err != nil {
		return err
	}
	a.watcher.Store(w)

	// The sending side outlives the source, to send what the source leaves.
	after, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	sending, afterSending := errgroup.WithContext(after)
	sending.Go(func() error { return a.upload(afterSending) })
	sending.Go(func() error { return a.keepSession(afterSending) })
	sending.Go(func() error { return a.guardLease(afterSending) })

	source, sourceCtx := errgroup.WithContext(ctx)
	source.Go(func() error { return w.Run(sourceCtx) })
	source.Go(func() error { return a.runScans(sourceCtx) })
	source.Go(func() error { return a.runDemand(sourceCtx) })
	source.Go(func() error { return a.awaitCommands(sourceCtx) })
	source.Go(func() error { return a.runSentinel(sourceCtx) })
	err = source.Wait()
	a.stream.Close()
	end := time.AfterFunc(a.o.Tuning.GracePeriod, stop)
	defer end.Stop()
	sendErr := sending.Wait()
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		err = nil
	}
	if sendErr != nil && !errors.Is(sendErr, context.Canceled) && !errors.Is(sendErr, errAllSent) {
		err = errors.Join(err, sendErr)
	}
	a.closeSession(ctx)
	return err
}

// errAllSent ends the sending side once there is nothing left to send.
var errAllSent = errors.New("everything is sent")

// needRescan asks for everything to be scanned again: notices, or listings, were lost.
func (a *Agent) needRescan() {
	a.mu.Lock()
	a.scans.rescan = true
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
	a.scans.rescan, a.scans.covered = true, false
	a.seen.forget()
	a.mu.Unlock()
	a.poke()
}
