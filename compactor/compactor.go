// Package compactor turns segments into versions of a view: it folds new segments into delta layers, merges layers
// into base partitions, and removes what no version needs any more.
//
// Invariants: a segment's events count exactly once, as every version records how far each session is folded and only
// the next contiguous segments are folded upon it. A version is published by one conditional write of head; whoever
// loses it starts again, so any number of compactors may work on a view, and one that is killed at any point has left
// nothing but objects that retention will find. Memory depends on the batch, not on the view.
package compactor

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"
	"golang.org/x/sync/semaphore"

	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
)

// Options are what a compactor works with. Store is required; everything else has a default.
type Options struct {
	Store  store.Store
	Logger *slog.Logger
	// Now and Random are the outer world: the machine's clock, for ages of the store's objects only where the store
	// gives none, and the source of nonces and layer names.
	Now    func() time.Time
	Random io.Reader
	// OnCommit is called with every version that this compactor publishes. It must return soon.
	OnCommit func(*manifest.Manifest)
	// Memory bounds what is done at once, of however many views, bytes. Where CacheBytes and BatchClaims are 0, they follow from it.
	Memory int64
	// TempDir is where a fold puts rows that Memory has no room for; empty: the system's directory for temporary files.
	TempDir string
	// CacheBytes bounds the decoded row groups kept between folds.
	CacheBytes int64
	// BatchClaims is about how many names one fold takes in.
	BatchClaims int
	// Workers is how many parts of a large fold's batch are folded at once, at most, and WorkerClaims how many names are worth one. Workers 0: as many as
	// there are processors, and one for each 64 MiB of Memory.
	Workers, WorkerClaims int
	// PartitionRows is about how many rows a base partition has.
	PartitionRows int64
	// InlinePartitions is how many base partitions a version has in head itself; more are in leaves. 0: manifest.InlinePartitions.
	InlinePartitions int
	// ClaimRows is how many rows a merge takes at least for other compactors to be told of it.
	ClaimRows int64
	// CallOthers has it write layout.MoreMerges where there is more to merge at once than it has begun. What that wakes is another
	// compactor: where compactors poll, they come by themselves.
	CallOthers bool
	// MaxDeltas is how many delta layers a view may have before they are merged.
	MaxDeltas int
	// PollMax is the longest pause between two polls for new segments, where no notification comes.
	PollMax time.Duration
	// Grace is how old an object must be to be removed, and for how long every version stays readable at least.
	Grace time.Duration
	// JobLimit bounds every fold and merge: past it nothing is committed. It must be far below Grace, so that retention never removes what
	// a job still writes.
	JobLimit time.Duration
}

// The defaults of Options.
const (
	DefaultMemory        = 256 << 20
	DefaultPartitionRows = 1 << 20
	DefaultClaimRows     = 256 << 10
	DefaultMaxDeltas     = 8
	DefaultPollMax       = time.Second
	DefaultGrace         = history.Shortest
	DefaultJobLimit      = 15 * time.Minute
)

const (
	// MinMemory is the least that Options.Memory counts as, bytes.
	MinMemory = 96 << 20
	// bytesPerClaim is what a name takes of Memory, with all that there is beside it: 128 Ki names to 256 MiB, measured.
	bytesPerClaim = 2 << 10
	// workerBytes of Memory allow for one worker of a fold, which a batch has from defaultWorkerClaims names on.
	workerBytes, defaultWorkerClaims = 64 << 20, 1 << 10
	// headsShare of Memory is for heads that are remembered.
	headsShare = 16
	// leavesShare of Memory is for what is remembered of the leaves of large views: 50,000 partitions of 256 MiB.
	leavesShare = 16
)

// Compactor works on the views of one store. It is safe for concurrent use.
type Compactor struct {
	o       Options
	clock   *store.Clock
	cache   *layer.Cache
	configs *viewconfig.Loader
	ledger  *session.Ledger
	metrics *metrics
	figures *viewMetrics
	counted *store.Counted
	leaves  *manifest.Leaves
	turns   *turns
	// publishing bounds what is published as tables at once.
	publishing *semaphore.Weighted

	// decoders are of *segmentDecoder. It is a pointer, as a pool keeps what it is part of alive for two collections: many
	// short-lived compactors in one process would add up.
	decoders *sync.Pool
	// reigns are, by view, the reign that a lease proved last: mostly that of the next segment, too.
	reigns sync.Map

	mu       sync.Mutex
	views    map[string]*viewWorker
	retained map[string]retentionDone      // by view
	cutOff   map[string]int                // by view: steps of merges that a deadline has cut off, in Work
	seen     map[string]*manifest.Manifest // by view: the newest version, of which it has the epoch and the number
	tables   map[string]tableDone          // by view
	left     map[string]time.Time          // by view: when to look whether others have done what they claimed
	proved   map[string]bool               // views whose head was held against their manifests
	known    map[string]version            // by view: head as it was read or published last, of which nothing is ever changed
	knownFor int64                         // about how many bytes these take
}

// New makes a compactor.
func New(o Options) (*Compactor, error) {
	if o.Store == nil {
		return nil, errors.New("compactor: no store")
	}
	o.setDefaults()
	clock, counted := store.NewClock(o.Now), store.Count(o.Store)
	o.Store = clock.Watch(counted)
	ledger, err := session.NewLedger(o.Store, clock, o.Random)
	if err != nil {
		return nil, fmt.Errorf("compactor: %w", err)
	}
	return &Compactor{
		decoders: &sync.Pool{},
		o:        o, clock: clock, cache: layer.NewCache(o.CacheBytes), configs: viewconfig.NewLoader(o.Store, o.Now), ledger: ledger,
		metrics: newMetrics(), figures: newViewMetrics(o.Now), counted: counted, leaves: manifest.NewLeaves(o.Memory/leavesShare, o.InlinePartitions), turns: newTurns(o.Memory), views: map[string]*viewWorker{}, retained: map[string]retentionDone{}, cutOff: map[string]int{},
		seen: map[string]*manifest.Manifest{}, known: map[string]version{}, proved: map[string]bool{}, tables: map[string]tableDone{}, left: map[string]time.Time{}, publishing: semaphore.NewWeighted(1),
	}, nil
}

func (o *Options) setDefaults() {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.OnCommit == nil {
		o.OnCommit = func(*manifest.Manifest) {}
	}
	def(&o.Memory, DefaultMemory)
	o.Memory = max(o.Memory, MinMemory)
	def(&o.CacheBytes, o.Memory/8)
	def(&o.BatchClaims, int(o.Memory/bytesPerClaim))
	def(&o.Workers, max(1, min(runtime.GOMAXPROCS(0), int(o.Memory/workerBytes))))
	def(&o.WorkerClaims, defaultWorkerClaims)
	def(&o.PartitionRows, DefaultPartitionRows)
	def(&o.ClaimRows, DefaultClaimRows)
	def(&o.MaxDeltas, DefaultMaxDeltas)
	def(&o.PollMax, DefaultPollMax)
	def(&o.Grace, DefaultGrace)
	def(&o.JobLimit, DefaultJobLimit)
}

func def[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// newID names a layer: a ULID of the store's time, so that names sort by age and retention knows it in a store that was copied.
func (c *Compactor) newID() (string, error) {
	id, err := ulid.New(uint64(c.clock.Now()/1e6), c.o.Random)
	if err != nil {
		return "", fmt.Errorf("name a layer: %w", err)
	}
	return id.String(), nil
}

func (c *Compactor) newNonce() (string, error) {
	var b [10]byte
	if _, err := io.ReadFull(c.o.Random, b[:]); err != nil {
		return "", fmt.Errorf("make a nonce: %w", err)
	}
	return fmt.Sprintf("%x", b), nil
}
