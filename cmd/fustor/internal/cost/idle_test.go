package cost

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fustor/fustor/agent"
	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/agent/watch"
	"github.com/fustor/fustor/cmd/internal/parts"
	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/ingest"
	"github.com/fustor/fustor/internal/access"
	model "github.com/fustor/fustor/internal/cost"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/sim"
)

// idle is real agents, which nothing changes under, with the parts as functions have them: ingest answers at once, and the
// compactor is woken by segments and ticks. Its clock is the bubble's.
type idle struct {
	t       *testing.T
	counted *store.Counted
	ingest  http.Handler
	compact *compactor.Compactor
	work    sync.WaitGroup
	folds   sync.Mutex // one invocation at a time
}

func newIdle(t *testing.T) *idle {
	d := &idle{t: t, counted: store.Count(sim.NewStore(time.Now))}
	keys, err := parts.Keys(access.Options{Store: d.counted}, "")
	if err != nil {
		t.Fatal(err)
	}
	i, err := ingest.New(ingest.Options{Store: d.counted, Authenticator: keys, AnswerAtOnce: true,
		OnSegment: func(string, string, uint64) { d.work.Go(d.fold) }})
	if err != nil {
		t.Fatal(err)
	}
	if d.compact, err = compactor.New(compactor.Options{Store: d.counted}); err != nil {
		t.Fatal(err)
	}
	d.ingest = i.Handler()
	return d
}

func (d *idle) fold() {
	d.folds.Lock()
	defer d.folds.Unlock()
	if _, err := d.compact.Work(context.Background(), "v", 0); err != nil {
		d.t.Error(err)
	}
}

// tick is what the function does for a tick of the schedule.
func (d *idle) tick() {
	views, err := d.compact.Views(context.Background())
	if err != nil {
		d.t.Error(err)
	}
	for _, view := range views {
		d.fold()
		if err := d.compact.Tend(context.Background(), view); err != nil {
			d.t.Error(err)
		}
	}
}

// agents runs so many on one tree, which all have watched once it returns.
func (d *idle) agents(ctx context.Context, n int) {
	server := sim.NewServer(func() int64 { return time.Now().UnixNano() })
	begin := time.Now()
	for i := range n {
		m := server.Mount(rand.New(rand.NewPCG(1, uint64(i))))
		if i == 0 {
			for k := range 50 {
				if err := m.Mkdir(fmt.Sprintf("/dir%d", k)); err != nil {
					d.t.Fatal(err)
				}
			}
		}
		own := access.GenerateKey()
		if err := access.Register(ctx, d.counted, own, access.Record{Name: fmt.Sprint("agent", i), Roles: []access.Role{access.Ingest}, Views: access.AllViews}); err != nil {
			d.t.Fatal(err)
		}
		step := func(string, string) error { return nil }
		a, err := agent.New(agent.Options{
			Root: sim.Root, View: "v", AgentID: fmt.Sprint("agent", i), APIKey: own, ScanWorkers: 2, ThroughIngest: true,
			IngestURL: "http://ingest", IngestHTTP: send.Handler(d.ingest),
			Tuning: agent.Tuning{
				Clocks: lease.Clocks{Boot: func() int64 { return int64(time.Since(begin)) }, Wall: time.Now}, System: &sim.System{Mount: m, Local: true, Step: step},
				Notifier: func(string) (watch.Notifier, error) { return m.Notifier(1000, func() error { return nil }), nil },
			},
		})
		if err != nil {
			d.t.Fatal(err)
		}
		d.work.Go(func() { _ = a.Run(ctx) })
		for a.Status().Watch.Watches == 0 {
			time.Sleep(time.Second)
		}
	}
}

// What idle agents ask for in six hours, an audit among them, counted, is what the model says of them; and one alone stays
// below a dollar a month.
func TestIdleAgents(t *testing.T) {
	const budget = 1.0
	d := deploy(t, 1) // what packages make once for all must not be made in a bubble
	d.call(d.query, "GET", "/api/v1/views/v/metadata?path=/dir7", "", 200)
	for _, agents := range []int{1, 3} {
		t.Run(fmt.Sprint(agents), func(t *testing.T) {
			var c store.Counts
			const hours = 6
			synctest.Test(t, func(t *testing.T) {
				d := newIdle(t)
				ctx, cancel := context.WithCancel(t.Context())
				d.agents(ctx, agents)
				const every = 5 * time.Minute
				began := store.Counts{}
				for n := range hours*12 + 24 {
					time.Sleep(every)
					d.tick()
					if n == 23 { // what follows upon the first scan is over: retention, too
						began = d.counted.Counts()
					}
				}
				c = d.counted.Counts().Sub(began)
				cancel()
				d.work.Wait()
			})
			w := model.Workload{Views: 1, Agents: float64(agents), SessionTimeout: 45, BatchWindow: 1}
			e := model.Of(w, model.Measured(), model.ListPrices())
			month := model.Month / (hours * 3600.0)
			got := model.Requests{Get: float64(c.Get) * month, Put: float64(c.Put) * month, List: float64(c.List) * month}
			near(t, "a month at rest", got, e.Total, 0.1)
			dollars := model.ListPrices().Requests(got)
			t.Logf("%d idle agents: %.3f dollars of requests by the count, %.3f by the model", agents, dollars, e.Dollars.Idle)
			if agents == 1 && (dollars > budget || e.Dollars.Idle > budget) {
				t.Error("an idle view costs more than its budget of a dollar a month")
			}
		})
	}
}
