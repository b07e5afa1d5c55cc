package sim

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/cryptotest"
	"testing/synctest"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
)

var (
	seedFlag   = flag.Int64("seed", -1, "run this seed alone; with -v its whole trace is printed")
	seedsFlag  = flag.Uint64("seeds", defaultSeeds(), "how many seeds to run; FUSTOR_SIM_SEEDS is the default, or 40")
	firstFlag  = flag.Uint64("first", 0, "the first of them")
	v2Flag     = flag.Bool("v2", false, "let an agent of Fustor V2 take part in a quarter of the seeds")
	workerFlag = flag.Bool("worker", false, "run the seeds in this process, and print the sum as JSON")
)

func defaultSeeds() uint64 {
	if n, err := strconv.ParseUint(os.Getenv("FUSTOR_SIM_SEEDS"), 10, 64); err == nil {
		return n
	}
	return 40
}

// TestSimulation runs seeds, each in a bubble with a clock of its own. A bubble is the more alike from run to run the
// fewer threads run it, so the seeds are shared out to processes of one thread each.
func TestSimulation(t *testing.T) {
	switch {
	case *seedFlag >= 0:
		replay(t, uint64(*seedFlag))
	case *workerFlag:
		work(t)
	default:
		shareOut(t)
	}
}

// replay runs one seed where a person watches.
func replay(t *testing.T, seed uint64) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	warm(t)
	var print func(string, ...any)
	if testing.Verbose() {
		print = func(format string, args ...any) { fmt.Printf(format+"\n", args...) }
	}
	r := live(t, seed, authenticator(t), print, nil, nil)
	if r.failure != nil {
		t.Error(r.failure)
	}
	t.Logf("trace %016x, %d steps in %v; faults: %s", r.sum, r.steps, r.took, counts(r.faults))
}

// sum is what many seeds came to.
type sum struct {
	Seeds, Steps int
	Simulated    time.Duration
	Faults       map[string]int
	Failures     []string
}

const sumPrefix = "the sum is "

// work runs seeds one after the other.
func work(t *testing.T) {
	debug.SetGCPercent(1500) // a seed lives briefly and leaves nothing
	warm(t)
	keys := authenticator(t)
	s := sum{Faults: map[string]int{}}
	for seed := *firstFlag; seed < *firstFlag+*seedsFlag; seed++ {
		fmt.Println("seed", seed) // the last one is what a panic is of
		r := live(t, seed, keys, nil, nil, nil)
		fmt.Printf("trace %016x\n", r.sum)
		if r.failure != nil {
			s.Failures = append(s.Failures, fmt.Sprintf("seed %d: %v", seed, r.failure))
		}
		s.Seeds++
		s.Steps += r.steps
		s.Simulated += r.took
		for k, n := range r.faults {
			s.Faults[k] += n
		}
	}
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	fmt.Printf("%s%s\n", sumPrefix, b)
}

// shareOut has as many processes work as there are processors.
func shareOut(t *testing.T) {
	begin := time.Now()
	workers := uint64(runtime.GOMAXPROCS(0))
	each := (*seedsFlag + workers - 1) / workers
	all := sum{Faults: map[string]int{}}
	var mu sync.Mutex
	var group sync.WaitGroup
	for first := *firstFlag; first < *firstFlag+*seedsFlag; first += each {
		group.Go(func() {
			s := child(first, min(each, *firstFlag+*seedsFlag-first))
			mu.Lock()
			defer mu.Unlock()
			all.add(s)
		})
	}
	group.Wait()
	for _, f := range all.Failures {
		seed, _, _ := strings.Cut(strings.TrimPrefix(f, "seed "), ":")
		t.Errorf("%s\nreplay it: go test ./testkit/sim -run TestSimulation -seed=%s -v2=%v -v", f, seed, *v2Flag)
	}
	if uint64(all.Seeds) != *seedsFlag {
		t.Errorf("%d seeds of %d ran", all.Seeds, *seedsFlag)
	}
	took := time.Since(begin).Seconds()
	t.Logf("%d seeds: %.0f seeds/s, %.0f simulated seconds/s, %d steps (%.0f/s); faults: %s", all.Seeds, float64(all.Seeds)/took,
		all.Simulated.Seconds()/took, all.Steps, float64(all.Steps)/took, counts(all.Faults))
}

func (s *sum) add(o sum) {
	s.Seeds += o.Seeds
	s.Steps += o.Steps
	s.Simulated += o.Simulated
	s.Failures = append(s.Failures, o.Failures...)
	for k, n := range o.Faults {
		s.Faults[k] += n
	}
}

// child runs seeds in a process of one thread.
func child(first, n uint64) sum {
	cmd := exec.Command(os.Args[0], "-test.run=^TestSimulation$", "-test.timeout=24h", "-worker", fmt.Sprint("-first=", first), fmt.Sprint("-seeds=", n), fmt.Sprint("-v2=", *v2Flag))
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	var s sum
	last := ""
	for line := range strings.Lines(out.String()) {
		if seed, ok := strings.CutPrefix(line, "seed "); ok {
			last = strings.TrimSpace(seed)
		}
		if b, ok := strings.CutPrefix(line, sumPrefix); ok && err == nil {
			if err = json.Unmarshal([]byte(b), &s); err == nil {
				return s
			}
		}
	}
	text := out.String()
	if at := strings.LastIndex(text, "seed "+last+"\n"); at >= 0 {
		text = text[at:]
	}
	s.Failures = append(s.Failures, fmt.Sprintf("seed %s: the process ended: %v\n%.20000s", last, err, text))
	return s
}

// result is what a seed came to.
type result struct {
	*trace
	took    time.Duration // by the clock of the bubble
	failure error
}

// live runs one seed in a bubble of its own. It ends when every goroutine of it has; one that stays is a panic.
func live(t *testing.T, seed uint64, keys *access.Authenticator, print func(string, ...any), adjust func(*plan), made func(*world)) (r result) {
	synctest.Test(t, func(t *testing.T) {
		cryptotest.SetGlobalRandom(t, seed)
		begin := time.Now()
		w, err := newWorld(seed, keys, print, adjust)
		if err == nil && made != nil {
			made(w)
		}
		if err == nil {
			err = w.run()
		}
		r = result{w.trace, time.Since(begin), err}
	})
	return r
}

func authenticator(t *testing.T) *access.Authenticator {
	keys, err := access.New(access.Options{Static: []access.Static{{
		Key: apiKey, Record: access.Record{Name: "sim", Roles: []access.Role{access.Admin}, Views: access.Views{All: true}},
	}, {
		Key: v2Key, Record: access.Record{Name: "v2", Roles: []access.Role{access.Ingest}, Views: access.Views{Names: []string{view}}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// warm makes what packages layer and manifest make once for all outside of any bubble, as channels belong to the bubble that made them.
func warm(t *testing.T) {
	st := NewStore(time.Now)
	lw := layer.NewWriter(layer.WriterOptions{ID: "warm"})
	err := lw.Append(&evidence.Row{Type: event.Directory})
	built, finishErr := lw.Finish()
	if err = errors.Join(err, finishErr); err == nil {
		err = layer.Publish(t.Context(), st, view, built)
	}
	large := &manifest.Manifest{Format: manifest.Format, View: "warm", Version: 1, Nonce: "warm", Reason: strings.Repeat("warm", 10_000)}
	body, packErr := large.Encode() // kept compressed
	if err = errors.Join(err, packErr); err == nil {
		_, err = manifest.Decode("warm", body)
	}
	if err == nil {
		_, err = (&world{store: st}).rows(t.Context(), &manifest.Manifest{Base: []layer.Info{built.Info}})
	}
	if err = errors.Join(err, warmV2(t)); err != nil {
		t.Fatal(err)
	}
}
