package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/diskcache"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/open"
	"github.com/fustor/fustor/testkit/fault"
)

// questions asks one thing at a time: cold, each of a server that has just started, and warm, of one that was asked them
// all before. It prints how long the answers take and what they read of the store.
func questions(ctx context.Context, args []string) error {
	q := &asker{}
	flags := flag.NewFlagSet("questions", flag.ExitOnError)
	location := flags.String("store", "", "store that has the view, as `URL`")
	flags.StringVar(&q.view, "view", "default", "the view")
	flags.IntVar(&q.n, "n", 100, "how often each kind of question is asked; searches a fifth as often, but for files' names of a warm server")
	delay := flags.Duration("delay", 0, "how much longer each request to the store takes than it does")
	only := flags.String("only", "", "ask these kinds of questions alone, separated by commas")
	flags.StringVar(&q.cache, "cache", "", "a directory for the servers' cache on disk; what one has read, the next one finds there")
	asCSV := flags.Bool("csv", false, "print CSV")
	if err := flags.Parse(args); err != nil {
		return err
	}
	base, err := open.Open(ctx, *location)
	if err != nil {
		return err
	}
	if q.sample, err = takeSample(ctx, base, q.view, rand.New(rand.NewPCG(4, 4))); err != nil {
		return err
	}
	slow := base
	if *delay > 0 {
		slow = fault.New(base, func(fault.Call) fault.Fault { return fault.Fault{Delay: *delay} })
	}
	q.store = store.Count(slow)
	t := newTable(*asCSV, "rows", "question", "state", "n", "p50_ms", "p99_ms", "max_ms", "gets", "gets_max", "kib", "kib_max")
	for _, kind := range q.kinds() {
		if *only != "" && !slices.Contains(strings.Split(*only, ","), kind.name) {
			continue
		}
		for _, state := range []string{"cold", "warm"} {
			a, err := q.ask(ctx, kind, state == "warm")
			if err != nil {
				return fmt.Errorf("%s, %s: %w", kind.name, state, err)
			}
			t.line(strconv.FormatInt(q.sample.rows, 10), kind.name, state, strconv.Itoa(len(a.took)),
				ms(a.took.at(0.5)), ms(a.took.at(0.99)), ms(a.took.at(1)),
				fmt.Sprintf("%.1f", float64(a.sum.Get)/float64(len(a.took))), strconv.FormatUint(a.most.Get, 10),
				fmt.Sprintf("%.1f", float64(a.sum.BytesIn)/1024/float64(len(a.took))), fmt.Sprintf("%.1f", float64(a.most.BytesIn)/1024))
		}
	}
	return nil
}

// asker asks questions of a view.
type asker struct {
	view   string
	n      int
	cache  string
	store  *store.Counted
	sample *sample
}

// question is a kind of question: the i-th of them as a target below the view's URL.
type question struct {
	name   string
	target func(i int) string
}

func (q *asker) kinds() []question {
	file := func(i int) *evidence.Row { return &q.sample.files[i%len(q.sample.files)] }
	dir := func(i int) string { return url.QueryEscape(q.sample.dirs[i%len(q.sample.dirs)]) }
	search := func(params string) func(int) string {
		return func(int) string { return "/search?limit=100&" + params }
	}
	return []question{
		{"stat", func(i int) string { return "/metadata?path=" + url.QueryEscape(file(i).Path()) }},
		{"list", func(i int) string { return "/list?limit=1000&path=" + dir(i) }},
		{"du", func(i int) string { return "/stats?path=" + dir(i) }},
		{"search-one", func(i int) string { return "/search?limit=100&pattern=" + url.QueryEscape(file(i).Name) }},
		{"search-none", search("pattern=nothing-has-this")},
		{"search-common", search("pattern=txt")},
		{"search-largest", search("pattern=*&min_size=60G")},
	}
}

// answers is what some questions took.
type answers struct {
	took      durations
	sum, most store.Counts
}

func (q *asker) ask(ctx context.Context, kind question, warm bool) (*answers, error) {
	a := &answers{}
	var s *asked
	n := q.n
	if strings.HasPrefix(kind.name, "search") && (kind.name != "search-one" || !warm) {
		n = (n + 4) / 5
	}
	for round := range 2 {
		for i := range n {
			if s == nil || !warm {
				s.stop()
				var err error
				if s, err = q.server(ctx); err != nil {
					return nil, err
				}
			}
			before, began := q.store.Counts(), time.Now()
			if err := ask(ctx, s.transport, s.base+kind.target(i)); err != nil {
				s.stop()
				return nil, err
			}
			took, spent := time.Since(began), q.store.Counts().Sub(before)
			if warm && round == 0 {
				continue
			}
			a.took = append(a.took, took)
			a.sum.Get, a.sum.BytesIn = a.sum.Get+spent.Get, a.sum.BytesIn+spent.BytesIn
			a.most.Get, a.most.BytesIn = max(a.most.Get, spent.Get), max(a.most.BytesIn, spent.BytesIn)
		}
		if !warm {
			break
		}
	}
	s.stop()
	return a, nil
}

// asked is a query server that was just started, and a connection to it.
type asked struct {
	base      string
	transport *http.Transport
	cancel    context.CancelFunc
	disk      *diskcache.Cache
}

func (q *asker) server(ctx context.Context) (*asked, error) {
	var disk *diskcache.Cache
	if q.cache != "" {
		var err error
		if disk, err = diskcache.Open(q.cache, 4<<30, nil); err != nil {
			return nil, err
		}
	}
	ctx, cancel := context.WithCancel(ctx)
	base, err := serve(ctx, q.store, q.view, disk)
	if err != nil {
		cancel()
		disk.Close()
		return nil, err
	}
	return &asked{base, &http.Transport{}, cancel, disk}, nil
}

func (s *asked) stop() {
	if s != nil {
		s.transport.CloseIdleConnections()
		s.cancel()
		s.disk.Close()
	}
}
