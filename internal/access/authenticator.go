package access

import (
	"context"
	"crypto/subtle"
	"errors"
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/viewconfig"
)

// KnownFor is how long the store's record of a key is believed: a key that is taken away works at most so much longer.
const KnownFor = 30 * time.Second

const (
	// unknownFor is how long a refusal is believed, so also that of a key that is made just now.
	unknownFor = 5 * time.Second
	maxCached  = 10_000 // records and refusals; whoever tries keys at random pushes out his own refusals first
	lookupTime = 10 * time.Second
)

// ErrUnknownKey: no record has that key, or its time is over.
var ErrUnknownKey = errors.New("unknown API key")

// Static is a key that the server itself was given, beside those in the store.
type Static struct {
	Key    string
	Record Record
}

// Options of an Authenticator.
type Options struct {
	Store  store.Store // where records are; nil: only static keys
	Static []Static
	Now    func() time.Time // nil: time.Now
	Users  *Users           // nil: those of this host
	Tokens Tokens           // of an OpenID provider; nil: none are accepted
	Proxy  Proxy            // whose header names users; without a Header, none is
}

// Authenticator knows keys. It is safe for concurrent use.
type Authenticator struct {
	store  store.Store
	static []staticKey
	now    func() time.Time
	users  *Users
	tokens Tokens
	proxy  Proxy
	views  *viewconfig.Loader           // nil: only keys may ask
	cache  *otter.Cache[string, cached] // by hash
	wrong  wrong
	codes  codes
}

type staticKey struct {
	hash   string
	record Record
}

type cached struct {
	record Record
	known  bool
	until  time.Time
}

// New returns an Authenticator. A static key that is empty or has a bad record is an error.
func New(o Options) (*Authenticator, error) {
	a := &Authenticator{store: o.Store, now: o.Now, tokens: o.Tokens, proxy: o.Proxy}
	if a.now == nil {
		a.now = time.Now
	}
	a.wrong = wrong{now: a.now, by: map[string]wrongCount{}}
	if a.users = o.Users; a.users == nil {
		a.users = NewUsers(a.now)
	}
	if o.Store != nil {
		a.views = viewconfig.NewLoader(o.Store, a.now)
	}
	for _, s := range o.Static {
		if s.Key == "" || len(s.Key) > maxKey {
			return nil, fmt.Errorf("static API key %q: it must have 1 to %d bytes", s.Record.Name, maxKey)
		}
		if err := s.Record.Check(); err != nil {
			return nil, fmt.Errorf("static API key %q: %w", s.Record.Name, err)
		}
		a.static = append(a.static, staticKey{Hash(s.Key), s.Record})
	}
	cache, err := otter.New(&otter.Options[string, cached]{MaximumSize: maxCached})
	if err != nil {
		return nil, fmt.Errorf("make key cache: %w", err)
	}
	a.cache = cache
	return a, nil
}

// Authenticate returns the record of a key, or ErrUnknownKey; any other error is of the store.
func (a *Authenticator) Authenticate(ctx context.Context, key string) (Record, error) {
	if key == "" || len(key) > maxKey {
		return Record{}, ErrUnknownKey
	}
	hash := Hash(key)
	record, known := a.staticRecord(hash)
	if !known && a.store != nil {
		entry, err := a.stored(ctx, hash)
		if err != nil {
			return Record{}, err
		}
		record, known = entry.record, entry.known
	}
	if !known || record.Expired(a.now()) {
		return Record{}, ErrUnknownKey
	}
	record.ID = idOf(hash)
	return record, nil
}

// staticRecord looks at every static key, so that the time it takes says nothing of where one differs.
func (a *Authenticator) staticRecord(hash string) (record Record, known bool) {
	for _, s := range a.static {
		if subtle.ConstantTimeCompare([]byte(s.hash), []byte(hash)) == 1 {
			record, known = s.record, true
		}
	}
	return record, known
}

func (a *Authenticator) stored(ctx context.Context, hash string) (cached, error) {
	if entry, ok := a.cache.GetIfPresent(hash); ok {
		if a.now().Before(entry.until) {
			return entry, nil
		}
		a.cache.Invalidate(hash)
	}
	// Callers that ask for the same key at once share one request; none of them may end it for the others.
	entry, err := a.cache.Get(ctx, hash, otter.LoaderFunc[string, cached](func(_ context.Context, hash string) (cached, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookupTime)
		defer cancel()
		return a.load(ctx, hash)
	}))
	if err != nil {
		return cached{}, fmt.Errorf("look up API key: %w", err)
	}
	return entry, nil
}

func (a *Authenticator) load(ctx context.Context, hash string) (cached, error) {
	key := layout.KeyConfig(hash)
	object, err := a.store.Get(ctx, key)
	if errors.Is(err, store.ErrNotFound) {
		return cached{until: a.now().Add(unknownFor)}, nil
	}
	if err != nil {
		return cached{}, err
	}
	record, err := DecodeRecord(layout.KeyConfigs+hash[:8]+"…", hash, object.Body)
	if err != nil {
		return cached{}, err
	}
	return cached{record: record, known: true, until: a.now().Add(KnownFor)}, nil
}
