//go:build !reading

package main

import (
	"fmt"
	"io"
	"strconv"
	"time"

	"github.com/alecthomas/kong"
)

type manualCmd struct {
	Man string `placeholder:"DIR" help:"Write man pages into DIR instead, dated SOURCE_DATE_EPOCH."`
}

// Run prints the help of every command as docs/cli.md has it (make generate), or writes the man pages of a release.
func (c *manualCmd) Run(a *app) error {
	if c.Man != "" {
		date := time.Time{}
		if seconds, err := strconv.ParseInt(a.getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
			date = time.Unix(seconds, 0)
		}
		return writeManPages(c.Man, a.model, date)
	}
	out := a.out()
	printManual(out, a.model)
	return out.Flush()
}

func printManual(w io.Writer, model *kong.Application) {
	for _, command := range model.Leaves(true) {
		fmt.Fprintf(w, "\n### %s\n\n```text\n", title(command))
		printCommandHelp(w, command)
		fmt.Fprint(w, "```\n")
	}
}
