package admin

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/values"
)

// Pinned is a version that is kept by name.
type Pinned struct {
	View        string         `json:"view_id"`
	Name        string         `json:"name"`
	Version     uint64         `json:"version"`
	PublishedAt values.Seconds `json:"published_at"`
}

// Pin keeps a version by name until Unpin: the one with a number, or the one that was current at a time (ns), or, where both are 0, the
// newest. A name that is taken stays with its version.
//
// Retention that is under way does not know of the pin yet. So a version is refused that the view's history keeps for less than
// history.PinMargin.
func (a *Admin) Pin(ctx context.Context, view, name string, number uint64, at int64) (p Pinned, err error) {
	if err := checkPin(name); err != nil {
		return p, err
	}
	if err := a.exists(ctx, view); err != nil {
		return p, err
	}
	config, err := a.config(ctx, view)
	if err != nil {
		return p, err
	}
	head, _, err := manifest.LoadRoot(ctx, a.store, view)
	if errors.Is(err, manifest.ErrNoHead) {
		return p, refuse(NotFound, "a view gets its first version when the compactor folds its first segments", "view %q has no version yet", view)
	}
	if err != nil {
		return p, err
	}
	m := head.Published()
	switch {
	case number > 0:
		m, err = manifest.At(ctx, a.store, head, number)
	case at != 0:
		m, err = manifest.Before(ctx, a.store, head, time.Unix(0, at))
	}
	if errors.Is(err, store.ErrNotFound) {
		return p, refuse(NotFound, "`fustor versions` lists the versions that are kept", "that version of view %q is not kept", view)
	}
	if err != nil {
		return p, err
	}
	pins, _, err := history.ReadPins(ctx, a.store, view)
	if err != nil {
		return p, err
	}
	list, now, err := manifest.List(ctx, a.store, view, m.Version, 0, func(list []manifest.Published, _ time.Time) bool { return len(list) > 10 })
	if err != nil {
		return p, err
	}
	chain, _, err := manifest.Chain(ctx, a.store, head, list)
	if err != nil {
		return p, err
	}
	until := now.Add(history.PinMargin)
	kept, _ := config.Keep().Least().Split(chain, head, pins, until)
	if len(kept) == 0 || kept[0].Version != m.Version {
		return p, refuse(Conflict, "pin a later one; `fustor versions` says until when each is kept", "version %d of view %q is about to be removed", m.Version, view)
	}
	p = Pinned{View: view, Name: name, Version: m.Version, PublishedAt: values.Seconds(kept[0].At.UnixNano())}
	return p, history.ChangePins(ctx, a.store, view, a.nonce, func(pins history.Pins) error {
		if old, taken := pins[name]; taken && old.Version != m.Version {
			return refuse(Conflict, "choose another name, or `fustor admin version unpin` first", "%q pins version %d of view %q already", name, old.Version, view)
		}
		if len(pins) >= history.MaxPins {
			return refuse(Conflict, "`fustor admin version unpin` removes one", "view %q has %d pins, the most there may be", view, len(pins))
		}
		if a.clock.Now() >= until.UnixNano() {
			return refuse(Conflict, "try again", "the store took too long to answer")
		}
		pins[name] = history.Pin{Version: m.Version, At: int64(p.PublishedAt), PinnedAt: a.clock.Now()}
		return nil
	})
}

// checkPin refuses a name that is none, or that a reader would take for a version or a time.
func checkPin(name string) error {
	_, timeErr := values.ParseTime(name, time.Now())
	_, numberErr := strconv.ParseUint(name, 10, 64)
	if !layout.ValidID(name) || timeErr == nil || numberErr == nil {
		return refuse(Invalid, "use letters, digits and - _ . : @, such as before-cleanup; a number or a time is no name", "%q cannot name a version", name)
	}
	return nil
}

// Unpin takes a pin away. The version goes once nothing else keeps it.
func (a *Admin) Unpin(ctx context.Context, view, name string) error {
	if err := a.exists(ctx, view); err != nil {
		return err
	}
	return history.ChangePins(ctx, a.store, view, a.nonce, func(pins history.Pins) error {
		if _, there := pins[name]; !there {
			return refuse(NotFound, "`fustor versions` shows the pins", "view %q has no pin %q", view, name)
		}
		delete(pins, name)
		return nil
	})
}
