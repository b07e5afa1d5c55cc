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
	session string // empty: nobody leads
	checked time.Time
}

// of is the session that leads a view; empty if none does.
func (l *leaders) of(ctx context.Context, view string) (string, error) {
	checked := l.now()
	l.mu.Lock()
	s, ok := l.known[view]
	l.mu.Unlock()
	if ok && checked.Sub(s.checked) < leaderTTL {
		return s.session, nil
	}
	leader, err := session.Leader(ctx, l.store, view)
	if err != nil {
		return "", err
	}
	s = cachedLeader{session: leader, checked: checked}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.known) >= maxLeaders {
		clear(l.known)
	}
	l.known[view] = s
	return s.session, nil
}

// Leader is the session that leads a view; empty if none does.
func (e *Engine) Leader(ctx context.Context, view string) (string, error) {
	return e.leaders.of(ctx, view)
}

// checkLive is a NotLedError for a view that is configured to be live and has no leader. Other views are read without a leader; their
// answers say how old they are. A manifest holds the configuration of its view, so views that are not live cost no request here.
func (e *Engine) checkLive(ctx context.Context, m *manifest.Manifest) error {
	if !m.Live {
		return nil
	}
	leader, err := e.leaders.of(ctx, m.View)
	if err == nil && leader == "" {
		err = &NotLedError{m.View}
	}
	return err
}
