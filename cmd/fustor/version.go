//go:build !reading

package main

import (
	"encoding/json"
	"fmt"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
)

type versionCmd struct {
	JSON bool `name:"json" help:"Print a JSON object."`
}

// Help implements kong.HelpProvider.
func (versionCmd) Help() string {
	return `The formats are those of segments (what agents send), of layers (rows and their
index) and of manifests (versions of a view): the one that this build writes, and
the oldest that it reads. A build refuses what has a later format, so upgrade
readers first, then compactors, then ingest and agents (docs/upgrading.md).

Examples:

    fustor version
    fustor version --json`
}

func (c *versionCmd) Run(a *app) error {
	out := a.out()
	v := buildVersion()
	if c.JSON {
		if err := json.NewEncoder(out).Encode(struct {
			versionInfo
			Formats []format `json:"formats"`
		}{v, formats()}); err != nil {
			return err
		}
		return out.Flush()
	}
	fmt.Fprintf(out, "fustor %s", v.Version)
	if v.Commit != "" {
		fmt.Fprintf(out, " (%s)", v.Commit)
	}
	fmt.Fprintf(out, " %s %s\n", v.Go, v.Platform)
	for _, f := range formats() {
		reads := ""
		if f.ReadsFrom < f.Writes {
			reads = fmt.Sprintf(", reads from %d on", f.ReadsFrom)
		}
		fmt.Fprintf(out, "  %-12s %d%s\n", f.Name, f.Writes, reads)
	}
	return out.Flush()
}

// format is one of those that a store has.
type format struct {
	Name      string `json:"name"`
	Writes    int    `json:"writes"`     // its version that this build writes
	ReadsFrom int    `json:"reads_from"` // the oldest that it reads
}

func formats() []format {
	return []format{{"segment", event.FormatVersion, event.FormatVersion}, {"layer schema", layer.SchemaVersion, 1}, {"layer index", layer.IndexVersion, 1}, {"manifest", manifest.Format, manifest.OldestFormat}}
}
