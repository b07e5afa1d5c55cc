package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/fustor/fustor/agent/guard"
	"github.com/fustor/fustor/agent/hang"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/job"
)

const (
	// commandWait is how long a call for commands waits.
	commandWait = 25 * time.Second
	// askAgain is when an ingest that does not hold such calls is asked whether it does now.
	askAgain = 10 * time.Minute
	// reportEvery is how often a job says how far it is.
	reportEvery = time.Second
)

// demand is the commands that this agent works on or has done, so that one that is told twice is done once.
type demand struct {
	mu     sync.Mutex
	seen   map[string]bool
	jobs   chan job.Command // scans
	orders chan job.Command // the others
}

// offer queues commands that were not seen. Those that find no room come again with the next heartbeat.
func (d *demand) offer(commands []job.Command) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range commands {
		if d.seen[c.ID] {
			continue
		}
		queue := d.orders
		if c.Type == job.Scan || c.Type == "" {
			queue = d.jobs
		}
		select {
		case queue <- c:
			if len(d.seen) > 10_000 {
				clear(d.seen)
			}
			d.seen[c.ID] = true
		default:
		}
	}
}

// leading is the session and the term while this agent leads; false otherwise.
func (a *Agent) leading() (scanKey, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return scanKey{a.stand.session, a.stand.term}, a.stand.leader && a.stand.session != ""
}

// awaitCommands asks for commands while the agent leads, so that they need not wait for a heartbeat.
func (a *Agent) awaitCommands(ctx context.Context) error {
	retry := backoff{}
	for ctx.Err() == nil {
		key, ok := a.leading()
		if !ok {
			sleep(ctx, time.Second)
			continue
		}
		began := time.Now()
		callCtx, cancel := context.WithTimeout(ctx, commandWait+30*time.Second)
		commands, err := a.client.Commands(callCtx, key.session, commandWait)
		cancel()
		switch {
		case errors.Is(err, send.ErrSessionGone):
			sleep(ctx, time.Second) // the heartbeat finds out by itself
		case err != nil:
			sleep(ctx, retry.next(err))
		default:
			retry = backoff{}
			a.demand.offer(commands)
			if len(commands) == 0 && time.Since(began) < commandWait/2 { // an ingest that does not hold calls: heartbeats bring them
				sleep(ctx, askAgain)
			} else if len(commands) > 0 {
				sleep(ctx, reportEvery) // until the first report has said that they were heard
			}
		}
	}
	return ctx.Err()
}

// runDemand does what readers ask for, one job after the other, beside whatever else is scanned.
func (a *Agent) runDemand(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-a.demand.jobs:
			a.runCommand(ctx, c)
		}
	}
}

// runCommand scans what a command says, and reports on it.
func (a *Agent) runCommand(ctx context.Context, c job.Command) {
	key, ok := a.leading()
	switch {
	case !ok && c.Target != "":
		a.report(ctx, c, job.Report{State: job.Failed, Error: a.whyNotLeading()})
		return
	case !ok:
		a.demand.forget(c.ID) // it is the next leader's
		return
	}
	scanCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.mu.Lock()
	a.cancelDemand = cancel
	a.mu.Unlock()
	counts := &scan.Counts{}
	path := string(c.Path)
	a.o.Logger.Info("scan on demand", "path", fmt.Sprintf("%q", path), "job", c.ID)
	report := func(state job.State, failure error, last *int64) {
		r := job.Report{For: c.For, State: state, Files: counts.Files.Load(), Directories: counts.Directories.Load(), Errors: counts.Errors.Load(), LastSeq: last}
		if failure != nil {
			r.Error = failure.Error()
		}
		a.reportJob(ctx, key.session, c.ID, r)
	}
	report(job.Running, nil, nil)
	stop := a.every("job", reportEvery, func() { report(job.Running, nil, nil) })
	err := a.scanOnDemand(scanCtx, key, path, c.Recursive, counts)
	stop()
	a.tally.demand.Add(entries(counts))
	if err == nil {
		var last int64
		if last, err = a.sealed(key.session); err == nil {
			report(job.Done, nil, &last)
			return
		}
	}
	if _, ok := a.leading(); !ok && c.Target != "" && ctx.Err() == nil {
		err = errors.New(a.whyNotLeading())
	} else if scanCtx.Err() != nil || errors.Is(err, pipe.ErrTerm) || errors.Is(err, pipe.ErrNoSession) {
		a.demand.forget(c.ID) // left for whoever leads next
		return
	}
	report(job.Failed, err, nil)
}

// whyNotLeading says why a scan through this session cannot be.
func (a *Agent) whyNotLeading() string {
	if a.pausing() != nil {
		return fmt.Sprintf("this session is paused, and does not lead view %s; resume it, or ask whoever leads", a.o.View)
	}
	return fmt.Sprintf("this session does not lead view %s, and only the leader scans; ask whoever leads", a.o.View)
}

func (d *demand) forget(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.seen, id)
}

// reportJob tells how far a job is; the last word is tried again for a while. It reports whether it was heard, or nobody
// is left to hear it.
func (a *Agent) reportJob(ctx context.Context, session, id string, r job.Report) bool {
	retry := backoff{}
	for try := 0; ; try++ {
		callCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
		err := a.client.ReportJob(callCtx, session, id, r)
		cancel()
		if err == nil || ctx.Err() != nil || !r.State.Ended() || try == 8 || errors.Is(err, send.ErrSessionGone) {
			if err != nil && ctx.Err() == nil {
				a.o.Logger.Warn("a job could not be reported on", "job", id, "error", err)
			}
			return err == nil || errors.Is(err, send.ErrSessionGone)
		}
		sleep(ctx, retry.next(err))
	}
}

// sealed is the session's last segment so far.
func (a *Agent) sealed(session string) (int64, error) {
	now, seq, ok, err := a.stream.Sealed()
	switch {
	case err != nil:
		return 0, err
	case now != session:
		return 0, pipe.ErrTerm
	case !ok:
		return -1, nil
	}
	return int64(seq), nil
}

// every calls f regularly until the answer is called. A panic in it is reported as that of the task.
func (a *Agent) every(task string, d time.Duration, f func()) (stop func()) {
	quit, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(d)
		defer tick.Stop()
		for {
			select {
			case <-quit:
				return
			case <-tick.C:
				if err := guard.Do(func() error { f(); return nil }); err != nil {
					a.taskFailed(task, err)
				}
			}
		}
	}()
	return func() {
		close(quit)
		<-ended
	}
}

// scanOnDemand looks at path, and at what is below it. Where it is gone, it lists the directory that it was in, which says
// so.
func (a *Agent) scanOnDemand(ctx context.Context, key scanKey, path string, recursive bool, counts *scan.Counts) error {
	if !event.ValidPath(path) {
		return fmt.Errorf("not a path of a view: %.200q", path)
	}
	w := a.watcher.Load()
	if w == nil {
		return errNotWatched
	}
	root, err := w.OpenRoot()
	if err != nil {
		return fmt.Errorf("open root: %w", err)
	}
	defer root.Close()
	look := root.Looker()
	defer look.Close()
	target, shallow := path, !recursive
	if path != "/" {
		at := a.clock.Now()
		info, err := look.Lstat(path)
		switch {
		case tree.Gone(err):
			if target, err = existingAbove(look, path); err != nil {
				return err
			}
			shallow = true
		case err != nil:
			return err
		case info.Entry.Type != event.Directory:
			_, info.Entry.Name = event.Split(path)
			if info.Entry.Type == event.File {
				counts.Files.Add(1)
			}
			ev := event.Event{Kind: event.Put, Evidence: event.OnDemand, ObservedAt: at, Path: path, Atomic: true, Entry: info.Entry}
			return a.stream.Scan(ctx, key.term, &ev, nil)
		}
	}
	j := wholeScan{key: key, evidence: event.OnDemand}
	return scan.Run(ctx, scan.Config{
		Root: hang.Bare(root), Excludes: a.excludes, CrossFilesystems: a.o.CrossFilesystems, Workers: a.o.ScanWorkers, Shallow: shallow,
		Rate: a.rate, Idle: a.o.IOIdle, Hangs: a.calls,
		Evidence: event.OnDemand, Now: a.clock.Now, Cover: w.Cover, Counts: counts,
		Emit:    func(ctx context.Context, ev *event.Event, p scan.Place) error { return a.emit(ctx, j, ev, p) },
		OnError: a.cannotRead(w),
	}, target)
}

// existingAbove is the nearest directory above path that is there.
func existingAbove(look tree.Looker, path string) (string, error) {
	for path != "/" {
		parent, _ := event.Split(path)
		if path = parent[:max(1, len(parent)-1)]; path == "/" {
			break
		}
		info, err := look.Lstat(path)
		if err == nil && info.Entry.Type == event.Directory {
			return path, nil
		}
		if err != nil && !tree.Gone(err) {
			return "", err
		}
	}
	return "/", nil
}

// runSentinel looks at the suspects, as long as the agent leads: whether they are still being written to.
func (a *Agent) runSentinel(ctx context.Context) error {
	for ctx.Err() == nil {
		a.mu.Lock()
		wait := a.stand.sentinel
		a.mu.Unlock()
		never := wait <= 0
		if never { // so far, or as the view has it
			wait = time.Second
		}
		sleep(ctx, wait)
		key, ok := a.leading()
		if !ok || never || ctx.Err() != nil {
			continue
		}
		if err := a.lookAtSuspects(ctx, key); err != nil && ctx.Err() == nil && !errors.Is(err, pipe.ErrTerm) {
			return err
		}
	}
	return ctx.Err()
}

func (a *Agent) lookAtSuspects(ctx context.Context, key scanKey) error {
	callCtx, cancel := context.WithTimeout(ctx, 30*time.Second)
	paths, err := a.client.Suspects(callCtx)
	cancel()
	if err != nil || len(paths) == 0 {
		return err
	}
	w := a.watcher.Load()
	if w == nil {
		return errNotWatched
	}
	root, err := w.OpenRoot()
	if err != nil {
		return fmt.Errorf("open root: %w", err)
	}
	defer root.Close()
	look := root.Looker()
	defer look.Close()
	for _, path := range paths {
		if now, ok := a.leading(); !ok || now != key {
			return nil
		}
		if !event.ValidPath(path) || path == "/" {
			continue
		}
		at := a.clock.Now()
		info, err := look.Lstat(path)
		if err != nil || info.Entry.Type != event.File {
			continue // the kernel, or the next audit, says what became of it
		}
		_, info.Entry.Name = event.Split(path)
		ev := event.Event{Kind: event.Put, Evidence: event.Audit, ObservedAt: at, Path: path, Atomic: true, Entry: info.Entry}
		if err := a.stream.Scan(ctx, key.term, &ev, nil); err != nil {
			return err
		}
	}
	return nil
}
