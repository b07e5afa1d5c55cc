package ingest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/viewconfig"
)

// call is one request of an agent: its view is known, and its key is one for that view.
type call struct {
	w    http.ResponseWriter
	r    *http.Request
	ctx  context.Context
	view string
	wait time.Duration // for commands, where the call can
	i    *Ingest
}

// viewHeader names the view where the key is for several; the parameter `view` does the same.
const viewHeader = "X-Fustor-View"

func (i *Ingest) call(f func(*call) error) http.Handler {
	return httpapi.Handler(func(w http.ResponseWriter, r *http.Request) error {
		params := httpapi.Query(r)
		asked := params.String("view", "")
		wait := int64(0)
		if r.Method == http.MethodGet && strings.HasSuffix(r.Pattern, "/commands") {
			wait = params.Int("wait", 0, 0, int64(maxWait/time.Second))
		}
		if err := params.Err(); err != nil {
			return err
		}
		view, err := viewOf(r, asked)
		if err != nil {
			return err
		}
		return explain(f(&call{w: w, r: r, ctx: r.Context(), view: view, wait: time.Duration(wait) * time.Second, i: i}))
	})
}

// viewOf is the view that a request is about: the one it names, or the only one that its key is for.
func viewOf(r *http.Request, asked string) (string, error) {
	named := r.Header.Get(viewHeader)
	if named != "" && asked != "" && named != asked {
		return "", httpapi.BadRequest("the header "+viewHeader+" and the parameter view name different views", "send only one of them")
	}
	if named == "" {
		named = asked
	}
	if named == "" {
		record, _ := access.FromContext(r.Context())
		single, ok := record.Views.Single()
		if !ok {
			return "", httpapi.BadRequest("this API key is for several views, and the request does not name one",
				"name one with ?view=VIEW or the header "+viewHeader)
		}
		named = single
	}
	return named, access.CheckView(r.Context(), named)
}

// timed asks the store for its time where none of its last answers tells: agents stamp their events by it.
func (c *call) timed() pipeapi.Timed {
	now := c.i.clock.Measured()
	if now == 0 && c.i.ready(c.ctx) == nil {
		now = c.i.clock.Measured()
	}
	return pipeapi.Timed{ServerTime: now}
}

// ok answers 200.
func (c *call) ok(v any) error {
	httpapi.WriteJSON(c.w, c.r, http.StatusOK, v)
	return nil
}

// session is the id of the path, or where older SDKs of V2 have it. One that is no session's is as good as gone.
func (c *call) session() string {
	if id := c.r.PathValue("id"); id != "" {
		return id
	}
	return c.r.Header.Get("session-id")
}

// holder is who asks.
func (c *call) holder() session.Holder {
	record, _ := access.FromContext(c.ctx)
	return session.Holder{Key: record.ID, Secret: c.r.Header.Get(pipeapi.SecretHeader)}
}

// newHolder is the holder of a session that is to be made, whose secret must be worth its name.
func (c *call) newHolder() (session.Holder, error) {
	h := c.holder()
	if n := len(h.Secret); n != 0 && (n < session.MinSecret || n > session.MaxSecret) {
		return h, httpapi.BadRequest(fmt.Sprintf("the header %s has %d bytes", pipeapi.SecretHeader, n),
			fmt.Sprintf("send %d to %d random characters, the same with every request of the session, or none", session.MinSecret, session.MaxSecret))
	}
	return h, nil
}

// errNotHeld refuses whoever speaks in the name of somebody else's session. An agent that hears it of its own begins a new one.
var errNotHeld = &httpapi.Error{Status: httpapi.StatusSessionGone, Detail: "the session is another agent's: it was created with another secret or API key",
	Hint: "create a session of your own, and send the same key and " + pipeapi.SecretHeader + " from then on"}

// own refuses a session that is not the caller's. One that there is no record of is left to what is asked of it.
func (c *call) own(id string) error {
	record, err := c.i.ledger.Known(c.ctx, c.view, id)
	if err == nil && record.ID != "" && !record.HeldBy(c.holder()) {
		err = errNotHeld
	}
	return err
}

// alive is the record of the call's session, which lives and is the caller's.
func (c *call) alive() (session.Record, error) {
	record, err := c.i.ledger.Alive(c.ctx, c.view, c.session())
	if err == nil && !record.HeldBy(c.holder()) {
		err = errNotHeld
	}
	return record, err
}

// explain says to agents what the errors of the lower packages mean.
func explain(err error) error {
	var wanted *httpapi.Error
	var taken *session.TakenError
	var crowded *session.KeyFullError
	switch {
	case err == nil, errors.As(err, &wanted), isBodyError(err):
		return err
	case errors.Is(err, session.ErrGone):
		return &httpapi.Error{Status: httpapi.StatusSessionGone, Cause: err,
			Detail: "the session ended, timed out, or never existed", Hint: "create a new session"}
	case errors.As(err, &taken):
		return &httpapi.Error{Status: http.StatusConflict, Cause: err, Detail: taken.Error(),
			Hint: "close that session, or wait until it times out"}
	case errors.As(err, &crowded):
		hint := "end some, or raise --sessions-per-key of the view (fustor admin view configure)"
		if crowded.Ended {
			hint = "find out what starts and ends sessions all the time: `fustor sessions` lists them"
		}
		return &httpapi.Error{Status: http.StatusTooManyRequests, RetryAfter: 30 * time.Second, Cause: err, Detail: crowded.Error(), Hint: hint}
	case errors.Is(err, session.ErrFull):
		return &httpapi.Error{Status: http.StatusServiceUnavailable, Cause: err, RetryAfter: 30 * time.Second,
			Detail: "the view has too many sessions with segments that are not folded yet", Hint: "check that a compactor is running"}
	case errors.Is(err, session.ErrDamaged), errors.Is(err, viewconfig.ErrInvalid):
		return &httpapi.Error{Status: http.StatusInternalServerError, Cause: err, Detail: "cannot read an object of this view in the store",
			Hint: "the server's log names the object and the error"}
	}
	return httpapi.StoreFailure(err)
}

func isBodyError(err error) bool {
	var tooLarge *http.MaxBytesError
	return errors.As(err, &tooLarge)
}
