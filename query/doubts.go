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
	"github.com/fustor/fustor/query/forest"
)

// suspectList answers the files that may still be written to. Existing clients expect an array, so the cursor of the next page is in a
// header.
func (s *Server) suspectList(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path := q.Path("/")
	of, err := s.openPage(r, q, view, defaultLimit, maxLimit, "suspects", path)
	if err != nil {
		return err
	}
	if notModified(w, r, of) {
		return nil
	}
	valid := validity{now: of.moment}
	nodes := of.nodes()
	b, n := []byte{'['}, 0
	next, err := of.rows(r.Context(), doubtful(path, engine.Suspects(of.moment), 0), of.limit(), func(member string, row *evidence.Row) error {
		if n++; n > 1 {
			b = append(b, ',')
		}
		valid.add(row)
		nodes.member = member
		b = append(nodes.open(b, row), `,"suspect_until":`...)
		b = append(appendSeconds(b, row.SuspectUntil), '}')
		return nil
	})
	if err != nil {
		return err
	}
	if next != "" {
		w.Header().Set("Fustor-Next-Cursor", next)
	}
	writeBody(w, of, valid.until, append(b, ']'))
	return nil
}

// doubtful asks for the rows of a kind at and below a path. section is Position.Extra.
func doubtful(path string, kind engine.DoubtKind, section int64) forest.Question {
	return forest.Question{
		Extra: func(*evidence.Row) int64 { return section },
		Ask: func(ctx context.Context, v *engine.Version, after *engine.Position, limit int, out engine.Emit) (*engine.Position, error) {
			root, err := v.Lookup(ctx, path)
			if err != nil {
				return nil, err
			}
			_, at, err := v.Doubtful(ctx, root, kind, after, limit, out)
			if at != nil {
				at.Extra = section
			}
			return at, err
		}}
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
	of, err := s.openPage(r, q, view, defaultLimit, maxLimit, "blind-spots", path)
	if err != nil {
		return err
	}
	if notModified(w, r, of) {
		return nil
	}
	a := blindSpotPage{nodes: of.nodes(), valid: validity{now: of.moment}}
	if a.counts, err = countBlindSpots(r.Context(), of, path); err != nil {
		return err
	}
	next, err := a.fill(r.Context(), of, path)
	if err != nil {
		return err
	}
	writeBody(w, of, a.valid.until, a.finish(r.Context(), of, path, next))
	return nil
}

// inDeletions is Position.Extra of a position among the deletions.
const inDeletions = 1

// blindSpotCounts are how many blind spots there are on all pages.
type blindSpotCounts struct{ added, deleted int64 }

func countBlindSpots(ctx context.Context, of *subject, path string) (sum blindSpotCounts, err error) {
	count := func(ctx context.Context, v *engine.Version) (c blindSpotCounts, err error) {
		root, err := v.Lookup(ctx, path)
		if err != nil {
			return c, err
		}
		if c.added, err = v.CountDoubtful(ctx, root, engine.BlindSpots(false)); err != nil {
			return c, err
		}
		c.deleted, err = v.CountDoubtful(ctx, root, engine.BlindSpots(true))
		return c, err
	}
	if of.forest == nil {
		return count(ctx, of.version)
	}
	list, err := forest.Ask(ctx, of.forest, forest.Deadline, func(ctx context.Context, m *forest.Member) (blindSpotCounts, error) {
		return count(ctx, m.Version)
	})
	for _, c := range list {
		sum.added, sum.deleted = sum.added+c.added, sum.deleted+c.deleted
	}
	return sum, err
}

// blindSpotPage is one page of blind spots.
type blindSpotPage struct {
	nodes                nodeWriter
	valid                validity
	additions, deletions []byte
	details              []byte
	counts               blindSpotCounts
}

// fill reads the page and returns the cursor of the next one.
func (a *blindSpotPage) fill(ctx context.Context, of *subject, path string) (next string, err error) {
	left, deletions := of.limit(), of
	if of.extra() != inDeletions {
		next, err = of.rows(ctx, doubtful(path, engine.BlindSpots(false), 0), left, func(member string, r *evidence.Row) error {
			left--
			a.nodes.member = member
			return a.addition(r)
		})
		if err != nil || next != "" {
			return next, err
		}
		deletions = of.beginning()
	}
	if left > 0 {
		return deletions.rows(ctx, doubtful(path, engine.BlindSpots(true), inDeletions), left, func(member string, r *evidence.Row) error {
			a.nodes.member = member
			return a.deletion(r)
		})
	}
	if a.counts.deleted > 0 { // the additions filled the page to its end
		next = of.cursorAt(inDeletions)
	}
	return next, nil
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

func (a *blindSpotPage) finish(ctx context.Context, of *subject, path, next string) []byte {
	b := append([]byte(`{"additions_count":`), strconv.FormatInt(a.counts.added, 10)...)
	b = append(append(append(b, `,"additions":[`...), a.additions...), `],"deletion_count":`...)
	b = strconv.AppendInt(b, a.counts.deleted, 10)
	b = append(append(append(b, `,"deletions":[`...), a.deletions...), `],"deletion_details":[`...)
	b = of.appendOf(ctx, append(append(b, a.details...), ']'))
	b = appendString(append(b, `,"path":`...), path)
	if next != "" {
		b = appendString(append(b, `,"next_cursor":`...), next)
	}
	return append(b, '}')
}
