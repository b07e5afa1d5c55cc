//go:build !reading

package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

type viewsCmd struct {
	formatFlags
	serverFlags
}

// Help implements kong.HelpProvider.
func (viewsCmd) Help() string {
	return `The views that the key may read, and how each is: ready, scanning (its first scan is
not complete), forest (its members are views), or damaged. AGE is that of the newest
observation. NOTE says what is wrong with it. Users who see what their file permissions
allow are not told how much a view has. Pass one to other commands with --view, or before a path: research:/data.

Examples:

    fustor views
    fustor views --json | jq -r 'select(.state == "ready") | .view_id'`
}

func (c *viewsCmd) Run(ctx context.Context, a *app) error {
	server, err := c.connect(a)
	if err != nil {
		return err
	}
	views, more, err := server.Views(ctx)
	if err != nil {
		return err
	}
	out := c.rows(a, "view_id", "state", "files", "directories", "size", "allocated", "version", "observed_at", "has_leader", "members")
	var table [][]string
	for _, v := range views {
		var err error
		switch out.Form {
		case show.CSV:
			observed := show.UTC{}
			if v.ObservedAt > 0 {
				observed = nsOfUnix(v.ObservedAt)
			}
			if v.Leader == nil {
				err = out.Record(v.Name, v.State, "", "", "", "", "", observed, "", strings.Join(v.Members, ","))
				break
			}
			err = out.Record(v.Name, v.State, v.Files, v.Dirs, v.Bytes, v.Allocated, v.Version, observed, *v.Leader, strings.Join(v.Members, ","))
		case show.JSON, show.NDJSON:
			err = out.Object(v.Raw)
		default:
			table = append(table, viewRow(out.Output, v))
		}
		if err != nil {
			return err
		}
	}
	switch {
	case out.Form != show.Text:
	case len(views) == 0:
		fmt.Fprintln(out, "The key may read no view that exists.")
	default:
		columns(out.Output, []string{"VIEW", "STATE", "FILES", "DIRECTORIES", "SIZE", "OCCUPIES", "AGE", "NOTE"}, table)
	}
	if more {
		a.warn("the server has more views than it lists; fustor admin view list has all")
	}
	return out.End(nil)
}

func viewRow(out *show.Output, v client.View) []string {
	if v.State == "forest" {
		return []string{v.Name, v.State, "-", "-", "-", "-", "-", strings.Join(v.Members, ", ")}
	}
	seen, note := "-", v.Error
	if v.ObservedAt > 0 {
		seen = age(v.ObservedAt)
	}
	for _, t := range v.Troubles {
		note += strings.TrimPrefix(t.Text, "the view ")
		note += "; "
	}
	note = strings.TrimSuffix(note, "; ")
	if v.Leader == nil {
		return []string{v.Name, v.State, "-", "-", "-", "-", seen, out.Name(note)}
	}
	if note == "" && !*v.Leader {
		note = "no agent leads it"
	}
	return []string{v.Name, v.State, show.Count(v.Files), show.Count(v.Dirs), show.Sum(v.Bytes), show.Sum(v.Allocated), seen, out.Name(note)}
}
