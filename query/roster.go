package query

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/values"
)

// sessionsAnswer is the answer of /sessions.
type sessionsAnswer struct {
	View   string         `json:"view_id"`
	Active []sessionState `json:"active_sessions"`
	Count  int            `json:"count"`
	// Term is the lease's: that of the leader, or of the last one where nobody leads.
	Term   uint64  `json:"term"`
	Leader *string `json:"leader_session_id"`
}

// sessionState is one live session.
type sessionState struct {
	ID             string               `json:"session_id"`
	Task           string               `json:"task_id"`
	Agent          string               `json:"agent_id"`
	ClientIP       string               `json:"client_ip"`
	Source         string               `json:"source_uri"`
	Role           string               `json:"role"`           // leader or follower
	Term           *uint64              `json:"term,omitempty"` // of the leader
	CanSnapshot    bool                 `json:"can_snapshot"`   // the leader scans
	CanAudit       bool                 `json:"can_audit"`
	CanRealtime    bool                 `json:"can_realtime"`
	CanSend        bool                 `json:"can_send"`
	Paused         bool                 `json:"paused"`             // it neither scans nor sends, and does not lead
	Coverage       string               `json:"coverage,omitempty"` // realtime, realtime-hotset or audit-only, as the agent says
	LastActivity   values.Seconds       `json:"last_activity"`      // the store's time of the last proof of life
	CreatedAt      values.Seconds       `json:"created_at"`
	TimeoutSeconds float64              `json:"session_timeout_seconds"`
	AgentStatus    *pipeapi.AgentStatus `json:"agent_status,omitempty"`
}

// liveSessions reads a view's sessions: the roster and the lease, then every session's record.
func liveSessions(ctx context.Context, st store.Store, view string) (*sessionsAnswer, error) {
	var roster session.Roster
	var lease session.Lease
	var leaseMeta store.Meta
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() (err error) {
		_, err = readJSON(gctx, st, layout.Roster(view), &roster)
		return err
	})
	g.Go(func() (err error) {
		leaseMeta, err = readJSON(gctx, st, layout.Lease(view), &lease)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	leads := lease.Session != "" && session.Live(session.Age(leaseMeta), lease.TTLSeconds)

	states := make([]*sessionState, len(roster.Sessions))
	g, gctx = errgroup.WithContext(ctx)
	g.SetLimit(16)
	i := 0
	for id := range roster.Sessions {
		at := i
		i++
		g.Go(func() (err error) {
			if !layout.ValidID(id) {
				return fmt.Errorf("read %s: %w: session id %q", layout.Roster(view), errRecord, id)
			}
			states[at], err = readSession(gctx, st, view, id, leads && id == lease.Session, lease.Term, leaseMeta)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	return sessionsOf(view, states, lease.Term), nil
}

func sessionsOf(view string, states []*sessionState, term uint64) *sessionsAnswer {
	a := &sessionsAnswer{View: view, Active: []sessionState{}, Term: term}
	for _, s := range states {
		if s != nil {
			a.Active = append(a.Active, *s)
			if s.Role == "leader" {
				a.Leader = &s.ID
			}
		}
	}
	a.Count = len(a.Active)
	slices.SortFunc(a.Active, func(x, y sessionState) int {
		return cmp.Or(cmp.Compare(x.CreatedAt, y.CreatedAt), cmp.Compare(x.ID, y.ID))
	})
	return a
}

// readSession reads one session's record: nil if the session is over. A leader proves that it lives by its lease.
func readSession(ctx context.Context, st store.Store, view, id string, leader bool, term uint64, lease store.Meta) (*sessionState, error) {
	var r session.Record
	meta, err := readJSON(ctx, st, layout.Session(view, id), &r)
	if err != nil || r.ID == "" || r.Ended {
		return nil, err
	}
	if !leader && !session.Live(session.Age(meta), r.TimeoutSeconds) {
		return nil, nil
	}
	s := &sessionState{
		ID: id, Task: r.Task, Agent: r.Agent, ClientIP: r.ClientIP, Source: r.Source, Role: "follower",
		CanRealtime: r.CanRealtime, CanSend: !r.Paused, Paused: r.Paused, CreatedAt: values.Seconds(r.CreatedAt),
		LastActivity: values.Seconds(meta.LastModified.UnixNano()), TimeoutSeconds: r.TimeoutSeconds, AgentStatus: r.AgentStatus,
	}
	if r.AgentStatus != nil {
		s.Coverage = r.AgentStatus.Coverage
	}
	if leader {
		s.Role, s.Term, s.CanSnapshot, s.CanAudit = "leader", &term, true, true
		s.LastActivity = max(s.LastActivity, values.Seconds(lease.LastModified.UnixNano()))
	}
	return s, nil
}

// errRecord: a small object of the session protocol is not what it should be.
var errRecord = errors.New("not a record this version of fustor can read")

// readJSON reads a small object; one that is not there leaves v as it is.
func readJSON(ctx context.Context, st store.Store, key string, v any) (store.Meta, error) {
	o, err := st.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return store.Meta{}, nil
	}
	if err != nil {
		return store.Meta{}, fmt.Errorf("read %s: %w", key, err)
	}
	if err := json.Unmarshal(o.Body, v); err != nil {
		return store.Meta{}, fmt.Errorf("read %s: %w: %v", key, errRecord, err)
	}
	return o.Meta, nil
}
