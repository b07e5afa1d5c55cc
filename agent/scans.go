package agent

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/schedule"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/sleep"
	"github.com/fustor/fustor/internal/trace"
)

// scanner runs the scans that the schedule decides on, one at a time.
type scanner struct {
	o           *Options
	situation   *situation
	watching    *watching
	stream      *pipe.Stream
	directories *directories
	counters    *counters
	clock       *pipe.Clock
	progress    func() (stop func())
	excludes    *tree.Excludes
	hot         *hotFiles

	failed  backoff
	alone   bool        // the next scan is shared with no other pipe: they were too quick for the last one
	leftOut *scan.Known // what the last snapshot has left out, to be caught up with
	pseudo  []string    // the file systems that the last complete scan left out because they hold no stored files
	tally   *tree.Tally // of the scan that runs or ran last; nil: it did not meet all names
	told    bool        // the log says what each exclude pattern leaves out
}

// run does what has to be scanned, one scan at a time, until ctx ends.
func (s *scanner) run(ctx context.Context) error {
	for ctx.Err() == nil {
		task, wait, ok := s.situation.nextScan(time.Now(), s.stream.HasRoom())
		if !ok {
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
			case <-s.situation.wake:
			case <-timer.C:
			}
			timer.Stop()
			continue
		}
		if err := s.runTask(ctx, task); err != nil && ctx.Err() == nil {
			s.pause(ctx, task, err)
		}
	}
	return ctx.Err()
}

// maxExcluded bounds the exclude patterns of a report: ingest keeps 16 KiB of it all.
const maxExcluded = 20

// errPanicked is how a scan ended that did not return.
var errPanicked = errors.New("the scan has panicked")

// runTask scans. It ends early, and without an error, when the role or the term changes.
func (s *scanner) runTask(ctx context.Context, t schedule.Task) error {
	taskCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	if !s.situation.beginScan(t, cancel) {
		return nil // decide again
	}
	log := s.o.Logger.With("scan", t.Kind, "term", t.Leadership.Term)
	log.Info("scan started")
	start, counts, changed := time.Now(), s.counters.beginScan(), &atomic.Uint64{}
	stopProgress := s.progress()
	err := errPanicked
	defer func() {
		if err == errPanicked { // what the scan was to repair is still to be repaired
			stopProgress()
			s.situation.endScan(t, err, position{})
		}
	}()
	scanCtx, span := trace.Start(taskCtx, trace.Internal, "scan", trace.View(s.o.View), trace.Text("fustor.scan", string(t.Kind)))
	err = s.scan(scanCtx, t, counts, changed)
	span.Is(trace.Number("fustor.directories", int64(counts.Directories.Load())), trace.Number("fustor.files", int64(counts.Files.Load())),
		trace.Number("fustor.errors", int64(counts.Errors.Load())))
	span.EndWith(err)
	if s.situation.endScan(t, err, s.lastListed(t, counts)) {
		s.leftOut = nil
		s.o.Logger.Info("all directories that the snapshot left out were listed")
	}
	if err == nil && t.Whole() && t.Lists() {
		s.counters.completed(t.Kind, start, counts, changed.Load(), s.excluded(), s.pseudo)
	}
	stopProgress()
	took := max(time.Since(start), time.Microsecond)
	if err == nil && t.Lists() {
		s.directories.compact()
	}
	outcome := "scan complete"
	if err != nil {
		outcome = "scan stopped"
	}
	log.Info(outcome, "seconds", round(took.Seconds()), "per_second", int64(float64(entries(counts))/took.Seconds()),
		"directories", counts.Directories.Load(), "files", counts.Files.Load(), "errors", counts.Errors.Load())
	switch {
	case err == nil:
		s.failed = backoff{}
	case taskCtx.Err() != nil && ctx.Err() == nil:
		return nil // cancelled by the situation: decide again
	}
	return err
}

// lastListed is the segment that the last listing of a scan is in, or one after it; the zero value where it listed nothing.
func (s *scanner) lastListed(t schedule.Task, counts *scan.Counts) position {
	if !t.Lists() || counts.Directories.Load() == 0 {
		return position{}
	}
	session, seq := s.stream.Position()
	return position{session, seq}
}

// excluded is what the exclude patterns came to in the scan that is complete. The first time, the log says it too: a pattern
// that leaves nothing out is most likely a mistake.
func (s *scanner) excluded() []pipeapi.Excluded {
	if s.tally == nil {
		return nil
	}
	excluded := []pipeapi.Excluded{}
	for pattern, entries := range s.tally.Each {
		asked := slices.Contains(s.o.Excludes, pattern)
		if entries == 0 && !asked {
			continue // a default one
		}
		if !s.told {
			log, what := s.o.Logger.Info, "exclude pattern"
			if entries == 0 {
				log, what = s.o.Logger.Warn, "the exclude pattern matches nothing in the tree"
			}
			log(what, "pattern", pattern, "entries", entries)
		}
		if len(excluded) < maxExcluded {
			excluded = append(excluded, pipeapi.Excluded{Pattern: shorten(strings.ToValidUTF8(pattern, "?"), maxExample), Entries: entries})
		}
	}
	s.told = true
	return excluded
}

// watchPseudo has a scan tell of the file systems that it leaves out because they hold no stored files. Once it is complete, the answer
// gives them, and says them in the log where they are others than before.
func (s *scanner) watchPseudo(to *scan.Receiver) (complete func() []string) {
	var mu sync.Mutex
	var found []string
	to.Pseudo = func(path, kind string) {
		mu.Lock()
		defer mu.Unlock()
		found = append(found, fmt.Sprintf("%s (%s)", shorten(path, maxExample), kind))
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		slices.Sort(found)
		count := len(found)
		found = found[:min(count, maxExcluded)]
		if count > 0 && !slices.Equal(found, s.pseudo) {
			s.o.Logger.Info("file systems that hold no stored files are left out", "number", count, "mounts", strings.Join(found, ", "))
		}
		return found
	}
}

// pause waits after a failure, before the next try.
func (s *scanner) pause(ctx context.Context, t schedule.Task, err error) {
	if errors.Is(err, scan.ErrBehind) {
		s.o.Logger.Warn("the other pipes of the source scan faster than this one can send; it scans again by itself", "scan", t.Kind)
		return
	}
	if errors.Is(err, pipe.ErrTerm) {
		_ = sleep.For(ctx, 50*time.Millisecond) // the new term is being taken in
		return
	}
	wait := s.failed.next(err)
	s.o.Logger.Error("scan failed", "scan", t.Kind, "error", err, "again_in", wait.Round(time.Millisecond))
	_ = sleep.For(ctx, wait)
}

// scan does what the task says, with the marks around it.
func (s *scanner) scan(ctx context.Context, t schedule.Task, counts *scan.Counts, changed *atomic.Uint64) error {
	watcher, root, err := s.watching.openRoot()
	if err != nil {
		return err
	}
	defer root.Close()
	s.tally = nil
	begin, end := t.Marks()
	if begin != 0 {
		if err := s.mark(ctx, t, event.Mark{Kind: begin}); err != nil {
			return err
		}
	}
	to := s.receiver(watcher, counts)
	if t.Lists() {
		s.directories.findAtimes(root)
		s.list(to, t.Leadership.Term, t.Evidence())
		to.Listed = s.directories.recorder(t.Leadership, root)
	}
	if t.ChangedOnly {
		count := func() { changed.Add(1) }
		to.Look, to.Same = auditLook(s.directories.mtimes, t.Share, watcher.ShownAgain, count), auditSame(s.directories.mtimes, count)
	}
	switch t.Kind {
	case schedule.Subtrees:
		return s.scanSubtrees(ctx, s.watching.subscription.Config(watcher, root), to, root, t.Subtrees)
	case schedule.CatchUp:
		return s.catchUp(ctx, s.watching.subscription.Config(watcher, root), to, t.Share)
	}
	if t.Resumes {
		s.leaveOutKnown(to, t.Leadership, root)
	}
	if to.Known == nil {
		s.tally = s.excludes.Tally()
		to.LeftOut = s.tally
	}
	pseudo := s.watchPseudo(to)
	if t.Lists() {
		s.directories.mtimes.begin()
	}
	err = s.watching.subscription.Walk(ctx, to, s.alone)
	if err == nil && t.Lists() {
		s.directories.mtimes.end()
		s.pseudo = pseudo()
	}
	s.alone = errors.Is(err, scan.ErrBehind)
	if err != nil || end == 0 {
		return err
	}
	return s.mark(ctx, t, counts.Mark(end))
}

// receiver takes a scan that lists nothing.
func (s *scanner) receiver(watcher *watch.Watcher, counts *scan.Counts) *scan.Receiver {
	return &scan.Receiver{Counts: counts, OnError: func(path string, err error) {
		watcher.NoteUnreadable(path, err)
		s.o.Logger.Warn("cannot read", "path", fmt.Sprintf("%q", path), "error", err)
		s.counters.unreadable(path, err)
	}}
}

// list has a scan send what it lists, under this term.
func (s *scanner) list(to *scan.Receiver, term uint64, evidence event.Evidence) {
	to.Evidence = evidence
	to.Room = s.room
	to.Emit = func(ctx context.Context, ev *event.Event, reading scan.Reading) error {
		ev.ObservedAt = s.clock.At(ev.ObservedAt)
		check := func() (*event.Event, error) { return reading.Check(ev) }
		if reading == nil {
			check = nil
		}
		if err := s.stream.ScanNow(ctx, term, ev, check); err != nil {
			return err
		}
		s.hot.noteListing(ev, s.stream.Skew())
		return nil
	}
}

// room is how much of a scan the stream takes. One that is slower than those of other pipes may have twice the usual backlog.
func (s *scanner) room() scan.Room {
	switch room := s.stream.ScanRoom(); {
	case room > 0:
		return scan.Free
	case room > -s.stream.ScanBacklog():
		return scan.Slow
	}
	return scan.Full
}

// leaveOutKnown has a snapshot leave out the directories that an earlier process has listed and that did not change since.
// Files in them may have been written in place while no agent ran, which leaves no trace in a directory, so they are caught
// up with afterwards.
func (s *scanner) leaveOutKnown(to *scan.Receiver, of schedule.Leadership, root tree.Root) {
	from := s.directories.load(of, root)
	if from == nil {
		return
	}
	to.Known, to.Kept = from, s.directories.mtimes.remember
	s.leftOut = from
	s.situation.leftOut(of, rand.Uint64N(schedule.Shares))
}

// catchUp lists a share of the directories that the snapshot has left out.
func (s *scanner) catchUp(ctx context.Context, cfg scan.Config, to *scan.Receiver, share uint64) error {
	paths := inShare(nil, s.leftOut, "/", share)
	if len(paths) == 0 {
		return nil
	}
	cfg.Shallow, cfg.Workers = true, 2
	return scan.RunAll(ctx, cfg, to, paths)
}

// scanSubtrees scans what is below some directories. If one no longer exists, its nearest existing parent is listed, which
// shows that it is gone.
func (s *scanner) scanSubtrees(ctx context.Context, cfg scan.Config, to *scan.Receiver, root tree.Root, dirs []string) error {
	looker := root.Looker()
	defer looker.Close()
	for _, dir := range dirs {
		looker.Forget()
		target, err := directoryOrAbove(looker, dir)
		if err != nil {
			return err
		}
		cfg.Shallow = target != dir
		if err := scan.Run(ctx, cfg, to, target); err != nil && !errors.Is(err, scan.ErrMoved) {
			return err
		}
	}
	return nil
}

// directoryOrAbove is dir, or if that is no directory now the nearest one above.
func directoryOrAbove(looker tree.Looker, dir string) (string, error) {
	info, err := looker.Lstat(dir)
	if err == nil && info.Entry.Type == event.Directory {
		return dir, nil
	}
	if err != nil && !tree.Gone(err) {
		return "", err
	}
	return existingAbove(looker, dir)
}

// existingAbove is the nearest existing directory above path.
func existingAbove(looker tree.Looker, path string) (string, error) {
	for path != "/" {
		if path = event.Parent(path); path == "/" {
			break
		}
		info, err := looker.Lstat(path)
		if err == nil && info.Entry.Type == event.Directory {
			return path, nil
		}
		if err != nil && !tree.Gone(err) {
			return "", err
		}
	}
	return "/", nil
}

// mark sends a mark in a segment that goes out at once.
func (s *scanner) mark(ctx context.Context, t schedule.Task, m event.Mark) error {
	if err := s.stream.Cut(); err != nil {
		return err
	}
	ev := event.Event{Kind: event.Marked, Evidence: t.Evidence(), ObservedAt: s.clock.Now(), Path: "/", Mark: m}
	if err := s.stream.Scan(ctx, t.Leadership.Term, &ev, nil); err != nil {
		return err
	}
	return s.stream.Cut()
}
