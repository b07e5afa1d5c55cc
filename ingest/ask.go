package ingest

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/values"
)

// maxOpenJobs bounds what waits for the agents of a view.
const maxOpenJobs = 100

// askCommand has the agent of one session do something. It answers at once: the agent hears of it with its next heartbeat.
func (i *Ingest) askCommand(c *call) error {
	var q pipeapi.CommandRequest
	if err := httpapi.ReadJSON(c.w, c.r, &q, maxSessionBody); err != nil {
		return err
	}
	j, err := jobOf(q)
	if err != nil {
		return err
	}
	j.View, j.Session, j.Target = c.view, c.session(), c.session()
	if record, ok := access.FromContext(c.ctx); ok {
		j.By = record.Name
	}
	target, err := i.ledger.Alive(c.ctx, c.view, c.session())
	if err != nil {
		return err
	}
	if err := v2Takes(target, j.Kind); err != nil {
		return err
	}
	waiting, err := job.List(c.ctx, i.store, c.view)
	if err != nil {
		return err
	}
	waiting = slices.DeleteFunc(waiting, func(j *job.Job) bool { return j.State.Ended() })
	if len(waiting) >= maxOpenJobs {
		return &httpapi.Error{Status: http.StatusTooManyRequests, RetryAfter: 10 * time.Second,
			Detail: "too many commands and scans of this view wait already", Hint: "wait until some are done; the view's /jobs lists them"}
	}
	asked, err := job.Ask(c.ctx, i.store, j, i.clock.Now(), i.random)
	if err != nil {
		return err
	}
	i.logger.Info("command asked for", "view", c.view, "session", j.Target, "command", j.Kind, "job", asked.ID, "by", j.By)
	path, _ := values.PathFields(string(j.Path))
	return c.ok(pipeapi.CommandAsked{Job: asked.ID, View: c.view, Session: j.Target, Command: j.Kind, Path: path, Recursive: j.Recursive, State: asked.State, Timed: c.timed()})
}

// jobOf is what is asked for, or what is wrong with it.
func jobOf(q pipeapi.CommandRequest) (job.Job, error) {
	j := job.Job{Kind: q.Command}
	if !slices.Contains(job.Kinds, q.Command) {
		return j, httpapi.BadRequest(fmt.Sprintf("command is %.50q", q.Command), "one of "+strings.Join(job.Kinds, ", "))
	}
	if q.Command != job.Scan {
		if q.Path != nil || q.PathB64 != nil || q.Recursive != nil {
			return j, httpapi.BadRequest("path and recursive are only for scan", "")
		}
		return j, nil
	}
	path := "/"
	switch {
	case q.Path != nil && q.PathB64 != nil:
		return j, httpapi.BadRequest("path and path_b64 are both set", "send only one of them")
	case q.Path != nil:
		path = *q.Path
	case q.PathB64 != nil:
		b, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(*q.PathB64, "="))
		if err != nil {
			return j, httpapi.BadRequest("path_b64 is not base64url", "")
		}
		path = string(b)
	}
	if !event.ValidPath(path) || len(path) > event.MaxText {
		return j, httpapi.BadRequest("path is not a valid path", "use a path from the view's root, such as /projects/a")
	}
	j.Path, j.Recursive = []byte(path), q.Recursive == nil || *q.Recursive
	return j, nil
}
