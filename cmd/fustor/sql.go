//go:build !reading

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/fustor/fustor/internal/iceberg"
)

type sqlCmd struct {
	Query string `arg:"" optional:"" help:"SQL for DuckDB's command line, if that is installed. Without it, the SQL is printed that makes the view."`
	Store string `required:"" placeholder:"URL" env:"FUSTOR_STORE" help:"Store with the view."`
	View  string `required:"" placeholder:"VIEW" env:"FUSTOR_VIEW" help:"View to read."`
}

// Help implements kong.HelpProvider.
func (sqlCmd) Help() string {
	return `The view is there as a view of DuckDB with its own name: the columns of docs/formats-layer.md,
and path, modified, observed, allocated, extension and depth. It has the state of the last
publication, which is at most five minutes old; see docs/sql.md.

Examples:

    fustor sql --store file:///srv/fustor --view research
    fustor sql --store file:///srv/fustor --view research 'SELECT uid, sum(size) FROM research GROUP BY uid'
    fustor sql --store file:///srv/fustor --view research > research.sql && duckdb -init research.sql`
}

func (c *sqlCmd) Run(ctx context.Context, a *app) error {
	if err := checkView(c.View); err != nil {
		return err
	}
	st, err := openForReading(ctx, c.Store)
	if err != nil {
		return err
	}
	t, err := iceberg.Load(ctx, st, c.View)
	if errors.Is(err, iceberg.ErrNone) {
		return &cliError{
			msg:  fmt.Sprintf("view %s is not published as a table", c.View),
			hint: "`fustor admin publish` publishes it; the compactor does so when the first scan is complete, unless --iceberg-interval is 0", code: exitNotFound, err: err,
		}
	}
	if err != nil {
		return storeFailure(err)
	}
	sql := t.DuckDB(c.View, st.String())
	if c.Query == "" {
		_, err = fmt.Fprint(a.stdout, sql)
		return err
	}
	program, err := exec.LookPath("duckdb")
	if err != nil {
		return &cliError{
			msg:  "DuckDB's command line, duckdb, is not installed",
			hint: "https://duckdb.org/docs/installation has it; without a query, `fustor sql` prints the SQL for any DuckDB", code: exitFailure, err: err,
		}
	}
	run := exec.CommandContext(ctx, program, "-bail", "-c", sql+c.Query)
	run.Stdin, run.Stdout, run.Stderr = a.stdin, a.stdout, a.stderr
	if err := run.Run(); err != nil {
		return &cliError{msg: fmt.Sprintf("duckdb: %v", err), code: exitFailure, err: err}
	}
	return nil
}
