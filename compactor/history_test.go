package compactor

import (
	"cmp"
	"context"
	crand "crypto/rand"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/admin"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/history"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/cases"
	"github.com/fustor/fustor/testkit/sim"
)

// past is a view over years: a turned clock, two compactors, random changes, and all that was ever published.
type past struct {
	*harness
	w      *world
	random *rand.Rand
	two    []*Compactor
	policy history.Policy
	pins   history.Pins

	mu        sync.Mutex
	now       time.Time
	published []publication      // in order
	reads     map[string]reading // of versions, by their manifests
}

// reading is what reading a version gave, and the objects that it took, by their ETags. An object's bytes decide what is read of it, so while
// all are there unchanged the version is readable and has these rows: nothing need be decoded again.
type reading struct {
	rows    map[string]int64
	objects map[string]string
}

// noting is a store that notes which objects were read.
type noting struct {
	store.Store
	mu      sync.Mutex
	objects map[string]string
}

func (n *noting) note(key string, o store.Object, err error) (store.Object, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.objects[key] = o.ETag
	return o, err
}

func (n *noting) Get(ctx context.Context, key string) (store.Object, error) {
	o, err := n.Store.Get(ctx, key)
	return n.note(key, o, err)
}

func (n *noting) GetUpTo(ctx context.Context, key string, most int64) (store.Object, error) {
	o, err := n.Store.GetUpTo(ctx, key, most)
	return n.note(key, o, err)
}

func (n *noting) GetRange(ctx context.Context, key string, off, length int64) ([]byte, error) {
	if _, err := n.Get(ctx, key); err != nil {
		return nil, err
	}
	return n.Store.GetRange(ctx, key, off, length)
}

// publication is a version as it was when it was published.
type publication struct {
	manifest *manifest.Manifest
	rows     map[string]int64 // mtimes by path
}

func (p *past) clock() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *past) pass(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(d)
}

func newPast(t *testing.T, seed uint64) *past {
	p := &past{w: newWorld(), random: rand.New(rand.NewPCG(seed, 1)), now: time.Date(2024, 1, 30, 22, 10, 0, 0, time.UTC), pins: history.Pins{}, reads: map[string]reading{}}
	p.harness = &harness{tb: t, ctx: t.Context(), store: sim.NewStore(p.clock)}
	policies := []history.Policy{
		{Within: time.Hour, Hourly: 48, Daily: 90, Monthly: 60}, {}, {Within: history.Unlimited}, {Within: 3 * time.Hour, Weekly: 5, Yearly: history.Unlimited},
		{Hourly: 5}, {Daily: 30}, {Within: 48 * time.Hour, Monthly: 7}, {Daily: 4, Weekly: 4, Monthly: 4}, {Hourly: history.Unlimited},
	}
	p.policy = policies[seed%uint64(len(policies))]
	p.keep(p.policy)
	for range 2 {
		p.two = append(p.two, p.another(p.store))
	}
	p.c = p.two[0]
	return p
}

// another is one more compactor, over a store. All but the first make leaves of the smallest bases.
func (p *past) another(st store.Store) *Compactor {
	c, err := New(Options{Store: st, Now: p.clock, BatchClaims: 10, MaxDeltas: 2, PartitionRows: 20, InlinePartitions: len(p.two), OnCommit: p.publish})
	if err != nil {
		p.Fatalf("%v", err)
	}
	return c
}

func (p *past) publish(m *manifest.Manifest) {
	rows, err := p.read(m)
	if err != nil {
		p.Fatalf("version %d cannot be read as it is published: %v", m.Version, err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.published = append(p.published, publication{m, rows})
}

// read reads a version whole: what is there of it now.
func (p *past) read(m *manifest.Manifest) (map[string]int64, error) {
	body, err := m.Encode()
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	before, known := p.reads[string(body)]
	p.mu.Unlock()
	if known {
		for key, etag := range before.objects {
			if o, err := p.store.Get(context.Background(), key); err != nil || o.ETag != etag {
				return nil, fmt.Errorf("%s, which version %d has, is not as it was: %w", key, m.Version, cmp.Or(err, errors.New("another ETag")))
			}
		}
		return before.rows, nil
	}
	n := &noting{Store: p.store, objects: map[string]string{}}
	rows, err := readVersion(n, m)
	if err == nil {
		p.mu.Lock()
		p.reads[string(body)] = reading{rows, n.objects}
		p.mu.Unlock()
	}
	return rows, err
}

// readVersion reads a version whole.
func readVersion(st store.Store, m *manifest.Manifest) (map[string]int64, error) {
	ctx := context.Background()
	if m.Names != "" {
		if _, err := manifest.ReadNames(ctx, st, viewName, m.Names); err != nil {
			return nil, err
		}
	}
	v, err := layer.OpenView(st, viewName, m.Base, m.Deltas, layer.NewCache(1<<20))
	if err != nil {
		return nil, err
	}
	rows := map[string]int64{}
	c := v.Cursor(ctx)
	for ok := c.Seek(layer.Key{}); ok; ok = c.Next() {
		var r evidence.Row
		if err := c.Row(&r); err != nil {
			return nil, err
		}
		if !r.Removed {
			rows[strings.Clone(r.Path())] = r.MtimeNs
		}
	}
	return rows, c.Err()
}

// change changes the tree, and has it folded, and perhaps merged.
func (p *past) change(c *Compactor) {
	p.w.now = p.clock().UnixNano()
	s := p.sessions[0]
	for range 1 + p.random.IntN(4) {
		name := fmt.Sprintf("/f%02d", p.random.IntN(40))
		if _, there := p.w.entries[name]; there && p.random.IntN(3) == 0 {
			p.w.remove(name)
			s.tell(p.w.deleteEvent(name))
		} else {
			p.w.put(name, event.Entry{Type: event.File, MtimeNs: p.w.tick()})
			s.tell(p.w.putEvent(name))
		}
	}
	s.tell(p.w.putEvent("/"))
	if p.random.IntN(5) == 0 {
		s.names = []event.OwnerName{{ID: uint32(p.random.IntN(9)), Name: fmt.Sprint("u", p.w.now), ResolvedAt: p.w.now}}
	}
	s.send()
	p.job(c)
}

// job folds and merges.
func (p *past) job(c *Compactor) {
	if _, err := c.Fold(p.ctx, viewName); err != nil {
		p.Fatalf("%v", err)
	}
	if p.random.IntN(2) == 0 {
		if _, err := c.Merge(p.ctx, viewName); err != nil {
			p.Fatalf("%v", err)
		}
	}
}

// wanted are the versions that must be readable, found the long way from all that was ever published.
func (p *past) wanted() map[uint64]bool {
	p.mu.Lock()
	all := slices.Clone(p.published)
	p.mu.Unlock()
	now, out := p.clock(), map[uint64]bool{}
	first := all[len(all)-1].manifest.FirstReady
	currentAt := func(t time.Time) *manifest.Manifest {
		var found *manifest.Manifest
		for _, v := range all {
			if at := time.UnixMilli(v.manifest.FoldedAt / 1e6); !at.After(t) {
				found = v.manifest
			}
		}
		return found
	}
	within := max(p.policy.Within, time.Hour)
	for i, v := range all {
		if i+1 == len(all) || p.policy.Within == history.Unlimited || time.UnixMilli(all[i+1].manifest.FoldedAt/1e6).Add(within).After(now) {
			out[v.manifest.Version] = true
		}
	}
	for _, r := range []struct {
		count int
		begin func(time.Time) time.Time
	}{
		{p.policy.Hourly, func(t time.Time) time.Time { return t.Truncate(time.Hour) }},
		{p.policy.Daily, func(t time.Time) time.Time { return t.Truncate(24 * time.Hour) }},
		{p.policy.Weekly, func(t time.Time) time.Time { return t.Truncate(7 * 24 * time.Hour) }}, // of the zero time, a Monday
		{p.policy.Monthly, func(t time.Time) time.Time { return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC) }},
		{p.policy.Yearly, func(t time.Time) time.Time { return time.Date(t.Year(), 1, 1, 0, 0, 0, 0, time.UTC) }},
	} {
		at := r.begin(now)
		for n := 0; n != r.count && at.After(time.Date(2023, 12, 1, 0, 0, 0, 0, time.UTC)); n++ {
			if m := currentAt(at); m != nil && first > 0 && m.Version >= first {
				out[m.Version] = true
			}
			at = r.begin(at.Add(-1))
		}
	}
	for _, pin := range p.pins {
		out[pin.Version] = true
	}
	return out
}

// chain are the versions that are there, and the strays beside them.
func (p *past) chain() (chain, strays []manifest.Published) {
	list, _, err := manifest.List(p.ctx, p.store, viewName, 0, 7, nil)
	if err != nil {
		p.Fatalf("%v", err)
	}
	if chain, strays, err = manifest.Chain(p.ctx, p.store, p.head().Manifest, list); err != nil {
		p.Fatalf("%v", err)
	}
	return chain, strays
}

// check compares what is there with what was published. exact: retention has just run, with nothing under way.
func (p *past) check(what string, exact bool) {
	p.Helper()
	byKey := map[string]publication{}
	p.mu.Lock()
	for _, v := range p.published {
		byKey[v.manifest.Key()] = v
	}
	p.mu.Unlock()
	chain, strays := p.chain()
	wanted, layers := p.wanted(), map[string]bool{}
	there := map[uint64]bool{}
	for _, v := range chain {
		published, ok := byKey[v.Key]
		if !ok {
			p.Fatalf("%s: %s was never published, and is in the history", what, v.Key)
		}
		m, err := manifest.NewLeaves(0, 0).LoadKey(p.ctx, p.store, viewName, v.Key)
		if err != nil {
			p.Fatalf("%s: %v", what, err)
		}
		maps.Copy(layers, idsOf(m))
		there[v.Version] = true
		if !exact && p.random.IntN(len(chain)) > 20 {
			continue
		}
		if rows, err := p.read(m); err != nil || !maps.Equal(rows, published.rows) {
			p.Fatalf("%s: version %d of %s has %d rows (%v), and was published with %d", what, v.Version, v.At, len(rows), err, len(published.rows))
		}
	}
	for v := range wanted {
		if !there[v] {
			p.Fatalf("%s: version %d is gone, by %+v at %s", what, v, p.policy, p.clock())
		}
	}
	if !exact {
		return
	}
	if len(strays) > 0 || len(there) != len(wanted) {
		p.Fatalf("%s: strays %v; there are %v, wanted %v", what, strays, slices.Sorted(maps.Keys(there)), slices.Sorted(maps.Keys(wanted)))
	}
	err := store.Each(p.ctx, p.store, layout.Layers(viewName), func(i store.Item, age time.Duration) error {
		name := path.Base(i.Key)
		if old := max(p.policy.Within, time.Hour) + time.Hour; p.policy.Within != history.Unlimited && age > old && !layers[strings.TrimSuffix(name, path.Ext(name))] {
			p.Fatalf("%s: %s is %s old, and of no version", what, i.Key, age)
		}
		return nil
	})
	if err != nil {
		p.Fatalf("%v", err)
	}
}

// pin pins a version that stays for a while, or takes a pin away.
func (p *past) pin() {
	pins, _, err := history.ReadPins(p.ctx, p.store, viewName)
	if err != nil {
		p.Fatalf("%v", err)
	}
	chain, _ := p.chain()
	kept, _ := p.policy.Least().Split(chain, p.head().Manifest, pins, p.clock().Add(history.PinMargin))
	k := kept[p.random.IntN(len(kept))]
	name := fmt.Sprint("p", p.random.IntN(4))
	err = history.ChangePins(p.ctx, p.store, viewName, p.two[0].newNonce, func(pins history.Pins) error {
		if delete(pins, name); p.random.IntN(2) == 0 {
			pins[name] = history.Pin{Version: k.Version, At: k.At.UnixNano()}
		}
		p.pins = maps.Clone(pins)
		return nil
	})
	if err != nil {
		p.Fatalf("%v", err)
	}
}

// held is a store that stops its caller at one request, until it is let go.
type held struct {
	store.Store
	mu      sync.Mutex
	left    int // requests until it holds
	at      chan string
	goOn    chan struct{}
	expired context.CancelFunc
	long    bool // past the limit of a job
}

func (h *held) wait(op, key string) error {
	h.mu.Lock()
	h.left--
	now := h.left == 0
	h.mu.Unlock()
	if !now {
		return nil
	}
	h.at <- op
	<-h.goOn
	if h.long {
		h.expired()
		// What had left the process arrives, except a head: its caller checks the time, then the time and the ETag decide.
		if op == "replace" || op == "get" {
			return context.DeadlineExceeded
		}
	}
	return nil
}

func (h *held) Get(ctx context.Context, key string) (store.Object, error) {
	if err := h.wait("get", key); err != nil {
		return store.Object{}, err
	}
	return h.Store.Get(ctx, key)
}

func (h *held) Put(ctx context.Context, key string, body []byte) (store.Meta, error) {
	if err := h.wait("put", key); err != nil {
		return store.Meta{}, err
	}
	return h.Store.Put(context.WithoutCancel(ctx), key, body)
}

func (h *held) Replace(ctx context.Context, key string, body []byte, etag string) (store.Meta, error) {
	if err := h.wait("replace", key); err != nil {
		return store.Meta{}, err
	}
	return h.Store.Replace(ctx, key, body, etag)
}

func (h *held) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	if err := h.wait("list", prefix); err != nil {
		return store.Page{}, err
	}
	return h.Store.List(ctx, prefix, after, limit)
}

func (h *held) Delete(ctx context.Context, key string) error {
	if err := h.wait("delete", key); err != nil {
		return err
	}
	return h.Store.Delete(ctx, key)
}

// pause has a third compactor work until some request, lets others go on meanwhile, for longer than every grace or not, and then lets
// it go on. Retention has no limit of time; a fold past its own publishes nothing.
func (p *past) pause(meanwhile func()) {
	ctx, cancel := context.WithCancel(p.ctx)
	defer cancel()
	retains := p.random.IntN(2) == 0
	h := &held{Store: p.store, left: 1 + p.random.IntN(25), at: make(chan string), goOn: make(chan struct{}), expired: func() {}}
	c := p.another(h)
	if !retains {
		h.expired = cancel
		p.w.now = p.clock().UnixNano()
		p.w.put("/held", event.Entry{Type: event.File, MtimeNs: p.w.tick()})
		p.sessions[0].tell(p.w.putEvent("/held"), p.w.putEvent("/"))
		p.sessions[0].send()
	}
	done := make(chan error, 1)
	go func() {
		if retains {
			_, err := c.Retain(ctx, viewName)
			done <- err
			return
		}
		_, err := c.Fold(ctx, viewName)
		if err == nil {
			_, err = c.Merge(ctx, viewName)
		}
		done <- err
	}()
	var err error
	select {
	case err = <-done:
	case <-h.at:
		before := p.clock()
		meanwhile()
		h.long = !retains && p.clock().Sub(before) > DefaultJobLimit
		close(h.goOn)
		err = <-done
	}
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		p.Fatalf("the one that was held up: %v", err)
	}
}

// TestHistoryOverTwoYears: whatever the policy, versions that it keeps can be read whole, and all others go with what only they had,
// with two compactors, and a third that is stopped for minutes, hours or weeks in the middle of a fold, a merge or retention.
func TestHistoryOverTwoYears(t *testing.T) {
	for seed := range uint64(cases.Of(9)) { // one for each policy
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			p := newPast(t, seed)
			s := p.teller("one")
			s.tell(event.Event{Kind: event.Marked, Evidence: event.Snapshot, ObservedAt: p.w.tick(), Path: "/", Mark: event.Mark{Kind: event.SnapshotBegin}}, p.w.listEvent("/", event.Snapshot))
			s.send()
			p.job(p.c)
			p.pass(20 * time.Minute)
			s.tell(event.Event{Kind: event.Marked, Evidence: event.Snapshot, ObservedAt: p.w.tick(), Path: "/", Mark: event.Mark{Kind: event.SnapshotEnd}})
			s.send()
			p.job(p.c)
			if !p.head().Ready() {
				t.Fatal("the view is not complete")
			}
			some := func() {
				p.pass([]time.Duration{time.Second, time.Minute, 7 * time.Minute, 40 * time.Minute, 5 * time.Hour, 26 * time.Hour, 9 * 24 * time.Hour, 40 * 24 * time.Hour}[p.random.IntN(8)])
				c := p.two[p.random.IntN(2)]
				switch p.random.IntN(9) {
				case 0, 1:
					if _, err := c.Retain(p.ctx, viewName); err != nil {
						t.Fatal(err)
					}
				case 2:
					p.pin()
				case 3:
					p.two[p.random.IntN(2)] = p.another(p.store) // restarted
				default:
					for range 1 + p.random.IntN(3) {
						p.change(c)
						p.pass(time.Duration(p.random.IntN(1200)) * time.Second)
					}
				}
			}
			for end := p.clock().AddDate(2, 0, 0); p.clock().Before(end); {
				some()
				if p.random.IntN(4) == 0 {
					p.pause(func() {
						for range p.random.IntN(5) {
							some()
						}
					})
				}
				if p.random.IntN(3) == 0 {
					p.check("on the way", false)
				}
			}
			// At rest everything that must go goes: with what compactors remember, and without.
			p.pass(3 * time.Hour)
			for _, c := range p.two {
				p.pass(time.Minute)
				if _, err := c.Retain(p.ctx, viewName); err != nil {
					t.Fatal(err)
				}
			}
			p.check("at rest", true)
			if n, err := p.another(p.store).Retain(p.ctx, viewName); err != nil || n != 0 {
				t.Fatalf("a new compactor removes %d objects more, %v", n, err)
			}
		})
	}
}

// TestPinsHold: a pinned version outlives its rules, and one that is about to go cannot be pinned.
func TestPinsHold(t *testing.T) {
	p := newPast(t, 1) // its policy keeps an hour
	a, err := admin.New(admin.Options{Store: p.store, Now: p.clock, Random: crand.Reader})
	if err != nil {
		t.Fatal(err)
	}
	p.teller("one")
	p.change(p.c)
	first := p.head()
	p.pass(time.Minute)
	p.change(p.c)
	p.pass(56 * time.Minute)
	var refused *admin.Error
	if _, err := a.Pin(p.ctx, viewName, "late", first.Version, 0); !errors.As(err, &refused) || refused.Kind != admin.Conflict {
		t.Errorf("a version that goes in four minutes: %v", err)
	}
	for name, kind := range map[string]admin.Kind{"7d": admin.Invalid, "12": admin.Invalid, "a/b": admin.Invalid} {
		if _, err := a.Pin(p.ctx, viewName, name, 0, 0); !errors.As(err, &refused) || refused.Kind != kind {
			t.Errorf("the name %q: %v", name, err)
		}
	}
	pinned, err := a.Pin(p.ctx, viewName, "kept", 0, 0)
	if err != nil || pinned.Version != p.head().Version {
		t.Fatalf("%+v, %v", pinned, err)
	}
	p.change(p.c)
	if _, err := a.Pin(p.ctx, viewName, "kept", 0, 0); !errors.As(err, &refused) || refused.Kind != admin.Conflict {
		t.Errorf("the name of another version: %v", err)
	}
	retain := func() []uint64 {
		t.Helper()
		p.pass(3 * time.Hour)
		if _, err := p.c.Retain(p.ctx, viewName); err != nil {
			t.Fatal(err)
		}
		chain, _ := p.chain()
		var numbers []uint64
		for _, v := range chain {
			m, err := manifest.NewLeaves(0, 0).LoadKey(p.ctx, p.store, viewName, v.Key)
			if err == nil {
				_, err = p.read(m)
			}
			if err != nil {
				t.Error(err)
			}
			numbers = append(numbers, v.Version)
		}
		return numbers
	}
	if got := retain(); !slices.Equal(got, []uint64{pinned.Version, p.head().Version}) {
		t.Errorf("there are %v", got)
	}
	if err := a.Unpin(p.ctx, viewName, "kept"); err != nil {
		t.Fatal(err)
	}
	if got := retain(); !slices.Equal(got, []uint64{p.head().Version}) {
		t.Errorf("without the pin there are %v", got)
	}
}

// TestViewAtRestIsTended: what the last change superseded goes without another one, and then nothing is listed any more.
func TestViewAtRestIsTended(t *testing.T) {
	p := newPast(t, 1)
	p.teller("one")
	p.change(p.c)
	p.pass(time.Minute)
	lists := 0
	c := p.another(&listCounter{Store: p.store, count: &lists})
	p.change(c)
	for range 300 {
		p.pass(time.Minute)
		if err := c.Tend(p.ctx, viewName); err != nil {
			t.Fatal(err)
		}
	}
	if chain, _ := p.chain(); len(chain) != 1 {
		t.Errorf("five hours later there are %v", chain)
	}
	before := lists
	for range 300 {
		p.pass(time.Minute)
		if err := c.Tend(p.ctx, viewName); err != nil {
			t.Fatal(err)
		}
	}
	if lists != before {
		t.Errorf("%d lists of a view at rest", lists-before)
	}
}

// listCounter counts lists.
type listCounter struct {
	store.Store
	count *int
}

func (l *listCounter) List(ctx context.Context, prefix, after string, limit int) (store.Page, error) {
	*l.count++
	return l.Store.List(ctx, prefix, after, limit)
}
