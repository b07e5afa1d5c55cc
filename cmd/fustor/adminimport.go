//go:build !reading

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/admin"
	"github.com/fustor/fustor/internal/v2config"
)

type adminImportCmd struct {
	Path   []string `arg:"" help:"Files of a Fustor V2 server, or directories such as ~/.fustor."`
	Store  string   `required:"" placeholder:"URL" env:"FUSTOR_STORE" help:"Store to work on."`
	DryRun bool     `short:"n" help:"Change nothing; print what would be done."`
	Force  bool     `help:"Change views and keys that exist with other settings."`
	JSON   bool     `name:"json" help:"Print JSON."`
}

// Help implements kong.HelpProvider.
func (adminImportCmd) Help() string {
	return `Reads receivers, views, pipes and datastores, and creates the views with their settings
and the keys with their roles. The keys are V2's own: agents and clients that have
them need no change but the server's URL. Receivers' keys get the role ingest, views'
keys the role query. What has no counterpart is named on stderr with its file and line.

The import may be repeated. A view or key that exists with other settings stays as it
is; the differences are printed and the exit code is 1. Settings that V2's files do
not give are not touched.

Examples:

    fustor admin import ~/.fustor --store s3://bucket/fustor --dry-run
    fustor admin import fusion-config/ --store file:///srv/fustor
    fustor admin import ~/.fustor --store s3://bucket/fustor --force`
}

func (c *adminImportCmd) Run(ctx context.Context, a *app) error {
	v2, err := v2config.Load(c.Path...)
	if err != nil {
		return v2Failure(err)
	}
	if !v2.ForServer() {
		return &cliError{msg: "the files configure an agent of Fustor V2, and no server", hint: "`fustor agent import` makes a config file of them", code: exitUsage}
	}
	plan, err := admin.PlanV2(v2, a.getenv)
	if err != nil {
		return v2Failure(err)
	}
	opened := openForWriting
	if c.DryRun {
		opened = openForReading
	}
	st, err := opened(ctx, c.Store)
	if err != nil {
		return err
	}
	d, err := openDirect(a, st)
	if err != nil {
		return err
	}
	a.warnOfV2(plan.Warnings)
	steps, err := d.Import(ctx, plan, c.DryRun, c.Force)
	f := adminFlags{JSON: c.JSON}
	printErr := f.print(a, map[string]any{"store": st.String(), "dry_run": c.DryRun, "steps": steps}, func(out *show.Output) {
		printSteps(out, steps, c.DryRun)
	})
	if err != nil {
		return adminFailure(err)
	}
	if printErr != nil {
		return printErr
	}
	if n := count(steps, admin.Differs); n > 0 {
		return &cliError{msg: fmt.Sprintf("%d of %d views and keys exist with other settings, and were left as they are", n, len(steps)), hint: "--force changes them to what V2 has", code: exitFailure}
	}
	return nil
}

func count(steps []admin.Step, outcome string) (n int) {
	for _, s := range steps {
		if s.Outcome == outcome {
			n++
		}
	}
	return n
}

func printSteps(out *show.Output, steps []admin.Step, dry bool) {
	would := ""
	if dry {
		would = "would be "
	}
	says := map[string]string{admin.Created: would + "created", admin.Changed: would + "changed", admin.Same: "exists already", admin.Differs: "differs, and is left as it is"}
	for _, s := range steps {
		fmt.Fprintf(out, "%s %s %s", s.What, out.Name(s.Name), says[s.Outcome])
		if len(s.Detail) > 0 {
			fmt.Fprintf(out, ": %s", strings.Join(s.Detail, "; "))
		}
		fmt.Fprintln(out)
	}
	if count(steps, admin.Same) == len(steps) {
		fmt.Fprintln(out, "nothing to do: the store has all of it")
	}
}
