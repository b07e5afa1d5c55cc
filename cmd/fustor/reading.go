//go:build reading

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/alecthomas/kong"

	"github.com/fustor/fustor/cmd/fustor/internal/first"
)

// cli is the command tree of fustor-read, which is the files of this package that have no `!reading`. Package first says who runs it.
type cli struct {
	globals
	readCommands
}

// sameBuild hands the command line back if a fustor of another build runs this program: that has the flags that its help names.
func sameBuild() error {
	asked, is := os.LookupEnv(first.BuildEnv)
	_ = os.Unsetenv(first.BuildEnv)
	if is && asked != version {
		return handOver()
	}
	return nil
}

// handOver has fustor take this command line: for help, and for what is wrong with it. It returns only if that fails.
func handOver() error {
	program, err := first.Beside("fustor")
	if err == nil {
		err = syscall.Exec(program, append([]string{"fustor"}, os.Args[1:]...), append(os.Environ(), first.WholeEnv+"=1"))
	}
	return &cliError{msg: fmt.Sprintf("fustor-read leaves this to the fustor beside it: %v", err), hint: "install both programs of one build in one directory", code: exitFailure, err: err}
}

func help(kong.HelpOptions, *kong.Context) error { return handOver() }

func printOverview(w io.Writer, _ *kong.Application) {
	if err := handOver(); err != nil {
		_, _ = fmt.Fprintln(w, errors.Unwrap(err))
	}
}
