package query

import (
	"errors"
	"net/http"
	"strconv"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/values"
)

// Pages. A page ends after limit entries if there is one more; where it ends is a position, which goes into a cursor
// together with the version.

const (
	defaultLimit = 1000
	maxLimit     = 10_000
)

// position is the last entry of a page: where the next one goes on.
type position struct {
	key  layer.Key
	rank int64 // its value in an order other than the key's
}

// emit takes one entry of an answer; it may keep nothing of the row.
type emit func(r *evidence.Row) error

// page is what a paged call asks for.
type page struct {
	limit int       // entries; 0: all
	after *position // nil: from the beginning
	query uint64    // hashQuery of the call
}

// errStop ends a walk early.
var errStop = errors.New("enough")

// limited passes entries on until the page is full, and then knows where.
type limited struct {
	limit int // 0: all
	emit  emit
	n     int
	last  layer.Key
	more  bool
}

// take passes r on, or ends the walk with errStop as there is more than the page takes.
func (l *limited) take(r *evidence.Row) error {
	if l.limit > 0 && l.n == l.limit {
		l.more = true
		return errStop
	}
	l.n++
	l.last.Parent, l.last.Name = r.Parent, r.Name
	return l.emit(r)
}

// end is where the page ended, given how the walk did; nil if there is no more.
func (l *limited) end(err error) (*position, error) {
	if err != nil && !errors.Is(err, errStop) {
		return nil, err
	}
	if !l.more {
		return nil, nil
	}
	return &position{key: l.last}, nil
}

// openPage reads limit and cursor and finds the version that the answer is of: the cursor's, or the current one. What
// makes the query the same is given in parts.
func (s *Server) openPage(r *http.Request, q *httpapi.Params, view string, limit, most int64, parts ...string) (*version, page, error) {
	p := page{limit: int(q.Int("limit", limit, 1, most)), query: hashQuery(parts...)}
	given := q.Has("cursor")
	text := q.String("cursor", "")
	if err := q.Err(); err != nil {
		return nil, p, err
	}
	if !given {
		v, err := s.current(r.Context(), view)
		return v, p, err
	}
	c, err := decodeCursor(text, p.query)
	if err != nil {
		return nil, p, httpapi.BadRequest(err.Error(), "give next_cursor as it came, with the same parameters but limit")
	}
	p.after = &position{key: c.key(), rank: c.Rank}
	v, err := s.pinned(r.Context(), view, c.Version, c.Nonce)
	return v, p, err
}

// next is the cursor of the page after this one; empty without a position.
func (p page) next(v *version, at *position) string {
	if at == nil {
		return ""
	}
	return cursor{Version: v.m.Version, Nonce: v.m.Nonce, Query: p.query, After: cursorAt(at.key), Rank: at.rank}.encode()
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
func (a *body) finish(v *version, path, next string) []byte {
	a.b = append(a.b, `],"count":`...)
	a.b = strconv.AppendInt(a.b, int64(a.n), 10)
	a.b = append(a.b, `,"version":`...)
	a.b = strconv.AppendUint(a.b, v.m.Version, 10)
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
func (s *Server) answerPage(w http.ResponseWriter, r *http.Request, v *version, p page, path string,
	produce func(limit int, out emit) (*position, error)) error {
	if s.notModified(w, r, v.m) {
		return nil
	}
	now := s.clock.Now()
	if wantsLines(r) {
		out := &lines{w: w, m: v.m}
		nodes := nodeWriter{now: now}
		at, err := produce(p.limit, func(row *evidence.Row) error {
			out.b = nodes.node(out.b, row)
			return out.end()
		})
		return out.finish(r.Context(), p.next(v, at), err)
	}
	if p.limit == 0 {
		p.limit = defaultLimit
	}
	answer := newBody(now)
	at, err := produce(p.limit, answer.add)
	if err != nil {
		return err
	}
	writeBody(w, v.m, answer.valid.until, answer.finish(v, path, p.next(v, at)))
	return nil
}
