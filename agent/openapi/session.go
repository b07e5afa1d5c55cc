package openapi

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/sleep"
	"github.com/fustor/fustor/internal/v2api"
)

// What holds where the server does not say.
const (
	defaultTimeout = 30 * time.Second
	defaultAudit   = 6 * time.Hour
	// statusGone is what an agent knows a lost session by.
	statusGone = 419
)

// current is the session that the agent has.
type current struct {
	id, agent, source string
	leads             bool
	term              uint64 // grows each time that the session becomes the leader
	timeout           time.Duration
	sent              int64 // the last segment that is sent; -1: none
	fruitless         int   // sessions in a row of which the server took nothing
	jobs              map[string]asked
}

// asked is a scan that the server asked for.
type asked struct {
	path string
	done *job.Report // nil: it is not done yet
}

func (t *Target) isCurrent(session string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.current.id == session
}

// Handler answers what an agent asks its ingest.
func (t *Target) Handler() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, f func(*http.Request) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			answer, err := f(r)
			if err != nil {
				answerError(w, err)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(answer)
		})
	}
	const sessions = "/api/v1/pipe/session"
	handle("POST "+sessions+"/{$}", t.create)
	handle("POST "+sessions+"/{id}/heartbeat", t.beat)
	handle("DELETE "+sessions+"/{id}", t.close)
	handle("GET "+sessions+"/{id}/commands", func(*http.Request) (any, error) { return pipeapi.Commands{Commands: []job.Command{}}, nil })
	handle("POST "+sessions+"/{id}/jobs/{job}", t.report)
	handle("GET /api/v1/pipe/consistency/sentinel/tasks", func(*http.Request) (any, error) { return pipeapi.SentinelTasks{}, nil })
	return mux
}

// answerError gives the agent the server's error as if it were its ingest's.
func answerError(w http.ResponseWriter, err error) {
	status, text := http.StatusBadGateway, err.Error()
	var e *send.StatusError
	if errors.As(err, &e) {
		status = e.Status
		if e.RetryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int((e.RetryAfter+time.Second-1)/time.Second)))
		}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"detail": text})
}

// example is what is known for the body of an operation, with values of the right types.
func example(role string) map[string]any {
	known := map[string]string{"view": "v", "agent": "a", "source": "s", "task": "t"}
	if role != roleSession {
		known["session"] = "s"
	}
	out := spread(known)
	switch role {
	case roleSession:
		out["client_info"], out["session_timeout_seconds"] = map[string]any{}, 30.0
	case roleHeartbeat:
		out["can_realtime"], out["agent_status"], out["paused"] = true, map[string]any{}, false
	}
	return out
}

// ask makes a call of the session and returns its answer's members.
func (t *Target) ask(ctx context.Context, c *call, known map[string]string, more map[string]any) (map[string]json.RawMessage, error) {
	var body []byte
	if c.hasBody {
		values := spread(known)
		maps.Copy(values, more)
		object, missing := c.fill(values)
		if len(missing) > 0 {
			return nil, fmt.Errorf("%s requires fields that are not known: %s", c.candidate, strings.Join(missing, ", "))
		}
		var err error
		if body, err = json.Marshal(object); err != nil {
			return nil, err
		}
	}
	r, err := c.request(ctx, t.o.Key, known, body)
	if err != nil {
		return nil, err
	}
	answer, err := do(t.o.HTTP, r)
	if err != nil {
		return nil, err
	}
	members := map[string]json.RawMessage{}
	_ = json.Unmarshal(answer, &members) // an answer may be empty, or no object
	return members, nil
}

// text is the first of these members that is a text or a number.
func text(members map[string]json.RawMessage, names ...string) string {
	for _, name := range names {
		var s string
		var n json.Number
		if json.Unmarshal(members[name], &s) == nil && s != "" {
			return s
		}
		if json.Unmarshal(members[name], &n) == nil && n != "" {
			return n.String()
		}
	}
	return ""
}

// number is a member that is a number above 0; 0: there is none.
func number(members map[string]json.RawMessage, name string) float64 {
	var f float64
	if json.Unmarshal(members[name], &f) != nil || f < 0 {
		return 0
	}
	return f
}

func decode(r *http.Request, to any) error {
	if err := json.NewDecoder(r.Body).Decode(to); err != nil {
		return &send.StatusError{Status: http.StatusBadRequest, Detail: err.Error()}
	}
	return nil
}

// create creates a session with the server; without an operation for that, one of this process alone.
func (t *Target) create(r *http.Request) (any, error) {
	var q pipeapi.Registration
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	if err := t.restrain(r.Context()); err != nil {
		return nil, err
	}
	agent, _ := q.ClientInfo[pipeapi.InfoAgent].(string)
	source, _ := q.ClientInfo[pipeapi.InfoSource].(string)
	next := current{agent: agent, source: source, timeout: defaultTimeout, sent: -1, jobs: map[string]asked{}}
	members := map[string]json.RawMessage{}
	if t.session == nil {
		next.id = "local-" + rand.Text()
	} else {
		known := map[string]string{"view": t.o.View, "agent": agent, "source": source, "task": q.Task}
		more := map[string]any{"client_info": map[string]any(q.ClientInfo)}
		if q.Timeout != nil {
			more["session_timeout_seconds"] = *q.Timeout
		}
		var err error
		if members, err = t.ask(r.Context(), t.session, known, more); err != nil {
			return nil, err
		}
		if next.id = text(members, "session_id", "sessionId", "id"); next.id == "" {
			return nil, errors.New("the server's answer names no session: it has none of session_id, sessionId and id")
		}
		if s := number(members, "session_timeout_seconds"); s > 0 {
			next.timeout = time.Duration(s * float64(time.Second))
		}
	}
	t.mu.Lock()
	next.term, next.fruitless = t.current.term, t.current.fruitless+1
	t.current = next
	t.mu.Unlock()
	audit := number(members, "audit_interval_sec")
	if members["audit_interval_sec"] == nil {
		audit = defaultAudit.Seconds()
	}
	return pipeapi.Session{ID: next.id, View: t.o.View, Standing: t.standing(members), Timeout: next.timeout.Seconds(), Audit: audit,
		Broken: []string{}, Timed: timed(members)}, nil
}

// restrain waits before one more session, if the server takes nothing of those that it creates.
func (t *Target) restrain(ctx context.Context) error {
	t.mu.Lock()
	n := t.current.fruitless
	t.mu.Unlock()
	if n < 3 {
		return nil
	}
	return sleep.For(ctx, min(time.Second<<min(n-3, 5), 20*time.Second))
}

func timed(members map[string]json.RawMessage) pipeapi.Timed {
	var now int64
	_ = json.Unmarshal(members["server_time_ns"], &now)
	return pipeapi.Timed{ServerTime: now}
}

// standing is the session's role by an answer. A server that knows no roles has every session lead.
func (t *Target) standing(members map[string]json.RawMessage) pipeapi.Standing {
	leads := true
	if role := text(members, "role"); role != "" {
		leads = role == "leader"
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	c := &t.current
	if leads && !c.leads || c.term == 0 {
		c.term++
	}
	c.leads = leads
	s := pipeapi.Standing{Role: "follower", IsLeader: leads, Term: c.term, LeaseTTL: c.timeout.Seconds(), LeaseRenewed: leads,
		Heartbeat: lease.Interval(c.timeout, leads).Seconds()}
	if leads {
		s.Role = "leader"
	}
	return s
}

// beat sends a heartbeat.
func (t *Target) beat(r *http.Request) (any, error) {
	var q pipeapi.Heartbeat
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	id := r.PathValue("id")
	if !t.isCurrent(id) {
		return nil, &send.StatusError{Status: statusGone, Detail: "the session is not this agent's"}
	}
	members := map[string]json.RawMessage{}
	if t.heartbeat != nil {
		more := map[string]any{"paused": q.Paused}
		if q.CanRealtime != nil {
			more["can_realtime"] = *q.CanRealtime
		}
		if q.AgentStatus != nil {
			more["agent_status"] = q.AgentStatus
		}
		var err error
		if members, err = t.ask(r.Context(), t.heartbeat, t.known(id), more); err != nil {
			return nil, gone(err)
		}
	}
	return pipeapi.Beat{Status: "ok", Standing: t.standing(members), Commands: t.commands(id, members), Timed: timed(members)}, nil
}

func (t *Target) known(session string) map[string]string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return map[string]string{"view": t.o.View, "session": session, "agent": t.current.agent, "source": t.current.source}
}

// gone has the agent know a lost session by one status.
func gone(err error) error {
	var e *send.StatusError
	if errors.As(err, &e) && (e.Status == http.StatusNotFound || e.Status == http.StatusGone || e.Status == http.StatusConflict) {
		lost := *e
		lost.Status = statusGone
		return &lost
	}
	return err
}

// commands are the scans that a heartbeat's answer asks for.
func (t *Target) commands(session string, members map[string]json.RawMessage) []job.Command {
	out := []job.Command{}
	var all []v2api.Command
	if _, own := t.format.(rows); !own || json.Unmarshal(members["commands"], &all) != nil {
		return out
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range all {
		id := c.Job
		switch {
		case c.Type == "scan" && id != "":
			t.current.jobs[id] = asked{path: string(c.Path)}
			out = append(out, job.Command{ID: id, Type: job.Scan, Path: []byte(c.Path), Text: string(c.Path), Recursive: c.Recursive == nil || *c.Recursive, For: session})
		case c.Type == "stop_pipe":
			out = append(out, job.Command{ID: "stop-" + rand.Text(), Type: job.Stop, For: session})
		case c.Type == "reload_config":
			out = append(out, job.Command{ID: "reload-" + rand.Text(), Type: job.Reload, For: session})
		}
	}
	return out
}

// report takes in how far a scan is that the server asked for. The server is told of its end, once its events are sent.
func (t *Target) report(r *http.Request) (any, error) {
	var q job.Report
	if err := decode(r, &q); err != nil {
		return nil, err
	}
	t.mu.Lock()
	if a, ok := t.current.jobs[r.PathValue("job")]; ok && q.State == job.Done && t.current.id == r.PathValue("id") {
		a.done = &q
		t.current.jobs[r.PathValue("job")] = a
	}
	id := t.current.id
	t.mu.Unlock()
	return pipeapi.JobReported{Status: "ok", State: q.State}, t.reportDone(r.Context(), id)
}

// sent takes in that a segment is sent.
func (t *Target) sent(ctx context.Context, session string, seq uint64) error {
	t.mu.Lock()
	t.current.sent, t.current.fruitless = int64(seq), 0
	t.mu.Unlock()
	return t.reportDone(ctx, session)
}

// reportDone tells the server of scans that are done, and whose events are sent.
func (t *Target) reportDone(ctx context.Context, session string) error {
	t.mu.Lock()
	done := map[string]string{}
	for id, a := range t.current.jobs {
		if a.done != nil && (a.done.LastSeq == nil || *a.done.LastSeq <= t.current.sent) {
			done[id] = a.path
		}
	}
	t.mu.Unlock()
	for id, path := range done {
		body, err := rows{}.jobDone(session, id, path)
		if err != nil {
			return err
		}
		r, err := t.events.request(ctx, t.o.Key, t.known(session), body)
		if err != nil {
			return err
		}
		r.Header.Set(idempotencyKey, "job-"+id)
		if _, err := do(t.o.HTTP, r); err != nil {
			return t.meaning(err)
		}
		t.mu.Lock()
		delete(t.current.jobs, id)
		t.mu.Unlock()
	}
	return nil
}

// close ends a session, of this process or of the one before it.
func (t *Target) close(r *http.Request) (any, error) {
	id := r.PathValue("id")
	ended := pipeapi.Ended{Status: "terminated", Session: id}
	if t.end == nil || strings.HasPrefix(id, "local-") {
		return ended, nil
	}
	_, err := t.ask(r.Context(), t.end, t.known(id), nil)
	return ended, gone(err)
}
