package v2

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/v2api"
	"github.com/fustor/fustor/internal/values"
)

// list is a JSON array that is streamed.
type list struct {
	stream
	count int
}

// next begins the next element.
func (l *list) next() {
	if l.count++; l.count > 1 {
		l.buffer = append(l.buffer, ',')
	}
}

// search answers the files whose paths match, as a bare array.
func (a *API) search(w http.ResponseWriter, r *http.Request, view string) error {
	q := paramsOf(r)
	pattern := q.required("pattern")
	if q.err != nil {
		return q.err
	}
	version, err := a.views.Current(r.Context(), view)
	if err != nil {
		return err
	}
	out, nodes := list{stream: stream{w: w, buffer: []byte{'['}}}, nodes{now: version.Now()}
	err = version.Search(r.Context(), pattern, func(row *evidence.Row) error {
		out.next()
		out.buffer = append(nodes.open(out.buffer, row), '}')
		return out.more()
	})
	out.buffer = append(out.buffer, ']')
	return out.finish(err)
}

func (a *API) stats(w http.ResponseWriter, r *http.Request, view string) error {
	version, err := a.views.Current(r.Context(), view)
	if errors.Is(err, ErrForest) {
		return a.forestStats(w, r, view)
	}
	if err != nil {
		return err
	}
	answer, err := version.Stats(r.Context())
	if err != nil {
		return err
	}
	httpapi.WriteJSON(w, r, http.StatusOK, answer)
	return nil
}

// suspects answers the files that may still be written to. V2's agents send source_id, which says nothing.
func (a *API) suspects(w http.ResponseWriter, r *http.Request, view string) error {
	version, err := a.views.Current(r.Context(), view)
	if err != nil {
		return err
	}
	out := list{stream: stream{w: w, buffer: []byte{'['}}}
	err = version.Suspects(r.Context(), func(row *evidence.Row) error {
		out.next()
		out.buffer = append(out.buffer, `{"path":"`...)
		out.buffer = v2api.Text(row.Path()).Append(out.buffer)
		out.buffer = append(out.buffer, `","suspect_until":`...)
		out.buffer = append(values.Seconds(row.SuspectUntil).Append(out.buffer), '}')
		return out.more()
	})
	out.buffer = append(out.buffer, ']')
	return out.finish(err)
}

// maxSuspectUpdate bounds the body of a v2api.SuspectUpdate, bytes.
const maxSuspectUpdate = 1 << 20

// updateSuspects counts what a client reports about suspects, and changes nothing, as the native call: a view shows only what the
// evidence of agents proves, and an entry stops being suspect when its time is over.
func updateSuspects(w http.ResponseWriter, r *http.Request, view string) error {
	body, err := httpapi.ReadBody(w, r, maxSuspectUpdate)
	if err != nil {
		return err
	}
	var update v2api.SuspectUpdate
	if err := json.Unmarshal(body, &update); err != nil {
		return invalid("json_invalid", "JSON decode error: "+err.Error(), nil, "body")
	}
	if update.Updates == nil {
		return invalid("missing", "Field required", nil, "body", "updates")
	}
	answer := v2api.SuspectsUpdated{View: view, Status: "ok"}
	for _, u := range update.Updates {
		if u.Path != "" && (u.Mtime.Given || u.Current.Given) {
			answer.Updated++
		}
	}
	httpapi.WriteJSON(w, r, http.StatusOK, answer)
	return nil
}

// blindSpots answers the changes that no agent's kernel reported: first the additions, then the paths of deletions. The counts come
// last, as they are known then.
func (a *API) blindSpots(w http.ResponseWriter, r *http.Request, view string) error {
	version, err := a.views.Current(r.Context(), view)
	if err != nil {
		return err
	}
	out, nodes := stream{w: w, buffer: []byte(`{"additions":[`)}, nodes{now: version.Now()}
	counts := [2]int64{}
	next := func(of int) {
		if counts[of]++; counts[of] > 1 {
			out.buffer = append(out.buffer, ',')
		}
	}
	err = version.BlindSpots(r.Context(), false, func(row *evidence.Row) error {
		next(0)
		out.buffer = append(nodes.open(out.buffer, row), '}')
		return out.more()
	})
	if err != nil {
		return out.finish(err)
	}
	out.buffer = append(out.buffer, `],"deletions":[`...)
	err = version.BlindSpots(r.Context(), true, func(row *evidence.Row) error {
		next(1)
		out.buffer = append(out.buffer, '"')
		out.buffer = append(v2api.Text(row.Path()).Append(out.buffer), '"')
		return out.more()
	})
	out.buffer = append(out.buffer, `],"additions_count":`...)
	out.buffer = append(strconv.AppendInt(out.buffer, counts[0], 10), `,"deletion_count":`...)
	out.buffer = append(strconv.AppendInt(out.buffer, counts[1], 10), '}')
	return out.finish(err)
}

func (a *API) sessions(w http.ResponseWriter, r *http.Request, view string) error {
	answer, err := a.views.Sessions(r.Context(), view)
	if err != nil {
		return err
	}
	httpapi.WriteJSON(w, r, http.StatusOK, answer)
	return nil
}

func (a *API) jobs(w http.ResponseWriter, r *http.Request, view string) error {
	jobs, err := a.views.Jobs(r.Context(), view)
	if err != nil {
		return err
	}
	httpapi.WriteJSON(w, r, http.StatusOK, v2api.Jobs{Jobs: jobs})
	return nil
}

func (a *API) job(w http.ResponseWriter, r *http.Request, view string) error {
	answer, err := a.views.Job(r.Context(), view, r.PathValue("job_id"))
	if err != nil {
		return err
	}
	httpapi.WriteJSON(w, r, http.StatusOK, answer)
	return nil
}
