package session

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/store"
)

// Status is a session as others see it. It leads, lives without leading, has ended (Record.Ended), or is lost: its time is over,
// and nobody has noticed yet.
type Status struct {
	// Record is the session's. Of a session that the roster says is over it has what the roster tells, no more.
	Record       Record
	Leads        bool
	Lives        bool
	LastActivity int64 // when it last proved that it lives, ns in the store's time; 0: not known
	// CaughtUp is what its agent last said of that; nil: it could not say yet, or never does.
	CaughtUp *pipeapi.CaughtUp
	// Silence is of a leader that gets nothing done although it should, and of a session that lost the lease for that.
	Silence *Silence
}

// Overview is a view's sessions, the oldest first, those that ended and are not folded to their end included.
type Overview struct {
	Epoch    string
	Sessions []Status
	Term     uint64 // of the leader; where nobody leads, of the last one
	Leader   string // id of the one session that Leads; empty: none does
}

// recordsAtOnce bounds the requests to the store that List has under way.
const recordsAtOnce = 16

// List is the one answer to who feeds a view: which sessions live, which have ended, and which one leads. Whatever shows sessions
// shows this. It changes nothing.
//
// The roster decides first: a session that it says has ended, or that is of another epoch than the view, is over, whatever its
// record and the lease still say. Then the session's record decides, and of those that live the lease says which one leads.
//
// It reads the roster and the lease at once, and then the records of the sessions that are not over by the roster.
func List(ctx context.Context, s store.Store, view string) (Overview, error) {
	roster, lease, err := readRosterAndLease(ctx, s, view)
	if err != nil {
		return Overview{}, err
	}
	records, err := readRecords(ctx, s, view, roster)
	if err != nil {
		return Overview{}, err
	}
	o := Overview{Epoch: roster.Epoch, Term: lease.value.Term}
	for _, r := range records {
		if r.value.ID == "" { // folded to its end and forgotten between the two reads
			continue
		}
		status := statusOf(r, lease)
		if status.Leads {
			o.Leader = status.Record.ID
		}
		o.Sessions = append(o.Sessions, status)
	}
	slices.SortFunc(o.Sessions, func(a, b Status) int {
		return cmp.Or(cmp.Compare(a.Record.CreatedAt, b.Record.CreatedAt), cmp.Compare(a.Record.ID, b.Record.ID))
	})
	return o, nil
}

// Leading is who leads a view; the zero Leading where nobody does.
type Leading struct {
	Session, Agent string
	Silence        *Silence // nil: it gets its work done
}

// Leader says what List says of who leads a view, for the price of the lease and, where somebody holds that, of the roster. The
// record need not be asked: whoever ends a session takes its lease away first.
func Leader(ctx context.Context, s store.Store, view string) (Leading, error) {
	lease, err := leaseOf(ctx, s, view)
	if err != nil {
		return Leading{}, err
	}
	id := lease.value.Session
	if !leads(lease, id) {
		return Leading{}, nil
	}
	roster, err := read[Roster](ctx, s, layout.Roster(view))
	if err != nil {
		return Leading{}, err
	}
	entry, listed := roster.value.Sessions[id]
	if !listed || roster.value.over(entry) {
		return Leading{}, nil
	}
	return Leading{Session: id, Agent: entry.Agent, Silence: lease.value.silence()}, nil
}

func readRosterAndLease(ctx context.Context, s store.Store, view string) (Roster, held[Lease], error) {
	var roster held[Roster]
	var lease held[Lease]
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		roster, err = read[Roster](groupCtx, s, layout.Roster(view))
		return err
	})
	group.Go(func() (err error) {
		lease, err = leaseOf(groupCtx, s, view)
		return err
	})
	if err := group.Wait(); err != nil {
		return Roster{}, lease, err
	}
	for id := range roster.value.Sessions {
		if !layout.ValidID(id) {
			return Roster{}, lease, fmt.Errorf("read %s: %w: session id %q", layout.Roster(view), ErrDamaged, id)
		}
	}
	return roster.value, lease, nil
}

// readRecords reads the records of a roster's sessions. One that the roster says is over has what the roster tells of it.
func readRecords(ctx context.Context, s store.Store, view string, roster Roster) ([]held[Record], error) {
	records := make([]held[Record], len(roster.Sessions))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(recordsAtOnce)
	next := 0
	for id, entry := range roster.Sessions {
		i := next
		next++
		if roster.over(entry) {
			records[i].value = roster.recordOf(view, id, entry)
			continue
		}
		group.Go(func() (err error) {
			records[i], err = read[Record](groupCtx, s, layout.Session(view, id))
			return err
		})
	}
	return records, group.Wait()
}

// over reports whether a roster says by itself that a session is over.
func (r Roster) over(e RosterEntry) bool { return e.Ended || e.Epoch != r.Epoch }

// recordOf is the record, as far as the roster tells it, of a session that is over.
func (r Roster) recordOf(view, id string, e RosterEntry) Record {
	record := Record{ID: id, View: view, Task: e.Task, Agent: e.Agent, TimeoutSeconds: e.TimeoutSeconds, CreatedAt: e.CreatedAt,
		Epoch: e.Epoch, Ended: true}
	if e.Epoch != r.Epoch {
		record.EndedReason = Reset
	}
	return record
}

func statusOf(r held[Record], lease held[Lease]) Status {
	id := r.value.ID
	s := Status{Record: r.value, Leads: !r.value.Ended && leads(lease, id)}
	s.Lives = !r.value.Ended && (holds(lease, id) || lives(r) || tells(lease, r.value))
	if status := r.value.AgentStatus; status != nil {
		s.CaughtUp = status.CaughtUp.OrNil()
	}
	if holds(lease, id) && lease.value.Work != nil && lease.value.Work.CaughtUp.Known() {
		s.CaughtUp = lease.value.Work.CaughtUp
	}
	following, told := lease.value.Followers[id]
	if told = told && !following.Over && r.exists() && following.At > r.meta.LastModified.UnixNano(); told && following.CaughtUp != nil {
		s.CaughtUp = following.CaughtUp
	}
	if s.Silence = r.value.Silence; holds(lease, id) && lease.value.silence() != nil {
		s.Silence = lease.value.silence()
	}
	if r.exists() {
		s.LastActivity = r.meta.LastModified.UnixNano()
	}
	if lease.exists() && lease.value.Session == id {
		s.LastActivity = max(s.LastActivity, lease.meta.LastModified.UnixNano())
	}
	if told {
		s.LastActivity = following.At
	}
	return s
}
