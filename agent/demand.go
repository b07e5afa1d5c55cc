package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/schedule"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/job"
)

// demandScanner runs the scans that people ask for, one after the other, beside the scheduled ones.
type demandScanner struct {
	*scanner
	commands *commands
	every    func(interval func()) (stop func()) // calls it regularly
}

// run does what the commands ask for until ctx ends.
func (d *demandScanner) run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case c := <-d.commands.scans:
			d.runCommand(ctx, c)
		}
	}
}

// runCommand scans what a command says, and reports on it.
func (d *demandScanner) runCommand(ctx context.Context, c job.Command) {
	of, leads := d.situation.leadership()
	switch {
	case !leads && c.Target != "":
		d.commands.answer(ctx, c, job.Report{State: job.Failed, Error: d.whyNotLeading()})
		return
	case !leads:
		d.commands.release(c.ID) // it is the next leader's
		return
	}
	scanCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.situation.beginDemand(cancel)
	counts := &scan.Counts{}
	path := string(c.Path)
	d.o.Logger.Info("scan on demand", "path", fmt.Sprintf("%q", path), "job", c.ID)
	report := func(state job.State, failure error, last *int64) {
		r := job.Report{For: c.For, State: state, Files: counts.Files.Load(), Directories: counts.Directories.Load(), Errors: counts.Errors.Load(), LastSeq: last}
		if failure != nil {
			r.Error = failure.Error()
		}
		d.commands.report(ctx, of.Session, c.ID, r)
	}
	report(job.Running, nil, nil)
	stop := d.every(func() { report(job.Running, nil, nil) })
	err := d.scanPath(scanCtx, of, path, c.Recursive, counts)
	stop()
	d.counters.onDemand.Add(entries(counts))
	if err == nil {
		var last int64
		if last, err = d.lastSegment(of.Session); err == nil {
			report(job.Done, nil, &last)
			return
		}
	}
	if _, leads := d.situation.leadership(); !leads && c.Target != "" && ctx.Err() == nil {
		err = errors.New(d.whyNotLeading())
	} else if scanCtx.Err() != nil || errors.Is(err, pipe.ErrTerm) || errors.Is(err, pipe.ErrNoSession) {
		d.commands.release(c.ID) // the next leader does it
		return
	}
	report(job.Failed, err, nil)
}

// whyNotLeading says why a scan through this session cannot be.
func (d *demandScanner) whyNotLeading() string {
	if d.situation.pausing() != nil {
		return fmt.Sprintf("this session is paused and does not lead view %s: resume it, or ask the leader", d.o.View)
	}
	return fmt.Sprintf("this session does not lead view %s, and only the leader scans: ask the leader", d.o.View)
}

// lastSegment ends the open segment and is the number of the session's last one so far; -1 if it has none.
func (d *demandScanner) lastSegment(session string) (int64, error) {
	now, seq, ok, err := d.stream.Sealed()
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

// scanPath scans path, and what is below it. If the path no longer exists, its nearest existing parent is listed, which shows
// that it is gone.
func (d *demandScanner) scanPath(ctx context.Context, of schedule.Leadership, path string, recursive bool, counts *scan.Counts) error {
	if !event.ValidPath(path) {
		return fmt.Errorf("not a path of a view: %.200q", path)
	}
	watcher, root, err := d.watching.openRoot()
	if err != nil {
		return err
	}
	defer root.Close()
	looker := root.Looker()
	defer looker.Close()
	cfg, to := d.watching.subscription.Config(watcher, root), d.receiver(watcher, counts)
	d.list(to, of.Term, event.OnDemand)
	target, shallow := path, !recursive
	if path != "/" {
		at := d.clock.Now()
		info, err := looker.Lstat(path)
		switch {
		case tree.Gone(err):
			if target, err = existingAbove(looker, path); err != nil {
				return err
			}
			shallow = true
		case err != nil:
			return err
		case info.Entry.Type != event.Directory && cfg.LeavesOut(event.Parent(path), info.ID.Dev):
			target, shallow = event.Parent(path), true // which has no files in the view, or this one is a mount point
		case info.Entry.Type != event.Directory:
			if info.Entry.Type == event.File {
				counts.Files.Add(1)
			}
			d.hot.note(path, &info.Entry, at, d.stream.Skew())
			return d.stream.Scan(ctx, of.Term, observation(path, at, event.OnDemand, info.Entry), nil)
		}
	}
	cfg.Shallow = shallow
	return scan.Run(ctx, cfg, to, target)
}

// observation is the event of one path that is no directory, as it was seen at a time.
func observation(path string, at int64, evidence event.Evidence, entry event.Entry) *event.Event {
	_, entry.Name = event.Split(path)
	return &event.Event{Kind: event.Put, Evidence: evidence, ObservedAt: at, Path: path, Atomic: true, Entry: entry}
}
