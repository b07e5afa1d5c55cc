package query

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/layer"
)

// What is doubtful of a view: files that may still be written to, and blind spots, which no agent's kernel reported. Both
// are rare, and row groups without such rows are not read.

// doubt is a kind of doubtful rows.
type doubt struct {
	// marks reports whether rows with these marks may be such rows.
	marks func(m layer.Marks) bool
	// row reports whether row i of a block is one. Columns are decoded once a block.
	rows func(b *layer.Block) (func(i int) bool, error)
}

// layer and group report whether a layer and a row group may have such rows. A layer that does not say may.
func (d doubt) layer(i *layer.Info) bool  { return i.Marks == nil || d.marks(*i.Marks) }
func (d doubt) group(g *layer.Group) bool { return d.marks(g.Marks()) }

// anyDoubt are all doubtful rows at a time.
func anyDoubt(now int64) doubt {
	return doubt{marks: func(m layer.Marks) bool { return m.AgentMissing > 0 || m.SuspectUntilNs > now }}
}

// suspects are the files that may still be written to at a time.
func suspects(now int64) doubt {
	return doubt{
		marks: func(m layer.Marks) bool { return m.SuspectUntilNs > now },
		rows: func(b *layer.Block) (func(int) bool, error) {
			c, err := numbers(b, layer.ColumnSuspectUntilNs, layer.ColumnRemoved, layer.ColumnType)
			return func(i int) bool {
				return c[0].At(i) > now && c[1].At(i) == 0 && event.Type(c[2].At(i)) == event.File
			}, err
		},
	}
}

// blindSpots are additions and changes, or deletions, that no kernel reported.
func blindSpots(deletions bool) doubt {
	return doubt{
		marks: func(m layer.Marks) bool { return m.AgentMissing > 0 },
		rows: func(b *layer.Block) (func(int) bool, error) {
			c, err := numbers(b, layer.ColumnAgentMissing, layer.ColumnRemoved)
			return func(i int) bool { return c[0].At(i) != 0 && (c[1].At(i) != 0) == deletions }, err
		},
	}
}

func numbers(b *layer.Block, columns ...layer.Column) ([]*layer.Numbers, error) {
	decoded := make([]*layer.Numbers, len(columns))
	for i, c := range columns {
		var err error
		if decoded[i], err = b.Numbers(c); err != nil {
			return nil, err
		}
	}
	return decoded, nil
}

// doubtful calls use with every doubtful row at and below root, in key order, until it returns errStop. Rows of the base
// that a delta replaced are not among them.
func (v *version) doubtful(ctx context.Context, root *evidence.Row, d doubt, use func(b *layer.Block, i int) error) error {
	parent := root.ChildParent()
	end := subtreeEnd(parent)
	from := layer.Key{Parent: parent}
	if root.Parent == "" {
		from = layer.Key{} // the root's own row
	}
	c, err := v.doubtCursor(ctx, from, end, d)
	if err != nil || c == nil {
		return err
	}
	for ok := c.Seek(from); ok; ok = c.NextSpan() {
		b, first, to := c.Span()
		if g := b.Group(); !d.group(&g) {
			continue
		}
		is, err := d.rows(b)
		if err != nil {
			return v.fail(err)
		}
		for i := first; i < to; i++ {
			if is(i) {
				if err := use(b, i); err != nil {
					return err
				}
			}
		}
	}
	if err := c.Err(); err != nil {
		return v.fail(err)
	}
	return nil
}

// doubtfulPage emits the doubtful rows after a position, limit of them at most, and says how many there are in all.
func (v *version) doubtfulPage(ctx context.Context, root *evidence.Row, d doubt, after *position, limit int, out emit) (count int64, at *position, err error) {
	page := limited{limit: limit, emit: out}
	full := false
	var row evidence.Row
	err = v.doubtful(ctx, root, d, func(b *layer.Block, i int) error {
		count++
		if full || after != nil && b.Key(i).Compare(after.key) <= 0 {
			return nil
		}
		if err := b.Row(i, &row); err != nil {
			return v.fail(err)
		}
		err := page.take(&row)
		if errors.Is(err, errStop) {
			full, err = true, nil
		}
		return err
	})
	if err != nil {
		return 0, nil, err
	}
	at, err = page.end(nil)
	return count, at, err
}

// suspectList answers the files that may still be written to, as Fustor's clients know it: an array. The cursor of the
// next page is in a header.
func (s *Server) suspectList(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path := q.Path("/")
	v, p, err := s.openPage(r, q, view, defaultLimit, maxLimit, "suspects", path)
	if err != nil {
		return err
	}
	if s.notModified(w, r, v.m) {
		return nil
	}
	root, err := v.lookup(r.Context(), path)
	if err != nil {
		return err
	}
	now := s.clock.Now()
	valid := validity{now: now}
	nodes := nodeWriter{now: now}
	b, n := []byte{'['}, 0
	_, at, err := v.doubtfulPage(r.Context(), root, suspects(now), p.after, p.limit, func(row *evidence.Row) error {
		if n++; n > 1 {
			b = append(b, ',')
		}
		valid.add(row)
		b = append(nodes.open(b, row), `,"suspect_until":`...)
		b = append(appendSeconds(b, row.SuspectUntil), '}')
		return nil
	})
	if err != nil {
		return err
	}
	if next := p.next(v, at); next != "" {
		w.Header().Set("Fustor-Next-Cursor", next)
	}
	writeBody(w, v.m, valid.until, append(b, ']'))
	return nil
}

// suspectUpdate is what existing clients send after they looked at suspects.
type suspectUpdate struct {
	Updates []struct {
		Path  string  `json:"path"`
		Mtime float64 `json:"mtime"`
	} `json:"updates"`
}

// maxSuspectUpdate bounds the body of a suspectUpdate, bytes.
const maxSuspectUpdate = 1 << 20

// updateSuspects takes what a client says of suspects, and changes nothing: a view shows what agents' evidence proves, and
// an entry stops being suspect by itself.
func (s *Server) updateSuspects(w http.ResponseWriter, r *http.Request, view string) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSuspectUpdate))
	var update suspectUpdate
	if err == nil {
		err = json.Unmarshal(body, &update)
	}
	if err != nil {
		return httpapi.BadRequest("the body is not a suspect update: "+err.Error(), `send {"updates":[{"path":"/a/b","mtime":1700000000.5}]}`)
	}
	httpapi.WriteJSON(w, r, http.StatusOK, map[string]any{"view_id": view, "updated_count": 0, "received_count": len(update.Updates), "status": "ok"})
	return nil
}

// listBlindSpots answers what was found by looking, without any kernel's report: additions and changes first, then
// deletions. A page ends within either.
func (s *Server) listBlindSpots(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path := q.Path("/")
	v, p, err := s.openPage(r, q, view, defaultLimit, maxLimit, "blind-spots", path)
	if err != nil {
		return err
	}
	if s.notModified(w, r, v.m) {
		return nil
	}
	root, err := v.lookup(r.Context(), path)
	if err != nil {
		return err
	}
	a := blindSpotPage{nodes: nodeWriter{now: s.clock.Now()}, valid: validity{now: s.clock.Now()}, left: p.limit}
	additions, deletions := p.after, (*position)(nil)
	if p.after != nil && p.after.rank == inDeletions {
		additions, deletions = nil, p.after
		a.pastAdditions = true
	}
	next, err := a.fill(r.Context(), v, root, additions, deletions)
	if err != nil {
		return err
	}
	writeBody(w, v.m, a.valid.until, a.finish(v, path, p.next(v, next)))
	return nil
}

// inDeletions is the rank of a position among the deletions.
const inDeletions = 1

// blindSpotPage is one page of blind spots.
type blindSpotPage struct {
	nodes                nodeWriter
	valid                validity
	left                 int
	pastAdditions        bool
	additions, deletions []byte
	details              []byte
	added, deleted       int64 // in all
}

// fill reads the page, and says where the next one begins.
func (a *blindSpotPage) fill(ctx context.Context, v *version, root *evidence.Row, afterAddition, afterDeletion *position) (*position, error) {
	var next *position
	var err error
	limit, taken := a.left, 0
	if a.pastAdditions {
		limit = -1
	}
	a.added, next, err = a.read(ctx, v, root, blindSpots(false), afterAddition, limit, &taken, a.addition)
	if err != nil {
		return nil, err
	}
	limit = a.left - taken
	if limit == 0 || next != nil {
		limit = -1
	}
	var at *position
	a.deleted, at, err = a.read(ctx, v, root, blindSpots(true), afterDeletion, limit, new(int), a.deletion)
	switch {
	case err != nil:
		return nil, err
	case next == nil && at != nil:
		at.rank = inDeletions
		next = at
	case next == nil && limit < 0 && !a.pastAdditions && a.deleted > 0: // the additions filled the page to its end
		next = &position{rank: inDeletions}
	}
	return next, nil
}

// read is doubtfulPage; with a negative limit it only counts.
func (a *blindSpotPage) read(ctx context.Context, v *version, root *evidence.Row, d doubt, after *position, limit int, taken *int,
	use emit) (int64, *position, error) {
	if limit < 0 {
		count := int64(0)
		err := v.doubtful(ctx, root, d, func(*layer.Block, int) error { count++; return nil })
		return count, nil, err
	}
	return v.doubtfulPage(ctx, root, d, after, limit, func(r *evidence.Row) error {
		*taken++
		return use(r)
	})
}

func (a *blindSpotPage) addition(r *evidence.Row) error {
	if len(a.additions) > 0 {
		a.additions = append(a.additions, ',')
	}
	a.valid.add(r)
	a.additions = append(a.nodes.open(a.additions, r), `,"found_at":`...)
	a.additions = append(appendSeconds(a.additions, r.ObservedAt), '}')
	return nil
}

func (a *blindSpotPage) deletion(r *evidence.Row) error {
	if len(a.deletions) > 0 {
		a.deletions, a.details = append(a.deletions, ','), append(a.details, ',')
	}
	a.deletions = appendString(a.deletions, r.Path())
	a.details = append(a.nodes.open(a.details, r), `,"found_at":`...)
	a.details = append(appendSeconds(a.details, r.ObservedAt), '}')
	return nil
}

func (a *blindSpotPage) finish(v *version, path, next string) []byte {
	b := append([]byte(`{"additions_count":`), strconv.FormatInt(a.added, 10)...)
	b = append(append(append(b, `,"additions":[`...), a.additions...), `],"deletion_count":`...)
	b = strconv.AppendInt(b, a.deleted, 10)
	b = append(append(append(b, `,"deletions":[`...), a.deletions...), `],"deletion_details":[`...)
	b = append(append(b, a.details...), `],"version":`...)
	b = strconv.AppendUint(b, v.m.Version, 10)
	b = appendString(append(b, `,"path":`...), path)
	if next != "" {
		b = appendString(append(b, `,"next_cursor":`...), next)
	}
	return append(b, '}')
}
