package engine

import (
	"context"
	"sync"
	"time"

	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
)

// leaderTTL is how long it is believed that a view has a live leader, or has none, before that is read again.
const leaderTTL = time.Second

// maxLeaders bounds how many leaders are remembered.
const maxLeaders = 4096

// leaders knows which session leads each view.
type leaders struct {
	store store.Store
	now   func() time.Time

	mu    sync.Mutex
	known map[string]leaderState
}

type leaderState struct {
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
	s = leaderState{session: leader, checked: checked}
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

// checkLive refuses to read a view that is configured to be live while nobody leads it. Others are read as they are, and
// say how old that is. A version knows how its view was configured when it was made, so no other view is asked for more
// than its head.
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
