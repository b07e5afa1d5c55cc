package engine

import (
	"context"
	"sync"
	"time"

	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
)

// leaderTTL is how long the leader of a view is taken from memory before it is read again.
const leaderTTL = time.Second

// maxLeaders bounds the leaders in memory.
const maxLeaders = 4096

// leaders knows which session leads each view.
type leaders struct {
	store store.Store
	now   func() time.Time

	mu    sync.Mutex
	known map[string]cachedLeader
}

type cachedLeader struct {
	leading session.Leading
	checked time.Time
}

// of is who leads a view.
func (l *leaders) of(ctx context.Context, view string) (session.Leading, error) {
	checked := l.now()
	l.mu.Lock()
	s, ok := l.known[view]
	l.mu.Unlock()
	if ok && checked.Sub(s.checked) < leaderTTL {
		return s.leading, nil
	}
	leader, err := session.Leader(ctx, l.store, view)
	if err != nil {
		return session.Leading{}, err
	}
	s = cachedLeader{leading: leader, checked: checked}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= maxLeaders {
		clear(l.known)
	}
	l.known[view] = s
	return s.leading, nil
}

func (l *leaders) forget(view string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.known, view)
}

// Leader is the session that leads a view; empty if none does.
func (e *Engine) Leader(ctx context.Context, view string) (string, error) {
	leading, err := e.leaders.of(ctx, view)
	return leading.Session, err
}

// LeaderNow is Leader, but reads again before it says that no session leads: one may have begun to lead within leaderTTL.
func (e *Engine) LeaderNow(ctx context.Context, view string) (string, error) {
	leader, err := e.Leader(ctx, view)
	if err != nil || leader != "" {
		return leader, err
	}
	e.leaders.forget(view)
	return e.Leader(ctx, view)
}

// notReady is the error of a view whose first scan is not complete. If its leader is silent, it says so.
// begun is its newest version; one that is empty: there is none.
func (e *Engine) notReady(ctx context.Context, view string, begun *manifest.Manifest) error {
	if _, restricted := ReaderOf(ctx); restricted {
		return &NotReadyError{View: view, Restricted: true}
	}
	leading, err := e.leaders.of(ctx, view)
	if err != nil { // the view is not ready, whoever leads
		leading = session.Leading{}
	}
	return &NotReadyError{View: view, Begun: begun.Totals, Leading: leading, Troubles: TroublesOf(ctx, begun)}
}

// checkLive is a NotLedError for a view that is configured to be live and has no leader. Other views are read without a leader; their
// answers say how old they are. A manifest holds the configuration of its view, so views that are not live cost no request here.
func (e *Engine) checkLive(ctx context.Context, m *manifest.Manifest) error {
	if !m.Live {
		return nil
	}
	leader, err := e.leaders.of(ctx, m.View)
	if err == nil && leader.Session == "" {
		err = &NotLedError{m.View}
	}
	return err
}
