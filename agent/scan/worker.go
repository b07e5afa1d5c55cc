package scan

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/fustor/fustor/agent/hang"
	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/event"
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
	pool     *pool
	queue    *queue
	dir      unread
	names    tree.Names
	entries  []event.Entry
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
		t, ok := w.queue.pop()
		if !ok {
			return ctx.Err()
		}
		w.dir, w.children = t, w.children[:0]
		err := w.directory(ctx, t.path())
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

// directory reads one directory. It fails only where the scan cannot go on.
func (w *worker) directory(ctx context.Context, path string) error {
	failure := hang.Error("scan", path)
	if !w.dir.hangs && !w.cfg.Hangs.Blocked(path, w.dir.dev) {
		failure = w.persist(ctx, path)
	}
	if failure != nil {
		w.children = w.children[:0]
	}
	var fatal fatalError
	switch {
	case errors.Is(failure, errAbandoned):
		return failure
	case failure == nil, tree.Gone(failure), errors.Is(failure, ErrMoved):
		return nil
	case errors.As(failure, &fatal):
		return fatal.error
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return w.report(ctx, path, failure)
}

// persist reads a directory again if it changed meanwhile, or failed for a reason that may pass.
func (w *worker) persist(ctx context.Context, path string) error {
	changes, failures := 0, 0
	for {
		w.children = w.children[:0]
		w.watchClock()
		changed, err := w.attempt(ctx, path, changes < rereads)
		w.stopClock()
		var fatal fatalError
		switch {
		case errors.Is(err, errAbandoned):
			return err
		case changed:
			changes++
		case err == nil, tree.Gone(err), errors.Is(err, ErrMoved), errors.Is(err, fs.ErrPermission), errors.As(err, &fatal):
			return err
		default:
			if failures++; failures > retries || ctx.Err() != nil {
				return err
			}
		}
	}
}

// fatalError is one of the receiving side: the scan is over.
type fatalError struct{ error }

// report tells of a path that cannot be read.
func (w *worker) report(ctx context.Context, path string, failure error) error {
	w.cfg.Counts.Errors.Add(1)
	if w.cfg.OnError != nil {
		w.cfg.OnError(path, failure)
	}
	if w.cfg.Emit == nil || !event.ValidPath(path) {
		return nil
	}
	mark := event.Event{
		Kind: event.Marked, Evidence: w.cfg.Evidence, ObservedAt: w.cfg.Now(), Path: path,
		Mark: event.Mark{Kind: event.SubtreeError, Errors: 1, Message: reason(failure)},
	}
	return w.cfg.Emit(ctx, &mark, nil)
}

func reason(err error) string {
	s := err.Error()
	return strings.ToValidUTF8(s[:min(len(s), 1000)], "?")
}

// attempt opens, covers, reads and emits a directory. If picky, it emits nothing of one that changed meanwhile.
func (w *worker) attempt(ctx context.Context, path string, picky bool) (changed bool, err error) {
	observed := w.cfg.Now()
	d, err := w.open(path)
	if err != nil {
		return false, err
	}
	defer d.Close()
	before, err := w.info(d)
	if err != nil {
		return false, err
	}
	if before.ID.Dev != w.cfg.Root.Info().ID.Dev && !w.cfg.CrossFilesystems {
		return false, nil
	}
	w.dir.dev = before.ID.Dev
	var reading Reading
	if w.cfg.Cover != nil {
		if reading, err = w.cover(d, path); err != nil {
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
	if k := w.dir.known; k != nil && k.Mtime != 0 && k.Mtime == before.Entry.MtimeNs {
		w.keep(path, k)
		return false, nil
	}
	if err := w.read(d); err != nil {
		return false, err
	}
	w.names.Keep(func(name string) bool { return !w.cfg.Excludes.Match(path, name) })
	if w.cfg.Emit == nil {
		w.coverChildren(path)
		return false, nil
	}
	_, before.Entry.Name = event.Split(path)
	if w.cfg.Unchanged != nil && w.cfg.Unchanged(path, before.Entry.MtimeNs) {
		w.coverChildren(path)
		w.stopClock()
		ev := event.Event{Kind: event.Unchanged, Evidence: w.cfg.Evidence, ObservedAt: observed, Path: path, Entry: before.Entry}
		if err := w.cfg.Emit(ctx, &ev, nil); err != nil {
			return false, fatalError{err}
		}
		return false, nil
	}
	w.event = event.Event{
		Kind: event.Listing, Evidence: w.cfg.Evidence, ObservedAt: observed, Path: path, Entry: before.Entry,
	}
	return w.list(ctx, d, reading, picky)
}

// keep takes a directory for what is known of it.
func (w *worker) keep(path string, k *Known) {
	w.cfg.Counts.Directories.Add(1)
	for _, c := range k.Dirs {
		w.children = append(w.children, unread{parent: path, name: c.Name, known: c})
	}
	if w.cfg.Kept != nil {
		w.cfg.Kept(path, k.Mtime)
	}
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
	w.cfg.Counts.Directories.Add(1)
	for i := range w.names.Len() {
		if w.names.MayBeDirectory(i) {
			name := strings.Clone(w.names.At(i))
			w.children = append(w.children, unread{parent: path, name: name, known: w.dir.known.Child(name)})
		}
	}
}

// list looks at every name and emits the listing, in chunks if it is long.
func (w *worker) list(ctx context.Context, d tree.Dir, reading Reading, picky bool) (changed bool, err error) {
	w.holes, w.hanging = w.holes[:0], w.cfg.Hangs.Names(w.event.Path)
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
		err := w.emit(ctx, reading)
		w.watchClock()
		if err != nil {
			return false, err
		}
	}
	sum.addTo(w.cfg.Counts)
	if w.cfg.Listed != nil && len(w.holes) == 0 {
		w.cfg.Listed(w.event.Path, w.event.Entry.MtimeNs, w.subdirectories)
	}
	return false, w.reportHoles(ctx)
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
	w.entries = w.entries[:0]
	const step = 256
	for at := first; at < last; {
		to := min(last, at+step)
		if err := w.wait(ctx, to-at); err != nil {
			return err
		}
		if err := w.look(d, at, to, sum); err != nil {
			return err
		}
		w.cfg.Counts.Looked.Add(uint64(to - at))
		at = to
	}
	return nil
}

// sums are the counts of one directory.
type sums struct{ files, others, bytes uint64 }

func (s *sums) addTo(c *Counts) {
	c.Directories.Add(1)
	c.Files.Add(s.files)
	c.Others.Add(s.others)
	c.Bytes.Add(s.bytes)
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
		if err == nil && len(w.event.Path)+1+len(name) <= event.MaxText {
			info.Entry.Name = name
			w.entries = append(w.entries, info.Entry)
			w.count(&info, sum)
			continue
		}
		if !w.call.next(i) {
			return errAbandoned
		}
		switch {
		case err == nil:
			err = fmt.Errorf("a path of more than %d bytes", event.MaxText)
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

// hole notes a name that cannot be looked at.
func (w *worker) hole(name string, err error) error {
	if w.holes = append(w.holes, name); len(w.holes) > maxHoles {
		return fmt.Errorf("lstat fails for more than %d names: %w", maxHoles, err)
	}
	if w.cfg.OnError != nil {
		w.cfg.OnError(event.Join(w.event.Path, name), err)
	}
	return nil
}

func (w *worker) count(info *tree.Info, sum *sums) {
	switch info.Entry.Type {
	case event.Directory:
		if info.ID.Dev == w.cfg.Root.Info().ID.Dev || w.cfg.CrossFilesystems {
			name := strings.Clone(info.Entry.Name)
			w.children = append(w.children, unread{parent: w.event.Path, name: name, dev: info.ID.Dev, known: w.dir.known.Child(name)})
		}
	case event.File:
		sum.files++
		sum.bytes += uint64(info.Entry.Size)
	default:
		sum.others++
	}
}

// emit emits w.entries as the listing of the range in w.event, with a gap for every hole.
func (w *worker) emit(ctx context.Context, reading Reading) error {
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
		if err := w.emitRange(ctx, reading, rest[:n]); err != nil {
			return err
		}
		rest = rest[n:]
		w.event.From = hole + "\x01" // no name lies between: NUL is in none
	}
	w.event.To = end
	return w.emitRange(ctx, reading, rest)
}

func (w *worker) emitRange(ctx context.Context, reading Reading, entries []event.Entry) error {
	if w.event.To != "" && w.event.From >= w.event.To {
		return nil
	}
	w.event.Entries = entries
	for piece := range event.SplitListing(&w.event, 0) {
		if err := w.cfg.Emit(ctx, piece, reading); err != nil {
			if errors.Is(err, ErrMoved) {
				return err
			}
			return fatalError{err}
		}
	}
	return nil
}

func (w *worker) reportHoles(ctx context.Context) error {
	for _, name := range w.holes {
		w.cfg.Counts.Errors.Add(1)
		path := event.Join(w.event.Path, name)
		if !event.ValidPath(path) || len(path) > event.MaxText {
			continue
		}
		message := "lstat failed"
		if w.hanging[name] {
			message = hang.ErrHangs.Error()
		}
		mark := event.Event{
			Kind: event.Marked, Evidence: w.cfg.Evidence, ObservedAt: w.cfg.Now(), Path: path,
			Mark: event.Mark{Kind: event.SubtreeError, Errors: 1, Message: message},
		}
		if err := w.cfg.Emit(ctx, &mark, nil); err != nil {
			return fatalError{err}
		}
	}
	return nil
}
