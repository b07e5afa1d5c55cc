package admin

import (
	"context"
	"errors"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/cost"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
)

// Cost is what the views take a month, as `fustor cost` estimates it from what they are.
type Cost struct {
	// EventsCounted are the events a second that the views had, on average over a day at most; null: there is nothing to count them in.
	EventsCounted *float64      `json:"events_per_second_counted"`
	Estimate      cost.Estimate `json:"estimate"`
	Prices        cost.Prices   `json:"prices"`
}

const (
	defaultQueries = 1000 // a day, as of `fustor cost`
	maxQueries     = 1e9
	maxEvents      = 1e6
	coldShare      = 0.2 // the defaults of `fustor cost` for what is not known here
	queryBytes     = 20_000
	batchWindow    = 2 // seconds
	countedOver    = 24 * time.Hour
)

// Cost estimates a month of the views that scope has: their entries, their live sessions and time-outs as they are, with so many queries a
// day. events are those of all views in a second; negative: as the views counted them.
func (a *Admin) Cost(ctx context.Context, scope access.Views, queries, events float64, polling bool) (*Cost, error) {
	views, err := a.Views(ctx, scope)
	if err != nil {
		return nil, err
	}
	w := cost.Workload{QueriesPerDay: queries, QueryBytes: queryBytes, ColdShare: coldShare, BatchWindow: batchWindow, Polling: polling}
	c, counted := &Cost{Prices: cost.ListPrices()}, 0.0
	for _, v := range views {
		if v.Config.IsForest() {
			continue
		}
		w.Views++
		w.Files += float64(v.Files + v.Dirs)
		w.Agents += float64(v.Sessions)
		// Agents with the shortest time-out send most: the estimate has one for all.
		if t := v.Config.SessionTimeoutSeconds; w.SessionTimeout == 0 || t < w.SessionTimeout {
			w.SessionTimeout = t
		}
		rate, known, err := a.eventsOf(ctx, v)
		if err != nil {
			return nil, err
		}
		if known {
			counted += rate
			c.EventsCounted = &counted
		}
	}
	if w.Views == 0 {
		w.SessionTimeout = viewconfig.Default("").SessionTimeoutSeconds
	}
	if w.EventsPerSecond = events; events < 0 {
		w.EventsPerSecond = counted
	}
	if w.Agents == 0 { // what was counted came from agents that have ended
		w.EventsPerSecond = 0
	}
	c.Estimate = cost.Of(w, cost.Measured(), c.Prices)
	return c, nil
}

// eventsOf are the events a second of a view between the oldest version of its last day that is kept and its newest; known: there are two.
func (a *Admin) eventsOf(ctx context.Context, v View) (rate float64, known bool, err error) {
	if v.Version == 0 {
		return 0, false, nil
	}
	head, _, err := manifest.LoadRoot(ctx, a.store, v.ID)
	if errors.Is(err, manifest.ErrNoHead) {
		return 0, false, nil
	}
	if err != nil {
		return 0, false, err
	}
	list, _, err := manifest.List(ctx, a.store, v.ID, 0, 0, nil)
	if err != nil {
		return 0, false, err
	}
	chain, _, err := manifest.Chain(ctx, a.store, head, list)
	if err != nil {
		return 0, false, err
	}
	for _, p := range chain {
		if p.At.UnixNano() < head.FoldedAt-int64(countedOver) || p.Version >= head.Version {
			continue
		}
		from, err := manifest.LoadKeyRoot(ctx, a.store, v.ID, p.Key)
		if errors.Is(err, store.ErrNotFound) { // retention has removed it meanwhile
			continue
		}
		if err != nil {
			return 0, false, err
		}
		if !from.Ready() || from.Epoch != head.Epoch || from.FoldedAt >= head.FoldedAt || from.Counted.Events > head.Counted.Events {
			continue
		}
		return float64(head.Counted.Events-from.Counted.Events) / (time.Duration(head.FoldedAt - from.FoldedAt).Seconds()), true, nil
	}
	return 0, false, nil
}
