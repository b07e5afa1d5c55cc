package query

import (
	"bufio"
	"bytes"
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
	Path    string    `json:"path"`
	Job     *jobState `json:"job"`
	Version uint64    `json:"version"`
}

// tree answers a node with what is below it: nested, in pages, or as a stream of all of it.
func (s *Server) tree(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path := q.Path("/")
	depth := q.Int("max_depth", math.MaxInt32, 0, math.MaxInt32)
	onlyPath := q.Bool("only_path", false)
	if !q.Bool("recursive", true) {
		depth = 0
	}
	demand := q.Bool("on_demand_scan", false)
	v, p, err := s.openPage(r, q, view, 0, maxTreeLimit, "tree", path, strconv.FormatInt(depth, 10), strconv.FormatBool(onlyPath))
	if err != nil {
		return err
	}
	var scanning *jobState
	if demand && p.After == nil {
		j, err := s.scan(r, view, path, depth != 0)
		if err != nil {
			return err
		}
		state := stateOf(j, v.Manifest)
		scanning = &state
		w.Header().Set("Fustor-Job", j.ID)
	} else if s.notModified(w, r, v.Manifest) {
		return nil
	}
	root, err := v.LookupAhead(r.Context(), path, p.After, depth > 1)
	var unknown *engine.NoPathError
	if scanning != nil && errors.As(err, &unknown) {
		httpapi.WriteJSON(w, r, http.StatusAccepted, scanAsked{path, scanning, v.Manifest.Version})
		return nil
	}
	if err != nil {
		return err
	}
	nodes := nodeWriter{now: s.engine.Now(), onlyPath: onlyPath}
	if wantsLines(r) {
		return treeLines(w, r, v, p, root, int(depth), nodes)
	}
	if p.Limit == 0 {
		p.Limit = defaultTreeLimit
	}
	if p.Limit > defaultTreeLimit { // some 50 MB: one at a time
		select {
		case s.largePages <- struct{}{}:
			defer func() { <-s.largePages }()
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
	t := newForest(root, nodes, int(depth))
	if scanning != nil {
		if t.job, err = json.Marshal(scanning); err != nil {
			return err
		}
	}
	at, err := v.Below(r.Context(), root, t.depth, p.After, p.Limit, t.add)
	if err != nil {
		return err
	}
	t.finish(v, p.Next(v, at))
	if explains(w) != nil { // which goes into a body that is whole
		var body bytes.Buffer
		t.write(&body, at)
		writeBody(w, v.Manifest, t.valid.until, body.Bytes())
		return nil
	}
	writeHead(w, v.Manifest, t.valid.until)
	t.write(w, at)
	return nil
}

// treeLines streams the node, on the first page, and everything below it in the order of the rows.
func treeLines(w http.ResponseWriter, r *http.Request, v *engine.Version, p engine.Page, root *evidence.Row, depth int, nodes nodeWriter) error {
	out := &lines{w: w, m: v.Manifest}
	line := func(row *evidence.Row) error {
		out.b = nodes.node(out.b, row)
		return out.end()
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

// forest nests the rows of one page. Rows come in key order, so that a directory's own row precedes all that is in it;
// directories that stood on an earlier page are repeated, bare.
type forest struct {
	nodes nodeWriter
	valid validity
	depth int
	job   []byte // JSON of the scan that was asked for; empty: none
	root  *branch
	// directories by what is Parent in their entries' rows.
	directories map[string]*branch

	piece   []byte // the texts of branches, one after the other
	scratch []byte
}

// branch is a node whose object is not closed, and its children.
type branch struct {
	open     []byte
	inside   string // of a directory: what is Parent in its entries' rows
	level    int    // below the root
	children []*branch
}

func newForest(root *evidence.Row, nodes nodeWriter, depth int) *forest {
	t := &forest{nodes: nodes, valid: validity{now: nodes.now}, depth: depth, directories: map[string]*branch{}}
	t.root = t.branch(root, 0)
	return t
}

func (t *forest) branch(r *evidence.Row, level int) *branch {
	t.valid.add(r)
	t.scratch = t.nodes.open(t.scratch[:0], r)
	b := &branch{open: t.keep(t.scratch), level: level}
	if r.Type == event.Directory {
		b.inside = r.ChildParent()
		t.directories[b.inside] = b
	}
	return b
}

// keep copies a text to where they lie without room between them.
func (t *forest) keep(text []byte) []byte {
	if cap(t.piece)-len(t.piece) < len(text) {
		t.piece = make([]byte, 0, max(lineBuffer, len(text)))
	}
	n := len(t.piece)
	t.piece = append(t.piece, text...)
	return t.piece[n:len(t.piece):len(t.piece)]
}

func (t *forest) add(r *evidence.Row) error {
	parent := t.parent(r.Parent)
	parent.children = append(parent.children, t.branch(r, parent.level+1))
	return nil
}

// parent is the directory whose entries have that Parent.
func (t *forest) parent(inside string) *branch {
	if b, ok := t.directories[inside]; ok {
		return b
	}
	row := evidence.Row{Type: event.Directory}
	row.Parent, row.Name = event.Split(inside[:len(inside)-1])
	above := t.parent(row.Parent)
	b := &branch{open: nodeWriter{onlyPath: true}.open(nil, &row), inside: strings.Clone(inside), level: above.level + 1}
	b.open = append(b.open, `,"continued":true`...)
	t.directories[b.inside] = b
	above.children = append(above.children, b)
	return b
}

// finish adds what only the outermost node has.
func (t *forest) finish(v *engine.Version, next string) {
	t.root.open = append(t.root.open, `,"version":`...)
	t.root.open = strconv.AppendUint(t.root.open, v.Manifest.Version, 10)
	if len(t.job) > 0 {
		t.root.open = append(append(t.root.open, `,"job":`...), t.job...)
	}
	if next != "" {
		t.root.open = append(t.root.open, `,"next_cursor":`...)
		t.root.open = appendString(t.root.open, next)
	}
}

// write writes the whole, without a copy of it in memory. A client that went away is no error of ours.
func (t *forest) write(w io.Writer, at *engine.Position) {
	out := bufio.NewWriterSize(w, lineBuffer)
	t.writeBranch(out, t.root, at)
	_ = out.Flush()
}

// writeBranch writes a branch. A directory without children has an empty list of them only where it is known to be empty:
// within the depth asked for, and not beyond the page's end.
func (t *forest) writeBranch(w *bufio.Writer, n *branch, at *engine.Position) {
	_, _ = w.Write(n.open) // what fails once fails again, and Flush tells
	seen := n.level < t.depth && (at == nil || n.inside <= at.Key.Parent)
	if len(n.children) > 0 || n.inside != "" && seen {
		_, _ = w.WriteString(`,"children":[`)
		for i, child := range n.children {
			if i > 0 {
				_ = w.WriteByte(',')
			}
			t.writeBranch(w, child, at)
		}
		_ = w.WriteByte(']')
	}
	_ = w.WriteByte('}')
}
