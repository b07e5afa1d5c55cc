package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/viewconfig"
)

const (
	maxTask        = 256       // bytes of a task id, an agent id
	maxSource      = 4096      // bytes of a source URI
	maxInfo        = 16 << 10  // bytes of client_info, and of an agent_status that is kept
	maxSessionBody = 256 << 10 // bytes of a session's request
)

// authorized tells an agent which view its key is for.
func (i *Ingest) authorized(c *call) error {
	record, _ := access.FromContext(c.ctx)
	canFeed := record.Allows(access.Ingest)
	return c.ok(pipeapi.Authorized{View: c.view, Status: "authorized", CanFeed: &canFeed, Timed: c.timed()})
}

func (i *Ingest) createSession(c *call) error {
	var q pipeapi.Registration
	if err := httpapi.ReadJSON(c.w, c.r, &q, maxSessionBody); err != nil {
		return err
	}
	config, err := i.views.Load(c.ctx, c.view)
	if err != nil {
		return err
	}
	application, err := apply(q, config)
	if err != nil {
		return err
	}
	application.ClientIP = httpapi.ClientIP(c.r)
	if application.Holder, err = c.newHolder(); err != nil {
		return err
	}
	state, err := i.ledger.Create(c.ctx, application)
	if err != nil {
		return err
	}
	skew, broken := i.known(c)
	i.metrics.created.Inc()
	i.metrics.beat(state)
	return c.ok(pipeapi.Session{
		ID: state.Record.ID, View: c.view, Standing: standingOf(state), Timeout: state.Record.TimeoutSeconds,
		Audit: config.AuditIntervalSeconds, Sentinel: config.SentinelIntervalSeconds, Hot: config.HotSeconds, Message: message(c.view, state), Skew: skew, Broken: broken, Timed: c.timed(),
	})
}

// known is what a new agent begins with: the view's skew, which the agents before it measured, nil if it is not known; and the
// sessions that were not folded to their end.
func (i *Ingest) known(c *call) (skew *int64, broken []string) {
	broken = []string{}
	m, _, err := manifest.LoadRoot(c.ctx, i.store, c.view)
	if errors.Is(err, manifest.ErrNoHead) {
		return nil, broken
	}
	if err != nil {
		i.logger.Warn("the view's clock could not be read", "view", c.view, "error", err)
		return nil, broken
	}
	for id, p := range m.Sessions {
		if p.Broken {
			broken = append(broken, id)
		}
	}
	slices.Sort(broken)
	ns := m.Clock.Skew()
	return &ns, broken
}

// apply turns a request into an application, or says what is wrong with it.
func apply(q pipeapi.Registration, config viewconfig.Config) (session.Application, error) {
	a := session.Application{View: config.View, Task: q.Task, ClientInfo: q.ClientInfo, TimeoutSeconds: config.SessionTimeoutSeconds,
		Paused: q.Paused, Exclusive: !config.AllowConcurrentPush, OfKey: config.SessionsPerKey}
	if config.IsForest() {
		return a, &httpapi.Error{Status: http.StatusForbidden, Detail: fmt.Sprintf("view %q is a forest: it is answered from its members and takes no agents", config.View),
			Hint: "let the agent feed a view of its own, and make that a member: `fustor admin view configure " + config.View + " --members …`"}
	}
	if err := checkText("task_id", q.Task, maxTask); err != nil {
		return a, err
	}
	if q.Task == "" {
		return a, httpapi.BadRequest("task_id is missing", "send a stable name of the agent's pipe, such as AGENT:PIPE")
	}
	if q.Timeout != nil {
		if !(*q.Timeout > 0 && *q.Timeout <= viewconfig.MaxSeconds) {
			return a, httpapi.BadRequest("session_timeout_seconds is out of range", fmt.Sprintf("above 0, at most %d", viewconfig.MaxSeconds))
		}
		a.TimeoutSeconds = max(a.TimeoutSeconds, *q.Timeout)
	}
	if encoded, err := json.Marshal(q.ClientInfo); err != nil || len(encoded) > maxInfo {
		return a, httpapi.BadRequest(fmt.Sprintf("client_info is larger than %d bytes", maxInfo), "")
	}
	var err error
	if a.Agent, err = infoText(q.ClientInfo, pipeapi.InfoAgent, maxTask); err != nil {
		return a, err
	}
	if a.Agent == "" { // existing agents name their task AGENT:PIPE
		a.Agent, _, _ = strings.Cut(q.Task, ":")
	}
	a.Source, err = infoText(q.ClientInfo, pipeapi.InfoSource, maxSource)
	return a, err
}

func infoText(info pipeapi.ClientInfo, name string, limit int) (string, error) {
	v, given := info[name]
	if !given || v == nil {
		return "", nil
	}
	s, ok := v.(string)
	if !ok {
		return "", httpapi.BadRequest("client_info."+name+" is not a string", "")
	}
	return s, checkText("client_info."+name, s, limit)
}

func checkText(name, s string, limit int) error {
	if len(s) > limit || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return httpapi.BadRequest(fmt.Sprintf("%s is not a text of at most %d bytes without control characters", name, limit), "")
	}
	return nil
}

func (i *Ingest) heartbeat(c *call) error {
	var q pipeapi.Heartbeat
	if err := httpapi.ReadJSON(c.w, c.r, &q, maxSessionBody); err != nil {
		return err
	}
	state, err := i.ledger.Beat(c.ctx, c.view, c.session(), session.Beat{CanRealtime: q.CanRealtime, AgentStatus: keptStatus(q.AgentStatus), Paused: q.Paused})
	if err != nil {
		return err
	}
	i.metrics.beat(state)
	commands := orEmpty(i.waiting(c, state))
	audit, sentinel, hot := i.intervals(c)
	return c.ok(pipeapi.Beat{Status: "ok", Standing: standingOf(state), CanRealtime: state.Record.CanRealtime, Audit: audit, Sentinel: sentinel, Hot: hot,
		Message: message(c.view, state), Commands: commands, Timed: c.timed()})
}

// intervals are those of the view's settings at present, seconds; nil while these cannot be read, which must not cost a session.
func (i *Ingest) intervals(c *call) (audit, sentinel, hot *float64) {
	config, err := i.views.Load(c.ctx, c.view)
	if err != nil {
		i.logger.Warn("the view's settings cannot be read; its agents keep to the intervals that they have", "view", c.view, "error", err)
		return nil, nil, nil
	}
	return &config.AuditIntervalSeconds, &config.SentinelIntervalSeconds, &config.HotSeconds
}

// waiting are the commands that a session is told with its heartbeat.
func (i *Ingest) waiting(c *call, state session.State) []job.Command {
	l := listener{session: c.session(), leads: state.Leads}
	if !state.Leads { // the leader's own heartbeats mostly have just asked
		l.fresh = lease.Interval(state.Record.Timeout(), true)
	}
	found, err := i.commands(c.ctx, c.view, l)
	if err != nil { // that it lives is written, and that is what counts
		i.logger.Warn("jobs could not be read", "view", c.view, "error", err)
	}
	return found
}

// keptStatus is as much of an agent's status as is kept: one that is too large must not cost an agent its session.
func keptStatus(status *pipeapi.AgentStatus) *pipeapi.AgentStatus {
	if encoded, err := json.Marshal(status); err == nil && len(encoded) <= maxInfo {
		return status
	}
	state := status.State
	return pipeapi.Omit(state[:min(len(state), 64)], fmt.Sprintf("larger than %d bytes", maxInfo))
}

func (i *Ingest) endSession(c *call) error {
	// An administrator ends any: of a host that is gone, or of an agent that must begin anew.
	if key, _ := access.FromContext(c.ctx); !key.Allows(access.Admin) {
		if err := c.own(c.session()); err != nil {
			return err
		}
	}
	if err := i.ledger.End(c.ctx, c.view, c.session(), session.Closed); err != nil {
		return err
	}
	if record, err := i.ledger.Known(c.ctx, c.view, c.session()); err == nil && record.ID != "" { // the ledger has just read it
		i.metrics.beats.end(c.view, record.Agent)
	}
	return c.ok(pipeapi.Ended{Status: "terminated", Session: c.session(), Timed: c.timed()})
}

func standingOf(s session.State) pipeapi.Standing {
	st := pipeapi.Standing{Role: "follower", Term: s.Term, LeaseTTL: s.Record.TimeoutSeconds, LeaseRenewed: s.Renewed, Heartbeat: s.Interval().Seconds(),
		Epoch: s.Record.Epoch}
	if s.Leads {
		st.Role, st.IsLeader = "leader", true
	}
	return st
}

func message(view string, s session.State) string {
	if s.Leads {
		return fmt.Sprintf("session %s leads view %s in term %d", s.Record.ID, view, s.Term)
	}
	if s.Record.Paused {
		return fmt.Sprintf("session %s is paused in view %s, whose term is %d", s.Record.ID, view, s.Term)
	}
	return fmt.Sprintf("session %s follows in view %s, whose term is %d", s.Record.ID, view, s.Term)
}
