//go:build !reading

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/fustor/fustor/compactor"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/values"
)

type adminPublishCmd struct {
	View  []string `arg:"" optional:"" help:"Views (default: all that the store has)."`
	Store string   `required:"" placeholder:"URL" env:"FUSTOR_STORE" help:"Store with the views."`
	JSON  bool     `name:"json" help:"Print the results, one JSON object per view."`
}

// Help implements kong.HelpProvider.
func (adminPublishCmd) Help() string {
	return `The compactor publishes views by itself, every five minutes while they change. A view that has no
complete version yet is not published. docs/sql.md says how to read the tables.

Examples:

    fustor admin publish --store file:///srv/fustor
    fustor admin publish research --store 's3://bucket/fustor?region=eu-central-1'`
}

// publishedView is what publishing did with a view.
type publishedView struct {
	View        string `json:"view_id"`
	Version     uint64 `json:"version"` // of the table's current snapshot; 0: the view has no complete version yet
	Snapshots   int    `json:"new_snapshots"`
	DataFiles   int    `json:"data_files"`
	DeleteFiles int    `json:"delete_files"`
	DeletedRows int64  `json:"deleted_rows"`
}

func (c *adminPublishCmd) Run(ctx context.Context, a *app) error {
	for _, v := range c.View {
		if err := checkView(v); err != nil {
			return err
		}
	}
	st, err := openForWriting(ctx, c.Store)
	if err != nil {
		return err
	}
	compact, err := compactor.New(compactor.Options{Store: st, Logger: a.logger("publish")})
	if err != nil {
		return err
	}
	views := c.View
	if len(views) == 0 {
		if views, err = compact.Views(ctx); err != nil {
			return storeFailure(err)
		}
	}
	for _, view := range views {
		if _, _, err := manifest.LoadRoot(ctx, st, view); errors.Is(err, manifest.ErrNoHead) && len(c.View) > 0 {
			return &cliError{msg: "no such view: " + view, hint: "`fustor admin view list` names the views; a forest is no table, its members are", code: exitNotFound}
		}
		done, err := compact.PublishTable(ctx, view)
		if err != nil {
			return storeFailure(err)
		}
		p := publishedView{view, done.Version, done.Snapshots, done.DataFiles, done.DeleteFiles, done.DeletedRows}
		switch {
		case c.JSON:
			err = json.NewEncoder(a.stdout).Encode(p)
		case p.Version == 0:
			_, err = fmt.Fprintf(a.stdout, "%s: it has no complete version yet; nothing to publish\n", view)
		default:
			_, err = fmt.Fprintf(a.stdout, "%s: version %d; %s; %s, %s of %s\n",
				view, p.Version, values.Plural(p.Snapshots, "new snapshot", "new snapshots"), values.Plural(p.DataFiles, "data file", "data files"),
				values.Plural(p.DeleteFiles, "delete file", "delete files"), values.Plural(p.DeletedRows, "row", "rows"))
		}
		if err != nil {
			return err
		}
	}
	return nil
}
