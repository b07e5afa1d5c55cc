package storesuite

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/fault"
)

// swap: every doubtful answer is settled by what is there.
func (r *run) swap(t *testing.T) {
	unknown, conflict := fault.ErrNetwork, fault.Status(fault.Create, 409)
	for _, test := range []struct {
		name    string
		plan    fault.Plan
		present string // what another has put there
		want    error
	}{
		{name: "no fault"},
		{name: "another was first", present: "other", want: store.ErrLost},
		{name: "lost answer", plan: fault.First(1, fault.Create, "k", fault.Fault{LostBack: unknown})},
		{name: "lost answer, then lost read back", plan: both(
			fault.First(1, fault.Create, "k", fault.Fault{LostBack: unknown}), fault.First(2, fault.Get, "k", fault.Fault{Lost: unknown}))},
		{name: "lost requests", plan: fault.First(3, fault.Create, "k", fault.Fault{Lost: unknown})},
		{name: "lost answer of a lost race", present: "other", want: store.ErrLost,
			plan: fault.First(1, fault.Create, "k", fault.Fault{LostBack: unknown})},
		{name: "503", plan: fault.First(2, fault.Create, "k", fault.Fault{Lost: fault.Status(fault.Create, 503)})},
		{name: "409s", plan: fault.First(4, fault.Create, "k", fault.Fault{Lost: conflict})},
		{name: "409, then lost", plan: fault.First(1, fault.Create, "k", fault.Fault{Lost: conflict}), present: "other", want: store.ErrLost},
		{name: "the echo of its own write", plan: fault.First(1, fault.Create, "k", fault.Fault{LostBack: fault.Status(fault.Create, 412)})},
		{name: "denied", plan: fault.First(1, fault.Create, "k", fault.Fault{Lost: fault.Status(fault.Create, 403)}), want: store.ErrDenied},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := r.open(t)
			if test.present != "" {
				create(t, s, "k", []byte(test.present))
			}
			meta, err := store.Swap(t.Context(), fault.New(s, test.plan), "k", []byte("mine"), "")
			switch {
			case !errors.Is(err, test.want) || (err == nil) != (test.want == nil):
				t.Fatalf("error %v, want %v", err, test.want)
			case err == nil:
				wantBody(t, s, "k", []byte("mine"), meta.ETag)
			case test.present != "":
				wantBody(t, s, "k", []byte(test.present), "")
			}
		})
	}
	t.Run("replace", r.swapReplace)
}

func both(a, b fault.Plan) fault.Plan {
	return func(c fault.Call) fault.Fault {
		if f := a(c); f != (fault.Fault{}) {
			return f
		}
		return b(c)
	}
}

func (r *run) swapReplace(t *testing.T) {
	s, ctx := r.open(t), t.Context()
	v1 := create(t, s, "k", []byte("v1"))
	lossy := fault.New(s, func(c fault.Call) fault.Fault {
		if c.Op == fault.Replace && c.N%2 == 0 {
			return fault.Fault{LostBack: fault.ErrNetwork}
		}
		return fault.Fault{}
	})
	v2 := must[store.Meta](t, "swap with a lost answer")(store.Swap(ctx, lossy, "k", []byte("v2"), v1.ETag))
	wantBody(t, s, "k", []byte("v2"), v2.ETag)
	_, err := store.Swap(ctx, lossy, "k", []byte("stale"), v1.ETag)
	wantErr(t, "swap with a stale ETag", err, store.ErrLost)
	_, err = store.Swap(ctx, lossy, "k", []byte("stale"), v1.ETag)
	wantErr(t, "swap with a stale ETag and a lost answer", err, store.ErrLost)
	wantBody(t, s, "k", []byte("v2"), v2.ETag)
	if err := s.Delete(ctx, "k"); err != nil {
		t.Fatal(err)
	}
	_, err = store.Swap(ctx, s, "k", []byte("v3"), v2.ETag)
	wantErr(t, "swap of a deleted object", err, store.ErrLost)
}

// swapRace: eight writers append their steps to one object through a network that loses a tenth of the requests and a
// tenth of the answers, and a server that answers 409 and 503. What was acknowledged is there, once, and nothing is
// there that was neither acknowledged nor in doubt.
func (r *run) swapRace(t *testing.T) {
	s := r.open(t)
	create(t, s, "log", nil)
	var all sync.WaitGroup
	const writers, steps = 8, 15
	acknowledged := make([][]string, writers)
	for i := range writers {
		flaky := fault.New(s, fault.Seeded(uint64(i), fault.Rates{Lost: 0.1, LostBack: 0.1, Error: 0.05, Conflict: 0.05}))
		all.Go(func() {
			for n := 0; len(acknowledged[i]) < steps && n < 2000; n++ {
				entry := fmt.Sprintf("%d.%d;", i, n) // a new one for each try: the body's nonce
				switch err := appendTo(t.Context(), flaky, entry); {
				case err == nil:
					acknowledged[i] = append(acknowledged[i], entry)
				case errors.Is(err, store.ErrDenied) || errors.Is(err, store.ErrNoBucket):
					t.Errorf("writer %d: %v", i, err)
					return
				}
			}
		})
	}
	all.Wait()
	log := ";" + string(wantObject(t, s, "log").Body)
	for i, entries := range acknowledged {
		if len(entries) != steps {
			t.Errorf("writer %d got %d of %d steps acknowledged", i, len(entries), steps)
		}
		for _, entry := range entries {
			if n := strings.Count(log, ";"+entry); n != 1 {
				t.Errorf("the acknowledged entry %s is there %d times", entry, n)
			}
		}
	}
}

func appendTo(ctx context.Context, s store.Store, entry string) error {
	object, err := s.Get(ctx, "log")
	if err != nil {
		return err
	}
	_, err = store.Swap(ctx, s, "log", append(object.Body, entry...), object.ETag)
	return err
}
