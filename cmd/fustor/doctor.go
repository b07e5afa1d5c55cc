//go:build !reading

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/store/doctor"
)

type doctorCmd struct {
	StoreURL string `arg:"" name:"store-url" help:"Store to probe: file:///dir, s3://bucket/prefix?… or minio://host:port/bucket/prefix?…"`
	JSON     bool   `name:"json" help:"Print a JSON object."`
}

// Help implements kong.HelpProvider.
func (doctorCmd) Help() string {
	return `Writes small objects under a new name, also concurrently, reads them back and removes
them. The exit code is 1 if the store fails a rule that writers need. A rule that is
not decided within 30 seconds counts as failed, and no further one is tried.

Examples:

    fustor doctor file:///srv/fustor
    fustor doctor 's3://bucket/fustor?region=eu-central-1'
    fustor doctor 'minio://127.0.0.1:9000/fustor?tls=false' --json`
}

func (c *doctorCmd) Run(ctx context.Context, a *app) error {
	s, err := openExisting(ctx, c.StoreURL)
	if err != nil {
		return err
	}
	out := a.out()
	report, err := doctor.Probe(ctx, s, func(r doctor.Rule) {
		if !c.JSON {
			printRule(out, r)
		}
	})
	if err != nil {
		return storeFailure(err)
	}
	if c.JSON {
		err = json.NewEncoder(out).Encode(struct {
			doctor.Report
			OK bool `json:"ok"`
		}{report, report.OK()})
		if err != nil {
			return err
		}
	} else {
		printVerdict(out, report)
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return storeFailure(report.Err())
}

func printVerdict(out *show.Output, report doctor.Report) {
	verdict := "fit: the store keeps every rule that fustor needs"
	if !report.OK() {
		verdict = "UNFIT: fustor does not write to this store"
	}
	fmt.Fprintf(out, "%s is %s (%s)\n", report.Store, verdict, report.Duration.Round(time.Millisecond))
}

// printRule prints a rule at once, with what to do below if it does not hold.
func printRule(out *show.Output, r doctor.Rule) {
	const width = 50 // of the longest name
	verdict := "ok  "
	switch {
	case !r.OK && r.Required:
		verdict = out.Bold("FAIL")
	case !r.OK:
		verdict = "no  "
	}
	fmt.Fprintln(out, strings.TrimRight(fmt.Sprint(verdict, "  ", show.Left(r.Name, width), "  ", out.Dim(r.Detail)), " "))
	if r.Hint != "" {
		fmt.Fprintf(out, "      hint: %s\n", r.Hint)
	}
	_ = out.Flush() // the last Flush says whether all was written
}
