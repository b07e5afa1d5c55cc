package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"runtime/debug"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/lease"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/open"
	"github.com/fustor/fustor/testkit/cputime"
)

// events runs an agent's sending end, a compactor and a query server on one view, and prints what they take and how far
// behind the view is: from an event to the first query that shows it.
func events(ctx context.Context, args []string) error {
	l := &load{written: make(chan *sent, 1000)}
	flags := flag.NewFlagSet("events", flag.ExitOnError)
	location := flags.String("store", "", "store that has the view, as `URL`")
	flags.StringVar(&l.view, "view", "default", "the view; it is changed")
	flags.IntVar(&l.rate, "rate", 1000, "events a second")
	flags.DurationVar(&l.length, "for", time.Minute, "how long")
	flags.DurationVar(&l.flush, "flush", time.Second, "how often a segment is sent")
	wake := flags.Bool("wake", false, "wake the compactor for each segment, as fustor up does; else it polls, at least once a second")
	asCSV := flags.Bool("csv", false, "print CSV, a line every ten seconds")
	if err := flags.Parse(args); err != nil {
		return err
	}
	base, err := open.Open(ctx, *location)
	if err != nil {
		return err
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(512 << 20) // of which the query's cache may take half
	}
	l.agent, l.folds, l.reads = store.Count(base), store.Count(base), store.Count(base)
	l.rng = mathrand.New(mathrand.NewPCG(1, 1))
	if l.sample, err = takeSample(ctx, base, l.view, l.rng); err != nil {
		return err
	}
	c, err := compactor.New(compactor.Options{Store: l.folds, Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))})
	if err != nil {
		return err
	}
	if *wake {
		l.wake = func() { c.Wake(l.view) }
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	if l.url, err = serve(ctx, l.reads, l.view, nil); err != nil {
		return err
	}
	if err := l.register(ctx); err != nil {
		return err
	}
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		if err := c.Run(gctx, l.view); gctx.Err() == nil {
			return err
		}
		return nil
	})
	g.Go(func() error { return l.send(gctx) })
	g.Go(func() error {
		defer cancel()
		return l.watch(gctx)
	})
	began, used := time.Now(), cputime.Used()
	reporting := make(chan struct{})
	go func() {
		defer close(reporting)
		l.report(ctx, *asCSV, began)
	}()
	err = g.Wait()
	<-reporting
	if err == nil && !*asCSV {
		l.summary(time.Since(began), cputime.Used()-used)
	}
	return err
}

// load is one run.
type load struct {
	view                string
	rate                int
	length, flush       time.Duration
	url                 string
	agent, folds, reads *store.Counted
	sample              *sample
	rng                 *mathrand.Rand
	ledger              *session.Ledger
	session             string
	term                uint64
	wake                func()
	written             chan *sent

	mu   sync.Mutex
	lags durations // of all events
	new  durations // since the last report
	made int
}

// sent is a segment on its way.
type sent struct {
	marker string // the path of its last event, which nothing else touches
	times  []time.Time
}

const loadTimeout = 45 // seconds, as agents have by default

func (l *load) register(ctx context.Context) (err error) {
	clock := store.NewClock(time.Now)
	if l.ledger, err = session.NewLedger(clock.Watch(l.agent), clock, rand.Reader); err != nil {
		return err
	}
	state, err := l.ledger.Create(ctx, session.Application{
		View: l.view, Task: "load-" + rand.Text(), Agent: "load", Source: "fs://load/srv/data", TimeoutSeconds: loadTimeout})
	l.session, l.term = state.Record.ID, state.Term
	return err
}

// send makes events and sends them, as an agent does: a segment every so often, and heartbeats.
func (l *load) send(ctx context.Context) error {
	defer close(l.written)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	began := time.Now()
	beat, flush := began, began.Add(-l.flush) // the first segment after a quiet time goes at once
	var queue []event.Event
	for seq, made := uint64(0), 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		now := time.Now()
		for ; made < int(now.Sub(began).Seconds()*float64(l.rate)); made++ {
			queue = append(queue, l.event(made, time.Now()))
		}
		if now.Sub(beat) > lease.Interval(loadTimeout*time.Second, true) {
			beat = now
			if _, err := l.ledger.Beat(ctx, l.view, l.session, session.Beat{}); err != nil {
				return err
			}
		}
		if now.Sub(flush) < l.flush {
			continue
		}
		flush = now
		if err := l.segment(ctx, seq, queue); err != nil {
			return err
		}
		seq, queue = seq+1, nil
		if now.Sub(began) > l.length {
			return l.ledger.End(ctx, l.view, l.session, "closed")
		}
	}
}

// event is one change: seven in ten rewrite a file, two make one, one removes one.
func (l *load) event(n int, now time.Time) event.Event {
	f := l.sample.files[l.rng.IntN(len(l.sample.files))]
	ev := event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: now.UnixNano(), Path: f.Path(), Atomic: true}
	switch n % 10 {
	case 0:
		return event.Event{Kind: event.Delete, Evidence: event.Realtime, ObservedAt: now.UnixNano(), Path: f.Path()}
	case 1, 2:
		ev.Path = f.Parent + "new-" + strconv.Itoa(n)
	}
	return put(ev, f.Size+int64(n), now)
}

func put(ev event.Event, size int64, now time.Time) event.Event {
	_, name := event.Split(ev.Path)
	ev.Entry = event.Entry{Name: name, Type: event.File, Mode: 0o644, UID: 1000, GID: 100, Size: size, MtimeNs: now.UnixNano()}
	return ev
}

// segment sends what is queued, with a marker that nothing else touches, and tells watch.
func (l *load) segment(ctx context.Context, seq uint64, queue []event.Event) error {
	now := time.Now()
	s := &sent{marker: fmt.Sprintf("/load-%s-%d", l.session, seq)}
	queue = append(queue, put(event.Event{Kind: event.Put, Evidence: event.Realtime, ObservedAt: now.UnixNano(), Path: s.marker, Atomic: true}, 1, now))
	for i := range queue {
		s.times = append(s.times, time.Unix(0, queue[i].ObservedAt))
	}
	if err := l.write(ctx, seq, queue); err != nil {
		return err
	}
	if l.wake != nil {
		l.wake()
	}
	l.written <- s
	return nil
}

// write makes a segment of events.
func (l *load) write(ctx context.Context, seq uint64, events []event.Event) error {
	var b bytes.Buffer
	w, err := event.NewWriter(&b, event.Header{View: l.view, Session: l.session, Agent: "load", Source: "fs://load/srv/data",
		Seq: seq, Term: l.term, CreatedAt: time.Now().UnixNano(), Nonce: rand.Text(), SkewKnown: true, Local: true})
	if err != nil {
		return err
	}
	for i := range events {
		if err := w.Add(&events[i]); err != nil {
			return err
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	_, err = l.agent.Create(ctx, layout.Segment(l.view, l.session, seq), b.Bytes())
	return err
}

// watch asks for each segment's last event until it shows.
func (l *load) watch(ctx context.Context) error {
	for s := range l.written {
		for {
			shown, err := l.shows(ctx, s.marker)
			if err != nil && ctx.Err() == nil {
				return err
			}
			if shown || ctx.Err() != nil {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		now := time.Now()
		l.mu.Lock()
		for _, t := range s.times {
			l.lags, l.new = append(l.lags, now.Sub(t)), append(l.new, now.Sub(t))
		}
		l.made += len(s.times)
		l.mu.Unlock()
	}
	return nil
}

func (l *load) shows(ctx context.Context, path string) (bool, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url+"/metadata?path="+url.QueryEscape(path), nil)
	if err != nil {
		return false, err
	}
	req.Header.Set("X-API-Key", apiKey)
	answer, err := http.DefaultClient.Do(req)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
		return true, nil
	case http.StatusNotFound:
		return false, nil
	}
	var problem struct {
		Detail string `json:"detail"`
	}
	_ = json.NewDecoder(answer.Body).Decode(&problem)
	return false, errors.New("the query server: " + answer.Status + ": " + problem.Detail)
}

// report prints a line every ten seconds until ctx ends.
func (l *load) report(ctx context.Context, asCSV bool, began time.Time) {
	t := newTable(asCSV, "seconds", "events", "lag_p50_ms", "lag_p99_ms", "lag_max_ms", "cpu_percent", "rss_mib", "gets", "puts", "lists")
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	used, last, before := cputime.Used(), time.Now(), l.counts()
	for more := true; more; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			more = false
		}
		l.mu.Lock()
		lags := l.new
		l.new = nil
		l.mu.Unlock()
		now, cpu, counts := time.Now(), cputime.Used(), l.counts()
		spent := counts.Sub(before)
		t.line(fmt.Sprintf("%.0f", now.Sub(began).Seconds()), strconv.Itoa(len(lags)), ms(lags.at(0.5)), ms(lags.at(0.99)), ms(lags.at(1)),
			fmt.Sprintf("%.1f", 100*(cpu-used).Seconds()/now.Sub(last).Seconds()), strconv.FormatInt(resident(false)>>20, 10),
			strconv.FormatUint(spent.Get, 10), strconv.FormatUint(spent.Put, 10), strconv.FormatUint(spent.List, 10))
		used, last, before = cpu, now, counts
	}
}

func (l *load) counts() store.Counts {
	var sum store.Counts
	for _, c := range []store.Counts{l.agent.Counts(), l.folds.Counts(), l.reads.Counts()} {
		sum.Get, sum.Put, sum.List, sum.Delete = sum.Get+c.Get, sum.Put+c.Put, sum.List+c.List, sum.Delete+c.Delete
	}
	return sum
}

func (l *load) summary(took, cpu time.Duration) {
	hours := took.Hours()
	fmt.Printf("\n%d events in %.0f s into a view of %d rows\n", l.made, took.Seconds(), l.sample.rows)
	fmt.Printf("behind, from an event to a query that shows it: p50 %s, p99 %s, at most %s ms\n", ms(l.lags.at(0.5)), ms(l.lags.at(0.99)), ms(l.lags.at(1)))
	fmt.Printf("processor %.1f %% of one core, resident %d MiB at most (agent's end, compactor and query together)\n\n",
		100*cpu.Seconds()/took.Seconds(), resident(true)>>20)
	t := newTable(false, "part", "gets/h", "puts/h", "lists/h", "MiB read/h", "MiB sent/h", "dollars/h")
	for _, p := range []struct {
		name  string
		store *store.Counted
	}{{"agent", l.agent}, {"compactor", l.folds}, {"query", l.reads}} {
		c := p.store.Counts()
		per := func(n uint64) string { return fmt.Sprintf("%.0f", float64(n)/hours) }
		t.line(p.name, per(c.Get), per(c.Put), per(c.List), per(c.BytesIn>>20), per(c.BytesOut>>20), fmt.Sprintf("%.4f", price(c)/hours))
	}
}
