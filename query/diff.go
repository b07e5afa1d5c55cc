package query

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
)

// diff answers what differs at and below a path between two versions: the paths in key order, or with summary their sums.
func (s *Server) diff(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	now := s.agesFrom(r)
	from, to := q.String("from", "0"), q.String("to", "")
	summary, depth := q.Bool("summary", false), int(q.Int("depth", 1, 0, 100))
	wanted, parts, err := filterParams(q, time.Unix(0, now), "*")
	if err != nil {
		return err
	}
	switch {
	case !summary && q.Has("depth"):
		return httpapi.BadRequest(`parameter "depth" is for sums`, "pass summary=true with it, or leave it out")
	case summary && (q.Has("limit") || q.Has("cursor")):
		return httpapi.BadRequest("sums have no pages", "leave limit and cursor out, or summary")
	}
	of, err := s.openDiff(r, q, view, from, to, append(parts, from, to, "diff")...)
	if err != nil {
		return err
	}
	now = of.timeFor(q, now)
	d, err := engine.NewDiff(r.Context(), of.from, of.version, wanted)
	if err != nil {
		return err
	}
	if !wantsLines(r) && notModified(w, r, of) {
		return nil
	}
	moves, err := s.engine.Moves(r.Context(), d)
	if err != nil {
		return err
	}
	w.Header().Set("Fustor-Moves", movesWord(moves))
	if summary {
		return answerDiffSums(w, r, of, d, moves, wanted.Path, depth)
	}
	return answerDiff(w, r, of, d, moves, wanted.Path, now)
}

// openDiff reads the parameters limit and cursor, and opens the two versions of a diff. parts are as of openPage.
func (s *Server) openDiff(r *http.Request, q *httpapi.Params, view, from, to string, parts ...string) (*subject, error) {
	limit := q.Int("limit", 0, 1, maxLimit)
	given, cursor := q.Has("cursor"), q.String("cursor", "")
	if err := q.Err(); err != nil {
		return nil, err
	}
	if given && cursor == "" {
		return nil, engine.ErrCursor
	}
	for name, version := range map[string]string{"from": from, "to": to} {
		if version == "" && q.Has(name) {
			return nil, httpapi.BadRequest(fmt.Sprintf("parameter %q is empty", name), "leave it out for its default")
		}
	}
	a := &subject{view: view, reader: engine.ReaderTag(r.Context())}
	a.varies = a.reader != "" && (to != "" || cursor != "") // on the rights of the newest version
	var err error
	a.from, a.version, a.page, err = s.engine.OpenDiff(r.Context(), view, cursor, int(limit), from, to, parts...)
	if of, isForest := s.forestOf(r.Context(), view, err); isForest {
		return nil, &httpapi.Error{Status: http.StatusConflict, Detail: fmt.Sprintf("view %q is a forest, and a diff is of one view", of.View),
			Hint: "ask its members one by one; /views lists them"}
	}
	if err != nil {
		return nil, err
	}
	a.moment = s.engine.Now()
	return a, nil
}

// movesWord says whether moves are recognised in a diff.
func movesWord(m *engine.Moves) string {
	if m.Complete {
		return "recognised"
	}
	return "too-many"
}

// answerDiff answers a page of a diff, as JSON or as NDJSON.
func answerDiff(w http.ResponseWriter, r *http.Request, of *subject, d *engine.Diff, moves *engine.Moves, path string, now int64) error {
	ctx, limit := r.Context(), of.limit()
	changes := changeWriter{moves: moves}
	var err error
	if changes.before, err = of.from.Names(ctx); err != nil {
		return err
	}
	if changes.after, err = of.version.Names(ctx); err != nil {
		return err
	}
	next := func(at *engine.Position) string {
		if at != nil {
			at.Extra = now
		}
		return of.page.Next(of.version, at)
	}
	if wantsLines(r) {
		out := newLines(w, r, of)
		at, err := d.Page(ctx, of.page.After, limit, func(c *evidence.Change) error {
			out.buffer = changes.append(out.buffer, c)
			return out.endLine()
		})
		return out.finish(ctx, next(at), err)
	}
	if limit == 0 {
		limit = defaultLimit
	}
	answer := newBody(nodeWriter{})
	at, err := d.Page(ctx, of.page.After, limit, func(c *evidence.Change) error {
		if answer.count > 0 {
			answer.json = append(answer.json, ',')
		}
		answer.count++
		answer.json = changes.append(answer.json, c)
		return nil
	})
	if err != nil {
		return err
	}
	body := answer.finish(ctx, of, path, next(at))
	body = append(body[:len(body)-1], `,"folded_at":`...)
	body = appendSeconds(body, of.version.Manifest.FoldedAt)
	body = append(body, `,"from_folded_at":`...)
	body = appendSeconds(body, of.from.Manifest.FoldedAt)
	body = append(append(append(body, `,"moves":"`...), movesWord(moves)...), `"}`...)
	writeBody(w, of, 0, body)
	return nil
}

// changeWriter writes the entries of a diff, as docs/api.md has them.
type changeWriter struct {
	moves         *engine.Moves
	before, after *manifest.Names // of the two versions
}

func (w changeWriter) append(b []byte, c *evidence.Change) []byte {
	r := c.Row()
	path := r.Path()
	from, to := "", ""
	switch {
	case c.Before == nil:
		from = w.moves.From(path)
	case c.After == nil:
		to = w.moves.To(path)
	}
	b = append(append(append(b, `{"change":"`...), c.Kind()...), `",`...)
	b = appendPath(b, "path", path)
	b = append(append(append(b, `,"type":"`...), r.Type.Letter()...), '"')
	for i, word := range c.Fields.Words() { // words need no escape
		b = append(append(append(b, fieldJoin[min(i, 1)]...), word...), '"')
	}
	if c.Fields != 0 {
		b = append(b, ']')
	}
	if from != "" {
		b = appendPath(append(b, ','), "moved_from", from)
	}
	if to != "" {
		b = appendPath(append(b, ','), "moved_to", to)
	}
	if c.Before != nil {
		b = appendState(append(b, `,"before":`...), c.Before, w.before)
	}
	if c.After != nil {
		b = appendState(append(b, `,"after":`...), c.After, w.after)
	}
	return append(b, '}')
}

// fieldJoin is what comes before the first field, and before each other.
var fieldJoin = [2]string{`,"fields":["`, `,"`}

// appendPath appends a path as a member, and its exact bytes as another if the first does not say it all.
func appendPath(b []byte, name, path string) []byte {
	b = append(append(append(b, '"'), name...), `":`...)
	b = appendString(b, path)
	if !utf8.ValidString(path) {
		b = appendBase64(b, `,"`+name+`_b64":"`, path)
	}
	return b
}

// appendState appends what a version knows of a path.
func appendState(b []byte, r *evidence.Row, names *manifest.Names) []byte {
	b = append(append(b, `{"type":"`...), r.Type.Letter()...)
	if r.Hidden&evidence.HiddenAttributes != 0 {
		return append(b, `","attributes_hidden":true}`...)
	}
	b = append(b, `","size":`...)
	b = strconv.AppendInt(b, r.Size, 10)
	b = append(b, `,"mtime_ns":`...)
	b = strconv.AppendInt(b, r.MtimeNs, 10)
	b = append(b, `,"mode":`...)
	b = strconv.AppendUint(b, uint64(r.Mode), 10)
	b = append(b, `,"uid":`...)
	b = strconv.AppendUint(b, uint64(r.UID), 10)
	b = append(b, `,"gid":`...)
	b = strconv.AppendUint(b, uint64(r.GID), 10)
	b = appendString(append(b, `,"owner":`...), names.Shown(false, r.Source, r.UID))
	b = appendString(append(b, `,"group":`...), names.Shown(true, r.Source, r.GID))
	if r.Measured() {
		b = appendInode(b, &r.Inode)
	}
	if r.Type == event.Symlink {
		b = appendPath(append(b, ','), "target", r.Target)
	}
	return append(b, '}')
}

// diffSums are the sums of a diff at and below a directory.
type diffSums struct {
	pathEntry
	Added   engine.PathSums    `json:"added"`
	Removed engine.PathSums    `json:"removed"`
	Changed engine.ChangedSums `json:"changed"`
}

// diffSumsAnswer are the sums of a diff by directory.
type diffSumsAnswer struct {
	View         string         `json:"view_id"`
	Path         string         `json:"path"`
	PathB64      string         `json:"path_b64,omitempty"`
	Version      uint64         `json:"version"`
	FoldedAt     values.Seconds `json:"folded_at"`
	From         uint64         `json:"from_version"`
	FromFoldedAt values.Seconds `json:"from_folded_at"`
	Moves        string         `json:"moves"`
	Count        int            `json:"count"`
	Entries      []diffSums     `json:"entries"`
}

func answerDiffSums(w http.ResponseWriter, r *http.Request, of *subject, d *engine.Diff, moves *engine.Moves, path string, depth int) error {
	list, err := d.Sums(r.Context(), depth, moves)
	if errors.Is(err, engine.ErrManyDirectories) {
		return httpapi.BadRequest(fmt.Sprintf("more than %d directories differ", engine.MaxDirectorySums), "pass a smaller depth, or a path further down")
	}
	if err != nil {
		return err
	}
	a := diffSumsAnswer{View: of.view, Version: of.version.Manifest.Version, FoldedAt: values.Seconds(of.version.Manifest.FoldedAt),
		From: of.from.Manifest.Version, FromFoldedAt: values.Seconds(of.from.Manifest.FoldedAt), Moves: movesWord(moves), Count: len(list), Entries: []diffSums{}}
	a.Path, a.PathB64 = values.PathFields(path)
	out := newLines(w, r, of)
	for i := range list {
		e := diffSums{pathEntryOf(list[i].Path), list[i].Added, list[i].Removed, list[i].Changed}
		if !wantsLines(r) {
			a.Entries = append(a.Entries, e)
			continue
		}
		line, err := json.Marshal(e)
		if err != nil {
			return err
		}
		out.buffer = append(out.buffer, line...)
		if err := out.endLine(); err != nil {
			return out.finish(r.Context(), "", err)
		}
	}
	if wantsLines(r) {
		return out.finish(r.Context(), "", nil)
	}
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	writeBody(w, of, 0, body)
	return nil
}
