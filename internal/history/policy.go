// Package history says which versions of a view are kept, why, and until when.
//
// It owns the policy and the pins. Invariants: what the policy says of a version follows from its own time and from that of the
// version after it, so any number of compactors agree without a word, and a version that may go is never wanted again later.
// Thinning a history that is thinned already changes nothing. The compactor removes what is not kept, the query handler and
// administrators show what is. docs/design/history.md.
package history

import (
	"math"
	"slices"
	"time"

	"github.com/fustor/fustor/internal/manifest"
)

// Unlimited keeps all that a rule is for.
const Unlimited = -1

// Policy says for how long the versions of a view are kept. The zero Policy keeps the current one alone.
type Policy struct {
	// Within keeps every version that was current within this time, ns; or Unlimited.
	Within time.Duration
	// Hourly and the others keep the version that was current at the end of each of the last so many hours, days, weeks (from
	// Monday on), months and years, in UTC; or Unlimited.
	Hourly, Daily, Weekly, Monthly, Yearly int
}

// Forever is Kept.Until of a version that nothing but a change of the policy will remove.
var Forever = time.Unix(math.MaxInt32*1000, 0)

// The reasons for which a version is kept.
const (
	Current = "current" // it is the newest
	Recent  = "recent"  // Policy.Within
	Hourly  = "hourly"
	Daily   = "daily"
	Weekly  = "weekly"
	Monthly = "monthly"
	Yearly  = "yearly"
)

// Kept is a version that is kept.
type Kept struct {
	manifest.Published
	Why   []string  // the reasons above, in that order
	Pins  []string  // the names of its pins, in order
	Until time.Time // when no reason holds any more; Forever if some always will
}

// Lasting reports whether a version is kept for more than being recent: it is the current one, pinned, or the last of its hour, day and
// so on.
func (k Kept) Lasting() bool {
	return len(k.Pins) > 0 || slices.ContainsFunc(k.Why, func(why string) bool { return why != Recent })
}

// Shortest is the least that a server keeps every version, whatever Policy.Within says: answers of many pages need it, and retention
// removes nothing that is younger.
const Shortest = time.Hour

// Least is the policy as servers apply it.
func (p Policy) Least() Policy {
	if p.Within != Unlimited {
		p.Within = max(p.Within, Shortest)
	}
	return p
}

// All says of every version why and until when it is kept. chain is a part of the history that ends with head, in order.
func (p Policy) All(chain []manifest.Published, head *manifest.Manifest, pins Pins, now time.Time) []Kept {
	all := make([]Kept, len(chain))
	for i, v := range chain {
		k := &all[i]
		*k = Kept{Published: v, Pins: pins.of(v.Version)}
		switch {
		case v.Version == head.Version:
			k.Why, k.Until = []string{Current}, Forever
		case i+1 == len(chain): // until when it was current, the rest of the chain would say
			k.Why, k.Until = []string{Recent}, Forever
		default:
			p.judge(k, chain[i+1].At, head.FirstReady > 0 && v.Version >= head.FirstReady, now)
		}
		if len(k.Pins) > 0 {
			k.Until = Forever
		}
	}
	return all
}

// Split says which versions are kept, and which may go. Versions of before the view was first complete, or started over, are kept by
// Policy.Within and pins alone.
func (p Policy) Split(chain []manifest.Published, head *manifest.Manifest, pins Pins, now time.Time) (kept, gone []Kept) {
	for _, k := range p.All(chain, head, pins, now) {
		if now.Before(k.Until) {
			kept = append(kept, k)
		} else {
			gone = append(gone, k)
		}
	}
	return kept, gone
}

// judge says why a version is kept that was current until end.
func (p Policy) judge(k *Kept, end time.Time, ruled bool, now time.Time) {
	note := func(why string, until time.Time) {
		if now.Before(until) {
			k.Why = append(k.Why, why)
		}
		if until.After(k.Until) {
			k.Until = until
		}
	}
	if p.Within == Unlimited {
		note(Recent, Forever)
	} else {
		note(Recent, end.Add(p.Within))
	}
	if !ruled {
		return
	}
	for _, r := range []struct {
		why   string
		count int
		unit  unit
	}{{Hourly, p.Hourly, hour}, {Daily, p.Daily, day}, {Weekly, p.Weekly, week}, {Monthly, p.Monthly, month}, {Yearly, p.Yearly, year}} {
		// The last boundary at which this version was current. Where the next one begins on the boundary, that one was.
		boundary := r.unit.begin(end.Add(-1))
		switch {
		case r.count == 0 || boundary.Before(k.At):
		case r.count == Unlimited:
			note(r.why, Forever)
		default:
			note(r.why, r.unit.after(boundary, r.count))
		}
	}
}

// unit is a unit of the calendar, in UTC.
type unit int

const (
	hour unit = iota
	day
	week
	month
	year
)

// begin is when the unit began that a time is in.
func (u unit) begin(t time.Time) time.Time {
	t = t.UTC()
	switch u {
	case hour:
		return t.Truncate(time.Hour)
	case week:
		return time.Date(t.Year(), t.Month(), t.Day()-(int(t.Weekday())+6)%7, 0, 0, 0, 0, time.UTC)
	case month:
		return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
	case year:
		return time.Date(t.Year(), 1, 1, 0, 0, 0, 0, time.UTC)
	}
	return time.Date(t.Year(), t.Month(), t.Day(), 0, 0, 0, 0, time.UTC)
}

// after is a boundary n units later.
func (u unit) after(t time.Time, n int) time.Time {
	switch u {
	case hour:
		return t.Add(time.Duration(n) * time.Hour)
	case day:
		return t.AddDate(0, 0, n)
	case week:
		return t.AddDate(0, 0, 7*n)
	case month:
		return t.AddDate(0, n, 0)
	}
	return t.AddDate(n, 0, 0)
}
