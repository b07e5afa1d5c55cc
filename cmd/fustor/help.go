//go:build !reading

package main

import (
	"bufio"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
)

// helpWidth is the screen that help is made for, in columns.
const helpWidth = 80

// help prints the overview, which fits a screen, or a command's own help.
func help(_ kong.HelpOptions, ctx *kong.Context) error {
	return printHelp(bufio.NewWriter(ctx.Stdout), ctx.Model, ctx.Selected())
}

// printHelp prints the help of n, or the overview if n is nil, and reports whether it could be written.
func printHelp(w *bufio.Writer, model *kong.Application, n *kong.Node) error {
	switch {
	case n == nil:
		printOverview(w, model)
	case n.DefaultCmd != nil:
		printCommandHelp(w, n.DefaultCmd)
	default:
		printCommandHelp(w, n)
	}
	return w.Flush()
}

type helpCmd struct {
	Command []string `arg:"" optional:"" help:"The command (default: an overview of all)."`
}

// Help implements kong.HelpProvider.
func (helpCmd) Help() string {
	return `fustor COMMAND --help prints the same.

Examples:

    fustor help
    fustor help find
    fustor help admin key create`
}

func (c *helpCmd) Run(a *app) error {
	var n *kong.Node
	for i, word := range c.Command {
		below := a.model.Node
		if n != nil {
			below = n
		}
		at := slices.IndexFunc(below.Children, func(child *kong.Node) bool { return child.Name == word })
		if at < 0 {
			return &cliError{msg: fmt.Sprintf("there is no command %q", strings.Join(c.Command[:i+1], " ")), hint: "`fustor help` lists the commands", code: exitUsage}
		}
		n = below.Children[at]
	}
	return printHelp(a.out().Writer, a.model, n)
}

// printOverview names the commands under the headings of their groups, those apart that few will look for.
func printOverview(w io.Writer, model *kong.Application) {
	fmt.Fprintf(w, "%s\nusage: fustor <command> [flags]; fustor <command> --help has examples\n", about)
	heading := ""
	for _, command := range shown(model.Node) {
		if title := command.ClosestGroup().Title; title != heading {
			heading = title
			fmt.Fprintln(w, title)
		}
		fmt.Fprintf(w, "  %s %s\n", show.Left(strings.TrimPrefix(title(command), "fustor "), 12), command.Help)
	}
}

// shown are the commands that the overview has: those below n, or n itself where it stands for them.
func shown(n *kong.Node) (nodes []*kong.Node) {
	for _, child := range n.Children {
		switch overview := child.Tag.Get("overview"); {
		case child.Hidden || overview == "no":
		case overview == "whole" || child.Leaf():
			nodes = append(nodes, child)
		default:
			nodes = append(nodes, shown(child)...)
		}
	}
	return nodes
}

// printCommandHelp prints what a command is for, its arguments and flags, and examples.
func printCommandHelp(w io.Writer, n *kong.Node) {
	detail, examples, _ := strings.Cut(n.Detail, "Examples:\n")
	fmt.Fprintf(w, "usage: %s\n\n%s\n", usageLine(n), n.Help)
	if detail = strings.TrimSpace(detail); detail != "" {
		fmt.Fprintf(w, "\n%s\n", detail)
	}
	rows := [][2]string{}
	for _, child := range commandsOf(n) {
		rows = append(rows, [2]string{child.Name, child.Help})
	}
	section(w, "Commands:", rows)
	rows = nil
	for _, p := range n.Positional {
		rows = append(rows, [2]string{argumentName(p), p.Help})
	}
	section(w, "Arguments:", rows)
	section(w, "Flags:", flagRows(n, ""))
	for _, group := range groups {
		section(w, group.Title, flagRows(n, group.Key))
	}
	if examples = strings.Trim(examples, "\n"); examples != "" {
		fmt.Fprintf(w, "\nExamples:\n%s\n", strings.ReplaceAll(examples, "    ", "  "))
	}
}

// title is what a command is called by: one that its parent stands for, by its parent's name.
func title(n *kong.Node) string {
	if n.Parent != nil && n.Parent.DefaultCmd == n {
		return n.Parent.FullPath()
	}
	return n.FullPath()
}

// commandsOf are those below n, or beside it if its parent stands for it.
func commandsOf(n *kong.Node) []*kong.Node {
	if n.Parent == nil || n.Parent.DefaultCmd != n {
		return n.Children
	}
	return slices.DeleteFunc(slices.Clone(n.Parent.Children), func(c *kong.Node) bool { return c == n })
}

func usageLine(n *kong.Node) string {
	words := []string{title(n)}
	if len(n.Children) > 0 {
		words = append(words, "<command>")
	}
	for _, p := range n.Positional {
		word := argumentName(p)
		if !p.Required {
			word = "[" + word + "]"
		}
		words = append(words, word)
	}
	return strings.Join(append(words, "[flags]"), " ")
}

func argumentName(p *kong.Positional) string {
	return strings.ToUpper(strings.ReplaceAll(p.Name, "-", "_"))
}

// flagRows are the flags of a group that a command takes; no group has those of the command alone.
func flagRows(n *kong.Node, group string) (rows [][2]string) {
	for _, f := range slices.Concat(n.AllFlags(true)...) {
		key := ""
		if f.Group != nil {
			key = f.Group.Key
		}
		if key != group || f.Name == "help" {
			continue
		}
		name := "    --" + f.Name
		if f.Short != 0 {
			name = "-" + string(f.Short) + ", --" + f.Name
		}
		if !f.IsBool() {
			name += "=" + f.PlaceHolder
		}
		help := f.Help
		for _, variable := range f.Envs {
			help = strings.TrimSuffix(help, ".") + " ($" + variable + ")."
		}
		rows = append(rows, [2]string{name, help})
	}
	return rows
}

// section prints rows of two columns under a title, the second column wrapped.
func section(w io.Writer, title string, rows [][2]string) {
	if len(rows) == 0 {
		return
	}
	width := 0
	for _, row := range rows {
		width = max(width, len(row[0]))
	}
	fmt.Fprintf(w, "\n%s\n", title)
	for _, row := range rows {
		for i, line := range wrap(row[1], helpWidth-width-4) {
			if i > 0 {
				row[0] = ""
			}
			fmt.Fprintf(w, "  %s  %s\n", show.Left(row[0], width), line)
		}
	}
}

// wrap breaks a text into lines of at most width columns, longer words apart.
func wrap(text string, width int) (lines []string) {
	line := ""
	for _, word := range strings.Fields(text) {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}
