package history

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/store"
)

// Pins are the versions of a view that are kept by name, whatever its policy says. A name may not be taken for a version or a time.
type Pins map[string]Pin

// Pin is one of them.
type Pin struct {
	Version  uint64 `json:"version"`
	At       int64  `json:"at_ns"`        // when the version was published, the store's time
	PinnedAt int64  `json:"pinned_at_ns"` // the store's time
}

// MaxPins bounds the pins of a view.
const MaxPins = 1000

// of are the names of a version's pins, in order.
func (p Pins) of(version uint64) (names []string) {
	for name, pin := range p {
		if pin.Version == version {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

type pinsObject struct {
	Format int    `json:"format"`
	Nonce  string `json:"nonce"`
	Pins   Pins   `json:"pins"`
}

const pinsFormat = 1

// ErrPins: the object has no pins that can be read.
var ErrPins = errors.New("not a list of pins that this version of fustor can read")

// ReadPins reads the pins of a view, and the ETag of their object; both are empty if it never had any.
func ReadPins(ctx context.Context, st store.Store, view string) (Pins, string, error) {
	key := layout.Pins(view)
	o, err := st.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return nil, "", nil
	}
	if err != nil {
		return nil, "", fmt.Errorf("read %s: %w", key, err)
	}
	pins, err := decodePins(key, o.Body)
	return pins, o.ETag, err
}

func decodePins(key string, body []byte) (Pins, error) {
	var object pinsObject
	plain, err := seal.Open(key, body)
	if err == nil {
		err = json.Unmarshal(plain, &object)
	}
	if err == nil && object.Format != pinsFormat {
		err = fmt.Errorf("its format is %d", object.Format)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", key, ErrPins, err)
	}
	return object.Pins, nil
}

// ChangePins replaces the pins of a view by what change makes of them. It is called again where another writer was first; its error ends
// the change and is returned as it is.
func ChangePins(ctx context.Context, st store.Store, view string, nonce func() (string, error), change func(Pins) error) error {
	for {
		pins, etag, err := ReadPins(ctx, st, view)
		if err != nil {
			return err
		}
		pins = maps.Clone(pins)
		if pins == nil {
			pins = Pins{}
		}
		if err := change(pins); err != nil {
			return err
		}
		o := pinsObject{Format: pinsFormat, Pins: pins}
		if o.Nonce, err = nonce(); err != nil {
			return err
		}
		body, err := seal.JSON(layout.Pins(view), o)
		if err != nil {
			return fmt.Errorf("encode the pins of view %s: %w", view, err)
		}
		_, err = store.Swap(ctx, st, layout.Pins(view), body, etag)
		if !errors.Is(err, store.ErrLost) {
			return err
		}
	}
}

// PinMargin is for how long the policy must keep a version at least so that it may be pinned: retention that is under way does not
// know the pin yet.
const PinMargin = 5 * time.Minute
