// Load puts a view under load and says what that costs. `load events` sends realtime events at a set rate, as an agent
// would, into a view that this process folds and serves at the same time; `load queries` asks as fast as it can; `load
// questions` asks one thing at a time, cold and warm, `load searches` what is searched for, of each kind; `load folds` has single
// changes folded; `load visible` writes files where an agent watches, and waits until a query shows them.
//
//	go run ./tools/gentree -rows 10000000 -store file:///tmp/big -view v
//	go run ./tools/load events -store file:///tmp/big -view v -rate 1000 -for 10m
//	go run ./tools/load queries -store file:///tmp/big -view v -clients 1,8,64 -for 10s
//	go run ./tools/load questions -store file:///tmp/big -view v -delay 20ms
//	go run ./tools/load searches -store file:///tmp/big -view v [-whole]
//	go run ./tools/load folds -store file:///tmp/big -view v
//	go run ./tools/load visible -dir /srv/data/probe -path /probe -url http://127.0.0.1:8080 -key KEY -view v
//
// With -csv they print a table for plots instead of one for people. docs/benchmarks.md has what they said.
package main

import (
	"context"
	"encoding/csv"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/diskcache"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/query"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	commands := map[string]func(context.Context, []string) error{
		"events": events, "queries": queries, "questions": questions, "searches": searches, "folds": folds, "visible": visible}
	if len(os.Args) < 2 || commands[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, "usage: load events|queries|questions|searches|folds|visible -store URL -view VIEW … (-h shows the rest)")
		os.Exit(2)
	}
	if err := commands[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

const apiKey = "load"

// serve answers queries on a port of this machine until ctx ends, and returns the URL of the view.
func serve(ctx context.Context, st store.Store, view string, disk *diskcache.Cache) (string, error) {
	keys, err := access.New(access.Options{Store: st, Static: []access.Static{{
		Key: apiKey, Record: access.Record{Name: "load", Roles: []access.Role{access.Query}, Views: access.Views{All: true}}}}})
	if err != nil {
		return "", err
	}
	q, err := query.New(query.Options{Store: st, Authenticator: keys, Disk: disk})
	if err != nil {
		return "", err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	server := &http.Server{Handler: q.Handler(), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	context.AfterFunc(ctx, func() { server.Close() })
	return "http://" + l.Addr().String() + "/api/v1/views/" + view, nil
}

// durations are what some things took.
type durations []time.Duration

// at is the q-th quantile; 0 of none.
func (d durations) at(q float64) time.Duration {
	if len(d) == 0 {
		return 0
	}
	slices.Sort(d)
	return d[min(len(d)-1, int(q*float64(len(d))))]
}

func ms(d time.Duration) string {
	return strconv.FormatFloat(float64(d.Microseconds())/1000, 'f', 2, 64)
}

// resident is the process's resident memory, bytes, now or at its peak; 0 where the system does not tell.
func resident(peak bool) int64 {
	name := "VmRSS:"
	if peak {
		name = "VmHWM:"
	}
	body, _ := os.ReadFile("/proc/self/status")
	for line := range strings.Lines(string(body)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == name {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}

// List prices of requests, dollars: AWS S3 Standard, us-east-1.
const (
	putPrice = 0.005 / 1000
	getPrice = 0.0004 / 1000
)

func price(c store.Counts) float64 {
	return float64(c.Put+c.List)*putPrice + float64(c.Get)*getPrice
}

// table prints lines as CSV, or aligned for people.
type table struct {
	asCSV bool
	csv   *csv.Writer
}

func newTable(asCSV bool, columns ...string) *table {
	t := &table{asCSV: asCSV, csv: csv.NewWriter(os.Stdout)}
	t.line(columns...)
	return t
}

func (t *table) line(cells ...string) {
	if t.asCSV {
		_ = t.csv.Write(cells)
		t.csv.Flush()
		return
	}
	for _, c := range cells {
		fmt.Printf("%15s", c)
	}
	fmt.Println()
}
