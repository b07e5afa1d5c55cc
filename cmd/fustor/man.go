//go:build !reading

package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/alecthomas/kong"
)

// writeManPages writes a man page for fustor and for each of its commands into a directory: fustor.1, fustor-ls.1, fustor-admin-key-list.1.
// The date on them is a version's, so that two builds of one commit write the same.
func writeManPages(dir string, model *kong.Application, date time.Time) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	commands := model.Leaves(true)
	write := func(name string, print func(w io.Writer)) error {
		f, err := os.Create(filepath.Join(dir, name+".1"))
		if err != nil {
			return err
		}
		w := bufio.NewWriter(f)
		day := ""
		if !date.IsZero() {
			day = date.UTC().Format(time.DateOnly)
		}
		fmt.Fprintf(w, ".TH %q 1 %q %q %q\n", strings.ToUpper(name), day, "fustor "+version, "Fustor")
		print(w)
		return errors.Join(w.Flush(), f.Close())
	}
	errs := []error{write("fustor", func(w io.Writer) { manOverview(w, commands) })}
	for _, n := range commands {
		errs = append(errs, write(manName(n), func(w io.Writer) { manCommand(w, n) }))
	}
	return errors.Join(errs...)
}

// manName is the name of a command's page: fustor-report-usage.
func manName(n *kong.Node) string { return strings.ReplaceAll(title(n), " ", "-") }

func manOverview(w io.Writer, commands []*kong.Node) {
	fmt.Fprintf(w, ".SH NAME\nfustor \\- %s\n", roff(strings.TrimSuffix(strings.TrimPrefix(about, "Fustor "), ".")))
	fmt.Fprint(w, ".SH SYNOPSIS\n.B fustor\n.I command\n.RI [ flags ]\n.SH DESCRIPTION\n")
	roffText(w, "Agents watch and scan file trees and send what they see to object storage. A compactor folds it into versions of views; "+
		"query answers from them, to the reading commands, to HTTP and to the web page. `fustor up DIR` runs all parts in one process.")
	heading := ""
	for _, n := range commands {
		if title := n.ClosestGroup().Title; title != heading {
			heading = title
			fmt.Fprintf(w, ".SH %s\n", roff(strings.ToUpper(strings.TrimSuffix(title, ":"))))
		}
		fmt.Fprintf(w, ".TP\n.BR %s (1)\n%s\n", roff(manName(n)), roff(n.Help))
	}
	fmt.Fprint(w, ".SH EXIT STATUS\n")
	for _, s := range [][2]string{{"0", "done"}, {"1", "failed"}, {"2", "the command line is wrong"}, {"3", "there is no such path, view or object"},
		{"4", "of a forest, some members did not answer"}, {"5", "--fail-if-any was given, and there are some"}, {"6", "fustor wait: not complete within --timeout"},
		{"7", "fustor wait: it could not be known"}, {"130", "interrupted"}} {
		fmt.Fprintf(w, ".TP\n%s\n%s\n", s[0], roff(s[1]))
	}
}

func manCommand(w io.Writer, n *kong.Node) {
	detail, examples, _ := strings.Cut(n.Detail, "Examples:\n")
	fmt.Fprintf(w, ".SH NAME\n%s \\- %s\n", roff(manName(n)), roff(strings.TrimSuffix(n.Help, ".")))
	fmt.Fprintf(w, ".SH SYNOPSIS\n.B %s\n", roff(usageLine(n)))
	fmt.Fprintf(w, ".SH DESCRIPTION\n%s\n", roff(n.Help))
	if detail = strings.TrimSpace(detail); detail != "" {
		fmt.Fprint(w, ".PP\n")
		roffText(w, detail)
	}
	var rows [][2]string
	for _, p := range n.Positional {
		rows = append(rows, [2]string{argumentName(p), p.Help})
	}
	manSection(w, "ARGUMENTS", rows)
	manSection(w, "OPTIONS", flagRows(n, ""))
	for _, group := range groups {
		manSection(w, strings.ToUpper(strings.TrimSuffix(group.Title, ":")), flagRows(n, group.Key))
	}
	if examples = strings.Trim(examples, "\n"); examples != "" {
		fmt.Fprint(w, ".SH EXAMPLES\n.nf\n")
		for line := range strings.SplitSeq(examples, "\n") {
			fmt.Fprintln(w, roff(strings.TrimPrefix(line, "    ")))
		}
		fmt.Fprint(w, ".fi\n")
	}
	fmt.Fprint(w, ".SH SEE ALSO\n.BR fustor (1)\n")
	for _, c := range commandsOf(n) {
		if !c.Hidden && c.Leaf() {
			fmt.Fprintf(w, ".br\n.BR %s (1)\n", roff(manName(c)))
		}
	}
}

func manSection(w io.Writer, title string, rows [][2]string) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, ".SH %s\n", roff(title))
	for _, row := range rows {
		fmt.Fprintf(w, ".TP\n.B %s\n%s\n", roff(strings.TrimSpace(row[0])), roff(row[1]))
	}
}

// roffText prints paragraphs; lines that are indented keep their breaks.
func roffText(w io.Writer, text string) {
	for line := range strings.SplitSeq(text, "\n") {
		switch {
		case strings.TrimSpace(line) == "":
			fmt.Fprint(w, ".PP\n")
		case strings.HasPrefix(line, " "):
			fmt.Fprintf(w, ".br\n%s\n", roff(line))
		default:
			fmt.Fprintln(w, roff(line))
		}
	}
}

// roff escapes what roff would take for its own: backslashes, hyphens that are no dashes, and a line that begins like a request.
func roff(s string) string {
	s = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(s)
	if strings.HasPrefix(s, ".") || strings.HasPrefix(s, "'") {
		s = `\&` + s
	}
	return s
}
