//go:build !reading

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	prices "github.com/fustor/fustor/cmd/fustor/internal/cost"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/cost"
)

type costCmd struct {
	Files          float64       `default:"10000000" placeholder:"N" group:"workload" help:"Files, directories and others, in all views (default 10 million)."`
	Views          float64       `default:"1" placeholder:"N" group:"workload" help:"Views (default 1)."`
	Agents         float64       `default:"3" placeholder:"N" group:"workload" help:"Agents, in all views (default 3)."`
	Events         float64       `default:"1" placeholder:"N" group:"workload" help:"Changes a second, on average over the month (default 1)."`
	Queries        float64       `default:"1000" placeholder:"N" group:"workload" help:"Queries a day (default 1000)."`
	QueryKB        float64       `name:"query-kb" default:"20" placeholder:"N" group:"workload" help:"Size of an answer, KB (default 20)."`
	Cold           float64       `default:"0.2" placeholder:"SHARE" group:"workload" help:"Share of queries whose data is not in memory (default 0.2)."`
	SessionTimeout time.Duration `default:"45s" placeholder:"TIME" group:"workload" help:"Session time-out of the views (default 45s): agents send a heartbeat every two fifths of it."`
	BatchWindow    time.Duration `default:"2s" placeholder:"TIME" group:"workload" help:"How long the queue collects segments before it wakes the compactor (default 2s): BatchWindowSeconds on AWS."`
	Polling        bool          `group:"workload" help:"Use processes that poll the store, instead of functions that the store wakes."`
	RAMPerFile     float64       `name:"ram-per-file" default:"1000" placeholder:"BYTES" group:"workload" help:"Memory per file in the always-on server (default 1000)."`
	Prices         string        `placeholder:"FILE" help:"YAML file with your own prices, which override the list prices."`
	JSON           bool          `name:"json" help:"Print JSON, prices and units included."`
}

// Help implements kong.HelpProvider.
func (costCmd) Help() string {
	return `Estimates S3 requests, storage, Lambda, the queue and transfer, at list prices without
free tiers, and compares them with an always-on server that holds the views in memory.
The requests of each kind of work were counted in the real parts. docs/cost.md explains
the steps and the assumptions.

Examples:

    fustor cost
    fustor cost --files 100e6 --agents 20 --events 50 --queries 20000
    fustor cost --agents 1 --events 0 --queries 0        # at rest
    fustor cost --batch-window 30s        # make deploy-aws PARAMETERS=BatchWindowSeconds=30
    fustor cost --json | jq .prices > mine.yaml; fustor cost --prices mine.yaml`
}

func (c *costCmd) Run(a *app) error {
	for name, v := range map[string]float64{"files": c.Files, "agents": c.Agents, "events": c.Events, "queries": c.Queries, "query-kb": c.QueryKB, "ram-per-file": c.RAMPerFile} {
		if !(v >= 0 && v < 1e15) {
			return usageError("--%s must not be negative", name)
		}
	}
	switch {
	case !(c.Views >= 1 && c.Views < 1e9):
		return usageError("--views must be at least 1")
	case !(c.Cold >= 0 && c.Cold <= 1):
		return usageError("--cold must be from 0 to 1")
	case c.SessionTimeout < time.Second || c.BatchWindow < 0:
		return usageError("--session-timeout must be at least 1s, and --batch-window not negative")
	case c.Events > 0 && c.Agents == 0:
		return usageError("events need agents: pass --agents")
	}
	list := cost.ListPrices()
	if c.Prices != "" {
		body, err := os.ReadFile(c.Prices)
		if err != nil {
			return &cliError{msg: fmt.Sprintf("cannot read the prices: %v", err), code: exitFailure, err: err}
		}
		if list, err = prices.ReadPrices(list, c.Prices, body); err != nil {
			return &cliError{msg: err.Error(), hint: "`fustor cost --json | jq .prices` shows all fields", code: exitUsage}
		}
	}
	units := cost.Measured()
	units.RAMPerFile = c.RAMPerFile
	e := cost.Of(cost.Workload{
		Files: c.Files, Views: c.Views, Agents: c.Agents, EventsPerSecond: c.Events, QueriesPerDay: c.Queries, QueryBytes: c.QueryKB * 1000,
		ColdShare: c.Cold, SessionTimeout: c.SessionTimeout.Seconds(), BatchWindow: c.BatchWindow.Seconds(), Polling: c.Polling,
	}, units, list)
	out := a.out()
	if c.JSON {
		err := json.NewEncoder(out).Encode(struct {
			cost.Estimate
			Units  cost.Units  `json:"units"`
			Prices cost.Prices `json:"prices"`
		}{e, units, list})
		if err != nil {
			return err
		}
		return out.Flush()
	}
	printCost(out, e, units, list)
	return out.Flush()
}

func printCost(out *show.Output, e cost.Estimate, u cost.Units, p cost.Prices) {
	n := func(f float64) string { return show.Count(int64(f + 0.5)) }
	usd := func(f float64) string { return fmt.Sprintf("$%.2f", f) }
	var rows [][]string
	for _, l := range e.Lines {
		if l.Times > 0 {
			rows = append(rows, []string{l.What, n(l.Times), n(l.Get), n(l.Put), n(l.List), usd(l.Dollars)})
		}
	}
	rows = append(rows, []string{"requests", "", n(e.Total.Get), n(e.Total.Put), n(e.Total.List), usd(e.Dollars.Requests)})
	columns(out, []string{"REQUESTS A MONTH", "TIMES", "GET", "PUT", "LIST", "USD"}, rows)
	fmt.Fprintln(out)
	rows = [][]string{
		{"requests", "", usd(e.Dollars.Requests)},
		{"storage", fmt.Sprintf("%.2f GB", e.StoredGB), usd(e.Dollars.Storage)},
		{"Lambda", fmt.Sprintf("%s calls, %s GB-s", n(e.Invocations), n(e.GBSeconds)), usd(e.Dollars.Lambda)},
		{"queue", "", usd(e.Dollars.Queue)},
		{"transfer", fmt.Sprintf("%.2f GB out", e.TransferGB), usd(e.Dollars.Transfer)},
		{"together", fmt.Sprintf("$%.2f a million files", e.PerMFiles), usd(e.Dollars.Total)},
	}
	if e.Workload.Polling {
		rows[2] = []string{"processes", "your own machines, not counted", "-"}
		rows[3][2] = "-"
	}
	columns(out, []string{"A MONTH", "", "USD"}, rows)
	fmt.Fprintf(out, "\nidle agents alone: %s in requests\n", usd(e.Dollars.Idle))
	fmt.Fprintf(out, "always on, in memory: %.0f GB at %.0f bytes a file, %s × %s: %s\n", e.AlwaysOn.MemoryGB, u.RAMPerFile, n(e.AlwaysOn.Instances), p.Instance, usd(e.AlwaysOn.Dollars))
	fmt.Fprintf(out, "prices: %s, %s; %s\n", p.Source, dash(p.Date), out.Dim("pass --prices FILE for others; docs/cost.md explains the steps"))
}
