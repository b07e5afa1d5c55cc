package query

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/query/engine"
)

const (
	defaultTreeLimit = 10_000
	maxTreeLimit     = 100_000
)

// scanAsked answers a scan of a path that the view does not know yet.
type scanAsked struct {
	Path    string     `json:"path"`
	Job     *jobAnswer `json:"job"`
	Version uint64     `json:"version"`
}

// tree answers a node with everything below it: nested, in pages, or as a stream.
func (s *Server) tree(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path := q.Path("/")
	depth := q.Int("max_depth", math.MaxInt32, 0, math.MaxInt32)
	onlyPath, atime := q.Bool("only_path", false), q.Bool("atime", false)
	if !q.Bool("recursive", true) {
		depth = 0
	}
	demand := q.Bool("on_demand_scan", false)
	of, err := s.openPage(r, q, view, 0, maxTreeLimit, "tree", path, strconv.FormatInt(depth, 10), strconv.FormatBool(onlyPath))
	if err != nil {
		return err
	}
	if demand && !of.which.IsCurrent() {
		return httpapi.BadRequest(`parameter "on_demand_scan" is for the current version`, "leave out as_of and version")
	}
	of.about(path)
	if atime {
		r = r.WithContext(engine.WithAtime(r.Context()))
	}
	nodes := of.nodes()
	nodes.onlyPath, nodes.atime = onlyPath, atime
	if of.forest != nil {
		if demand {
			return httpapi.BadRequest(`parameter "on_demand_scan" is for views`, "ask the member whose leader is to scan")
		}
		return s.forestTree(w, r, of, path, int(depth), nodes)
	}
	v, p := of.version, of.page
	var requested *jobAnswer
	if _, restricted := engine.ReaderOf(r.Context()); restricted && demand {
		if err := v.MayScan(r.Context(), path); err != nil { // what is hidden does not exist
			return err
		}
	}
	if demand && p.After == nil {
		j, err := s.requestScan(r.Context(), view, path, depth != 0)
		if err != nil {
			return err
		}
		state := jobAnswerFor(r.Context(), j, v.Manifest)
		requested = &state
		w.Header().Set("Fustor-Job", j.ID)
		of.varies = true
	} else if !wantsLines(r) && notModified(w, r, of) {
		return nil
	}
	root, err := v.LookupAhead(r.Context(), path, p.After, depth > 1)
	var unknown *engine.NoPathError
	if requested != nil && errors.As(err, &unknown) {
		httpapi.WriteJSON(w, r, http.StatusAccepted, scanAsked{path, requested, v.Manifest.Version})
		return nil
	}
	if err != nil {
		return err
	}
	if !onlyPath {
		if err := of.nameRows(r.Context(), v); err != nil {
			return err
		}
	}
	if wantsLines(r) {
		return treeLines(w, r, of, root, int(depth), nodes)
	}
	if p.Limit == 0 {
		p.Limit = defaultTreeLimit
	}
	end, err := s.largePage(r.Context(), p.Limit)
	if err != nil {
		return err
	}
	defer end()
	t := newTreeBuilder(root, nodes, int(depth))
	if requested != nil {
		if t.scanJob, err = json.Marshal(requested); err != nil {
			return err
		}
	}
	at, err := v.Below(r.Context(), root, t.depth, p.After, p.Limit, t.add)
	if err != nil {
		return err
	}
	t.finish(v, p.Next(v, at))
	if explainedCost(w) != nil { // explain is added to a whole body
		var body bytes.Buffer
		t.write(&body, at)
		writeBody(w, of, t.valid.until, body.Bytes())
		return nil
	}
	writeHeaders(w, of, t.valid.until)
	t.write(w, at)
	return nil
}

// largePage waits until a page of that many entries may be built, and returns what ends it. Large ones take some 50 MB of memory, so they
// are built one at a time.
func (s *Server) largePage(ctx context.Context, limit int) (end func(), err error) {
	if limit <= defaultTreeLimit {
		return func() {}, nil
	}
	select {
	case s.largePages <- struct{}{}:
		return func() { <-s.largePages }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// treeLines streams the node, on the first page, and everything below it in the order of the rows.
func treeLines(w http.ResponseWriter, r *http.Request, of *subject, root *evidence.Row, depth int, nodes nodeWriter) error {
	v, p := of.version, of.page
	out := newLines(w, r, of)
	line := func(row *evidence.Row) error {
		out.buffer = nodes.node(out.buffer, row)
		return out.endLine()
	}
	var err error
	if p.After == nil {
		err = line(root)
	}
	var at *engine.Position
	if err == nil {
		at, err = v.Below(r.Context(), root, depth, p.After, p.Limit, line)
	}
	return out.finish(r.Context(), p.Next(v, at), err)
}

// treeBuilder nests the rows of one page. Rows come in key order, so the row of a directory comes before everything in it. A directory
// that was on an earlier page is repeated without its attributes, as "continued".
type treeBuilder struct {
	nodes   nodeWriter
	valid   validity
	depth   int
	scanJob []byte // JSON of the scan that was asked for; empty: none
	shared  bool   // the page may have ended in a row of another tree
	root    *treeNode
	// directories by the Parent of the rows of their entries.
	directories map[string]*treeNode

	chunk   []byte // where the JSON of nodes is stored, one after the other
	scratch []byte
}

// treeNode is a node and its children.
type treeNode struct {
	json        []byte
	childParent string // of a directory: the Parent of the rows of its entries
	level       int    // below the root
	children    []*treeNode
}

func newTreeBuilder(root *evidence.Row, nodes nodeWriter, depth int) *treeBuilder {
	t := &treeBuilder{nodes: nodes, valid: validity{now: nodes.now}, depth: depth, directories: map[string]*treeNode{}}
	t.root = t.newNode(root, 0)
	return t
}

// continuedTree is a builder of a page on which the outermost directory is only repeated.
func continuedTree(root *evidence.Row, nodes nodeWriter, depth int) *treeBuilder {
	t := &treeBuilder{nodes: nodes, valid: validity{now: nodes.now}, depth: depth, directories: map[string]*treeNode{}}
	nodes.onlyPath = true
	t.root = &treeNode{json: append(nodes.open(nil, root), `,"continued":true`...), childParent: root.ChildParent()}
	t.directories[t.root.childParent] = t.root
	return t
}

func (t *treeBuilder) newNode(r *evidence.Row, level int) *treeNode {
	t.valid.add(r)
	t.scratch = t.nodes.open(t.scratch[:0], r)
	b := &treeNode{json: t.copyText(t.scratch), level: level}
	if r.Type == event.Directory {
		b.childParent = r.ChildParent()
		t.directories[b.childParent] = b
	}
	return b
}

// copyText stores a text in a large piece of memory, as one allocation for each node would cost more.
func (t *treeBuilder) copyText(text []byte) []byte {
	if cap(t.chunk)-len(t.chunk) < len(text) {
		t.chunk = make([]byte, 0, max(lineBuffer, len(text)))
	}
	n := len(t.chunk)
	t.chunk = append(t.chunk, text...)
	return t.chunk[n:len(t.chunk):len(t.chunk)]
}

func (t *treeBuilder) add(r *evidence.Row) error {
	parent := t.parent(r.Parent)
	parent.children = append(parent.children, t.newNode(r, parent.level+1))
	return nil
}

// parent is the node of the directory whose entries have that Parent.
func (t *treeBuilder) parent(inside string) *treeNode {
	if b, ok := t.directories[inside]; ok {
		return b
	}
	row := evidence.Row{Type: event.Directory}
	row.Parent, row.Name = event.Split(inside[:len(inside)-1])
	above := t.parent(row.Parent)
	b := &treeNode{json: nodeWriter{onlyPath: true, member: t.nodes.member}.open(nil, &row), childParent: strings.Clone(inside), level: above.level + 1}
	b.json = append(b.json, `,"continued":true`...)
	t.directories[b.childParent] = b
	above.children = append(above.children, b)
	return b
}

// finish adds the members that only the outermost node has.
func (t *treeBuilder) finish(v *engine.Version, next string) {
	t.root.json = append(t.root.json, `,"version":`...)
	t.root.json = strconv.AppendUint(t.root.json, v.Manifest.Version, 10)
	if len(t.scanJob) > 0 {
		t.root.json = append(append(t.root.json, `,"job":`...), t.scanJob...)
	}
	if next != "" {
		t.root.json = append(t.root.json, `,"next_cursor":`...)
		t.root.json = appendString(t.root.json, next)
	}
}

// write writes the answer without a copy of all of it in memory. A client that has gone is not an error.
func (t *treeBuilder) write(w io.Writer, at *engine.Position) {
	out := bufio.NewWriterSize(w, lineBuffer)
	t.writeNode(out, t.root, at)
	_ = out.Flush()
}

// writeNode writes a node and its children. A directory without children gets an empty list only if it is known to be empty: it lies
// within the depth that was asked for, and before the end of the page.
func (t *treeBuilder) writeNode(w *bufio.Writer, n *treeNode, at *engine.Position) {
	_, _ = w.Write(n.json) // an error stays until Flush
	seen := n.level < t.depth && (at == nil || n.childParent < at.Key.Parent || !t.shared && n.childParent == at.Key.Parent)
	if len(n.children) > 0 || n.childParent != "" && seen {
		_, _ = w.WriteString(`,"children":[`)
		for i, child := range n.children {
			if i > 0 {
				_ = w.WriteByte(',')
			}
			t.writeNode(w, child, at)
		}
		_ = w.WriteByte(']')
	}
	_ = w.WriteByte('}')
}
