package query

import (
	"bufio"
	"bytes"
	"context"
	"net/http"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/query/engine"
	"github.com/fustor/fustor/query/forest"
)

// belowEach asks for the entry at a path and for what is below it, depth levels of it.
func belowEach(path string, depth int) forest.Question {
	return forest.Question{Ask: func(ctx context.Context, v *engine.Version, after *engine.Position, limit int, out engine.Emit) (*engine.Position, error) {
		root, err := v.LookupAhead(ctx, path, after, depth > 1)
		if err != nil {
			return nil, err
		}
		return v.From(ctx, root, depth, after, limit, out)
	}}
}

// forestTree answers the tree of each member: nested, in pages, or as a stream. Pages are cut from the rows of all members, in the order of
// their keys.
func (s *Server) forestTree(w http.ResponseWriter, r *http.Request, of *subject, path string, depth int, nodes nodeWriter) error {
	if !wantsLines(r) && notModified(w, r, of) {
		return nil
	}
	question := belowEach(path, depth)
	if wantsLines(r) {
		out := newLines(w, r, of)
		next, err := of.rows(r.Context(), question, of.limit(), func(member string, row *evidence.Row) error {
			nodes.member = member
			out.buffer = nodes.node(out.buffer, row)
			return out.endLine()
		})
		return out.finish(r.Context(), next, err)
	}
	limit := of.limit()
	if limit == 0 {
		limit = defaultTreeLimit
	}
	end, err := s.largePage(r.Context(), limit)
	if err != nil {
		return err
	}
	defer end()
	t := forestTree{nodes: nodes, depth: depth, trees: map[string]*treeBuilder{}}
	t.root.Type = event.Directory
	t.root.Parent, t.root.Name = event.Split(path)
	next, err := of.rows(r.Context(), question, limit, t.add)
	if err != nil {
		return err
	}
	var body bytes.Buffer
	until := t.write(&body, of, path, next != "")
	b := of.appendOf(r.Context(), body.Bytes())
	if next != "" {
		b = appendString(append(b, `,"next_cursor":`...), next)
	}
	writeBody(w, of, until, append(b, '}'))
	return nil
}

// forestTree nests the rows of one page, by member.
type forestTree struct {
	nodes nodeWriter
	depth int
	root  evidence.Row // the path, for members whose own root was on an earlier page
	trees map[string]*treeBuilder
	last  evidence.Row
}

func (t *forestTree) add(member string, r *evidence.Row) error {
	t.last.Parent, t.last.Name = r.Parent, r.Name
	b := t.trees[member]
	if b != nil {
		return b.add(r)
	}
	nodes := t.nodes
	nodes.member = member
	if r.Path() == t.root.Path() {
		t.trees[member] = newTreeBuilder(r, nodes, t.depth)
		return nil
	}
	t.trees[member] = continuedTree(&t.root, nodes, t.depth)
	return t.trees[member].add(r)
}

// write writes the trees, in the order of the members, and returns until when they are right.
func (t *forestTree) write(body *bytes.Buffer, of *subject, path string, more bool) (until int64) {
	var at *engine.Position
	if more {
		at = &engine.Position{}
		at.Key.Parent, at.Key.Name = t.last.Parent, t.last.Name
	}
	valid := validity{now: t.nodes.now}
	body.Write(appendString([]byte(`{"path":`), path))
	body.WriteString(`,"trees":[`)
	out := bufio.NewWriter(body)
	n := 0
	for _, m := range of.forest.Members {
		b := t.trees[m.View]
		if b == nil {
			continue
		}
		if n++; n > 1 {
			_ = out.WriteByte(',')
		}
		b.shared = true
		b.writeNode(out, b.root, at)
		valid.addEnd(b.valid.until)
	}
	_ = out.WriteByte(']')
	_ = out.Flush() // to memory: it cannot fail
	return valid.until
}
