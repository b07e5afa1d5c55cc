//go:build linux

// Agentload measures what an agent costs its host, and prints Markdown: CPU and memory while nothing happens, then at rates of
// changes that grow until the kernel's queue runs over, and beyond. docs/benchmarks.md has its tables.
//
//	agentload FUSTOR [-dirs N] [-idle 60s] [-each 10s] [-at DIR]
//
// A change is one create, rename or delete of an empty file, and makes two to four notices of the kernel. Segments go into a
// store in a directory; nothing folds them.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/fustor/fustor/internal/sleep"
	"github.com/fustor/fustor/testkit/child"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "agentload:", err)
		os.Exit(1)
	}
}

type options struct {
	fustor     string
	dirs       int
	idle, each time.Duration
	at         string
}

func run(ctx context.Context) error {
	var o options
	flag.IntVar(&o.dirs, "dirs", 10_000, "directories of the tree, with ten files each")
	flag.DurationVar(&o.idle, "idle", time.Minute, "how long nothing happens")
	flag.DurationVar(&o.each, "each", 10*time.Second, "how long each rate lasts")
	flag.StringVar(&o.at, "at", "", "directory for the tree and the store (default: that of temporary files)")
	flag.Parse()
	if flag.NArg() != 1 {
		return errors.New("usage: agentload [-dirs N] [-idle 60s] [-each 10s] [-at DIR] FUSTOR")
	}
	o.fustor = flag.Arg(0)
	base, err := os.MkdirTemp(o.at, "fustor-agentload-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(base)
	dir := filepath.Join(base, "tree")
	if err := plant(dir, o.dirs); err != nil {
		return err
	}
	a, stop, err := observe(ctx, o.fustor, base, dir)
	if err != nil {
		return err
	}
	defer stop()
	if err := a.idle(ctx, o.idle); err != nil {
		return err
	}
	fmt.Println("\n| changes/s asked | done | agent's CPU | resident, MB | queues ran over | all looked at and sent after |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, rate := range []int{1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 0} {
		if err := a.load(ctx, dir, rate, o); err != nil {
			return err
		}
	}
	return nil
}

// plant makes a tree.
func plant(dir string, dirs int) error {
	for i := range dirs {
		sub := filepath.Join(dir, fmt.Sprintf("%04d/%04d", i/100, i))
		if err := os.MkdirAll(sub, 0o755); err != nil {
			return err
		}
		for j := range 10 {
			if err := os.WriteFile(filepath.Join(sub, fmt.Sprint("file", j)), nil, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// agent is a running one.
type agent struct {
	pid     int
	metrics string
}

var (
	readyLine   = regexp.MustCompile(`msg="ingest is ready" .*\burl=(\S+)`)
	metricsLine = regexp.MustCompile(`msg="metrics are served" .*\burl=(\S+)`)
	scannedLine = regexp.MustCompile(`msg="scan complete" .*\bscan=snapshot .*\bseconds=(\S+) .*\bdirectories=(\d+)`)
)

// observe starts an ingest and an agent, and waits for the first scan.
func observe(ctx context.Context, fustor, base, dir string) (*agent, func(), error) {
	store := "file://" + filepath.Join(base, "store")
	env := append(os.Environ(), "FUSTOR_API_KEY=fustor_agentload-0123456789abcdef")
	ingest, ingestSays, err := start(ctx, env, fustor, "ingest", "--store", store, "--listen", "127.0.0.1:0")
	if err != nil {
		return nil, nil, err
	}
	stop := func() { end(ingest) }
	url, err := ingestSays(readyLine)
	if err != nil {
		stop()
		return nil, nil, err
	}
	p, says, err := start(ctx, env, fustor, "agent", dir, "--ingest", url[1], "--view", "load", "--store", store,
		"--state", filepath.Join(base, "state.json"), "--metrics", "127.0.0.1:0")
	if err != nil {
		stop()
		return nil, nil, err
	}
	stop = func() { end(p); end(ingest) }
	at, err := says(metricsLine)
	if err != nil {
		stop()
		return nil, nil, err
	}
	scanned, err := says(scannedLine)
	if err != nil {
		stop()
		return nil, nil, err
	}
	fmt.Printf("%s directories, first scan %s s\n\n", scanned[2], scanned[1])
	return &agent{pid: p.Process.Pid, metrics: at[1]}, stop, nil
}

// started is a running process.
type started struct {
	*exec.Cmd
	ended <-chan struct{}
}

// start runs a process. The answer waits for a line of its log.
func start(ctx context.Context, env []string, name string, args ...string) (*started, func(*regexp.Regexp) ([]string, error), error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = env
	log, said := io.Pipe()
	cmd.Stderr = said
	ended, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return nil, nil, err
	}
	go func() {
		<-ended
		_ = said.Close()
	}()
	lines := make(chan string, 1000)
	go func() {
		defer close(lines)
		scanner := bufio.NewScanner(log)
		for scanner.Scan() {
			select {
			case lines <- scanner.Text():
			default: // nobody waits
			}
		}
	}()
	return &started{cmd, ended}, func(form *regexp.Regexp) ([]string, error) {
		last, patience := "", time.After(2*time.Minute)
		for {
			select {
			case line, more := <-lines:
				if !more {
					return nil, fmt.Errorf("%s %s ended: %s", name, args[0], last)
				}
				last = line
				if found := form.FindStringSubmatch(line); found != nil {
					return found, nil
				}
			case <-patience:
				return nil, fmt.Errorf("%s %s does not say %s; the last that it said: %s", name, args[0], form, last)
			}
		}
	}, nil
}

func end(p *started) {
	_ = p.Process.Signal(syscall.SIGTERM)
	<-p.ended
}

// cpu is what the process has used, and rss what it holds.
func (a *agent) usage() (cpu time.Duration, rss int64, err error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.pid))
	if err != nil {
		return 0, 0, err
	}
	_, after, _ := strings.Cut(string(b), ") ") // the name before may have blanks
	fields := strings.Fields(after)             // from the third on
	if len(fields) < 22 {
		return 0, 0, fmt.Errorf("/proc/%d/stat: %q", a.pid, b)
	}
	var n [3]int64
	for i, at := range []int{11, 12, 21} { // utime, stime, rss
		if n[i], err = strconv.ParseInt(fields[at], 10, 64); err != nil {
			return 0, 0, err
		}
	}
	const tick = 10 * time.Millisecond // USER_HZ is 100 on every platform that Go knows
	return time.Duration(n[0]+n[1]) * tick, n[2] * int64(os.Getpagesize()), nil
}

// metric is one number that the agent tells.
func (a *agent) metric(ctx context.Context, names ...string) (map[string]float64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.metrics, nil)
	if err != nil {
		return nil, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(answer.Body)
	if err != nil {
		return nil, err
	}
	found := map[string]float64{}
	for line := range strings.Lines(string(b)) {
		for _, name := range names {
			if rest, ok := strings.CutPrefix(line, "fustor_agent_"+name+"{"); ok {
				_, value, _ := strings.Cut(rest, "} ")
				if found[name], err = strconv.ParseFloat(strings.TrimSpace(value), 64); err != nil {
					return nil, err
				}
			}
		}
	}
	if len(found) != len(names) {
		return nil, fmt.Errorf("%s tells %v of %v", a.metrics, found, names)
	}
	return found, nil
}

func (a *agent) idle(ctx context.Context, d time.Duration) error {
	if err := a.rests(ctx, 5*time.Minute); err != nil {
		return err
	}
	before, _, err := a.usage()
	if err != nil {
		return err
	}
	if err := sleep.For(ctx, d); err != nil {
		return err
	}
	after, rss, err := a.usage()
	if err != nil {
		return err
	}
	m, err := a.metric(ctx, "watches")
	if err != nil {
		return err
	}
	fmt.Printf("At rest: %v of CPU in %v (%.2f %% of one), %d MB resident, %.0f watches\n",
		after-before, d, 100*float64(after-before)/float64(d), rss>>20, m["watches"])
	return nil
}

// rests waits until nothing is to be looked at or sent.
func (a *agent) rests(ctx context.Context, limit time.Duration) error {
	quiet := 0
	for end := time.Now().Add(limit); time.Now().Before(end); {
		m, err := a.metric(ctx, "pending_paths", "backlog_bytes")
		if err != nil {
			return err
		}
		if quiet++; m["pending_paths"]+m["backlog_bytes"] > 0 {
			quiet = 0
		}
		if quiet == 5 {
			return nil
		}
		if err := sleep.For(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	return fmt.Errorf("the agent does not come to rest within %v", limit)
}

// load has changes made at a rate, 0 for as fast as they go, and prints a row of the table.
func (a *agent) load(ctx context.Context, dir string, rate int, o options) error {
	before, _, err := a.usage()
	if err != nil {
		return err
	}
	m, err := a.metric(ctx, "overflows_total")
	if err != nil {
		return err
	}
	writers := 4
	if rate > 0 && rate < 20_000 {
		writers = 1
	}
	began := time.Now()
	var busy sync.WaitGroup
	counts, errs := make([]int, writers), make([]error, writers)
	for i := range writers {
		busy.Go(func() { counts[i], errs[i] = change(ctx, dir, i, rate/writers, o) })
	}
	busy.Wait()
	if err := errors.Join(errs...); err != nil {
		return err
	}
	took, done := time.Since(began), 0
	for _, n := range counts {
		done += n
	}
	during, rss, err := a.usage()
	if err != nil {
		return err
	}
	stopped := time.Now()
	if err := a.rests(ctx, 5*time.Minute); err != nil {
		return err
	}
	rested := time.Since(stopped) - 400*time.Millisecond // in which it was seen to rest
	now, err := a.metric(ctx, "overflows_total")
	if err != nil {
		return err
	}
	asked := strconv.Itoa(rate)
	if rate == 0 {
		asked = "all that go"
	}
	fmt.Printf("| %s | %.0f | %.0f %% | %d | %.0f | %.1f s |\n", asked, float64(done)/took.Seconds(),
		100*float64(during-before)/float64(took), rss>>20, now["overflows_total"]-m["overflows_total"], max(0, rested.Seconds()))
	return nil
}

// change creates, renames and deletes files, and keeps a fiftieth of them.
func change(ctx context.Context, dir string, writer, rate int, o options) (done int, err error) {
	began := time.Now()
	for n := 0; time.Since(began) < o.each && ctx.Err() == nil; n++ {
		at := (n*37 + writer*11) % o.dirs
		from := filepath.Join(dir, fmt.Sprintf("%04d/%04d/%d-%d", at/100, at, writer, began.UnixNano()+int64(n)))
		fd, err := syscall.Open(from, syscall.O_CREAT|syscall.O_EXCL|syscall.O_WRONLY, 0o644)
		if err != nil {
			return done, fmt.Errorf("create %s: %w", from, err)
		}
		_ = syscall.Close(fd)
		if err := syscall.Rename(from, from+".done"); err != nil {
			return done, err
		}
		done += 2
		if n%50 != 0 {
			if err := syscall.Unlink(from + ".done"); err != nil {
				return done, err
			}
			done++
		}
		if rate == 0 {
			continue
		}
		if ahead := time.Duration(float64(done)/float64(rate)*float64(time.Second)) - time.Since(began); ahead > time.Millisecond {
			if err := sleep.For(ctx, ahead); err != nil {
				return done, err
			}
		}
	}
	return done, ctx.Err()
}
