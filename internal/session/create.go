package session

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
)

// MaxSessions bounds a view's roster: live sessions, and ended ones that are not folded to their end. One key may have made half of them.
const MaxSessions = 4096

// Application is what a new session asks for.
type Application struct {
	View, Task, Agent, Source, ClientIP string
	TimeoutSeconds                      float64
	ClientInfo                          pipeapi.ClientInfo
	// Paused: it does not run for leader, see Beat.
	Paused bool
	// Dialect is Record.Dialect.
	Dialect string
	// Exclusive asks for a view that has no other live session.
	Exclusive bool
	// Holder is who asks; nobody else may act in the session's name.
	Holder Holder
	// OfKey is how many live sessions of the view the holder's key may have, this one included; 0: any number.
	OfKey int
}

// State is a session as it stands after a step.
type State struct {
	Record Record
	// Term is the newest term of the view; Leads says whether this session holds it.
	Term  uint64
	Leads bool
	// Renewed says whether this step itself renewed the lease, so that a lease.Hold may count from its start.
	Renewed bool
	// LeaseLeft is how much of the lease, which another session has, was left; below zero where nobody has it.
	LeaseLeft time.Duration
}

// Interval is when the session's next heartbeat is due.
func (s State) Interval() time.Duration {
	if s.Leads || !s.Record.mayRest() {
		return lease.Interval(s.Record.Timeout(), s.Leads)
	}
	return lease.Look(s.Record.Timeout(), s.LeaseLeft)
}

// TakenError is an ErrTaken that tells by whom.
type TakenError struct {
	Session, Task, Agent string
	WholeView            bool // not only the task
}

// Error implements error.
func (e *TakenError) Error() string {
	what := fmt.Sprintf("task %q has", e.Task)
	if e.WholeView {
		what = "the view allows one session only and has"
	}
	return fmt.Sprintf("%s the live session %s of agent %q", what, e.Session, e.Agent)
}

// Is makes it ErrTaken.
func (e *TakenError) Is(target error) bool { return target == ErrTaken }

// Create registers a session and gives it the lease if that is free. It fails with a *TakenError where another live
// session stands in its way; the roster's compare-and-swap makes that decision, among any number of callers.
func (l *Ledger) Create(ctx context.Context, a Application) (State, error) {
	now := l.clock.Now()
	id, err := NewID(time.Unix(0, now), l.random)
	if err != nil {
		return State{}, err
	}
	r := Record{ID: id, View: a.View, Task: a.Task, Agent: a.Agent, Source: a.Source, ClientIP: a.ClientIP,
		TimeoutSeconds: a.TimeoutSeconds, ClientInfo: a.ClientInfo, CreatedAt: now, Paused: a.Paused, Dialect: a.Dialect}
	r.binds(a.Holder)
	e := enrolment{ledger: l, application: a, record: r, seen: map[string]bool{}}
	if err := again(ctx, func() error { return e.try(ctx) }); err != nil {
		e.undo(ctx)
		return State{}, fmt.Errorf("create session in view %s: %w", a.View, err)
	}
	var state State
	err = again(ctx, func() (err error) {
		state, err = l.lead(ctx, e.written.value)
		return err
	})
	if err != nil {
		e.undo(ctx)
		return State{}, fmt.Errorf("create session in view %s: %w", a.View, err)
	}
	return state, nil
}

// lead gives a session that was just enrolled the lease if it is free and the session is not paused.
func (l *Ledger) lead(ctx context.Context, r Record) (State, error) {
	lease, err := l.readLease(ctx, r.View)
	if err != nil {
		return State{}, err
	}
	if liveLease(lease) || r.Paused {
		return State{Record: r, Term: lease.value.Term, Leads: liveLease(lease) && lease.value.Session == r.ID, LeaseLeft: left(lease)}, nil
	}
	term, err := l.nextTerm(ctx, r.View, lease)
	if err != nil {
		return State{}, err
	}
	now := l.clock.Now()
	next := Lease{Term: term, Session: r.ID, TTLSeconds: r.TimeoutSeconds, Terms: lease.value.give(term, r.ID, now), Followers: lease.value.followers(now, nil)}
	if lease, err = l.writeLease(ctx, r.View, next, lease.meta); err != nil {
		return State{}, err
	}
	return State{Record: r, Term: lease.value.Term, Leads: true, Renewed: true}, nil
}

// enrolment is the way of a session into its view's roster: its record first, so that whoever finds it in the roster
// finds the record too.
type enrolment struct {
	ledger      *Ledger
	application Application
	record      Record
	written     held[Record]
	entered     bool
	seen        map[string]bool // sessions of the roster that were looked at: whether they live
}

func (e *enrolment) try(ctx context.Context) error {
	l, view := e.ledger, e.application.View
	roster, err := read[Roster](ctx, l.store, layout.Roster(view))
	if err != nil {
		return err
	}
	if _, e.entered = roster.value.Sessions[e.record.ID]; e.entered {
		return nil // an attempt that looked lost had landed, and others have built on it
	}
	if err := e.look(ctx, roster.value); err != nil {
		return err
	}
	if err := e.conflict(roster.value); err != nil {
		return err
	}
	if err := e.crowd(roster.value); err != nil {
		return err
	}
	epoch, number := roster.value.Epoch, roster.value.EpochNumber
	if !roster.exists() {
		if err := l.isNew(ctx, view); err != nil {
			return err
		}
		if epoch, err = newNonce(l.random); err != nil {
			return err
		}
		number = 1
	}
	if !e.written.exists() || e.record.Epoch != epoch { // the record may be of an attempt before a reset
		e.record.Epoch = epoch
		if e.written, err = l.writeRecord(ctx, e.record, e.written.meta); err != nil {
			return err
		}
	}
	next := Roster{Epoch: epoch, EpochNumber: number, Sessions: e.swept(roster.value)}
	if len(next.Sessions) >= MaxSessions {
		return fmt.Errorf("%w: %d in its roster", ErrFull, len(next.Sessions))
	}
	next.Sessions[e.record.ID] = e.record.entry()
	if next.Nonce, err = newNonce(l.random); err != nil {
		return err
	}
	_, err = swap(ctx, l.store, layout.Roster(view), next, roster.meta)
	if err == nil && !roster.exists() { // compactors are to look at the view
		_ = viewconfig.Ring(ctx, l.store, l.random)
	}
	e.entered = err == nil || !errors.Is(err, store.ErrLost) // doubtful counts as entered: its record must stay
	return err
}

// look finds out which sessions of the roster live, and ends those that died; it looks at each once.
func (e *enrolment) look(ctx context.Context, roster Roster) error {
	var ids []string
	for _, id := range slices.Sorted(maps.Keys(roster.Sessions)) {
		if _, known := e.seen[id]; !known && !roster.Sessions[id].Ended {
			ids = append(ids, id)
		}
	}
	lives := make([]bool, len(ids))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, id := range ids {
		group.Go(func() (err error) {
			lives[i], err = e.ledger.sweep(groupCtx, e.application.View, id)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return err
	}
	for i, id := range ids {
		e.seen[id] = lives[i]
	}
	return nil
}

// KeyFullError is that a key has made as many sessions of a view as it may.
type KeyFullError struct {
	Live, Most int
	Ended      bool // it is those that ended, too
}

// Error implements error.
func (e *KeyFullError) Error() string {
	if e.Ended {
		return fmt.Sprintf("the API key has made half of the %d sessions that the view may have in an hour", MaxSessions)
	}
	return fmt.Sprintf("the API key has %d live sessions in the view, of %d", e.Live, e.Most)
}

// crowd refuses one more session of a key that has too many.
func (e *enrolment) crowd(roster Roster) error {
	key, live, all := e.application.Holder.Key, 0, 0
	for id, entry := range roster.Sessions {
		if key != "" && entry.Key == key {
			if all++; e.seen[id] {
				live++
			}
		}
	}
	switch most := e.application.OfKey; {
	case most > 0 && live >= most:
		return &KeyFullError{Live: live, Most: most}
	case all >= MaxSessions/2:
		return &KeyFullError{Ended: true}
	}
	return nil
}

func (e *enrolment) conflict(roster Roster) error {
	for id, entry := range roster.Sessions {
		if e.seen[id] && (e.application.Exclusive || entry.Task == e.application.Task) {
			return &TakenError{Session: id, Task: entry.Task, Agent: entry.Agent, WholeView: entry.Task != e.application.Task}
		}
	}
	return nil
}

// swept is the roster with those marked that have ended.
func (e *enrolment) swept(roster Roster) map[string]RosterEntry {
	sessions := maps.Clone(roster.Sessions)
	if sessions == nil {
		sessions = map[string]RosterEntry{}
	}
	for id, entry := range sessions {
		if lives, looked := e.seen[id]; looked && !lives {
			entry.Ended = true
			sessions[id] = entry
		}
	}
	return sessions
}

// undo does what it can, lest a session that its agent never hears of stand in the way until it times out: a record that
// no roster names is deleted, as nobody can refer to it; a session that is, or may be, in the roster is ended.
func (e *enrolment) undo(ctx context.Context) {
	if !e.written.exists() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if e.entered {
		_ = e.ledger.End(ctx, e.application.View, e.record.ID, Closed)
		return
	}
	_ = e.ledger.store.Delete(ctx, layout.Session(e.application.View, e.record.ID))
}
