package v2

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/v2api"
)

// treeCall is what a tree is asked for.
type treeCall struct {
	path  string
	depth int // levels below the path; with unlisted, 0
	// unlisted: not recursive, so that a directory has an empty list of children, however many there are.
	unlisted bool
	onlyPath bool
	scan     *scanAsked
}

// scanAsked is the scan that a call asked for.
type scanAsked struct{ job string } // empty: no agent leads, so that none is pending

// tree answers a node with everything below it, nested, whole.
func (a *API) tree(w http.ResponseWriter, r *http.Request, view string) error {
	q := paramsOf(r)
	clean, known := q.path()
	recursive, depth := q.boolean("recursive", true), q.integer("max_depth", -1)
	dry, onlyPath, scan := q.boolean("dry_run", false), q.boolean("only_path", false), q.boolean("on_demand_scan", false)
	by := q.strategy()
	if q.err != nil {
		return q.err
	}
	version, err := a.views.Current(r.Context(), view)
	isForest := errors.Is(err, ErrForest)
	if err != nil && !isForest {
		return err
	}
	if dry {
		httpapi.WriteJSON(w, r, http.StatusOK, v2api.DryRun{Message: "dry-run", View: view})
		return nil
	}
	if !known {
		return noPath(clean)
	}
	c := treeCall{path: clean, depth: depth, onlyPath: onlyPath}
	switch {
	case depth < 0 && recursive:
		c.depth = math.MaxInt32
	case depth < 0:
		c.depth, c.unlisted = 0, true
	}
	if isForest {
		return a.forestTree(w, r, view, c, by, scan)
	}
	if scan {
		job, err := a.views.Scan(r.Context(), view, clean, recursive)
		if err != nil {
			return err
		}
		c.scan = &scanAsked{job}
	}
	root, found, err := version.Lookup(r.Context(), clean)
	switch {
	case err != nil:
		return err
	case !found && c.scan != nil && c.scan.job != "":
		httpapi.WriteJSON(w, r, http.StatusOK, v2api.ScanPending{Job: c.scan.job, Pending: true,
			Message: "the view has no such path yet; a scan of it was asked for and is pending"})
		return nil
	case !found:
		return noPath(clean)
	}
	if err := a.checkSize(r.Context(), version, view, root, c.depth); err != nil {
		return err
	}
	out := &stream{w: w}
	return out.finish(a.writeTree(r.Context(), out, version, root, c))
}

func noPath(path string) error {
	return httpapi.Errorf(http.StatusNotFound, "there is no %q in this view, or it is not indexed yet", path)
}

// checkSize is a 400 for a tree that has more nodes than an answer may. A directory's row says how many nodes are below it, so that
// only a tree of limited depth needs to be counted.
func (a *API) checkSize(ctx context.Context, version Version, view string, root *evidence.Row, depth int) error {
	if root.Type != event.Directory || depth == 0 {
		return nil
	}
	count := root.Sub.Files + root.Sub.Directories + root.Sub.Others
	if count > a.maxItems && depth < math.MaxInt32 {
		count = 1
		err := version.Below(ctx, root, depth, int(a.maxItems), func(*evidence.Row) error { count++; return nil })
		if err != nil {
			return err
		}
	}
	if count <= a.maxItems {
		return nil
	}
	e := httpapi.Errorf(http.StatusBadRequest, "the tree has %d nodes, more than %d", count, a.maxItems)
	return &httpapi.Detailed{Err: e, Detail: v2api.TooManyItems{Error: "Metadata retrieval limit exceeded", View: view, Count: count, Limit: a.maxItems,
		Suggestion: "Try a more specific path or reduce recursion depth."}}
}

// fewDirectories is how many directories a tree may hold without waiting for others.
const fewDirectories = 1000

// writeTree writes a node with everything below it.
func (a *API) writeTree(ctx context.Context, out *stream, version Version, root *evidence.Row, c treeCall) error {
	if n := min(root.Sub.Directories, a.maxItems); n > fewDirectories && c.depth > 0 {
		if err := a.waiting.Acquire(ctx, n); err != nil {
			return err
		}
		defer a.waiting.Release(n)
	}
	t := &treeWriter{out: out, nodes: nodes{now: version.Now(), onlyPath: c.onlyPath}, depth: c.depth}
	out.buffer = t.nodes.open(out.buffer, root)
	if c.scan != nil {
		out.buffer = c.scan.append(out.buffer)
	}
	switch {
	case root.Type == event.Directory && c.unlisted:
		out.buffer = append(out.buffer, `,"children":[]}`...)
		return nil
	case root.Type != event.Directory || c.depth == 0:
		out.buffer = append(out.buffer, '}')
		return nil
	}
	t.enter(root.ChildParent())
	if err := version.Below(ctx, root, c.depth, 0, t.add); err != nil {
		return err
	}
	return t.leave(0)
}

func (s *scanAsked) append(b []byte) []byte {
	if s.job == "" {
		return append(b, `,"job_id":null,"job_pending":false`...)
	}
	b = append(b, `,"job_id":"`...)
	b = v2api.Text(s.job).Append(b)
	return append(b, `","job_pending":true`...)
}

// treeWriter nests rows as they come, in key order: a directory's entries, and then what is in the first of its directories. So files
// are written at once, and directories wait until their entries come, or until it is known that they have none.
//
// Example: /a, /b.txt, /c and /d are entries of the root, and /c has x. It writes b.txt at once. When /c/x comes, a is written, as it
// has no entries, and c is begun with x in it. At the end c is ended, and d is written.
type treeWriter struct {
	out   *stream
	nodes nodes
	depth int
	open  []openDirectory // the root, and so on down to the directory whose entries come
}

// openDirectory is a directory that is written but for the rest of its children.
type openDirectory struct {
	inside  string // the Parent of its entries
	count   int    // of children that are written
	waiting []waitingDirectory
	sorted  bool // waiting is in the order in which their entries come
}

// waitingDirectory is a child that is not written yet. Its name ends in a slash, as in the parent of its entries.
type waitingDirectory struct{ name, json string }

// enter begins the list of children of the directory whose node was written last.
func (t *treeWriter) enter(inside string) {
	t.open = append(t.open, openDirectory{inside: inside})
	t.out.buffer = append(t.out.buffer, `,"children":[`...)
}

// add takes in the next row.
func (t *treeWriter) add(r *evidence.Row) error {
	if err := t.goTo(r.Parent); err != nil {
		return err
	}
	d := &t.open[len(t.open)-1]
	if r.Type == event.Directory {
		d.waiting = append(d.waiting, waitingDirectory{r.Name + "/", string(t.nodes.open(nil, r))})
		return nil
	}
	t.comma(d)
	t.out.buffer = append(t.nodes.open(t.out.buffer, r), '}')
	return t.out.more()
}

func (t *treeWriter) comma(d *openDirectory) {
	if d.count++; d.count > 1 {
		t.out.buffer = append(t.out.buffer, ',')
	}
}

// goTo leaves and enters directories until the one is open whose entries have that parent.
func (t *treeWriter) goTo(parent string) error {
	for !strings.HasPrefix(parent, t.open[len(t.open)-1].inside) {
		if len(t.open) == 1 {
			return fmt.Errorf("the row of %q is not below %q", parent, t.open[0].inside)
		}
		if err := t.leave(len(t.open) - 1); err != nil {
			return err
		}
	}
	d := &t.open[len(t.open)-1]
	if parent == d.inside {
		return nil
	}
	if !d.sorted { // as parents: "a-b/" comes before "a/"
		d.sorted = true
		slices.SortFunc(d.waiting, func(a, b waitingDirectory) int { return strings.Compare(a.name, b.name) })
	}
	name := parent[len(d.inside):]
	for len(d.waiting) > 0 && d.waiting[0].name < name {
		if err := t.writeEmpty(d); err != nil {
			return err
		}
	}
	if len(d.waiting) == 0 || d.waiting[0].name != name {
		return fmt.Errorf("the view has entries of %q, and not the directory", parent)
	}
	t.comma(d)
	t.out.buffer = append(t.out.buffer, d.waiting[0].json...)
	d.waiting[0] = waitingDirectory{}
	d.waiting = d.waiting[1:]
	t.enter(parent)
	return nil
}

// writeEmpty writes the first directory that waits: it has no entries, or none within the depth.
func (t *treeWriter) writeEmpty(d *openDirectory) error {
	t.comma(d)
	t.out.buffer = append(t.out.buffer, d.waiting[0].json...)
	d.waiting[0] = waitingDirectory{}
	d.waiting = d.waiting[1:]
	if len(t.open) == t.depth { // what is deeper is not listed
		t.out.buffer = append(t.out.buffer, '}')
	} else {
		t.out.buffer = append(t.out.buffer, `,"children":[]}`...)
	}
	return t.out.more()
}

// leave ends the open directories from a level on.
func (t *treeWriter) leave(level int) error {
	for len(t.open) > level {
		d := &t.open[len(t.open)-1]
		for len(d.waiting) > 0 {
			if err := t.writeEmpty(d); err != nil {
				return err
			}
		}
		t.open = t.open[:len(t.open)-1]
		t.out.buffer = append(t.out.buffer, `]}`...)
	}
	return t.out.more()
}
