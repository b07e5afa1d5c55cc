package admin

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/httpapi/openapi"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
)

// Prefix is where the calls are.
const Prefix = "/api/v1/admin"

const maxBody = 64 << 10 // bytes of a request

// handler answers a call with a status and a body; nil: none.
type handler func(r *http.Request, w http.ResponseWriter) (status int, body any, err error)

// Register adds the administrator's calls to mux. protect lets those through to a call who may act in the role admin, with the record of
// their key in the context. A key that is for some views administers those, and the keys that are for no others.
func (a *Admin) Register(mux *httpapi.Mux, protect func(http.Handler) http.Handler) {
	handle := func(method, pattern string, o *openapi.Operation, h handler) {
		mux.HandleAPI(method, Prefix+pattern, o, protect(serve(h)))
	}
	ofView := func(method, pattern string, o *openapi.Operation, h handler) {
		handle(method, "/views/{view_id}"+pattern, o, func(r *http.Request, w http.ResponseWriter) (int, any, error) {
			if err := access.CheckView(r.Context(), r.PathValue("view_id")); err != nil {
				return 0, nil, err
			}
			return h(r, w)
		})
	}
	handle("GET", "/views", &listViewsOperation, a.getViews)
	handle("POST", "/views", &createViewOperation, a.postView)
	ofView("GET", "", &showViewOperation, a.getView)
	ofView("PATCH", "", &configureViewOperation, a.patchView)
	ofView("DELETE", "", &deleteViewOperation, a.deleteView)
	ofView("POST", "/reset", &restartViewOperation, a.postReset)
	ofView("GET", "/sessions", &listSessionsOperation, a.getSessions)
	ofView("DELETE", "/sessions/{session_id}", &endSessionOperation, a.deleteSession)
	ofView("GET", "/versions", &listVersionsOperation, a.getVersions)
	ofView("PUT", "/pins/{pin}", &pinOperation, a.putPin)
	ofView("DELETE", "/pins/{pin}", &unpinOperation, a.deletePin)
	ofView("POST", "/retention", &retainOperation, a.postRetention)
	handle("GET", "/settings", &listSettingsOperation, getSettings)
	handle("GET", "/cost", &estimateCostOperation, a.getCost)
	handle("GET", "/keys", &listKeysOperation, a.getKeys)
	handle("POST", "/keys", &createKeyOperation, a.postKey)
	handle("DELETE", "/keys/{key_id}", &revokeKeyOperation, a.deleteKey)
}

// The answers that are more than one thing.
type (
	// ViewList answers GET /views.
	ViewList struct {
		Views []View `json:"views"`
		Count int    `json:"count"`
	}
	// RemovedView answers DELETE /views/{view_id}.
	RemovedView struct {
		View    string `json:"view_id"`
		Objects int    `json:"objects"` // that were deleted
	}
	// RestartedView answers POST /views/{view_id}/reset.
	RestartedView struct {
		View  string `json:"view_id"`
		Epoch string `json:"epoch"`
	}
	// SessionList answers GET /views/{view_id}/sessions.
	SessionList struct {
		View     string    `json:"view_id"`
		Sessions []Session `json:"sessions"`
		Count    int       `json:"count"`
	}
	// RemovalList answers POST /views/{view_id}/retention.
	RemovalList struct {
		View    string    `json:"view_id"`
		Dry     bool      `json:"dry_run"`
		Removed []Removal `json:"removed"`
		Count   int       `json:"count"`
	}
	// SettingList answers GET /settings.
	SettingList struct {
		Settings []viewconfig.Setting `json:"settings"`
		Count    int                  `json:"count"`
	}
	// KeyList answers GET /keys.
	KeyList struct {
		Keys  []Key `json:"keys"`
		Count int   `json:"count"`
	}
)

// ResetHandler answers DELETE …/views/{view_id}/reset, as Fustor's clients know it: 204 once the view has started over.
func (a *Admin) ResetHandler(keys *access.Authenticator) http.Handler {
	return keys.Require(serve(func(r *http.Request, _ http.ResponseWriter) (int, any, error) {
		if err := access.CheckView(r.Context(), r.PathValue("view_id")); err != nil {
			return 0, nil, err
		}
		if err := httpapi.Query(r).Err(); err != nil {
			return 0, nil, err
		}
		_, err := a.Reset(r.Context(), r.PathValue("view_id"))
		return http.StatusNoContent, nil, err
	}), access.Admin)
}

func serve(h handler) http.Handler {
	return httpapi.Handler(func(w http.ResponseWriter, r *http.Request) error {
		status, body, err := h(r, w)
		switch {
		case err != nil:
			return explain(r, err)
		case body == nil:
			w.WriteHeader(status)
		default:
			httpapi.WriteJSON(w, r, status, body)
		}
		return nil
	})
}

var statusOf = map[Kind]int{
	Invalid: http.StatusBadRequest, NotFound: http.StatusNotFound, Conflict: http.StatusConflict, Unsupported: http.StatusNotImplemented,
}

func explain(r *http.Request, err error) error {
	var refused *Error
	var known *httpapi.Error
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &known), errors.As(err, &tooLarge):
		return err
	case errors.As(err, &refused):
		return &httpapi.Error{Status: statusOf[refused.Kind], Detail: refused.Detail, Hint: refused.Hint}
	case errors.Is(err, viewconfig.ErrInvalid):
		return &httpapi.Error{Status: http.StatusInternalServerError, Cause: err, Detail: "cannot read the view's settings in the store",
			Hint: "the server's log has the error; remove or repair the object"}
	case errors.Is(err, store.ErrDenied):
		detail := "this server may not write to its store"
		if r.Method == http.MethodGet {
			detail = "this server may not read that in its store"
		}
		return &httpapi.Error{Status: http.StatusNotImplemented, Cause: err, Detail: detail,
			Hint: "run `fustor admin` with --store and credentials that may, or ask the ingest with --url"}
	}
	return httpapi.StoreFailure(err)
}

// scope is the views of the caller's key.
func scope(ctx context.Context) access.Views {
	record, _ := access.FromContext(ctx)
	return record.Views
}

func (a *Admin) getViews(r *http.Request, _ http.ResponseWriter) (int, any, error) {
	if err := httpapi.Query(r).Err(); err != nil {
		return 0, nil, err
	}
	views, err := a.Views(r.Context(), scope(r.Context()))
	return http.StatusOK, ViewList{views, len(views)}, err
}

func (a *Admin) postView(r *http.Request, w http.ResponseWriter) (int, any, error) {
	body, view, err := viewBody(w, r)
	if err != nil {
		return 0, nil, err
	}
	if err := access.CheckView(r.Context(), view); err != nil {
		return 0, nil, err
	}
	c, err := a.CreateView(r.Context(), view, body)
	return http.StatusCreated, c, err
}

func (a *Admin) getView(r *http.Request, _ http.ResponseWriter) (int, any, error) {
	if err := httpapi.Query(r).Err(); err != nil {
		return 0, nil, err
	}
	v, err := a.View(r.Context(), r.PathValue("view_id"))
	return http.StatusOK, v, err
}

func (a *Admin) patchView(r *http.Request, w http.ResponseWriter) (int, any, error) {
	if err := httpapi.Query(r).Err(); err != nil {
		return 0, nil, err
	}
	body, err := httpapi.ReadBody(w, r, maxBody)
	if err != nil {
		return 0, nil, err
	}
	c, err := a.ConfigureView(r.Context(), r.PathValue("view_id"), body)
	return http.StatusOK, c, err
}

func (a *Admin) deleteView(r *http.Request, _ http.ResponseWriter) (int, any, error) {
	if err := httpapi.Query(r).Err(); err != nil {
		return 0, nil, err
	}
	n, err := a.DeleteView(r.Context(), r.PathValue("view_id"))
	return http.StatusOK, RemovedView{r.PathValue("view_id"), n}, err
}

func (a *Admin) postReset(r *http.Request, _ http.ResponseWriter) (int, any, error) {
	if err := httpapi.Query(r).Err(); err != nil {
		return 0, nil, err
	}
	epoch, err := a.Reset(r.Context(), r.PathValue("view_id"))
	return http.StatusOK, RestartedView{r.PathValue("view_id"), epoch}, err
}

func (a *Admin) getSessions(r *http.Request, _ http.ResponseWriter) (int, any, error) {
	if err := httpapi.Query(r).Err(); err != nil {
		return 0, nil, err
	}
	sessions, err := a.Sessions(r.Context(), r.PathValue("view_id"))
	return http.StatusOK, SessionList{r.PathValue("view_id"), sessions, len(sessions)}, err
}

func (a *Admin) deleteSession(r *http.Request, _ http.ResponseWriter) (int, any, error) {
	if err := httpapi.Query(r).Err(); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, a.EndSession(r.Context(), r.PathValue("view_id"), r.PathValue("session_id"))
}

// DefaultVersions is how many versions are looked at without a limit, MaxVersions how many at most.
const (
	DefaultVersions = 20
	MaxVersions     = 1000
)

func (a *Admin) getVersions(r *http.Request, _ http.ResponseWriter) (int, any, error) {
	q := httpapi.Query(r)
	limit := q.Int("limit", DefaultVersions, 1, MaxVersions)
	if err := q.Err(); err != nil {
		return 0, nil, err
	}
	h, err := a.History(r.Context(), r.PathValue("view_id"), int(limit))
	return http.StatusOK, h, err
}

func (a *Admin) putPin(r *http.Request, _ http.ResponseWriter) (int, any, error) {
	q := httpapi.Query(r)
	number := q.Int("version", 0, 1, math.MaxInt64)
	at, _ := q.Time("as_of", time.Unix(0, a.clock.Now()).UTC())
	if err := q.Err(); err != nil {
		return 0, nil, err
	}
	p, err := a.Pin(r.Context(), r.PathValue("view_id"), r.PathValue("pin"), uint64(number), at)
	return http.StatusOK, p, err
}

func (a *Admin) deletePin(r *http.Request, _ http.ResponseWriter) (int, any, error) {
	if err := httpapi.Query(r).Err(); err != nil {
		return 0, nil, err
	}
	return http.StatusNoContent, nil, a.Unpin(r.Context(), r.PathValue("view_id"), r.PathValue("pin"))
}

func (a *Admin) postRetention(r *http.Request, _ http.ResponseWriter) (int, any, error) {
	q := httpapi.Query(r)
	dry := q.Bool("dry_run", false)
	if err := q.Err(); err != nil {
		return 0, nil, err
	}
	removed, err := a.Retain(r.Context(), r.PathValue("view_id"), dry)
	return http.StatusOK, RemovalList{r.PathValue("view_id"), dry, removed, len(removed)}, err
}

func getSettings(r *http.Request, _ http.ResponseWriter) (int, any, error) {
	if err := httpapi.Query(r).Err(); err != nil {
		return 0, nil, err
	}
	settings := viewconfig.Settings()
	return http.StatusOK, SettingList{settings, len(settings)}, nil
}

func (a *Admin) getCost(r *http.Request, _ http.ResponseWriter) (int, any, error) {
	q := httpapi.Query(r)
	polling := q.Bool("polling", true)
	queries, given := q.Int("queries", defaultQueries, 0, maxQueries), q.String("events", "")
	if err := q.Err(); err != nil {
		return 0, nil, err
	}
	events := -1.0
	if given != "" {
		var err error
		if events, err = strconv.ParseFloat(given, 64); err != nil || !(events >= 0 && events <= maxEvents) {
			return 0, nil, httpapi.BadRequest("events must be a number from 0 to 1000000", "leave it out for what the views counted")
		}
	}
	e, err := a.Cost(r.Context(), scope(r.Context()), float64(queries), events, polling)
	return http.StatusOK, e, err
}

func (a *Admin) getKeys(r *http.Request, _ http.ResponseWriter) (int, any, error) {
	if err := httpapi.Query(r).Err(); err != nil {
		return 0, nil, err
	}
	keys, err := a.Keys(r.Context(), scope(r.Context()))
	return http.StatusOK, KeyList{keys, len(keys)}, err
}

func (a *Admin) postKey(r *http.Request, w http.ResponseWriter) (int, any, error) {
	if err := httpapi.Query(r).Err(); err != nil {
		return 0, nil, err
	}
	var n NewKey
	if err := httpapi.ReadJSON(w, r, &n, maxBody); err != nil {
		return 0, nil, err
	}
	if mine := scope(r.Context()); !within(n.Views, mine) {
		return 0, nil, &httpapi.Error{Status: http.StatusForbidden, Detail: "this API key is not for all views of the new key",
			Hint: "name only views of your own key"}
	}
	k, err := a.CreateKey(r.Context(), scope(r.Context()), n)
	return http.StatusCreated, k, err
}

func (a *Admin) deleteKey(r *http.Request, _ http.ResponseWriter) (int, any, error) {
	if err := httpapi.Query(r).Err(); err != nil {
		return 0, nil, err
	}
	k, err := a.RevokeKey(r.Context(), scope(r.Context()), r.PathValue("key_id"))
	return http.StatusOK, k, err
}

// viewBody reads the settings of a new view, and which view they are of.
func viewBody(w http.ResponseWriter, r *http.Request) (body []byte, view string, err error) {
	if err := httpapi.Query(r).Err(); err != nil {
		return nil, "", err
	}
	if body, err = httpapi.ReadBody(w, r, maxBody); err != nil {
		return nil, "", err
	}
	var named struct {
		View string `json:"view_id"`
	}
	if err := json.Unmarshal(body, &named); err != nil || named.View == "" {
		return nil, "", httpapi.BadRequest("the body is not a JSON object with a view_id", "the fields are in /openapi.json")
	}
	return body, named.View, nil
}
