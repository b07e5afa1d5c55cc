package query

import (
	"net/http"
	"strconv"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
)

const (
	defaultLimit = 1000
	maxLimit     = 10_000
)

// openPage reads the parameters limit and cursor, and opens the version of the page. parts are what two calls must have in common for
// a cursor of one to serve the other.
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

// pageBody builds the JSON answer of a paged call, with its entries in an array.
type pageBody struct {
	json  []byte
	count int
	nodes nodeWriter
	valid validity
}

func newBody(now int64) *pageBody {
	return &pageBody{json: []byte(`{"entries":[`), nodes: nodeWriter{now: now}, valid: validity{now: now}}
}

func (a *pageBody) add(r *evidence.Row) error {
	if a.count > 0 {
		a.json = append(a.json, ',')
	}
	a.count++
	a.valid.add(r)
	a.json = a.nodes.node(a.json, r)
	return nil
}

// finish ends the array and the answer.
func (a *pageBody) finish(v *engine.Version, path, next string) []byte {
	a.json = append(a.json, `],"count":`...)
	a.json = strconv.AppendInt(a.json, int64(a.count), 10)
	a.json = append(a.json, `,"version":`...)
	a.json = strconv.AppendUint(a.json, v.Manifest.Version, 10)
	a.json = append(a.json, `,"path":`...)
	a.json = appendString(a.json, path)
	if shown, b64 := values.PathFields(path); shown != path {
		a.json = append(append(append(a.json, `,"path_b64":"`...), b64...), '"')
	}
	if next != "" {
		a.json = append(a.json, `,"next_cursor":`...)
		a.json = appendString(a.json, next)
	}
	return append(a.json, '}')
}

// answerPage answers a paged call with the entries that produce emits, as JSON or as NDJSON.
func (s *Server) answerPage(w http.ResponseWriter, r *http.Request, v *engine.Version, p engine.Page, path string,
	produce func(limit int, out engine.Emit) (*engine.Position, error)) error {
	if s.notModified(w, r, v.Manifest) {
		return nil
	}
	now := s.engine.Now()
	if wantsLines(r) {
		out := &ndjsonWriter{w: w, manifest: v.Manifest}
		nodes := nodeWriter{now: now}
		at, err := produce(p.Limit, func(row *evidence.Row) error {
			out.buffer = nodes.node(out.buffer, row)
			return out.endLine()
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
