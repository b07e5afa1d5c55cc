// Fustor keeps a queryable, always current index of huge file trees, with object storage as its only server.
//
// This is the one binary: up, agent, ingest, compact and query run the parts, the other commands read. The package
// turns flags and the environment into calls; each command has its own file.
package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"reflect"
	"syscall"

	"github.com/alecthomas/kong"

	_ "github.com/fustor/fustor/cmd/fustor/internal/first" // before all else
)

func main() {
	os.Exit(run())
}

// run is main with an exit code: errors.go has them.
func run() int {
	a := &app{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, getenv: os.Getenv}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second signal ends the process at once

	// A reader that stops reading is an error of Write, which report judges: without this the runtime ends the process, as of a signal.
	signal.Notify(make(chan os.Signal, 1), syscall.SIGPIPE)

	if err := sameBuild(); err != nil {
		return a.report(err)
	}
	var c cli
	parser := newParser(&c, a)
	a.model = parser.Model
	if len(os.Args) == 1 {
		printOverview(a.stderr, parser.Model)
		return exitUsage
	}
	args := os.Args[1:]
	if args[0] == "--version" {
		args = append([]string{"version"}, args[1:]...)
	}
	parsed, err := parser.Parse(args)
	if err != nil {
		a.globals = logOfArguments(args)
		if failed := handOver(); failed != nil {
			return a.report(failed)
		}
		if a.unwritten(err) { // the help, which kong prints as it parses
			return a.report(err)
		}
		return a.report(usageFailure(err))
	}
	a.globals = c.globals
	a.takeLibrariesLog()
	parsed.BindTo(ctx, (*context.Context)(nil))
	if err = parsed.Run(a); err == nil && a.asked != nil {
		err = a.asked.Incomplete()
	}
	a.explain()
	return a.report(err)
}

// newParser makes kong's parser of c. A cli that kong cannot read is a mistake in this package.
func newParser(c *cli, a *app) *kong.Kong {
	parser, err := kong.New(c,
		kong.Name("fustor"),
		kong.Description(about),
		kong.Help(help),
		kong.Writers(a.stdout, a.stderr),
		kong.ExplicitGroups(groups),
		kong.KindMapper(reflect.String, kong.MapperFunc(bytewise)),
	)
	if err != nil {
		panic(err)
	}
	return parser
}

// bytewise takes a word as it is: kong's own mapper sends it through JSON, which spoils names that are not UTF-8.
func bytewise(ctx *kong.DecodeContext, target reflect.Value) error {
	token, err := ctx.Scan.PopValue("string")
	if err != nil {
		return err
	}
	target.SetString(token.String())
	return nil
}

// usageFailure is what a command line that kong does not accept is reported as.
func usageFailure(err error) error {
	command := "fustor"
	var parse *kong.ParseError
	if errors.As(err, &parse) && parse.Context != nil && parse.Context.Selected() != nil {
		command = parse.Context.Selected().FullPath()
	}
	hint := "`" + command + " --help` shows its usage"
	for _, arg := range os.Args[1:] {
		if len(arg) > 2 && arg[0] == '-' && arg[1] != '-' && arg[1] > '9' {
			hint = "long flags have two dashes: -" + arg
		}
	}
	return &cliError{msg: err.Error(), hint: hint, code: exitUsage}
}
