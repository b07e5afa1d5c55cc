package history

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"testing"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
)

// TestChangingPins: each change sees those before it, is written whole, and loses nothing where two writers meet; an error changes nothing.
func TestChangingPins(t *testing.T) {
	ctx := t.Context()
	st, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if pins, etag, err := ReadPins(ctx, st, "v"); pins != nil || etag != "" || err != nil {
		t.Errorf("of a view that has none: %v %q, %v", pins, etag, err)
	}
	n := 0
	nonce := func() (string, error) { n++; return fmt.Sprint("nonce-", n), nil }
	add := func(name string, version uint64) func(Pins) error {
		return func(p Pins) error { p[name] = Pin{version, 5, 6}; return nil }
	}
	want := Pins{"first": {1, 5, 6}, "between": {3, 5, 6}, "second": {2, 5, 6}}
	if err := ChangePins(ctx, st, "v", nonce, add("first", 1)); err != nil {
		t.Fatal(err)
	}
	calls := 0
	err = ChangePins(ctx, st, "v", nonce, func(p Pins) error {
		if calls++; calls == 1 { // another writer is first
			if err := ChangePins(ctx, st, "v", nonce, add("between", 3)); err != nil {
				t.Error(err)
			}
		}
		return add("second", 2)(p)
	})
	if pins, etag, err2 := ReadPins(ctx, st, "v"); err != nil || err2 != nil || calls != 2 || etag == "" || !maps.Equal(pins, want) {
		t.Errorf("%v %q after %d calls, %v, %v", pins, etag, calls, err, err2)
	}
	no := errors.New("no")
	if err := ChangePins(ctx, st, "v", nonce, func(p Pins) error { clear(p); return no }); err != no {
		t.Errorf("the change's error is %v", err)
	}
	if pins, _, err := ReadPins(ctx, st, "v"); err != nil || !maps.Equal(pins, want) {
		t.Errorf("an error changed the pins: %v, %v", pins, err)
	}
}

type broken struct{ store.Store }

var errBroken = errors.New("the store is broken")

func (broken) Get(context.Context, string) (store.Object, error) { return store.Object{}, errBroken }

// TestPinsThatCannotBeRead are never taken for none: retention would remove what they keep.
func TestPinsThatCannotBeRead(t *testing.T) {
	ctx := t.Context()
	st, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []pinsObject{{Format: pinsFormat + 1, Pins: Pins{"a": {1, 2, 3}}}, {}} {
		sealed, err := seal.JSON(layout.Pins("v"), of)
		if err != nil {
			t.Fatal(err)
		}
		if pins, err := decodePins(layout.Pins("v"), sealed); pins != nil || !errors.Is(err, ErrPins) {
			t.Errorf("%+v: %v, %v", of, pins, err)
		}
	}
	if pins, err := decodePins(layout.Pins("v"), []byte(`{"format":1,"pins":[]}`)); pins != nil || !errors.Is(err, ErrPins) {
		t.Errorf("%v, %v", pins, err)
	}
	if pins, _, err := ReadPins(ctx, broken{st}, "v"); pins != nil || !errors.Is(err, errBroken) {
		t.Errorf("%v, %v", pins, err)
	}
	if err := ChangePins(ctx, broken{st}, "v", func() (string, error) { return "n", nil }, func(Pins) error { t.Error("asked for a change"); return nil }); !errors.Is(err, errBroken) {
		t.Error(err)
	}
}
