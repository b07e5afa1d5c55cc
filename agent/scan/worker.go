package scan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/fustor/fustor/agent/hang"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/values"
)

const (
	chunk    = 32 << 10 // entries of a listing; more become several listings, by name range
	maxHoles = 64       // names of a directory that may fail before the whole directory counts as unreadable
	rereads  = 3        // of a directory that changes while it is read
	retries  = 2        // of a look that fails
)

// worker reads one directory after the other and keeps its buffers.
type worker struct {
	cfg      *Config
	walk     *Walk
	pool     *pool
	queue    *queue
	dir      unread
	parts    []*Part // that the directory is read for
	readers  readers
	names    tree.Names
	decided  []int // by which exclude patterns, of the names of the directory
	entries  []event.Entry
	content  content // of the directory
	holes    []string
	hanging  map[string]bool // of holes: those that hang
	children []unread
	event    event.Event
	call     call
	fate     fate
	begun    time.Time     // when the calls that are measured began; zero: they do not
	spent    time.Duration // on the task, in calls
	calls    int
}

// run works until nothing is left, the pool is too large, or a call of this worker has hung.
func (w *worker) run(ctx context.Context) error {
	if w.cfg.Idle {
		beIdle()
	}
	for !w.pool.tooMany(w) {
		if err := ctx.Err(); err != nil { // the queue hears of it by another goroutine, later
			return err
		}
		t, ok := w.queue.pop()
		if !ok {
			return ctx.Err()
		}
		path := t.path()
		w.dir, w.parts, w.children = t, w.walk.visit(path), w.children[:0]
		err := w.directory(ctx, path)
		if errors.Is(err, errAbandoned) {
			return err
		}
		if !w.cfg.Shallow {
			w.queue.push(w.children)
		}
		w.pool.measured(w)
		w.queue.done()
		if err != nil {
			return err
		}
	}
	return nil
}

// readers are the parts of a directory, by what they get of it.
type readers struct {
	keep      []*Part // nothing: it is as they know it
	cover     []*Part // nothing: they only want it watched
	compare   []*Part // one of the two below, which its entries tell
	unchanged []*Part // an event that it has not changed
	list      []*Part // its listing
}

func (r *readers) reset() {
	r.keep, r.cover, r.compare, r.unchanged, r.list = r.keep[:0], r.cover[:0], r.compare[:0], r.unchanged[:0], r.list[:0]
}

// sort asks the parts that do not keep a directory with this mtime what they want of it.
func (r *readers) sort(parts []*Part, path string, mtime int64) {
	for _, p := range parts {
		switch {
		case slices.Contains(r.keep, p):
		case p.to.Emit == nil:
			r.cover = append(r.cover, p)
		default:
			switch p.look(path, mtime) {
			case Compare:
				r.compare = append(r.compare, p)
			case Skip:
				r.unchanged = append(r.unchanged, p)
			default:
				r.list = append(r.list, p)
			}
		}
	}
}

// directory reads one directory. It fails only where the scan cannot go on.
func (w *worker) directory(ctx context.Context, path string) error {
	var failure error
	if w.dir.hangs || w.cfg.Hangs.Blocked(path, w.dir.dev) {
		failure = hang.Error("scan", path)
	} else {
		failure = w.persist(ctx, path)
	}
	if failure != nil {
		w.children = w.children[:0]
	}
	switch {
	case errors.Is(failure, errAbandoned):
		return failure
	case failure == nil, tree.Gone(failure), errors.Is(failure, ErrMoved):
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	}
	w.report(path, failure)
	return nil
}

// persist reads a directory again if it changed meanwhile, or failed for a reason that may pass.
func (w *worker) persist(ctx context.Context, path string) error {
	changes, failures := 0, 0
	for {
		w.children = w.children[:0]
		w.watchClock()
		changed, err := w.attempt(ctx, path, changes < rereads)
		w.stopClock()
		switch {
		case errors.Is(err, errAbandoned):
			return err
		case changed:
			changes++
		case err == nil, tree.Gone(err), errors.Is(err, ErrMoved), errors.Is(err, fs.ErrPermission):
			return err
		default:
			if failures++; failures > retries || ctx.Err() != nil {
				return err
			}
		}
	}
}

// report tells of a path that cannot be read.
func (w *worker) report(path string, failure error) {
	for _, p := range w.parts {
		p.to.Counts.Errors.Add(1)
		p.failed(path, failure)
		if p.to.Emit != nil && event.ValidPath(path) {
			p.mark(w.cfg.Now(), path, reason(failure))
		}
	}
}

func reason(err error) string {
	s := err.Error()
	return strings.ToValidUTF8(s[:min(len(s), 1000)], "?")
}

// attempt opens, covers, reads and emits a directory. If picky, it emits nothing of one that changed meanwhile.
func (w *worker) attempt(ctx context.Context, path string, picky bool) (changed bool, err error) {
	observed := w.cfg.Now()
	if _, mounted := w.cfg.Mounts[path]; mounted || w.dir.dev != 0 && w.cfg.LeavesOut(path, w.dir.dev) {
		// To open it could mount what an automounter has there, or take long.
		info, err := w.lstat(path)
		switch {
		case err != nil:
			return false, err
		case w.cfg.LeavesOut(path, info.ID.Dev):
			return w.mountPoint(observed, path)
		}
	}
	d, err := w.open(path)
	if err != nil {
		return false, err
	}
	defer d.Close()
	before, err := w.info(d)
	if err != nil {
		return false, err
	}
	if w.cfg.LeavesOut(path, before.ID.Dev) {
		return w.mountPoint(observed, path)
	}
	w.dir.dev = before.ID.Dev
	var reading Reading
	if w.cfg.Cover != nil {
		if reading, err = w.cover(d, path, before); err != nil {
			return false, err
		}
		defer reading.Done()
		if before, err = w.info(d); err != nil { // as it is now that it is watched
			return false, err
		}
	}
	if err := w.wait(ctx, 1); err != nil {
		return false, err
	}
	mtime := before.Entry.MtimeNs
	w.readers.reset()
	for _, p := range w.parts {
		if k := w.dir.knownTo(p); k != nil && k.Mtime != 0 && k.Mtime == mtime {
			w.readers.keep = append(w.readers.keep, p)
		}
	}
	if len(w.parts) > 0 && len(w.readers.keep) == len(w.parts) {
		w.keepChildren(path)
		w.skim(observed, path, before.Entry)
		return false, nil
	}
	if err := w.read(d); err != nil {
		return false, err
	}
	w.decided = w.cfg.Excludes.LeaveOut(d, path, &w.names, w.decided[:0])
	w.readers.sort(w.parts, path, mtime)
	if len(w.readers.keep)+len(w.readers.cover) < len(w.parts) {
		if before.Entry.ACL, err = w.acl(d); err != nil {
			return false, err
		}
	}
	_, before.Entry.Name = event.Split(path)
	w.event = event.Event{Kind: event.Listing, ObservedAt: observed, Path: path, Entry: before.Entry}
	if len(w.readers.compare) > 0 {
		if err := w.compare(ctx, d, path); err != nil {
			return false, err
		}
	}
	if len(w.readers.list) == 0 {
		if len(w.readers.compare) == 0 { // which has found the subdirectories
			w.coverChildren(path)
		}
		w.stopClock()
		w.skim(observed, path, before.Entry)
		return false, nil
	}
	if changed, err := w.list(ctx, d, reading, picky); changed || err != nil {
		return changed, err
	}
	w.skim(observed, path, before.Entry)
	return false, nil
}

// skim gives the parts that want no listing of a directory what they want.
func (w *worker) skim(observed int64, path string, own event.Entry) {
	for _, p := range w.readers.keep {
		p.to.Counts.Directories.Add(1)
		p.kept(path, own.MtimeNs)
	}
	for _, p := range w.readers.cover {
		p.to.Counts.Directories.Add(1)
	}
	_, own.Name = event.Split(path)
	for _, p := range w.readers.unchanged {
		p.to.Counts.Directories.Add(1)
		p.to.LeftOut.Add(w.decided)
		w.event = event.Event{Kind: event.Unchanged, ObservedAt: observed, Path: path, Entry: own}
		_ = p.give(&w.event, nil) // without a reading it cannot have moved
	}
}

// keepChildren pushes the subdirectories as all parts know them.
func (w *worker) keepChildren(path string) {
	seen := map[string]bool{}
	for _, p := range w.parts {
		for _, c := range w.dir.knownTo(p).Dirs {
			if len(w.parts) > 1 {
				if seen[c.Name] {
					continue
				}
				seen[c.Name] = true
			}
			w.child(path, c.Name, 0)
		}
	}
}

// child pushes a subdirectory.
func (w *worker) child(path, name string, dev uint64) {
	if w.cfg.LeaveOut != nil && w.cfg.LeaveOut(event.Join(path, name)) {
		return
	}
	var known []*Known
	for i, k := range w.dir.known {
		if c := k.Child(name); c != nil {
			if known == nil {
				known = make([]*Known, len(w.dir.known))
			}
			known[i] = c
		}
	}
	w.children = append(w.children, unread{parent: path, name: name, dev: dev, known: known})
}

// wait waits until so many entries may be looked at.
func (w *worker) wait(ctx context.Context, entries int) error {
	if w.cfg.Rate == nil {
		return nil
	}
	w.stopClock()
	defer w.watchClock()
	return w.cfg.Rate.Wait(ctx, entries)
}

// coverChildren pushes the subdirectories without looking at anything.
func (w *worker) coverChildren(path string) {
	for i := range w.names.Len() {
		if w.names.MayBeDirectory(i) {
			w.child(path, strings.Clone(w.names.At(i)), 0)
		}
	}
}

// compare looks at every name, and sorts out who gets a listing of them. Who does has them looked at again: that is rare.
func (w *worker) compare(ctx context.Context, d tree.Dir, path string) error {
	w.holes, w.hanging = w.holes[:0], w.cfg.Hangs.Names(path)
	w.content.reset()
	list, n := w.readers.list, w.names.Len()
	w.readers.list = nil // nobody is told of what fails: the listing will tell
	var sum sums
	for first := 0; first < n; first += chunk {
		if err := w.lookAll(ctx, d, first, min(n, first+chunk), &sum); err != nil {
			return err
		}
	}
	w.readers.list = list
	for _, p := range w.readers.compare {
		p.to.Counts.Looked.Add(uint64(n))
		if len(w.holes) == 0 && p.same(path, w.content.get()) {
			w.readers.unchanged = append(w.readers.unchanged, p)
		} else {
			w.readers.list = append(w.readers.list, p)
		}
	}
	if len(w.readers.list) > 0 {
		w.children = w.children[:0]
	}
	return nil
}

// list looks at every name and emits the listing, in chunks if it is long.
func (w *worker) list(ctx context.Context, d tree.Dir, reading Reading, picky bool) (changed bool, err error) {
	w.holes, w.hanging = w.holes[:0], w.cfg.Hangs.Names(w.event.Path)
	w.content.reset()
	var sum sums
	n := w.names.Len()
	for first := 0; first == 0 || first < n; first += chunk {
		last := min(n, first+chunk)
		if err := w.lookAll(ctx, d, first, last, &sum); err != nil {
			return false, err
		}
		if picky && n <= chunk { // a longer one is never at rest while others write to it
			after, err := w.info(d)
			if err != nil || after.Entry.MtimeNs != w.event.Entry.MtimeNs {
				return err == nil, err
			}
		}
		w.event.From, w.event.To = "", ""
		if first > 0 {
			w.event.From = w.names.At(first)
		}
		if last < n {
			w.event.To = w.names.At(last)
		}
		w.stopClock()
		err := w.emit(reading)
		w.watchClock()
		if err != nil {
			return false, err
		}
	}
	for _, p := range w.readers.list {
		sum.addTo(p.to.Counts)
		p.to.LeftOut.Add(w.decided)
		if len(w.holes) == 0 {
			p.listed(w.event.Path, w.event.Entry.MtimeNs, w.content.get(), w.subdirectories)
		}
	}
	w.reportHoles()
	return false, nil
}

// subdirectories are the names of those that the worker has found in its directory.
func (w *worker) subdirectories(yield func(string) bool) {
	for _, c := range w.children {
		if !yield(c.name) {
			return
		}
	}
}

// lookAll looks at the names from first to before last as fast as the rate allows.
func (w *worker) lookAll(ctx context.Context, d tree.Dir, first, last int, sum *sums) error {
	w.entries = slices.Grow(w.entries[:0], last-first)
	const step = 256
	for at := first; at < last; {
		to := min(last, at+step)
		if err := w.wait(ctx, to-at); err != nil {
			return err
		}
		if err := w.look(d, at, to, sum); err != nil {
			return err
		}
		for _, p := range w.readers.list {
			p.to.Counts.Looked.Add(uint64(to - at))
		}
		at = to
	}
	return nil
}

// sums are the counts of one directory.
type sums struct {
	files, others uint64
	bytes         int64 // at most values.MaxSum
}

func (s *sums) addTo(c *Counts) {
	c.Directories.Add(1)
	c.Files.Add(s.files)
	c.Others.Add(s.others)
	for {
		was := c.Bytes.Load()
		if c.Bytes.CompareAndSwap(was, uint64(values.Sum(int64(was), s.bytes))) {
			return
		}
	}
}

// look adds the names from first to before last to w.entries, and notes the subdirectories.
func (w *worker) look(d tree.Dir, first, last int, sum *sums) error {
	w.call.begin(first)
	for i := first; i < last; i++ {
		name := w.names.At(i)
		if w.hanging != nil && w.hanging[name] {
			if err := w.hole(name, hang.ErrHangs); err != nil {
				w.call.end()
				return err
			}
			continue
		}
		if i > first && !w.call.next(i) {
			return errAbandoned
		}
		info, err := d.Lstat(&w.names, i)
		for try := 0; err != nil && !tree.Gone(err) && try < retries && w.call.next(i); try++ {
			info, err = d.Lstat(&w.names, i)
		}
		var fits error
		if len(w.event.Path)+1+len(name) > syscallPath {
			fits = event.Fits(event.Join(w.event.Path, name))
		}
		if err == nil && fits == nil {
			info.Entry.Name = name
			w.entries = append(w.entries, info.Entry)
			w.content.add(&info.Entry)
			w.count(&info, sum)
			continue
		}
		if !w.call.next(i) {
			return errAbandoned
		}
		switch {
		case err == nil:
			err = fits
		case tree.Gone(err):
			continue
		}
		if err := w.hole(name, err); err != nil {
			w.call.end()
			return err
		}
	}
	w.calls += last - first
	if !w.call.end() {
		return errAbandoned
	}
	return nil
}

// syscallPath is how long a path may be for a system call, which always fits into a segment.
const syscallPath = 4096

// hole notes a name that cannot be looked at.
func (w *worker) hole(name string, err error) error {
	if w.holes = append(w.holes, name); len(w.holes) > maxHoles {
		return fmt.Errorf("lstat fails for more than %d names: %w", maxHoles, err)
	}
	for _, p := range w.readers.list {
		p.failed(event.Join(w.event.Path, name), err)
	}
	return nil
}

func (w *worker) count(info *tree.Info, sum *sums) {
	switch info.Entry.Type {
	case event.Directory:
		w.child(w.event.Path, strings.Clone(info.Entry.Name), info.ID.Dev)
	case event.File:
		sum.files++
		sum.bytes = values.Sum(sum.bytes, info.Entry.Size)
	default:
		sum.others++
	}
}

// emit emits w.entries as the listing of the range in w.event, with a gap for every hole.
func (w *worker) emit(reading Reading) error {
	rest, end := w.entries, w.event.To
	for _, hole := range w.holes {
		if hole < w.event.From {
			continue // of an earlier chunk
		}
		n := 0
		for n < len(rest) && rest[n].Name < hole {
			n++
		}
		w.event.To = hole
		if err := w.emitRange(reading, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
		w.event.From = hole + "\x01" // no name lies between: NUL is in none
	}
	w.event.To = end
	return w.emitRange(reading, rest)
}

func (w *worker) emitRange(reading Reading, entries []event.Entry) error {
	if w.event.To != "" && w.event.From >= w.event.To {
		return nil
	}
	w.event.Entries = entries
	for piece := range event.SplitListing(&w.event, 0) {
		if reading != nil {
			if err := reading.Still(); err != nil {
				return err
			}
		}
		observed := piece.ObservedAt
		for _, p := range w.readers.list {
			piece.ObservedAt = observed
			if err := p.give(piece, reading); err != nil {
				return err
			}
		}
		piece.ObservedAt = observed
	}
	return nil
}

func (w *worker) reportHoles() {
	for _, name := range w.holes {
		path := event.Join(w.event.Path, name)
		message := "lstat failed"
		if w.hanging[name] {
			message = hang.ErrHangs.Error()
		}
		for _, p := range w.readers.list {
			p.to.Counts.Errors.Add(1)
			if event.ValidPath(path) && event.Fits(path) == nil {
				p.mark(w.cfg.Now(), path, message)
			}
		}
	}
}
