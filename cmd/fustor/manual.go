//go:build !reading

package main

import (
	"fmt"
	"io"

	"github.com/alecthomas/kong"
)

type manualCmd struct{}

// Run prints the help of every command as docs/cli.md has it (make generate).
func (manualCmd) Run(a *app) error {
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
