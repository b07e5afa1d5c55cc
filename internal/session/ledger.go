package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/seal"
	"github.com/fustor/fustor/internal/store"
)

// What callers of a Ledger decide on.
var (
	// ErrGone: the session has ended, timed out, or never was.
	ErrGone = errors.New("session is gone")
	// ErrTaken: the task, or the view, has a live session already.
	ErrTaken = errors.New("taken by a live session")
	// ErrFull: the view's roster holds as many sessions as it may.
	ErrFull = errors.New("the view has too many sessions")
	// ErrDamaged: an object of this package cannot be read.
	ErrDamaged = errors.New("not a record this version of fustor can read")
)

// Ledger writes the records of sessions. Any number of them, in any number of processes, may work on one store: each
// step is decided by one conditional write. What a Ledger remembers saves it reads and is never believed beyond what a
// conditional write proves.
//
// The invariants, on which every method relies:
//   - A session proves that it lives by its record's age, by what the lease tells of its heartbeats, or, while it leads, by its lease's age.
//   - Before a session takes the lease it renews its record; after, it reads it again. Whoever ends a session first
//     takes its lease away, then marks the record, then looks at the lease again. So no ended session keeps the lease.
//   - A term is given once: the lease goes from term to term + 1 by compare-and-swap on the object that was read.
type Ledger struct {
	store  store.Store
	clock  *store.Clock
	random io.Reader

	records *otter.Cache[string, held[Record]] // by the object's key; as it was last seen here
	leases  *otter.Cache[string, held[Lease]]

	following following
}

// maxRemembered bounds what a Ledger remembers, in sessions and in views.
const maxRemembered = 100_000

// NewLedger returns a Ledger on s, which clock should watch. Random is where ids and nonces come from.
func NewLedger(s store.Store, clock *store.Clock, random io.Reader) (*Ledger, error) {
	records, err := otter.New(&otter.Options[string, held[Record]]{MaximumSize: maxRemembered})
	if err != nil {
		return nil, fmt.Errorf("make cache: %w", err)
	}
	leases, err := otter.New(&otter.Options[string, held[Lease]]{MaximumSize: maxRemembered})
	if err != nil {
		return nil, fmt.Errorf("make cache: %w", err)
	}
	return &Ledger{store: s, clock: clock, random: random, records: records, leases: leases}, nil
}

// held is one version of an object. An empty ETag stands for an object that is not there.
type held[T any] struct {
	value T
	meta  store.Meta
}

func (h held[T]) exists() bool { return h.meta.ETag != "" }

// read reads an object; that there is none is no error.
func read[T any](ctx context.Context, s store.Store, key string) (held[T], error) {
	var h held[T]
	object, err := s.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return h, nil
	}
	if err != nil {
		return h, fmt.Errorf("read %s: %w", key, err)
	}
	if h.value, err = decode[T](key, object.Body); err != nil {
		return held[T]{meta: object.Meta}, err
	}
	h.meta = object.Meta
	return h, nil
}

// decode is what an object says; ErrDamaged if it says nothing of the kind.
func decode[T any](key string, body []byte) (value T, err error) {
	plain, err := seal.Open(key, body)
	if err == nil {
		err = json.Unmarshal(plain, &value)
	}
	if err != nil {
		var none T
		return none, fmt.Errorf("read %s: %w: %v", key, ErrDamaged, err)
	}
	return value, nil
}

// swap puts value in the place of the version old, or fails with store.ErrLost.
func swap[T any](ctx context.Context, s store.Store, key string, value T, old store.Meta) (held[T], error) {
	body, err := seal.JSON(key, value)
	if err != nil {
		return held[T]{}, fmt.Errorf("encode %s: %w", key, err)
	}
	meta, err := store.Swap(ctx, s, key, body, old.ETag)
	if err != nil {
		return held[T]{}, err
	}
	if meta.LastModified.IsZero() {
		meta.LastModified = meta.Date
	}
	return held[T]{value, meta}, nil
}

func (l *Ledger) readRecord(ctx context.Context, view, id string) (held[Record], error) {
	key := layout.Session(view, id)
	h, err := read[Record](ctx, l.store, key)
	if err == nil && h.exists() {
		l.records.Set(key, h)
	} else {
		l.records.Invalidate(key)
	}
	return h, err
}

func (l *Ledger) writeRecord(ctx context.Context, r Record, old store.Meta) (held[Record], error) {
	key := layout.Session(r.View, r.ID)
	var h held[Record]
	var err error
	if r.Nonce, err = newNonce(l.random); err == nil {
		h, err = swap(ctx, l.store, key, r, old)
	}
	if err != nil {
		l.records.Invalidate(key)
		return h, err
	}
	l.records.Set(key, h)
	return h, nil
}

func (l *Ledger) readLease(ctx context.Context, view string) (held[Lease], error) {
	key := layout.Lease(view)
	h, err := leaseOf(ctx, l.store, view)
	if err == nil && h.exists() {
		l.leases.Set(key, h)
	} else {
		l.leases.Invalidate(key)
	}
	return h, err
}

func (l *Ledger) writeLease(ctx context.Context, view string, v Lease, old store.Meta) (held[Lease], error) {
	key := layout.Lease(view)
	var h held[Lease]
	var err error
	if v.Nonce, err = newNonce(l.random); err == nil {
		h, err = swap(ctx, l.store, key, v, old)
	}
	if err != nil {
		l.leases.Invalidate(key)
		return h, err
	}
	l.leases.Set(key, h)
	return h, nil
}

// since is the age of something remembered, by the estimate of the store's clock.
func (l *Ledger) since(m store.Meta) time.Duration {
	return time.Duration(l.clock.Now() - m.LastModified.UnixNano())
}

// nearly reports whether so much of a time-out has gone by that it should be read, not remembered.
func nearly(age, timeout time.Duration) bool { return !lease.Live(age+age/8, timeout) }

// liveLease reports whether a lease that was just read is held and not expired.
func liveLease(h held[Lease]) bool {
	return h.value.Session != "" && lease.Live(Age(h.meta), seconds(h.value.TTLSeconds))
}

// holds reports whether a lease that was just read proves that a session lives: the session has it and nobody has ended it.
func holds(h held[Lease], id string) bool {
	return id != "" && h.value.Session == id && !h.value.Ended && liveLease(h)
}

// leads reports whether a lease that was just read makes a session the leader: it holds the lease and need not yield it.
func leads(h held[Lease], id string) bool { return holds(h, id) && !h.value.Yields }

// again runs step until it is not lost to another writer, with growing, jittered pauses.
func again(ctx context.Context, step func() error) error {
	const tries = 64
	for n := 0; ; n++ {
		err := step()
		if err == nil || !errors.Is(err, store.ErrLost) {
			return err
		}
		if n == tries {
			return fmt.Errorf("gave up after %d tries: %w: %v", tries, store.ErrConflict, err)
		}
		timer := time.NewTimer(store.Jitter(min(500*time.Millisecond, 4*time.Millisecond<<min(n, 8))))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
}
