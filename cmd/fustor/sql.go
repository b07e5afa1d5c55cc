//go:build !reading

package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"

	"github.com/fustor/fustor/internal/iceberg"
	"github.com/fustor/fustor/internal/manifest"
)

type sqlCmd struct {
	Query   string `arg:"" optional:"" help:"SQL for DuckDB's command line, if that is installed. Without it, the SQL is printed that makes the view."`
	Print   string `enum:"duckdb,spark,trino" default:"duckdb" placeholder:"duckdb|spark|trino" help:"Print the SQL for this engine (default: ${default})."`
	Catalog string `default:"lake" placeholder:"NAME" help:"With --print spark or trino: what the engine calls the catalog of fustor query (default: ${default})."`
	Store   string `required:"" placeholder:"URL" env:"FUSTOR_STORE" help:"Store with the view."`
	View    string `required:"" placeholder:"VIEW" env:"FUSTOR_VIEW" help:"View to read."`
}

// Help implements kong.HelpProvider.
func (sqlCmd) Help() string {
	return `The view is there as a view of the engine with its own name: the columns of
docs/formats-layer.md, and path, modified, observed, owner, group, allocated, extension
and depth. It has the state of the last publication, which is at most five minutes old;
the names of owners are those of now. DuckDB reads the store; Spark and Trino ask the
catalog of fustor query, set up as docs/sql.md says. Trino keeps views in the catalog
and schema of the session.

Examples:

    fustor sql --store file:///srv/fustor --view research
    fustor sql --store file:///srv/fustor --view research 'SELECT uid, sum(size) FROM research GROUP BY uid'
    fustor sql --store file:///srv/fustor --view research > research.sql && duckdb -init research.sql
    fustor sql --store s3://lake/fustor --view research --print spark > research.sql`
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
	names, err := manifest.NewestNames(ctx, st, c.View)
	if err != nil {
		return storeFailure(err)
	}
	if c.Query != "" && c.Print != string(iceberg.DuckDB) {
		return usageError("a query is for DuckDB; leave out --print, or the query")
	}
	sql := t.View(iceberg.Dialect(c.Print), c.View, st.String(), c.Catalog, names)
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
