package sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/schedule"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/ingest"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/sleep"
	"github.com/fustor/fustor/internal/viewconfig"
)

const (
	view   = "sim"
	apiKey = "simulated"
)

var errIO = syscall.EIO

// world is everything that a seed brings forth.
type world struct {
	seed   uint64
	plan   plan
	trace  *trace
	calm   atomic.Bool // the faults are over
	server *Server
	store  *Store
	keys   *access.Authenticator
	mounts []*Mount
	// Agents that remember do so in files of this directory; empty: they do not. Looks that take longer than hangAfter hang.
	dir       string
	hangAfter time.Duration
	looks     atomic.Int32 // under way
	unpacked  atomic.Int64 // files of archives in the tree, at most

	ingests    []*ingestHost
	components []*component
	clocks     []*hostClock
	wrong      atomic.Pointer[error] // what must never be so, and was
	sentMu     sync.Mutex
	sent       map[string]uint64 // the segments of each session
	group      sync.WaitGroup
}

// newWorld makes the world of a seed. adjust changes its plan; nil leaves it as it is.
func newWorld(seed uint64, keys *access.Authenticator, print func(string, ...any), adjust func(*plan)) (*world, error) {
	w := &world{seed: seed, keys: keys, trace: &trace{begin: time.Now(), print: print, faults: map[string]int{}}, sent: map[string]uint64{}}
	w.plan = makePlan(w.random("plan"))
	if adjust != nil {
		adjust(&w.plan)
	}
	w.plan.v2 = -1
	if r := w.random("v2"); *v2Flag && r.IntN(4) == 0 {
		w.plan.v2 = r.IntN(len(w.plan.agents))
	}
	w.calm.Store(w.plan.calm)
	w.trace.note(fmt.Sprintf("plan %+v", w.plan))
	skew := int64(w.plan.serverSkew)
	if w.plan.local {
		skew = 0
	}
	w.server = NewServer(func() int64 { return time.Now().UnixNano() + skew })
	storeSkew := time.Duration(w.random("store").Int64N(int64(time.Hour)))
	w.store = NewStore(func() time.Time { return time.Now().Add(storeSkew) })
	w.store.Created = w.sends
	for h := range max(w.plan.hosts, len(w.plan.agents)) {
		m := w.server.Mount(w.random(fmt.Sprint("mount ", h)))
		m.Staleness = w.plan.staleness
		w.mounts = append(w.mounts, m)
	}
	files := w.random("files")
	w.hangAfter = time.Duration(1+files.Int64N(20)) * 500 * time.Millisecond
	if files.IntN(3) > 0 {
		var err error
		if w.dir, err = os.MkdirTemp("", "fustor-sim"); err != nil {
			return nil, err
		}
	}
	config := viewconfig.Default(view)
	config.SessionTimeoutSeconds, config.AuditIntervalSeconds = w.plan.timeout.Seconds(), w.plan.audit.Seconds()
	config.SentinelIntervalSeconds, config.HotSeconds = 3, w.plan.hot.Seconds()
	config.StalenessSeconds = (w.plan.staleness + time.Second).Seconds()
	if err := viewconfig.Save(context.Background(), w.store, config); err != nil {
		return nil, err
	}
	return w, nil
}

// fail notes what must never be; the first of it counts.
func (w *world) fail(err error) {
	w.trace.note("WRONG:", err.Error())
	w.wrong.CompareAndSwap(nil, &err)
}

// sends counts a segment that is new in the store. Those of a session have no gap.
func (w *world) sends(key string) {
	_, session, seq, ok := layout.SplitSegment(key)
	if !ok {
		return
	}
	w.sentMu.Lock()
	defer w.sentMu.Unlock()
	if seq != w.sent[session] {
		w.fail(fmt.Errorf("segment %s: the session's segments have a gap before it", key))
	}
	w.sent[session]++
}

// random is a generator for one purpose.
func (w *world) random(purpose string) *rand.Rand {
	return rand.New(rand.NewPCG(w.seed, hash(purpose)))
}

func (w *world) faulty() bool { return !w.calm.Load() }

// later does something after a while, whoever asked for it.
func (w *world) later(after time.Duration, do func()) {
	w.group.Go(func() {
		time.Sleep(after)
		do()
	})
}

// bytes are random bytes for nonces.
type bytesOf struct {
	mu     sync.Mutex
	random *rand.ChaCha8
}

func (w *world) bytes(name string) *bytesOf {
	var seed [32]byte
	copy(seed[:], fmt.Sprintf("%d %s", w.seed, name))
	return &bytesOf{random: rand.NewChaCha8(seed)}
}

func (b *bytesOf) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.random.Read(p)
}

// component is a program that is started again whenever it dies.
type component struct {
	w     *world
	name  string
	start func(ctx context.Context, p *process) error // until ctx ends

	mu    sync.Mutex
	p     *process
	agent *agent.Agent // of an agent
}

func (w *world) component(name string, start func(ctx context.Context, p *process) error) {
	w.components = append(w.components, &component{w: w, name: name, start: start})
}

func (c *component) run(ctx context.Context) {
	for n := 1; ctx.Err() == nil; n++ {
		p := c.w.process(fmt.Sprintf("%s.%d", c.name, n))
		var own context.Context
		own, p.cancel = context.WithCancel(ctx)
		c.mu.Lock()
		c.p, c.agent = p, nil
		c.mu.Unlock()
		err := c.start(own, p)
		p.cancel()
		if ctx.Err() == nil {
			c.w.trace.note(p.name, "ended:", fmt.Sprint(err))
			_ = sleep.For(ctx, 50*time.Millisecond+p.upTo(3*time.Second))
		}
	}
}

// process is the one that runs now; nil before the first.
func (c *component) process() *process {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.p
}

// runs notes the agent that runs now.
func (c *component) runs(a *agent.Agent) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.agent = a
}

// leads reports whether it is an agent that takes itself for the leader.
func (c *component) leads() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.agent != nil && c.p.lives() && c.agent.Status().Leader
}

// watchLeaders looks now and then whether more than one agent takes itself for the leader.
func (w *world) watchLeaders(ctx context.Context) {
	r := w.random("watch leaders")
	for sleep.For(ctx, time.Duration(1+r.Int64N(int64(300*time.Millisecond)))) == nil {
		var leaders []string
		for _, c := range w.components {
			if c.leads() {
				leaders = append(leaders, c.name)
			}
		}
		if len(leaders) > 1 {
			w.fail(fmt.Errorf("%v lead at the same time, %v after the begin", leaders, time.Since(w.trace.begin)))
		}
	}
}

// ingestHost is where agents reach an ingest.
type ingestHost struct {
	mu      sync.Mutex
	process *process
	handler http.RoundTripper
}

func (w *world) build() {
	for n := range w.plan.ingests {
		host := &ingestHost{}
		w.ingests = append(w.ingests, host)
		clock := w.clock(fmt.Sprint("ingest", n))
		w.component(fmt.Sprint("ingest", n), func(ctx context.Context, p *process) error { return w.runIngest(ctx, p, host, clock) })
	}
	for n := range w.plan.compactors {
		clock := w.clock(fmt.Sprint("compactor", n))
		w.component(fmt.Sprint("compactor", n), func(ctx context.Context, p *process) error { return w.runCompactor(ctx, p, clock) })
	}
	for n, host := range w.plan.agents {
		id, clock, at := fmt.Sprint("agent", n), w.clock(fmt.Sprint("host", host)), len(w.components)
		if n == w.plan.v2 {
			w.component(id, func(ctx context.Context, p *process) error { return w.runV2(ctx, p, id, w.mounts[host]) })
			continue
		}
		w.component(id, func(ctx context.Context, p *process) error {
			a, err := w.newAgent(p, id, w.mounts[host], clock)
			if err != nil {
				return err
			}
			w.components[at].runs(a)
			return a.Run(ctx)
		})
	}
}

// hostClock is a machine's two clocks: the one began when it booted, the other is off by hours, and set now and then.
type hostClock struct {
	booted time.Time
	offset atomic.Int64
}

func (w *world) clock(name string) *hostClock {
	r := w.random("clock " + name)
	c := &hostClock{booted: w.trace.begin.Add(-time.Duration(r.Int64N(int64(1000 * time.Hour))))}
	if r.IntN(2) == 0 {
		c.offset.Store(r.Int64N(int64(6*time.Hour)) - int64(3*time.Hour))
	}
	w.clocks = append(w.clocks, c)
	return c
}

func (c *hostClock) boot() int64 { return int64(time.Since(c.booted)) }

func (c *hostClock) now() time.Time { return time.Now().Add(time.Duration(c.offset.Load())) }

func (w *world) runIngest(ctx context.Context, p *process, host *ingestHost, clock *hostClock) error {
	i, err := ingest.New(ingest.Options{Store: p.store(), Authenticator: w.keys, Now: clock.now, Rand: w.bytes(p.name)})
	if err != nil {
		return err
	}
	host.mu.Lock()
	host.process, host.handler = p, send.Handler(i.Handler()).Transport
	host.mu.Unlock()
	<-ctx.Done()
	return ctx.Err()
}

func (w *world) runCompactor(ctx context.Context, p *process, clock *hostClock) error {
	c, err := compactor.New(compactor.Options{
		Store: p.store(), Now: clock.now, Random: w.bytes(p.name), MaxDeltas: 4, PartitionRows: cmp.Or(w.plan.partition, 40), ClaimRows: 20, CacheBytes: 1 << 20, BatchClaims: cmp.Or(w.plan.batch, 64),
		PollMax: w.plan.polls, InlinePartitions: w.plan.inline, Grace: w.plan.grace, Workers: w.plan.workers, WorkerClaims: 1,
	})
	if err != nil {
		return err
	}
	return c.Run(ctx, view)
}

func (w *world) newAgent(p *process, id string, m *Mount, clock *hostClock) (*agent.Agent, error) {
	o := agent.Options{
		Root: Root, View: view, AgentID: id, TaskID: p.name, SourceURI: "fs://" + id + Root, APIKey: apiKey, ScanWorkers: 2,
		IngestURL: "http://ingest", IngestHTTP: &http.Client{Transport: network{p}, Timeout: 20 * time.Second},
		Logger: w.logger(p.name),
	}
	if w.dir != "" {
		o.StateFile = filepath.Join(w.dir, id+".json")
		o.Tuning.Racy = w.plan.staleness + time.Second
	}
	o.Tuning.HangAfter = w.hangAfter
	o.Tuning.SegmentAge = w.plan.segments
	o.Tuning.SettleAfter, o.Tuning.GracePeriod = w.plan.staleness+3*time.Second, time.Second
	o.Tuning.Clocks = lease.Clocks{Boot: clock.boot, Wall: clock.now}
	o.Tuning.System = &System{Mount: m, Local: w.plan.local, Step: p.look}
	o.Tuning.Notifier = func(string) (watch.Notifier, error) {
		return m.Notifier(w.plan.queue, func() error { return p.look("notices", "") }), nil
	}
	return agent.New(o)
}

// run lives through the seed: it grows a tree, starts everything, lets the tree change and things break, then ends the
// faults and waits until the view is the tree.
func (w *world) run() error {
	if w.dir != "" {
		defer os.RemoveAll(w.dir)
	}
	w.build()
	ctx, cancel := context.WithCancel(context.Background())
	defer func() {
		for w.looks.Load() > 0 { // those that hang outlive their agents
			time.Sleep(time.Second)
		}
	}()
	defer func() {
		if w.plan.v2 >= 0 { // an ingest works an audit out beside its requests, and another waits for it
			time.Sleep(time.Hour)
		}
	}()
	defer w.group.Wait()
	defer cancel()
	first := w.user("before", w.mounts[len(w.mounts)-1])
	for range first.random.IntN(25) {
		first.change()
	}
	for _, c := range w.components {
		w.group.Go(func() { c.run(ctx) })
	}
	w.group.Go(func() { w.watchLeaders(ctx) })
	defer w.trace.seal()
	for range max(w.plan.rounds, 1) {
		if err := w.round(ctx); err != nil {
			return err
		}
	}
	return nil
}

// round lets the tree change and things break for a while, then ends the faults and waits until the view is the tree.
func (w *world) round(ctx context.Context) error {
	w.calm.Store(w.plan.calm)
	until := time.Now().Add(w.plan.busy)
	var busy sync.WaitGroup
	for h := range w.plan.hosts {
		busy.Go(func() { w.user(fmt.Sprint("host", h), w.mounts[h]).work(ctx, until) })
	}
	for n := range w.plan.archives {
		busy.Go(func() { w.unpack(ctx, fmt.Sprint("archive", n), until) })
	}
	if !w.plan.calm {
		busy.Go(func() { w.trouble(until) })
	}
	busy.Wait()
	w.heal()
	return w.settle(ctx)
}

// heal ends the faults.
func (w *world) heal() {
	w.calm.Store(true)
	for _, m := range w.mounts {
		m.SetAbsence(Present)
	}
	for _, c := range w.components {
		if p := c.process(); p != nil {
			p.heal()
		}
	}
	w.trace.note("the faults are over")
}

// trouble has processes crash, stand still and be slow, clocks jump, queues run over and roots vanish.
func (w *world) trouble(until time.Time) {
	r := w.random("trouble")
	upTo := func(d time.Duration) time.Duration { return time.Duration(1 + r.Int64N(int64(d))) }
	for {
		time.Sleep(upTo(w.plan.chaos))
		if time.Now().After(until) {
			return
		}
		p := w.components[r.IntN(len(w.components))].process()
		m := w.mounts[r.IntN(len(w.mounts))]
		switch kind, n := r.IntN(7), r.IntN(200); {
		case p == nil:
		case kind < 2:
			p.light(1 + n)
		case kind == 2:
			d := upTo(2 * w.plan.timeout)
			w.trace.fault("pause", p.name)
			p.pause(d)
		case kind == 3:
			w.trace.fault("slow host", p.name)
			p.mu.Lock()
			p.slow = upTo(50 * time.Millisecond)
			p.mu.Unlock()
		case kind == 4:
			w.trace.fault("overflow", "")
			m.Overflow()
		case kind == 5:
			w.trace.fault("clock set", "")
			w.clocks[n%len(w.clocks)].offset.Add(int64(upTo(4*time.Hour) - 2*time.Hour))
		case kind == 6:
			how := Unmounted + Absence(r.IntN(2))
			w.trace.fault("root lost", fmt.Sprint(how))
			m.SetAbsence(how)
			w.later(upTo(8*time.Second), func() { m.SetAbsence(Present) })
		}
	}
}

// settle waits until the view is the tree, and checks what must be so then.
func (w *world) settle(ctx context.Context) error {
	quiet := w.store.now().UnixNano()
	// What changes in place, and is reported by nobody or was not seen in time, is found once each share of the directories had its audit.
	audits := w.plan.audit + w.plan.staleness
	limit := 4*w.plan.timeout + max(3*audits+90*time.Second, (schedule.Shares+1)*audits)
	deadline := time.Now().Add(limit)
	time.Sleep(w.plan.audit + w.plan.staleness)
	w.restartV2()
	for {
		time.Sleep(2 * time.Second)
		err := w.check(ctx, quiet)
		if wrong := w.wrong.Load(); wrong != nil {
			return *wrong
		}
		if err == nil {
			w.trace.note("the view is the tree")
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%v after the faults were over: %w", limit, err)
		}
		if !errors.Is(err, errNotYet) {
			w.trace.note("not yet:", err.Error())
		}
	}
}
