package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fustor/fustor/internal/store/open"
	"github.com/fustor/fustor/testkit/cputime"
)

// kinds are the questions, and how many of a hundred they are.
var kinds = []struct {
	name  string
	share int
}{{"list", 40}, {"du", 25}, {"stat", 30}, {"search", 5}}

// queries asks a view from several clients at once, each as fast as it gets answers.
func queries(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("queries", flag.ExitOnError)
	location := flags.String("store", "", "store that has the view, as `URL`")
	view := flags.String("view", "default", "the view")
	clients := flags.String("clients", "1,8,64", "how many at once; one run for each")
	length := flags.Duration("for", 10*time.Second, "how long a run is")
	asCSV := flags.Bool("csv", false, "print CSV")
	if err := flags.Parse(args); err != nil {
		return err
	}
	st, err := open.Open(ctx, *location)
	if err != nil {
		return err
	}
	s, err := takeSample(ctx, st, *view, rand.New(rand.NewPCG(2, 2)))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	base, err := serve(ctx, st, *view, nil)
	if err != nil {
		return err
	}
	t := newTable(*asCSV, "rows", "clients", "kind", "requests/s", "p50_ms", "p99_ms", "max_ms", "cpu_percent", "rss_mib")
	for _, word := range strings.Split(*clients, ",") {
		n, err := strconv.Atoi(word)
		if err != nil || n < 1 {
			return fmt.Errorf("-clients: %q is no number of clients", word)
		}
		r := &queryRun{base: base, sample: s, length: *length, took: map[string]durations{}}
		used := cputime.Used()
		if err := r.run(ctx, n); err != nil {
			return err
		}
		cpu := fmt.Sprintf("%.0f", 100*(cputime.Used()-used).Seconds()/length.Seconds())
		names := []string{"all"}
		for _, k := range kinds {
			names = append(names, k.name)
			r.took["all"] = append(r.took["all"], r.took[k.name]...)
		}
		for _, name := range names {
			d := r.took[name]
			t.line(strconv.FormatInt(s.rows, 10), word, name, fmt.Sprintf("%.0f", float64(len(d))/length.Seconds()),
				ms(d.at(0.5)), ms(d.at(0.99)), ms(d.at(1)), cpu, strconv.FormatInt(resident(true)>>20, 10))
		}
	}
	return nil
}

// queryRun is a number of clients for some time.
type queryRun struct {
	base   string
	sample *sample
	length time.Duration

	mu   sync.Mutex
	took map[string]durations
}

func (r *queryRun) run(ctx context.Context, clients int) error {
	transport := &http.Transport{MaxIdleConnsPerHost: clients}
	defer transport.CloseIdleConnections()
	end := time.Now().Add(r.length)
	g, ctx := errgroup.WithContext(ctx)
	for i := range clients {
		g.Go(func() error {
			rng := rand.New(rand.NewPCG(3, uint64(i)))
			took := map[string]durations{}
			for time.Now().Before(end) {
				kind, target := r.question(rng)
				began := time.Now()
				if err := ask(ctx, transport, r.base+target); err != nil {
					return err
				}
				took[kind] = append(took[kind], time.Since(began))
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			for kind, d := range took {
				r.took[kind] = append(r.took[kind], d...)
			}
			return nil
		})
	}
	return g.Wait()
}

// question draws one. A search is for an extension below some directory.
func (r *queryRun) question(rng *rand.Rand) (kind, target string) {
	dir := url.QueryEscape(r.sample.dirs[rng.IntN(len(r.sample.dirs))])
	file := url.QueryEscape(r.sample.files[rng.IntN(len(r.sample.files))].Path())
	n := rng.IntN(100)
	for _, k := range kinds {
		if n -= k.share; n < 0 {
			kind = k.name
			break
		}
	}
	switch kind {
	case "list":
		return kind, "/list?limit=200&path=" + dir
	case "du":
		return kind, "/stats?path=" + dir
	case "stat":
		return kind, "/metadata?path=" + file
	}
	return kind, "/search?limit=100&pattern=" + url.QueryEscape("*.h5") + "&path=" + dir
}

func ask(ctx context.Context, transport *http.Transport, target string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, target, nil)
	if err != nil {
		return err
	}
	req.Header.Set("X-API-Key", apiKey)
	answer, err := transport.RoundTrip(req)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", target, answer.Status)
	}
	return nil
}
