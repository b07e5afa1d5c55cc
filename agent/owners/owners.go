// Package owners finds what the host calls the owners and groups of the entries that an agent meets.
//
// It asks for each uid and gid once, and daily again. Invariants: nobody waits for a name, neither a scan nor an event; what is asked and
// kept is bounded; a name that the host no longer knows is kept, since "not found" and "the directory service does not answer" look
// alike to getent. Package agent runs a Keeper and gives what it finds to the stream, which has the names in its segments.
package owners

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/sleep"
)

// Resolver asks a host for the names of users, or of groups, by ids in order. Who has no name is absent from the answer.
type Resolver func(ctx context.Context, groups bool, ids []uint32) (map[uint32]string, error)

const (
	// maxOwners bounds the users and groups of which a Keeper takes note.
	maxOwners = 100_000
	// perCall bounds those that one call asks for.
	perCall = 200
	// gather is how long a Keeper waits for more to ask for together.
	gather = 100 * time.Millisecond
)

// Keeper knows the owners that were met, and their names. It is safe for concurrent use.
type Keeper struct {
	resolve Resolver
	found   func([]event.OwnerName)
	log     *slog.Logger
	refresh time.Duration // from one time that all are asked for to the next
	retry   time.Duration // after a failure

	mu    sync.Mutex
	names map[owner]string // of all that were met; empty: none
	asked []owner          // those to ask for
	more  chan struct{}    // a token when there are any
	full  bool             // there were more than maxOwners
}

type owner struct {
	group bool
	id    uint32
}

// New makes a Keeper that hands names to found: each that is new, or another than before.
func New(resolve Resolver, found func([]event.OwnerName), log *slog.Logger) *Keeper {
	return &Keeper{resolve: resolve, found: found, log: log, refresh: 24 * time.Hour, retry: time.Minute,
		names: map[owner]string{}, more: make(chan struct{}, 1)}
}

// Meet takes note of the owner and the group of an entry. It does not wait.
func (k *Keeper) Meet(uid, gid uint32) {
	if uid == event.NoOwner && gid == event.NoOwner {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.meet(owner{false, uid})
	k.meet(owner{true, gid})
}

func (k *Keeper) meet(o owner) {
	if _, met := k.names[o]; met {
		return
	}
	if len(k.names) == maxOwners {
		if !k.full {
			k.full = true
			k.log.Warn("there are too many owners and groups: names of further ones are not resolved, and their numbers are shown", "limit", maxOwners)
		}
		return
	}
	k.names[o] = ""
	k.ask(o)
}

// ask queues an owner. The lock is held.
func (k *Keeper) ask(owners ...owner) {
	k.asked = append(k.asked, owners...)
	select {
	case k.more <- struct{}{}:
	default:
	}
}

// Run resolves what was met, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	refresh := time.NewTicker(k.refresh)
	defer refresh.Stop()
	for failing := false; ; {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-refresh.C:
			k.askAll()
			continue
		case <-k.more:
		}
		if err := sleep.For(ctx, gather); err != nil {
			return err
		}
		err := k.resolveAsked(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			if !failing {
				k.log.Warn("names of owners could not be resolved; their numbers are shown until that succeeds", "error", err, "again_in", k.retry)
			}
			if err := sleep.For(ctx, k.retry); err != nil {
				return err
			}
		}
		failing = err != nil
	}
}

func (k *Keeper) askAll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = k.asked[:0]
	for o := range k.names {
		k.ask(o)
	}
}

// resolveAsked resolves all that is queued. What fails stays queued.
func (k *Keeper) resolveAsked(ctx context.Context) error {
	k.mu.Lock()
	asked := k.asked
	k.asked = nil
	k.mu.Unlock()
	var firstErr error
	var news []event.OwnerName
	for _, groups := range []bool{false, true} {
		var ids []uint32
		for _, o := range asked {
			if o.group == groups {
				ids = append(ids, o.id)
			}
		}
		slices.Sort(ids)
		for some := range slices.Chunk(slices.Compact(ids), perCall) {
			err := firstErr
			var names map[uint32]string
			if err == nil { // a service that hangs would hang for each call
				names, err = k.resolve(ctx, groups, some)
			}
			if err != nil {
				firstErr = err
				k.askAgain(groups, some)
				continue
			}
			news = k.take(news, groups, names)
		}
	}
	if len(news) > 0 {
		k.found(news)
	}
	return firstErr
}

func (k *Keeper) askAgain(groups bool, ids []uint32) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, id := range ids {
		k.ask(owner{groups, id})
	}
}

// take keeps the names of an answer, and appends those that are news.
func (k *Keeper) take(news []event.OwnerName, groups bool, names map[uint32]string) []event.OwnerName {
	k.mu.Lock()
	defer k.mu.Unlock()
	for id, name := range names {
		o := owner{groups, id}
		if before, met := k.names[o]; met && before != name && event.ValidOwnerName(name) {
			k.names[o] = name
			news = append(news, event.OwnerName{Group: groups, ID: id, Name: name})
		}
	}
	return news
}
