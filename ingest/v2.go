package ingest

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/fustor/fustor/ingest/v2rows"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/v2api"
)

// V2Prefix is where SDKs of Fustor V2 of early 2026 have their calls; all others are under /api/v1/pipe.
const V2Prefix = "/api/v1/ingest/"

const (
	// maxBatch bounds a batch of V2's events, bytes, and those of one view in memory at once; maxBatches those of all views: as values,
	// JSON takes four times as much.
	maxBatch   = 16 << 20
	maxBatches = 3 * maxBatch
)

// v2side is what the agents of Fustor V2 need beside the native calls. A session of theirs is a session like others, whose
// record says what it speaks (session.Record.Dialect); the calls that both have go by that.
type v2side struct {
	rows   *v2rows.Rows
	bodies *uploads
}

func newV2(i *Ingest) (*v2side, error) {
	rows, err := v2rows.New(v2rows.Options{Store: i.store, Ledger: i.ledger, Now: i.clock.Now, Measured: i.clock.Measured, Random: i.random, Logger: i.logger,
		InRequest: i.answerAtOnce, OnSegment: func(view, session string, seq uint64, size int) {
			i.metrics.segments.Inc()
			i.metrics.segmentBytes.Add(float64(size))
			if i.onSegment != nil {
				i.onSegment(view, session, seq)
			}
		}})
	return &v2side{rows: rows, bodies: newUploads(maxBatches, maxBatch+maxBatch/4, maxBatch)}, err
}

// routesOfV2 are the calls that V2 alone has, under all the names that its SDKs have had for them.
func (i *Ingest) routesOfV2(mux *httpapi.Mux) {
	handle := func(method, pattern string, f func(*call) error) {
		mux.HandleUnlisted(method, pattern, i.keys.Require(i.call(f), access.Ingest))
	}
	const pipe, old = "/api/v1/pipe", "/api/v1/ingest"
	handle("POST", pipe+"/{id}/events", i.takeEvents)
	handle("POST", pipe+"/ingest", i.takeEvents)
	handle("POST", pipe+"/session/heartbeat", i.anyHeartbeat)
	mux.HandleUnlisted("GET", old+"/sessions", i.keys.Require(i.call(i.authorized), access.Ingest, access.Query))
	handle("POST", old+"/sessions", i.createV2)
	handle("DELETE", old+"/sessions", i.endSession)
	handle("DELETE", old+"/sessions/{id}", i.endSession)
	handle("POST", old+"/sessions/heartbeat", i.anyHeartbeat)
	handle("POST", old+"/sessions/{id}/heartbeat", i.anyHeartbeat)
	handle("POST", old+"/events", i.takeEvents)
	handle("POST", old+"/consistency/audit/start", i.auditMark)
	handle("POST", old+"/consistency/audit/end", i.auditMark)
	handle("GET", old+"/consistency/sentinel/tasks", i.sentinelTasks)
	handle("POST", old+"/consistency/sentinel/feedback", i.sentinelFeedback)
}

// createAnySession creates a session of either kind.
func (i *Ingest) createAnySession(c *call) error {
	body, err := httpapi.ReadBody(c.w, c.r, maxSessionBody)
	if err != nil {
		return err
	}
	c.r.Body = io.NopCloser(bytes.NewReader(body))
	if v2api.IsCreate(body) {
		return i.createV2(c)
	}
	return i.createSession(c)
}

func (i *Ingest) createV2(c *call) error {
	var q v2api.Create
	if _, err := httpapi.ReadLooseJSON(c.w, c.r, &q, maxSessionBody); err != nil {
		return err
	}
	config, err := i.views.Load(c.ctx, c.view)
	if err != nil {
		return err
	}
	application, err := apply(pipeapi.Registration{Task: q.Task, ClientInfo: q.Info, Timeout: q.Timeout}, config)
	if err != nil {
		return err
	}
	application.ClientIP, application.Dialect = httpapi.ClientIP(c.r), session.V2
	if application.Holder, err = c.newHolder(); err != nil {
		return err
	}
	state, err := i.ledger.Create(c.ctx, application)
	if err != nil {
		return err
	}
	i.metrics.created.Inc()
	i.metrics.beat(state)
	return c.ok(eventsSession{v2api.Created{Session: state.Record.ID, Role: role(state), Timeout: state.Record.TimeoutSeconds, Audit: config.AuditIntervalSeconds,
		Sentinel: config.SentinelIntervalSeconds, Message: message(c.view, state)}, c.view, c.timed()})
}

func role(s session.State) string {
	if s.Leads {
		return "leader"
	}
	return "follower"
}

// anyHeartbeat takes in a heartbeat of either kind of session.
func (i *Ingest) anyHeartbeat(c *call) error {
	record, err := i.ledger.Known(c.ctx, c.view, c.session())
	switch {
	case err != nil:
		return err
	case record.ID != "" && !record.HeldBy(c.holder()):
		return errNotHeld
	case record.Dialect == session.V2:
		return i.heartbeatV2(c)
	}
	return i.heartbeat(c)
}

func (i *Ingest) heartbeatV2(c *call) error {
	var q v2api.Heartbeat
	if _, err := httpapi.ReadLooseJSON(c.w, c.r, &q, maxSessionBody); err != nil {
		return err
	}
	status, err := q.AgentStatus()
	if err != nil {
		return httpapi.BadRequest(err.Error(), "")
	}
	state, err := i.ledger.Beat(c.ctx, c.view, c.session(), session.Beat{CanRealtime: q.CanRealtime, AgentStatus: keptStatus(status)})
	if err != nil {
		return err
	}
	i.metrics.beat(state)
	i.v2.rows.Resume(c.ctx, c.view, state.Record.ID)
	return c.ok(eventsBeat{v2api.Beaten{Status: "ok", Role: role(state), Commands: i.commandsV2(c, state)}, c.timed()})
}

// commandsV2 are the commands that wait for a session, in V2's words. A V2 agent does what it is told each time that it is told,
// and reports on scans alone: so a command is told once, and is running, or done, from then on.
func (i *Ingest) commandsV2(c *call, state session.State) []v2api.Command {
	told := []v2api.Command{}
	for _, w := range i.waiting(c, state) {
		command, report := commandV2(state.Record, w, float64(i.clock.Now())/1e9)
		_, err := job.Apply(c.ctx, i.store, c.view, w.ID, state.Record.ID, report, i.clock.Now(), i.random)
		if err != nil {
			i.logger.Warn("a command could not be handed out", "view", c.view, "job", w.ID, "error", err)
			continue
		}
		if command.Type != "" {
			told = append(told, command)
		}
	}
	return told
}

// commandV2 is a command in V2's words, and what becomes of its job with that.
func commandV2(r session.Record, w job.Command, now float64) (v2api.Command, job.Report) {
	const unheard = "handed to an agent of Fustor V2, which does not report on it"
	switch w.Type {
	case job.Scan:
		return v2api.Command{Type: "scan", Path: v2api.Text(w.Path), Recursive: &w.Recursive, Job: w.ID, Created: now},
			job.Report{For: w.For, State: job.Running}
	case job.Stop:
		return v2api.Command{Type: "stop_pipe", Pipe: pipeOfTask(r), Created: now}, job.Report{For: w.For, State: job.Done, Note: unheard}
	case job.Reload:
		return v2api.Command{Type: "reload_config", Created: now}, job.Report{For: w.For, State: job.Done, Note: unheard}
	}
	return v2api.Command{}, job.Report{For: w.For, State: job.Failed, Error: "an agent of Fustor V2 has no such command"}
}

// pipeOfTask is the pipe's id on its agent: tasks are AGENT:PIPE.
func pipeOfTask(r session.Record) string {
	if _, pipe, ok := strings.Cut(r.Task, ":"); ok {
		return pipe
	}
	return r.Task
}

// v2Takes says why a session's agent cannot be asked for something, if it cannot.
func v2Takes(r session.Record, kind string) error {
	if r.Dialect != session.V2 || kind != job.Pause && kind != job.Resume {
		return nil
	}
	return &httpapi.Error{Status: http.StatusConflict, Detail: fmt.Sprintf("an agent of Fustor V2 cannot be told to %s", kind),
		Hint: "it knows scan, reload and stop"}
}

// takeEvents takes in a batch of rows, or what an agent says of a job.
func (i *Ingest) takeEvents(c *call) error {
	size := c.r.ContentLength
	if size < 0 || size > maxBatch {
		size = maxBatch
	}
	release, err := i.v2.bodies.acquire(c.ctx, c.holder().Key, c.view, size)
	if err != nil {
		return uploadProblem(err)
	}
	defer release()
	_ = http.NewResponseController(c.w).SetReadDeadline(time.Now().Add(requestTimeout)) // a slow client must not hold the memory
	var batch v2api.Batch
	body, err := httpapi.ReadLooseJSON(c.w, c.r, &batch, maxBatch)
	if err != nil {
		return err
	}
	id := c.r.PathValue("id")
	switch {
	case id == "":
		id = batch.Session
	case batch.Session != "" && batch.Session != id:
		return httpapi.BadRequest("field \"session_id\" is another session than that of the path", "")
	}
	if err := c.own(id); err != nil {
		return err
	}
	answer := v2api.Accepted{Status: "ok", Count: len(batch.Events)}
	if strings.HasSuffix(c.r.Pattern, "/pipe/{id}/events") || strings.HasSuffix(c.r.Pattern, "/pipe/{id}/events/{$}") {
		yes := true
		answer.Success = &yes
	}
	switch batch.Source {
	case v2api.ConfigReport: // it has the agent's keys
		_, err = i.ledger.Alive(c.ctx, c.view, id)
		answer.Count = 0
	case v2api.JobComplete, v2api.ScanComplete:
		answer.Phase = batch.Source
		err = i.completeV2(c, id, &batch)
	default:
		_, err = i.v2.rows.Take(c.ctx, c.view, id, &batch, body)
	}
	if err != nil {
		return err
	}
	return c.ok(struct {
		v2api.Accepted
		pipeapi.Timed
	}{answer, c.timed()})
}

// completeV2 ends the job that a session says to have done: the one it names, or else those of the path.
func (i *Ingest) completeV2(c *call, id string, batch *v2api.Batch) error {
	if _, err := i.ledger.Alive(c.ctx, c.view, id); err != nil {
		return err
	}
	jobs, err := job.List(c.ctx, i.store, c.view)
	if err != nil {
		return err
	}
	for _, j := range jobs {
		named := j.ID == batch.Metadata.Job || batch.Metadata.Job == "" && string(j.Path) == string(batch.Metadata.ScanPath)
		if j.State.Ended() || j.Runner != id || !named {
			continue
		}
		last, err := i.v2.rows.LastSegment(c.ctx, c.view, id)
		if err != nil {
			return err
		}
		report := job.Report{For: j.Session, State: job.Done, LastSeq: &last}
		if _, err := job.Apply(c.ctx, i.store, c.view, j.ID, id, report, i.clock.Now(), i.random); err != nil {
			return err
		}
	}
	return nil
}

// sentinelFeedback takes in what a sentinel of a V2 leader found. Native agents send that as segments.
func (i *Ingest) sentinelFeedback(c *call) error {
	var q v2api.Feedback
	body, err := httpapi.ReadLooseJSON(c.w, c.r, &q, maxSessionBody)
	if err == nil {
		err = i.v2.rows.Found(c.ctx, c.view, c.holder(), &q, body)
	}
	if err != nil {
		return err
	}
	return c.ok(pipeapi.FeedbackTaken{Status: "processed", Drivers: 1, Received: len(q.Updates), Timed: c.timed()})
}
