package main

import (
	"encoding/json"
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker (Makefile).
var version = "0.1.0-dev"

type versionCmd struct {
	JSON bool `name:"json" help:"Print a JSON object."`
}

// Help implements kong.HelpProvider.
func (versionCmd) Help() string {
	return `fustor --version prints the same.

Examples:

    fustor version
    fustor version --json`
}

func (c *versionCmd) Run(a *app) error {
	out := a.out()
	v := buildVersion()
	if c.JSON {
		if err := json.NewEncoder(out).Encode(v); err != nil {
			return err
		}
		return out.Flush()
	}
	fmt.Fprintf(out, "fustor %s", v.Version)
	if v.Commit != "" {
		fmt.Fprintf(out, " (%s)", v.Commit)
	}
	fmt.Fprintf(out, " %s %s\n", v.Go, v.Platform)
	return out.Flush()
}

// versionInfo says which program this is.
type versionInfo struct {
	Version  string `json:"version"`
	Commit   string `json:"commit,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func buildVersion() versionInfo {
	v := versionInfo{Version: version, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			v.Commit = s.Value[:min(12, len(s.Value))]
		}
	}
	return v
}
