package store_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/testkit/fault"
)

func openLocal(t *testing.T) *local.Store {
	t.Helper()
	s, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestCheckKey(t *testing.T) {
	for _, key := range []string{"a", "views/v/head", "a b/ü+%", "...", ".a", "a/.fustor", strings.Repeat("s", store.MaxSegment), strings.Repeat("abc/", 255) + "abcd"} {
		if err := store.CheckKey(key); err != nil {
			t.Error(err)
		}
	}
	for _, key := range []string{"", "/a", "a/", "a//b", "a/../b", ".", "a\x00", "\xff", "a\\b", ".fustor", ".fustor/x", "\ufffe", "a\uffff", "a\x7f", "a\x1f", strings.Repeat("abc/", 255) + "abcde",
		strings.Repeat("s", store.MaxSegment+1), strings.Repeat("abc/", 300) + "x"} {
		if err := store.CheckKey(key); !errors.Is(err, store.ErrKey) {
			t.Errorf("%q: error %v", key, err)
		}
	}
}

// TestSwapGivesUp: Swap goes on for a bounded time, whatever the store answers, and then tells the truth.
func TestSwapGivesUp(t *testing.T) {
	for name, test := range map[string]struct {
		fault  fault.Fault // of every write
		reads  error       // of every read
		want   error
		atMost time.Duration
	}{
		"conflicts without end":           {fault: fault.Fault{Lost: fault.Status(fault.Create, 409)}, want: store.ErrConflict, atMost: 20 * time.Second},
		"lost requests without end":       {fault: fault.Fault{Lost: fault.ErrNetwork}, want: fault.ErrNetwork, atMost: 5 * time.Second},
		"lost answer and no way to look":  {fault: fault.Fault{LostBack: fault.ErrNetwork}, reads: fault.Status(fault.Get, 503), atMost: 5 * time.Second},
		"lost answer and then no access":  {fault: fault.Fault{LostBack: fault.ErrNetwork}, reads: fault.Status(fault.Get, 403), want: store.ErrDenied, atMost: time.Millisecond},
		"denied is the end":               {fault: fault.Fault{Lost: fault.Status(fault.Create, 403)}, want: store.ErrDenied, atMost: time.Millisecond},
		"the bucket is gone":              {fault: fault.Fault{Lost: store.ErrNoBucket}, want: store.ErrNoBucket, atMost: time.Millisecond},
		"an illegal key":                  {fault: fault.Fault{Lost: store.ErrKey}, want: store.ErrKey, atMost: time.Millisecond},
		"what the store cannot do at all": {fault: fault.Fault{Lost: store.ErrUnsupported}, want: store.ErrUnsupported, atMost: time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			s := openLocal(t)
			synctest.Test(t, func(t *testing.T) {
				flaky := fault.New(s, func(c fault.Call) fault.Fault {
					if c.Op == fault.Get {
						return fault.Fault{Lost: test.reads}
					}
					return test.fault
				})
				begun := time.Now()
				_, err := store.Swap(t.Context(), flaky, "k", []byte("mine"), "")
				if err == nil || errors.Is(err, store.ErrLost) || test.want != nil && !errors.Is(err, test.want) {
					t.Errorf("error %v, want %v", err, test.want)
				}
				if took := time.Since(begun); took > test.atMost {
					t.Errorf("took %v, want at most %v", took, test.atMost)
				}
			})
		})
	}
}

// TestSwapPauses: a conflict says that another's write is under way, so the object is not read, and the next try comes after half to all of a pause that
// doubles up to a second.
func TestSwapPauses(t *testing.T) {
	s := openLocal(t)
	synctest.Test(t, func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, 1)
		var at []time.Time
		reads := 0
		busy := fault.New(s, func(c fault.Call) fault.Fault {
			if c.Op == fault.Get {
				reads++
				return fault.Fault{}
			}
			at = append(at, time.Now())
			return fault.Fault{Lost: fault.Status(fault.Create, 409)}
		})
		if _, err := store.Swap(t.Context(), busy, "k", []byte("mine"), ""); !errors.Is(err, store.ErrConflict) || len(at) != 16 || reads != 0 {
			t.Fatalf("%v after %d tries and %d reads", err, len(at), reads)
		}
		limit, longest := 20*time.Millisecond, 0.0
		for i := range len(at) - 1 {
			pause := at[i+1].Sub(at[i])
			if pause < limit/2 || pause > limit {
				t.Errorf("pause %d is %s, of at most %s", i, pause, limit)
			}
			longest = max(longest, float64(pause)/float64(limit))
			limit = min(2*limit, time.Second)
		}
		if longest < 0.85 { // of fifteen; the random numbers are fixed
			t.Errorf("no pause is longer than %.2f of its limit", longest)
		}
	})
	for range 64 {
		if store.Jitter(0) != 0 || store.Jitter(1) != 0 {
			t.Fatal("jitter reaches its limit")
		}
	}
}

// unfinished is a store whose pages say that there is more, and hold nothing.
type unfinished struct{ store.Store }

func (unfinished) List(context.Context, string, string, int) (store.Page, error) {
	return store.Page{More: true}, nil
}

// TestEach reads all pages, and does not ask for ever where a page holds nothing.
func TestEach(t *testing.T) {
	s := openLocal(t)
	for _, key := range []string{"a/1", "a/2", "a/3", "b/1"} {
		if _, err := s.Create(t.Context(), key, nil); err != nil {
			t.Fatal(err)
		}
	}
	var got []string
	err := store.Each(t.Context(), s, "a/", func(i store.Item, age time.Duration) error {
		got = append(got, i.Key)
		return nil
	})
	if err != nil || strings.Join(got, " ") != "a/1 a/2 a/3" {
		t.Errorf("%q, %v", got, err)
	}
	if err := store.Each(t.Context(), unfinished{}, "a/", nil); err != nil {
		t.Error(err)
	}
}

func TestSwapEndsWithContext(t *testing.T) {
	s := openLocal(t)
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		flaky := fault.New(s, func(c fault.Call) fault.Fault { return fault.Fault{Lost: fault.Status(c.Op, 409)} })
		begun := time.Now()
		_, err := store.Swap(ctx, flaky, "k", []byte("mine"), "")
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 100*time.Millisecond {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	})
}

// TestSwapDoesNotTakeAForeignTimeoutForItsOwn: a client's own time limit looks like the end of ctx, and is not.
func TestSwapDoesNotTakeAForeignTimeoutForItsOwn(t *testing.T) {
	s := openLocal(t)
	flaky := fault.New(s, fault.First(1, fault.Create, "k", fault.Fault{LostBack: context.DeadlineExceeded}))
	meta, err := store.Swap(t.Context(), flaky, "k", []byte("mine"), "")
	if err != nil || meta.ETag == "" {
		t.Errorf("%+v, %v", meta, err)
	}
}

func TestCounts(t *testing.T) {
	c, ctx := store.Count(openLocal(t)), t.Context()
	meta, err := c.Create(ctx, "a", []byte("12345"))
	if err != nil {
		t.Fatal(err)
	}
	_, exists := c.Create(ctx, "a", []byte("12345"))
	_, put := c.Put(ctx, "b", []byte("1"))
	_, replace := c.Replace(ctx, "a", []byte("1234567"), meta.ETag)
	_, get := c.Get(ctx, "a")
	_, same := c.GetIfChanged(ctx, "b", meta.ETag)
	_, some := c.GetRange(ctx, "a", 2, 3)
	_, list := c.List(ctx, "", "", 0)
	_, presign := c.PresignCreate(ctx, "x", time.Second)
	remove := c.Delete(ctx, "a")
	if err := errors.Join(put, replace, get, same, some, list, remove); err != nil || exists == nil || presign == nil {
		t.Fatal(err, exists, presign)
	}
	want := store.Counts{Get: 3, Put: 4, List: 1, Delete: 1, Presign: 1, BytesIn: 7 + 1 + 3, BytesOut: 5 + 5 + 1 + 7}
	if got := c.Counts(); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if diff := c.Counts().Sub(want); diff != (store.Counts{}) {
		t.Errorf("nothing since: %+v", diff)
	}
	if diff := c.Counts().Sub(store.Counts{Get: 1, Put: 1, List: 1, Delete: 1, Presign: 1, BytesIn: 1, BytesOut: 1}); diff != (store.Counts{Get: 2, Put: 3, BytesIn: 10, BytesOut: 17}) {
		t.Errorf("since the first of each: %+v", diff)
	}
	if diff := c.Counts().Sub(store.Counts{Get: 1}); diff != (store.Counts{Get: 2, Put: 4, List: 1, Delete: 1, Presign: 1, BytesIn: 11, BytesOut: 18}) {
		t.Errorf("since the first reading: %+v", diff)
	}
}

type announcer struct{ store.Store }

func (announcer) Notify(context.Context, string) (<-chan string, error) { return nil, nil }

func TestAsNotifier(t *testing.T) {
	s := openLocal(t)
	if _, ok := store.AsNotifier(store.Count(s)); ok {
		t.Error("a directory announces nothing")
	}
	if _, ok := store.AsNotifier(store.Count(fault.New(announcer{s}, nil))); !ok {
		t.Error("a wrapped notifier was not found")
	}
}
