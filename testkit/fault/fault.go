// Package fault makes a store misbehave in the ways that real ones do: errors, delays, lost requests, lost answers,
// short pages, a wrong clock, a partition.
//
// What happens to a request is decided by a Plan from the operation, the key and how often that pair was asked before,
// never from timing, so that a plan does the same at every run however the goroutines are scheduled. Tests of every
// part wrap their store with it.
package fault

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fustor/fustor/internal/sleep"
	"github.com/fustor/fustor/internal/store"
)

// Op is a method of store.Store.
type Op string

// The operations.
const (
	Get          Op = "get"
	GetIfChanged Op = "get-if-changed"
	GetRange     Op = "get-range"
	Put          Op = "put"
	Create       Op = "create"
	Replace      Op = "replace"
	List         Op = "list"
	Delete       Op = "delete"
	Presign      Op = "presign"
)

// Writes reports whether the operation changes the store.
func (o Op) Writes() bool { return o == Put || o == Create || o == Replace || o == Delete }

// Call is one request: the Nth (from 0) with this operation and key. Of a List the key is the prefix.
type Call struct {
	Op  Op
	Key string
	N   int
}

// Fault is what happens to one request. The zero Fault is none.
type Fault struct {
	Delay    time.Duration // before the request
	Lost     error         // the request is lost: nothing happens, and the caller gets this error
	LostBack error         // the answer is lost: it happens, and the caller gets this error
	Skew     time.Duration // added to the Date of the answer
	Short    int           // of a List: the page has at most so many items; More is set when some are held back
	Liar     bool          // with Short: More is not set
}

// Plan decides. It may be called from several goroutines at once.
type Plan func(Call) Fault

// ErrNetwork is an error that tells nothing of what became of the request, as a broken connection does.
var ErrNetwork = errors.New("connection reset by the fault plan")

// Status is the error of an HTTP status as a backend would return it: 409 is ErrConflict, 412 is ErrExists or
// ErrChanged, 403 ErrDenied; 500, 503 and others tell nothing.
func Status(op Op, status int) error {
	err := fmt.Errorf("HTTP %d by the fault plan", status)
	switch {
	case status == 409:
		return fmt.Errorf("%w: %w", store.ErrConflict, err)
	case status == 412 && op == Create:
		return fmt.Errorf("%w: %w", store.ErrExists, err)
	case status == 412:
		return fmt.Errorf("%w: %w", store.ErrChanged, err)
	case status == 401 || status == 403:
		return fmt.Errorf("%w: %w", store.ErrDenied, err)
	}
	return err
}

// Store is a store.Store whose requests go through a plan.
type Store struct {
	inner       store.Store
	plan        Plan
	partitioned atomic.Bool

	mu   sync.Mutex
	seen map[Call]int // by Op and Key; N is zero
}

// New wraps inner. A nil plan does nothing; Partition works still.
func New(inner store.Store, plan Plan) *Store {
	if plan == nil {
		plan = func(Call) Fault { return Fault{} }
	}
	return &Store{inner: inner, plan: plan, seen: map[Call]int{}}
}

// Unwrap returns the store that does the work.
func (s *Store) Unwrap() store.Store { return s.inner }

// Partition cuts the caller off from the store (true), or ends that (false).
func (s *Store) Partition(cut bool) { s.partitioned.Store(cut) }

// begin counts the request, and does to it what comes before it is done.
func (s *Store) begin(ctx context.Context, op Op, key string) (Fault, error) {
	s.mu.Lock()
	n := s.seen[Call{Op: op, Key: key}]
	s.seen[Call{Op: op, Key: key}] = n + 1
	s.mu.Unlock()
	f := s.plan(Call{Op: op, Key: key, N: n})
	if f.Delay > 0 {
		if err := sleep.For(ctx, f.Delay); err != nil {
			return f, err
		}
	}
	if s.partitioned.Load() {
		return f, fmt.Errorf("%s %s: partitioned: %w", op, key, ErrNetwork)
	}
	if f.Lost != nil {
		return f, fmt.Errorf("%s %s: %w", op, key, f.Lost)
	}
	return f, nil
}

// end does to the answer what comes after the request was done.
func (s *Store) end(f Fault, op Op, key string, err error) error {
	switch {
	case s.partitioned.Load():
		return fmt.Errorf("%s %s: partitioned: %w", op, key, ErrNetwork)
	case f.LostBack != nil:
		return fmt.Errorf("%s %s: answer lost: %w", op, key, f.LostBack)
	}
	return err
}

func (s *Store) object(ctx context.Context, op Op, key string, do func() (store.Object, error)) (store.Object, error) {
	f, err := s.begin(ctx, op, key)
	if err != nil {
		return store.Object{}, err
	}
	object, err := do()
	object.Date = skewed(object.Date, f.Skew)
	if failed := s.end(f, op, key, nil); failed != nil {
		return store.Object{}, failed
	}
	return object, err
}

func (s *Store) write(ctx context.Context, op Op, key string, do func() (store.Meta, error)) (store.Meta, error) {
	f, err := s.begin(ctx, op, key)
	if err != nil {
		return store.Meta{}, err
	}
	meta, err := do()
	meta.Date = skewed(meta.Date, f.Skew)
	if failed := s.end(f, op, key, nil); failed != nil {
		return store.Meta{}, failed
	}
	return meta, err
}

func skewed(t time.Time, by time.Duration) time.Time {
	if t.IsZero() {
		return t
	}
	return t.Add(by)
}
