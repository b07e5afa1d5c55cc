package agent

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/fustor/fustor/agent/hang"
	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/agent/scan"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/internal/event"
)

// scans is what was scanned, and what has to be.
type scans struct {
	covered  bool      // every directory is watched, as far as the system allows
	rescan   bool      // something was lost
	snapshot scanKey   // the last complete one
	auditAt  time.Time // when the next is due; zero: not known
	settleAt time.Time // when to scan again after an overflow; zero: no need
	failed   backoff
	running  string
	began    time.Time // the scan that runs, or ran last
	audited  scanKey   // the leadership that has had a whole audit
	audits   uint64
	dirty    subtrees // to be scanned again
	settling subtrees // at settleDirtyAt once more
	// settleDirtyAt is zero if nothing is settling.
	settleDirtyAt time.Time
	whole         bool     // a snapshot of this process is complete
	catchUp       *catchUp // nil: there is none
}

// subtrees are some directories that stand for all that is below them: few, none below another.
type subtrees []string

func (s *subtrees) add(dirs []string) {
	*s = watch.Subtrees(append(slices.Clone(*s), dirs...), watch.MaxSubtrees)
}

// scanKey is the leadership that a snapshot was made in.
type scanKey struct {
	session string
	term    uint64
}

// wholeScan is one scan of the whole tree.
type wholeScan struct {
	name     string
	key      scanKey
	evidence event.Evidence
	begin    event.MarkKind // 0: no marks
	end      event.MarkKind
	list     bool // emit listings; otherwise only cover
	snapshot bool
	settle   bool
	changed  bool     // list changed directories only, and a share of the others
	subtrees subtrees // of these only; nil: all
	resume   bool     // leave out what an earlier process has listed
	catchUp  *catchUp // a share of what was left out
}

// runScans does what has to be scanned, one scan at a time, until ctx ends.
func (a *Agent) runScans(ctx context.Context) error {
	for ctx.Err() == nil {
		j, wait := a.nextJob(time.Now())
		if j == nil {
			timer := time.NewTimer(wait)
			select {
			case <-ctx.Done():
			case <-a.wake:
			case <-timer.C:
			}
			timer.Stop()
			continue
		}
		if err := a.runJob(ctx, *j); err != nil && ctx.Err() == nil {
			a.scanFailed(ctx, *j, err)
		}
	}
	return ctx.Err()
}

// nextJob is the scan that is due, or how long to wait for one.
func (a *Agent) nextJob(now time.Time) (*wholeScan, time.Duration) {
	room := a.stream.HasRoom()
	a.mu.Lock()
	defer a.mu.Unlock()
	const idle = time.Hour
	st, sc := &a.stand, &a.scans
	if st.session == "" || a.lost != nil || a.pause != nil {
		return nil, idle
	}
	key := scanKey{st.session, st.term}
	if sc.auditAt.IsZero() && st.audit > 0 {
		sc.auditAt = now.Add(st.audit)
	}
	settle := !sc.settleAt.IsZero() && !now.Before(sc.settleAt)
	switch {
	case st.leader && sc.snapshot != key:
		return &wholeScan{name: "snapshot", key: key, evidence: event.Snapshot, begin: event.SnapshotBegin, end: event.SnapshotEnd, list: true, snapshot: true, settle: sc.rescan || len(sc.dirty) > 0,
			resume: !sc.whole && !sc.rescan && len(sc.dirty) == 0}, 0
	case sc.rescan || settle:
		j := &wholeScan{name: "rescan", key: key, evidence: event.Audit, list: true, settle: sc.rescan || len(sc.dirty) > 0}
		if st.leader {
			j.begin, j.end = event.AuditBegin, event.AuditEnd
		}
		return j, 0
	case !sc.covered:
		return &wholeScan{name: "cover", key: key}, 0
	case len(sc.dirty) > 0 && room: // without, there would only be more
		return &wholeScan{name: "subtrees", key: key, evidence: event.Audit, list: true, settle: true, subtrees: sc.dirty}, 0
	case !sc.settleDirtyAt.IsZero() && !now.Before(sc.settleDirtyAt):
		return &wholeScan{name: "subtrees", key: key, evidence: event.Audit, list: true, subtrees: sc.settling}, 0
	case st.leader && st.audit > 0 && !now.Before(sc.auditAt):
		return &wholeScan{name: "audit", key: key, evidence: event.Audit, begin: event.AuditBegin, end: event.AuditEnd, list: true, changed: sc.audited == key || sc.catchUp.of(key)}, 0
	case st.leader && sc.catchUp.of(key) && !now.Before(sc.catchUp.at):
		return &wholeScan{name: "catch-up", key: key, evidence: event.Audit, list: true, catchUp: sc.catchUp}, 0
	}
	wait := idle
	if st.leader && st.audit > 0 {
		wait = min(wait, sc.auditAt.Sub(now))
	}
	times := []time.Time{sc.settleAt, sc.settleDirtyAt}
	if st.leader && sc.catchUp.of(key) {
		times = append(times, sc.catchUp.at)
	}
	for _, at := range times {
		if !at.IsZero() {
			wait = min(wait, at.Sub(now))
		}
	}
	if len(sc.dirty) > 0 {
		wait = min(wait, 200*time.Millisecond)
	}
	return nil, wait
}

// runJob scans. It ends early, with ctx's error, when the role or the term changes.
func (a *Agent) runJob(ctx context.Context, j wholeScan) error {
	jobCtx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.mu.Lock()
	if (scanKey{a.stand.session, a.stand.term}) != j.key || a.lost != nil || a.pause != nil {
		a.mu.Unlock()
		return nil // decide again
	}
	a.cancel = cancel
	a.tally.scanned += entries(a.counts)
	a.counts = &scan.Counts{}
	counts := a.counts
	a.scans.began = time.Now()
	a.tally.changed.Store(0)
	a.scans.running = j.name
	switch {
	case j.snapshot:
		a.occur(snapshotBegan)
	case j.list:
		a.occur(auditBegan)
	}
	a.scans.begin(j)
	a.mu.Unlock()
	a.o.Logger.Info("scan started", "scan", j.name, "term", j.key.term)
	start := time.Now()
	stopProgress := a.progress()
	err := a.scanAll(jobCtx, j, counts)
	a.scanEnded(j, err)
	if err == nil && j.list && j.subtrees == nil {
		a.tally.looked(j, start, counts)
	}
	stopProgress()
	took := max(time.Since(start), time.Microsecond)
	if err == nil && j.list && j.subtrees == nil {
		a.compactDirs()
	}
	level, text := a.o.Logger.Info, "scan complete"
	if err != nil {
		text = "scan stopped"
	}
	level(text, "scan", j.name, "term", j.key.term, "seconds", round(took.Seconds()), "per_second", int64(float64(entries(counts))/took.Seconds()), "directories", counts.Directories.Load(),
		"files", counts.Files.Load(), "errors", counts.Errors.Load())
	if err != nil && jobCtx.Err() != nil && ctx.Err() == nil {
		return nil // told to stop; decide again
	}
	return err
}

// begin forgets what a scan is to mend: what is lost from now on is lost again.
func (sc *scans) begin(j wholeScan) {
	switch {
	case j.catchUp != nil:
	case j.subtrees == nil:
		sc.rescan, sc.settleAt = false, time.Time{}
		if j.list {
			sc.dirty, sc.settling, sc.settleDirtyAt = nil, nil, time.Time{}
		}
	case j.settle:
		sc.dirty = nil
	default:
		sc.settling, sc.settleDirtyAt = nil, time.Time{}
	}
}

// endSubtrees notes how a scan of subtrees ended.
func (sc *scans) endSubtrees(j wholeScan, err error, settle time.Duration) {
	switch {
	case err != nil:
		sc.dirty.add(j.subtrees)
	case j.settle:
		sc.failed = backoff{}
		sc.settling.add(j.subtrees)
		sc.settleDirtyAt = time.Now().Add(settle)
	}
}

func (a *Agent) scanEnded(j wholeScan, err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	sc := &a.scans
	sc.running = ""
	switch {
	case !j.list: // nothing is said to have begun
	case a.state != snapshotting && a.state != auditing: // the session or the root was lost meanwhile
	case err != nil:
		a.occur(scanBroke)
	default:
		a.occur(scanEnded)
	}
	if j.subtrees != nil {
		sc.endSubtrees(j, err, a.o.Tuning.SettleAfter)
		return
	}
	if j.catchUp != nil {
		a.caughtUp(j, err)
		return
	}
	if err != nil {
		sc.rescan = sc.rescan || j.settle
		if j.name == "rescan" && !j.settle {
			sc.settleAt = time.Now()
		}
		return
	}
	sc.failed = backoff{}
	sc.covered = true
	if j.snapshot {
		sc.snapshot, sc.whole = j.key, true
		if !j.resume {
			sc.catchUp = nil
		}
	}
	if j.end == event.AuditEnd {
		sc.audited = j.key
		sc.audits++
	}
	if a.stand.audit > 0 {
		sc.auditAt = time.Now().Add(a.stand.audit)
	}
	if j.settle {
		// For as long as a file server's clients may show an old state, the view trusts what the kernel said before
		// the overflow more than this scan; so look once more.
		sc.settleAt = time.Now().Add(a.o.Tuning.SettleAfter)
	}
}

// scanFailed waits before the next try.
func (a *Agent) scanFailed(ctx context.Context, j wholeScan, err error) {
	if errors.Is(err, pipe.ErrTerm) {
		sleep(ctx, 50*time.Millisecond) // the new one is being taken in
		return
	}
	a.mu.Lock()
	wait := a.scans.failed.next(err)
	a.mu.Unlock()
	a.o.Logger.Error("scan failed", "scan", j.name, "error", err, "again_in", wait.Round(time.Millisecond))
	sleep(ctx, wait)
}

// scanAll scans the whole tree, with the marks around it.
func (a *Agent) scanAll(ctx context.Context, j wholeScan, counts *scan.Counts) error {
	w := a.watcher.Load()
	if w == nil {
		return errNotWatched
	}
	root, err := w.OpenRoot()
	if err != nil {
		return fmt.Errorf("open root: %w", err)
	}
	defer root.Close()
	if j.begin != 0 {
		if err := a.mark(ctx, j, event.Mark{Kind: j.begin}); err != nil {
			return err
		}
	}
	cfg := scan.Config{
		Root: hang.Bare(root), Excludes: a.excludes, CrossFilesystems: a.o.CrossFilesystems, Workers: a.o.ScanWorkers,
		Rate: a.rate, Idle: a.o.IOIdle, Hangs: a.calls,
		Evidence: j.evidence, Now: a.clock.Now, Cover: w.Cover, Counts: counts,
		OnError: a.cannotRead(w),
	}
	if j.list {
		cfg.Listed = a.listed(j, root)
		if j.changed {
			a.mu.Lock()
			n := a.scans.audits
			a.mu.Unlock()
			cfg.Unchanged = func(path string, mtime int64) bool {
				if a.seen.unchanged(path, mtime, n) {
					return true
				}
				if a.seen.moved(path, mtime) {
					a.tally.changed.Add(1)
				}
				return false
			}
		}
		cfg.Emit = func(ctx context.Context, ev *event.Event, p scan.Place) error { return a.emit(ctx, j, ev, p) }
	}
	switch {
	case j.subtrees != nil:
		return a.scanSubtrees(ctx, cfg, root, j.subtrees)
	case j.catchUp != nil:
		return a.scanShare(ctx, cfg, j.catchUp)
	case j.resume:
		a.resumeFrom(&cfg, j, root)
	}
	gen := w.BeginCoverage()
	err = scan.Run(ctx, cfg, "/")
	w.EndCoverage(gen, err == nil)
	if err != nil || j.end == 0 {
		return err
	}
	return a.mark(ctx, j, counts.Mark(j.end))
}

// scanSubtrees scans what is below some directories. Where one is gone, the directory that it was in is listed, which says so.
func (a *Agent) scanSubtrees(ctx context.Context, cfg scan.Config, root tree.Root, dirs subtrees) error {
	look := root.Looker()
	defer look.Close()
	for _, dir := range dirs {
		look.Forget()
		target, err := directoryOrAbove(look, dir)
		if err != nil {
			return err
		}
		cfg.Shallow = target != dir
		if err := scan.Run(ctx, cfg, target); err != nil && !errors.Is(err, scan.ErrMoved) {
			return err
		}
	}
	return nil
}

// directoryOrAbove is dir, or if that is no directory now the nearest one above.
func directoryOrAbove(look tree.Looker, dir string) (string, error) {
	info, err := look.Lstat(dir)
	if err == nil && info.Entry.Type == event.Directory {
		return dir, nil
	}
	if err != nil && !tree.Gone(err) {
		return "", err
	}
	return existingAbove(look, dir)
}

// emit sends one event of a scan.
func (a *Agent) emit(ctx context.Context, j wholeScan, ev *event.Event, p scan.Place) error {
	if p == nil {
		return a.stream.Scan(ctx, j.key.term, ev, nil)
	}
	if s, ok := p.(interface{ Still() error }); ok {
		if err := s.Still(); err != nil {
			return err
		}
	}
	return a.stream.Scan(ctx, j.key.term, ev, func() (*event.Event, error) { return p.Check(ev) })
}

// mark sends a mark in a segment that goes out at once.
func (a *Agent) mark(ctx context.Context, j wholeScan, m event.Mark) error {
	if err := a.stream.Cut(); err != nil {
		return err
	}
	ev := event.Event{Kind: event.Marked, Evidence: j.evidence, ObservedAt: a.clock.Now(), Path: "/", Mark: m}
	if err := a.stream.Scan(ctx, j.key.term, &ev, nil); err != nil {
		return err
	}
	return a.stream.Cut()
}
