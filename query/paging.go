package query

import (
	"net/http"
	"strconv"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
)

// Pages. A page ends after limit entries if there is one more; where it ends is a position, which goes into a cursor
// together with the version.

const (
	defaultLimit = 1000
	maxLimit     = 10_000
)

// openPage reads limit and cursor and finds the version that the answer is of. What makes the call the same is given in parts.
func (s *Server) openPage(r *http.Request, q *httpapi.Params, view string, limit, most int64, parts ...string) (*engine.Version, engine.Page, error) {
	limit = q.Int("limit", limit, 1, most)
	given, cursor := q.Has("cursor"), q.String("cursor", "")
	if err := q.Err(); err != nil {
		return nil, engine.Page{}, err
	}
	if given && cursor == "" {
		return nil, engine.Page{}, engine.ErrCursor
	}
	return s.engine.OpenPage(r.Context(), view, cursor, int(limit), parts...)
}

// body gathers the answer of a paged call: entries in an array.
type body struct {
	b     []byte
	n     int
	nodes nodeWriter
	valid validity
}

func newBody(now int64) *body {
	return &body{b: []byte(`{"entries":[`), nodes: nodeWriter{now: now}, valid: validity{now: now}}
}

func (a *body) add(r *evidence.Row) error {
	if a.n > 0 {
		a.b = append(a.b, ',')
	}
	a.n++
	a.valid.add(r)
	a.b = a.nodes.node(a.b, r)
	return nil
}

// finish ends the array and the answer.
func (a *body) finish(v *engine.Version, path, next string) []byte {
	a.b = append(a.b, `],"count":`...)
	a.b = strconv.AppendInt(a.b, int64(a.n), 10)
	a.b = append(a.b, `,"version":`...)
	a.b = strconv.AppendUint(a.b, v.Manifest.Version, 10)
	a.b = append(a.b, `,"path":`...)
	a.b = appendString(a.b, path)
	if shown, b64 := values.PathFields(path); shown != path {
		a.b = append(append(append(a.b, `,"path_b64":"`...), b64...), '"')
	}
	if next != "" {
		a.b = append(a.b, `,"next_cursor":`...)
		a.b = appendString(a.b, next)
	}
	return append(a.b, '}')
}

// answerPage answers a paged call, as JSON or as NDJSON, with the entries that produce emits.
func (s *Server) answerPage(w http.ResponseWriter, r *http.Request, v *engine.Version, p engine.Page, path string,
	produce func(limit int, out engine.Emit) (*engine.Position, error)) error {
	if s.notModified(w, r, v.Manifest) {
		return nil
	}
	now := s.engine.Now()
	if wantsLines(r) {
		out := &lines{w: w, m: v.Manifest}
		nodes := nodeWriter{now: now}
		at, err := produce(p.Limit, func(row *evidence.Row) error {
			out.b = nodes.node(out.b, row)
			return out.end()
		})
		return out.finish(r.Context(), p.Next(v, at), err)
	}
	if p.Limit == 0 {
		p.Limit = defaultLimit
	}
	answer := newBody(now)
	at, err := produce(p.Limit, answer.add)
	if err != nil {
		return err
	}
	writeBody(w, v.Manifest, answer.valid.until, answer.finish(v, path, p.Next(v, at)))
	return nil
}
