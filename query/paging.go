package query

import (
	"context"
	"net/http"
	"strconv"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/forest"
)

const (
	defaultLimit = 1000
	maxLimit     = 10_000
)

// pageBody builds the JSON answer of a paged call, with its entries in an array.
type pageBody struct {
	json  []byte
	count int
	nodes nodeWriter
	valid validity
}

func newBody(nodes nodeWriter) *pageBody {
	return &pageBody{json: []byte(`{"entries":[`), nodes: nodes, valid: validity{now: nodes.now}}
}

func (a *pageBody) add(member string, r *evidence.Row) error {
	a.nodes.member = member
	if a.count > 0 {
		a.json = append(a.json, ',')
	}
	a.count++
	a.valid.add(r)
	a.json = a.nodes.node(a.json, r)
	return nil
}

// finish ends the array and the answer.
func (a *pageBody) finish(ctx context.Context, of *subject, path, next string) []byte {
	a.json = append(a.json, `],"count":`...)
	a.json = strconv.AppendInt(a.json, int64(a.count), 10)
	a.json = of.appendOf(ctx, a.json)
	a.json = append(a.json, `,"path":`...)
	a.json = appendString(a.json, path)
	if shown, b64 := values.PathFields(path); shown != path {
		a.json = append(append(append(a.json, `,"path_b64":"`...), b64...), '"')
	}
	if of.unreadable > 0 {
		a.json = strconv.AppendInt(append(a.json, `,"unreadable":`...), int64(of.unreadable), 10)
	}
	if next != "" {
		a.json = append(a.json, `,"next_cursor":`...)
		a.json = appendString(a.json, next)
	}
	return append(a.json, '}')
}

// answerPage answers a paged call with its rows, as JSON or as NDJSON.
func (s *Server) answerPage(w http.ResponseWriter, r *http.Request, of *subject, path string, q forest.Question) error {
	return s.answerNodes(w, r, of, path, nodeWriter{}, q)
}

// answerNodes is answerPage with what nodes have beside their usual members.
func (s *Server) answerNodes(w http.ResponseWriter, r *http.Request, of *subject, path string, nodes nodeWriter, q forest.Question) error {
	if !wantsLines(r) && notModified(w, r, of) {
		return nil
	}
	limit := of.limit()
	nodes.now, nodes.names, nodes.versions = of.moment, &of.names, of.versions()
	of.about(path)
	if wantsLines(r) {
		out := newLines(w, r, of)
		next, err := of.rows(r.Context(), q, limit, func(member string, row *evidence.Row) error {
			nodes.member = member
			out.buffer = nodes.node(out.buffer, row)
			return out.endLine()
		})
		return out.finish(r.Context(), next, err)
	}
	if limit == 0 {
		limit = defaultLimit
	}
	answer := newBody(nodes)
	next, err := of.rows(r.Context(), q, limit, answer.add)
	if err != nil {
		return err
	}
	writeBody(w, of, answer.valid.until, answer.finish(r.Context(), of, path, next))
	return nil
}
