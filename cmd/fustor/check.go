//go:build !reading

package main

import (
	"context"
	"fmt"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/check"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/values"
)

type checkCmd struct {
	StoreURL string   `arg:"" name:"store-url" help:"Store to check: file:///dir, s3://bucket/prefix?… or minio://host:port/bucket/prefix?…"`
	View     []string `placeholder:"VIEW" help:"Check this view only. May be repeated."`
	ReadData bool     `help:"Read every layer and every segment that is not folded, whole, and add up every total, and hold it against who may see it. Otherwise only indexes are read."`
	Repair   bool     `help:"Mend what was found, after it was said what is lost by it."`
	yesFlag  `embed:""`
	JSON     bool `name:"json" help:"Print a JSON object."`
}

// Help implements kong.HelpProvider.
func (checkCmd) Help() string {
	return `Checks every reference, checksum, order, total and index of a store, and looks for gaps
in segments, for objects that are older than others prove, and for what nobody needs.
Each finding says what is wrong, what it means for readers, and what mends it. Fustor may
run meanwhile.

--repair goes back to the newest whole version where the current one is damaged, makes
rosters and records of sessions anew, removes what cannot be read, and has the agents scan
again. It prints what is lost and asks before it begins. It also heals a view with
observations of the future.

The exit code is 5 if there is damage that was not repaired, and 0 if there is none.

Examples:

    fustor check file:///srv/fustor
    fustor check 's3://bucket/fustor?region=eu-central-1' --view research --read-data
    fustor check file:///srv/fustor --repair`
}

// checked is the JSON of a check.
type checked struct {
	check.Report
	OK       bool           `json:"ok"`
	Actions  []check.Action `json:"actions"`
	Repaired bool           `json:"repaired"`
}

func (c *checkCmd) Run(ctx context.Context, a *app) error {
	st, err := openExisting(ctx, c.StoreURL)
	if err != nil {
		return err
	}
	report, actions, err := check.Plan(ctx, check.Options{Store: st, Views: c.View, ReadData: c.ReadData})
	if err != nil {
		return storeFailure(err)
	}
	out := a.out()
	if !c.JSON {
		printFindings(out, report)
	}
	repaired := false
	if c.Repair && len(actions) > 0 {
		if !c.JSON {
			printActions(out, actions)
		}
		if err := out.Flush(); err != nil {
			return err
		}
		if err := c.confirm(a, fmt.Sprintf("mend the store %s in %d steps?", st, len(actions))); err != nil {
			return err
		}
		if report, err = c.mend(ctx, st, actions); err != nil {
			return storeFailure(err)
		}
		if repaired = report.Damaged() == 0; !c.JSON {
			fmt.Fprintln(out, "\nAfter the repair:")
			printFindings(out, report)
		}
	}
	if c.JSON {
		if actions == nil {
			actions = []check.Action{}
		}
		f := adminFlags{JSON: true}
		err = f.print(a, checked{report, report.Damaged() == 0, actions, repaired}, nil)
	} else {
		err = out.Flush()
	}
	if err == nil && report.Damaged() > 0 {
		err = &cliError{code: exitFound}
		if !c.JSON && !c.Repair {
			err = &cliError{msg: "the store is damaged", hint: "`fustor check --repair` mends what can be mended, and says before what is lost", code: exitFound}
		}
	}
	return err
}

// mend takes the steps and checks again.
func (c *checkCmd) mend(ctx context.Context, st store.Store, actions []check.Action) (check.Report, error) {
	for _, action := range actions {
		if err := action.Do(ctx); err != nil {
			return check.Report{}, err
		}
	}
	return check.Run(ctx, check.Options{Store: st, Views: c.View, ReadData: c.ReadData})
}

func printFindings(out *show.Output, r check.Report) {
	for _, f := range r.Findings {
		fmt.Fprintf(out, "%s  %s: %s\n        effect: %s\n        mends it: %s\n", out.Bold(string(f.Severity)), out.Name(f.Object), f.Problem, f.Effect, f.Mend)
	}
	how := "indexes were read; --read-data reads everything"
	if r.ReadData {
		how = "everything was read"
	}
	verdict := "no damage found"
	if n := r.Damaged(); n > 0 {
		verdict = values.Plural(n, "object or version is damaged", "objects or versions are damaged")
	}
	fmt.Fprintf(out, "%s: %s in %s, %s; %s\n", r.Store, verdict, values.Plural(len(r.Views), "view", "views"), values.Plural(r.Objects, "object", "objects"), how)
}

func printActions(out *show.Output, actions []check.Action) {
	fmt.Fprintln(out, "\nThe repair would:")
	for i, a := range actions {
		fmt.Fprintf(out, "  %d. %s\n", i+1, a.What)
		if a.Loss != "" {
			fmt.Fprintf(out, "     %s %s\n", out.Bold("lost:"), a.Loss)
		}
	}
}
