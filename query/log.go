package query

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/engine"
)

// logAnswer is what a path was in the kept versions. E is []logged, and json.RawMessage while it is written.
type logAnswer[E any] struct {
	View    string `json:"view_id"`
	Path    string `json:"path"`
	PathB64 string `json:"path_b64,omitempty"`
	Version uint64 `json:"version"` // the current one
	// Versions is how many versions were looked at.
	Versions int    `json:"versions"`
	Found    bool   `json:"found"` // one of them has the path
	Count    int    `json:"count"`
	Entries  E      `json:"entries"`
	Next     uint64 `json:"next_before,omitempty"`
}

// log answers what a path was in the kept versions, the newest first: only those in which it is not what it was in the one before.
func (s *Server) log(w http.ResponseWriter, r *http.Request, view string) error {
	q := httpapi.Query(r)
	path := q.Path("/")
	limit := int(q.Int("limit", defaultReport, 1, maxReport))
	before := uint64(q.Int("before", 0, 1, 1<<62))
	lasting := q.Bool("kept", false)
	if err := q.Err(); err != nil {
		return err
	}
	now, err := s.engine.Current(r.Context(), view)
	var of *engine.ForestError
	if errors.As(err, &of) {
		return &httpapi.Error{Status: http.StatusConflict, Detail: fmt.Sprintf("view %q is a forest, and a log is of one view", of.View),
			Hint: "ask its members one by one; /views lists them"}
	}
	if err != nil {
		return err
	}
	found, err := s.engine.Log(r.Context(), now, path, before, lasting, limit)
	if err != nil {
		return err
	}
	if !found.Found && before == 0 && found.Next == 0 {
		return &httpapi.Error{Status: http.StatusNotFound, Detail: fmt.Sprintf("no version that is kept has %q", path), Hint: "fustor versions (GET /versions) lists what is kept"}
	}
	a := logAnswer[json.RawMessage]{View: view, Version: now.Manifest.Version, Versions: found.Looked, Found: found.Found, Count: len(found.Stages), Next: found.Next}
	a.Path, a.PathB64 = values.PathFields(path)
	if a.Entries, err = appendStages(r.Context(), nil, found.Stages); err != nil {
		return err
	}
	httpapi.WriteJSON(w, r, http.StatusOK, &a)
	return nil
}

// appendStages appends the entries of a log, as an array.
func appendStages(ctx context.Context, b []byte, stages []engine.Stage) ([]byte, error) {
	b = append(b, '[')
	for i := range stages {
		if i > 0 {
			b = append(b, ',')
		}
		var err error
		if b, err = appendStage(ctx, b, &stages[i]); err != nil {
			return nil, err
		}
	}
	return append(b, ']'), nil
}

// stageWord says what became of the path in a version.
func stageWord(s *engine.Stage) string {
	if s.Previous == nil {
		return "existing"
	}
	return s.Kind()
}

func appendStage(ctx context.Context, b []byte, s *engine.Stage) (_ []byte, err error) {
	b = append(append(append(b, `{"change":"`...), stageWord(s)...), `","version":`...)
	b = strconv.AppendUint(b, s.In.Kept.Version, 10)
	b = appendSeconds(append(b, `,"published_at":`...), s.In.Kept.At.UnixNano())
	if s.Previous != nil {
		b = strconv.AppendUint(append(b, `,"previous_version":`...), s.Previous.Kept.Version, 10)
		b = appendSeconds(append(b, `,"previous_published_at":`...), s.Previous.Kept.At.UnixNano())
	}
	b = append(append(append(b, `,"type":"`...), s.Row().Type.Letter()...), '"')
	words := s.Fields.Words()
	if s.Subtree {
		words = append(words, "subtree")
	}
	for i, word := range words { // words need no escape
		b = append(append(append(b, fieldJoin[min(i, 1)]...), word...), '"')
	}
	if words != nil {
		b = append(b, ']')
	}
	if s.Before != nil {
		if b, err = appendThen(ctx, append(b, `,"before":`...), s.Before, s.Previous.Version); err != nil {
			return nil, err
		}
	}
	if s.After != nil {
		if b, err = appendThen(ctx, append(b, `,"after":`...), s.After, s.In.Version); err != nil {
			return nil, err
		}
	}
	return append(b, '}'), nil
}

// appendThen appends what a version knows of a path, and of a directory what was below it.
func appendThen(ctx context.Context, b []byte, r *evidence.Row, v *engine.Version) ([]byte, error) {
	names, err := v.Names(ctx)
	if err != nil {
		return nil, err
	}
	b = appendState(b, r, names)
	if r.Type == event.Directory && r.Hidden&evidence.HiddenTotals == 0 {
		b = append(appendTotals(append(b[:len(b)-1], `,"subtree":`...), r.Sub), '}')
	}
	return b, nil
}
