package fault_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/testkit/fault"
)

func openLocal(t *testing.T) store.Store {
	t.Helper()
	s, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSeededIsDeterministic: the fate of a call depends neither on the order of calls nor on the run.
func TestSeededIsDeterministic(t *testing.T) {
	rates := fault.Rates{Lost: 0.1, LostBack: 0.1, Error: 0.1, Conflict: 0.1, Jitter: time.Second, Short: 0.5}
	var calls []fault.Call
	for i := range 2000 {
		op := []fault.Op{fault.Get, fault.Create, fault.Replace, fault.List, fault.Delete}[i%5]
		calls = append(calls, fault.Call{Op: op, Key: fmt.Sprint("k", i%7), N: i / 35})
	}
	describe := func(f fault.Fault) string { return fmt.Sprint(f) }
	first, faults := fault.Seeded(1, rates), map[fault.Call]string{}
	counts := map[string]int{}
	for _, c := range calls {
		f := first(c)
		faults[c] = describe(f)
		counts[fmt.Sprint(f.Lost != nil, f.LostBack != nil)]++
		if errors.Is(f.Lost, store.ErrConflict) && (!c.Op.Writes() || c.Op == fault.Delete) {
			t.Errorf("409 on %s", c.Op)
		}
	}
	rand.Shuffle(len(calls), func(i, j int) { calls[i], calls[j] = calls[j], calls[i] })
	same, other := fault.Seeded(1, rates), fault.Seeded(2, rates)
	differ := 0
	for _, c := range calls {
		if describe(same(c)) != faults[c] {
			t.Fatalf("%v met another fate", c)
		}
		if describe(other(c)) != faults[c] {
			differ++
		}
	}
	if differ == 0 {
		t.Error("the seed does not matter")
	}
	for kind, n := range counts { // 0.2 to 0.3 lost, 0.1 lost back, the rest none
		if n < 2000/20 {
			t.Errorf("lost, lost back = %s: %d of 2000", kind, n)
		}
	}
}

func TestLost(t *testing.T) {
	inner, ctx := openLocal(t), t.Context()
	s := fault.New(inner, func(c fault.Call) fault.Fault {
		return map[string]fault.Fault{"lost": {Lost: fault.ErrNetwork}, "back": {LostBack: fault.ErrNetwork}}[c.Key]
	})
	for _, key := range []string{"lost", "back", "fine"} {
		_, err := s.Put(ctx, key, []byte("x"))
		if errors.Is(err, fault.ErrNetwork) != (key != "fine") {
			t.Errorf("put %s: %v", key, err)
		}
		_, err = inner.Get(ctx, key)
		if errors.Is(err, store.ErrNotFound) != (key == "lost") {
			t.Errorf("%s is there: %v", key, err)
		}
		if _, err := s.Get(ctx, key); (err == nil) != (key == "fine") {
			t.Errorf("get %s: %v", key, err)
		}
	}
	if err := s.Delete(ctx, "back"); !errors.Is(err, fault.ErrNetwork) {
		t.Errorf("delete: %v", err)
	}
	if _, err := inner.Get(ctx, "back"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after a delete whose answer was lost: %v", err)
	}
}

func TestPartition(t *testing.T) {
	s, ctx := fault.New(openLocal(t), nil), t.Context()
	s.Partition(true)
	_, get := s.Get(ctx, "k")
	_, create := s.Create(ctx, "k", nil)
	_, list := s.List(ctx, "", "", 0)
	for _, err := range []error{get, create, list, s.Delete(ctx, "k")} {
		if !errors.Is(err, fault.ErrNetwork) {
			t.Errorf("error %v", err)
		}
	}
	s.Partition(false)
	if _, err := s.Create(ctx, "k", nil); err != nil {
		t.Error(err)
	}
}

func TestShortPagesSkewAndNth(t *testing.T) {
	inner, ctx := openLocal(t), t.Context()
	for _, key := range []string{"a", "b", "c"} {
		if _, err := inner.Create(ctx, key, nil); err != nil {
			t.Fatal(err)
		}
	}
	s := fault.New(inner, func(c fault.Call) fault.Fault {
		return []fault.Fault{{Short: 2}, {Short: 2, Liar: true}, {Skew: time.Hour}}[min(c.N, 2)]
	})
	honest, err1 := s.List(ctx, "", "", 0)
	liar, err2 := s.List(ctx, "", "", 0)
	skewed, err3 := s.List(ctx, "", "", 0)
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	if len(honest.Items) != 2 || !honest.More || len(liar.Items) != 2 || liar.More || len(skewed.Items) != 3 {
		t.Errorf("%d %v, %d %v, %d", len(honest.Items), honest.More, len(liar.Items), liar.More, len(skewed.Items))
	}
	if off := time.Until(skewed.Date); off < 59*time.Minute || off > time.Hour {
		t.Errorf("Date is %v ahead, want an hour", off)
	}
}

func TestDelayEndsWithContext(t *testing.T) {
	inner := openLocal(t)
	synctest.Test(t, func(t *testing.T) {
		s := fault.New(inner, func(fault.Call) fault.Fault { return fault.Fault{Delay: time.Minute} })
		begun := time.Now()
		if _, err := s.Create(t.Context(), "k", nil); err != nil || time.Since(begun) != time.Minute {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun = time.Now()
		if _, err := s.Get(ctx, "k"); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}
