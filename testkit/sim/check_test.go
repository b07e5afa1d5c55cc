package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
)

// errNotYet: something has not happened that is bound to.
var errNotYet = errors.New("not yet")

// check says how the view differs from the tree, or what else is wrong with it. Quiet is when the tree last changed, by
// the store's clock.
func (w *world) check(ctx context.Context, quiet int64) error {
	m, _, err := manifest.Load(ctx, w.store, view)
	if err != nil {
		return err
	}
	if m.Scan.AuditStartedAt < quiet || m.Scan.AuditFinishedAt < m.Scan.AuditStartedAt {
		return fmt.Errorf("%w: no audit since", errNotYet)
	}
	if err := w.segments(ctx, m); err != nil {
		return err
	}
	all, err := w.rows(ctx, m)
	if err != nil {
		return err
	}
	if err := w.marks(all); err != nil {
		return err
	}
	rows := maps.Clone(all)
	maps.DeleteFunc(rows, func(_ string, r evidence.Row) bool { return r.Removed })
	shown, tree := rows, w.server.Tree()
	if w.plan.v2 >= 0 {
		shown, tree = alikes(rows, tree)
	}
	if err := difference(shown, tree); err != nil {
		return fmt.Errorf("%w\n  term %d, counted %+v, scan %+v", err, m.Term, m.Counted, m.Scan)
	}
	if err := sums(rows, m); err != nil {
		return err
	}
	if err := w.answers(ctx, rows); err != nil {
		return err
	}
	return w.leaders(ctx)
}

// segments checks that every segment that was ever sent is folded, once. What the view has forgotten of a session is over, folded and removed.
func (w *world) segments(ctx context.Context, m *manifest.Manifest) error {
	w.sentMu.Lock()
	defer w.sentMu.Unlock()
	all := uint64(0)
	for session, n := range w.sent {
		all += n
		p, known := m.Sessions[session]
		if known && (p.Next != n || p.Broken) {
			return fmt.Errorf("session %s has %d segments, the view has %+v, and refused %+v", session, n, p, m.Refused)
		}
		if known {
			continue
		}
		if page, err := w.store.List(ctx, layout.Segments(view, session), "", 1); err != nil || len(page.Items) > 0 {
			return fmt.Errorf("the view has forgotten session %s, which still has segments, %v", session, err)
		}
	}
	if m.Counted.Segments != all {
		return fmt.Errorf("%d segments were folded, %d were sent", m.Counted.Segments, all)
	}
	return nil
}

// rows are the view's rows, tombstones too.
func (w *world) rows(ctx context.Context, m *manifest.Manifest) (map[string]evidence.Row, error) {
	v, err := layer.OpenView(w.store, view, m.Base, m.Deltas, layer.NewCache(1<<20))
	if err != nil {
		return nil, err
	}
	rows := map[string]evidence.Row{}
	c := v.Cursor(ctx)
	for ok := c.Seek(layer.Key{}); ok; ok = c.Next() {
		var r evidence.Row
		if err := c.Row(&r); err != nil {
			return nil, err
		}
		r.Parent, r.Name, r.Target = strings.Clone(r.Parent), strings.Clone(r.Name), strings.Clone(r.Target)
		rows[r.Path()] = r
	}
	return rows, c.Err()
}

// difference tells the paths on which the view and the tree disagree.
func difference(rows map[string]evidence.Row, tree map[string]event.Entry) error {
	var lines []string
	for path, want := range tree {
		r, ok := rows[path]
		if !ok {
			lines = append(lines, fmt.Sprintf("%q is missing in the view: %+v", path, want))
			continue
		}
		have := event.Entry{Name: r.Name, Type: r.Type, Mode: r.Mode, UID: r.UID, GID: r.GID, Size: r.Size, MtimeNs: r.MtimeNs, Target: r.Target, Inode: r.Inode}
		if have != want {
			lines = append(lines, fmt.Sprintf("%q is %+v in the view, %+v in the tree (row %+v)", path, have, want, r))
		}
	}
	for path, r := range rows {
		if _, ok := tree[path]; !ok {
			lines = append(lines, fmt.Sprintf("%q is in the view and not in the tree: %+v", path, r))
		}
	}
	if len(lines) == 0 {
		return nil
	}
	slices.Sort(lines)
	return fmt.Errorf("the view is not the tree:\n  %s", strings.Join(lines, "\n  "))
}

// sums checks that every directory's totals are those of its rows.
func sums(rows map[string]evidence.Row, m *manifest.Manifest) error {
	want := map[string]evidence.Totals{}
	for path, r := range rows {
		for p := path; ; p = above(p) {
			sum, ok := want[p]
			if !ok {
				sum.LatestMtimeNs = evidence.NoMtime
			}
			want[p] = sum.Plus(r.Own())
			if p == "/" {
				break
			}
		}
	}
	for _, path := range slices.Sorted(maps.Keys(rows)) {
		if r := rows[path]; r.Type == event.Directory && r.Sub != want[path] {
			return fmt.Errorf("totals of %q are %+v, the sums over its rows %+v", path, r.Sub, want[path])
		}
	}
	if m.Totals != want["/"] {
		return fmt.Errorf("totals of the view are %+v, the sums over its rows %+v", m.Totals, want["/"])
	}
	return nil
}

func above(path string) string {
	parent, _ := event.Split(path)
	return "/" + strings.Trim(parent, "/")
}

// marks checks that nothing is a blind spot where one host alone changes the tree, its agent watches, and nothing fails.
// With several hosts an agent does not know the directories that others make before it scans again.
func (w *world) marks(rows map[string]evidence.Row) error {
	if !w.plan.calm || w.plan.hosts > 1 {
		return nil
	}
	for path, r := range rows {
		if r.AgentMissing {
			return fmt.Errorf("%q is a blind spot, though agents saw every change: %+v", path, r)
		}
	}
	return nil
}

// logger writes a process's log into the trace.
func (w *world) logger(name string) *slog.Logger {
	if w.trace.print == nil {
		return nil
	}
	return slog.New(slog.NewTextHandler(logWriter{w, name}, nil))
}

type logWriter struct {
	w    *world
	name string
}

func (l logWriter) Write(b []byte) (int, error) {
	l.w.trace.print("             %s LOG %s", l.name, bytes.TrimSpace(b))
	return len(b), nil
}
