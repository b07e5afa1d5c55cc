package query

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strconv"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/query/engine"
)

// suspectList answers the files that may still be written to. Existing clients expect an array, so the cursor of the next page is in a
// header.
func (s *Server) suspectList(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path := q.Path("/")
	v, p, err := s.openPage(r, q, view, defaultLimit, maxLimit, "suspects", path)
	if err != nil {
		return err
	}
	if s.notModified(w, r, v.Manifest) {
		return nil
	}
	root, err := v.Lookup(r.Context(), path)
	if err != nil {
		return err
	}
	now := s.engine.Now()
	valid := validity{now: now}
	nodes := nodeWriter{now: now}
	b, n := []byte{'['}, 0
	_, at, err := v.Doubtful(r.Context(), root, engine.Suspects(now), p.After, p.Limit, func(row *evidence.Row) error {
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
	if next := p.Next(v, at); next != "" {
		w.Header().Set("Fustor-Next-Cursor", next)
	}
	writeBody(w, v.Manifest, valid.until, append(b, ']'))
	return nil
}

// suspectUpdate is what existing clients send after they have checked suspects.
type suspectUpdate struct {
	Updates []struct {
		Path  string  `json:"path"`
		Mtime float64 `json:"mtime"`
	} `json:"updates"`
}

// suspectsTaken answers it.
type suspectsTaken struct {
	View     string `json:"view_id"`
	Updated  int    `json:"updated_count"` // 0: nothing is changed
	Received int    `json:"received_count"`
	Status   string `json:"status"` // ok
}

// maxSuspectUpdate bounds the body of a suspectUpdate, bytes.
const maxSuspectUpdate = 1 << 20

// updateSuspects accepts what a client reports about suspects, and changes nothing: a view shows only what the evidence of agents
// proves, and an entry stops being suspect when its time is over.
func (s *Server) updateSuspects(w http.ResponseWriter, r *http.Request, view string) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxSuspectUpdate))
	var update suspectUpdate
	if err == nil {
		err = json.Unmarshal(body, &update)
	}
	if err != nil {
		return httpapi.BadRequest("the body is not a suspect update: "+err.Error(), `send {"updates":[{"path":"/a/b","mtime":1700000000.5}]}`)
	}
	httpapi.WriteJSON(w, r, http.StatusOK, suspectsTaken{View: view, Received: len(update.Updates), Status: "ok"})
	return nil
}

// listBlindSpots answers the changes that no agent's kernel reported: additions and changes first, then deletions. A page may end in
// either.
func (s *Server) listBlindSpots(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path := q.Path("/")
	v, p, err := s.openPage(r, q, view, defaultLimit, maxLimit, "blind-spots", path)
	if err != nil {
		return err
	}
	if s.notModified(w, r, v.Manifest) {
		return nil
	}
	root, err := v.Lookup(r.Context(), path)
	if err != nil {
		return err
	}
	a := blindSpotPage{nodes: nodeWriter{now: s.engine.Now()}, valid: validity{now: s.engine.Now()}, limit: p.Limit}
	additions, deletions := p.After, (*engine.Position)(nil)
	if p.After != nil && p.After.Extra == inDeletions {
		additions, deletions = nil, p.After
		a.additionsDone = true
	}
	next, err := a.fill(r.Context(), v, root, additions, deletions)
	if err != nil {
		return err
	}
	writeBody(w, v.Manifest, a.valid.until, a.finish(v, path, p.Next(v, next)))
	return nil
}

// inDeletions is Position.Extra of a position among the deletions.
const inDeletions = 1

// blindSpotPage is one page of blind spots.
type blindSpotPage struct {
	nodes                nodeWriter
	valid                validity
	limit                int
	additionsDone        bool
	additions, deletions []byte
	details              []byte
	added, deleted       int64 // on all pages
}

// fill reads the page and returns where the next one begins.
func (a *blindSpotPage) fill(ctx context.Context, v *engine.Version, root *evidence.Row, afterAddition, afterDeletion *engine.Position) (*engine.Position, error) {
	var next *engine.Position
	var err error
	limit, taken := a.limit, 0
	if a.additionsDone {
		limit = -1
	}
	a.added, next, err = a.read(ctx, v, root, engine.BlindSpots(false), afterAddition, limit, &taken, a.addition)
	if err != nil {
		return nil, err
	}
	limit = a.limit - taken
	if limit == 0 || next != nil {
		limit = -1
	}
	var at *engine.Position
	a.deleted, at, err = a.read(ctx, v, root, engine.BlindSpots(true), afterDeletion, limit, new(int), a.deletion)
	switch {
	case err != nil:
		return nil, err
	case next == nil && at != nil:
		at.Extra = inDeletions
		next = at
	case next == nil && limit < 0 && !a.additionsDone && a.deleted > 0: // the additions filled the page to its end
		next = &engine.Position{Extra: inDeletions}
	}
	return next, nil
}

// read is Version.Doubtful; with a negative limit it only counts.
func (a *blindSpotPage) read(ctx context.Context, v *engine.Version, root *evidence.Row, d engine.DoubtKind, after *engine.Position, limit int, taken *int,
	use engine.Emit) (int64, *engine.Position, error) {
	if limit < 0 {
		count, err := v.CountDoubtful(ctx, root, d)
		return count, nil, err
	}
	return v.Doubtful(ctx, root, d, after, limit, func(r *evidence.Row) error {
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

func (a *blindSpotPage) finish(v *engine.Version, path, next string) []byte {
	b := append([]byte(`{"additions_count":`), strconv.FormatInt(a.added, 10)...)
	b = append(append(append(b, `,"additions":[`...), a.additions...), `],"deletion_count":`...)
	b = strconv.AppendInt(b, a.deleted, 10)
	b = append(append(append(b, `,"deletions":[`...), a.deletions...), `],"deletion_details":[`...)
	b = append(append(b, a.details...), `],"version":`...)
	b = strconv.AppendUint(b, v.Manifest.Version, 10)
	b = appendString(append(b, `,"path":`...), path)
	if next != "" {
		b = appendString(append(b, `,"next_cursor":`...), next)
	}
	return append(b, '}')
}
