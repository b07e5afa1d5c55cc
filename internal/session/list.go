package session

import (
	"context"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
)

// Status is a session as others see it.
type Status struct {
	Record       Record
	Leads        bool
	Lives        bool
	LastActivity int64 // when it last proved that it lives, ns in the store's time
}

// Overview is a view's sessions, the oldest first, those that ended and are not folded to their end included.
type Overview struct {
	Epoch    string
	Sessions []Status
	Lease    Lease // its Session may have died
	Leader   string
}

// List reads the roster, the records that it does not say to have ended, and the lease. It changes nothing.
func List(ctx context.Context, s store.Store, view string) (Overview, error) {
	roster, err := read[Roster](ctx, s, layout.Roster(view))
	if err != nil {
		return Overview{}, err
	}
	ids := make([]string, 0, len(roster.value.Sessions))
	for id := range roster.value.Sessions {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, strings.Compare)
	records := make([]held[Record], len(ids))
	group, groupCtx := errgroup.WithContext(ctx)
	group.SetLimit(8)
	for i, id := range ids {
		if entry := roster.value.Sessions[id]; entry.Ended {
			records[i].value = Record{ID: id, View: view, Task: entry.Task, Agent: entry.Agent, TimeoutSeconds: entry.TimeoutSeconds,
				CreatedAt: entry.CreatedAt, Epoch: entry.Epoch, Ended: true}
			if entry.Epoch != roster.value.Epoch {
				records[i].value.EndedReason = Reset
			}
			continue
		}
		group.Go(func() (err error) {
			records[i], err = read[Record](groupCtx, s, layout.Session(view, id))
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return Overview{}, err
	}
	lease, err := read[Lease](ctx, s, layout.Lease(view))
	if err != nil {
		return Overview{}, err
	}
	o := overview(records, lease)
	o.Epoch = roster.value.Epoch
	return o, nil
}

func overview(records []held[Record], lease held[Lease]) Overview {
	o := Overview{Lease: lease.value}
	if liveLease(lease) {
		o.Leader = lease.value.Session
	}
	for _, r := range records {
		if r.value.ID == "" { // folded to its end between the two reads
			continue
		}
		st := Status{Record: r.value, Leads: o.Leader == r.value.ID && !r.value.Ended}
		if r.exists() {
			st.LastActivity = r.meta.LastModified.UnixNano()
		}
		if lease.value.Session == r.value.ID {
			st.LastActivity = max(st.LastActivity, lease.meta.LastModified.UnixNano())
		}
		st.Lives = !r.value.Ended && (st.Leads || Live(Age(r.meta), r.value.TimeoutSeconds))
		o.Sessions = append(o.Sessions, st)
	}
	return o
}
