package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"syscall"

	"github.com/fustor/fustor/cmd/fustor/internal/settings"
	"github.com/fustor/fustor/internal/client"
)

// The exit codes. They are a promise: docs/cli.md.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitIncomplete  = 4 // of a forest, some members did not answer
	exitInterrupted = 130
)

// cliError is a failure in the user's words: what is wrong, and what to do about it. Both are lower case, one line.
type cliError struct {
	msg  string
	hint string // may be empty
	code int    // exitFailure and so on
	err  error  // the cause, for errors.Is; may be nil
}

func (e *cliError) Error() string { return e.msg }
func (e *cliError) Unwrap() error { return e.err }

// usageError is a command line that cannot be meant.
func usageError(format string, args ...any) error {
	return &cliError{msg: fmt.Sprintf(format, args...), code: exitUsage}
}

// report prints a failure to stderr and returns the exit code.
func (a *app) report(err error) int {
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, context.Canceled):
		return exitInterrupted
	case errors.Is(err, syscall.EPIPE): // nobody reads on; that is no failure
		return exitOK
	}
	var e *cliError
	if !errors.As(err, &e) {
		e = explain(err)
	}
	fmt.Fprintf(a.stderr, "fustor: error: %s\n", e.msg)
	if e.hint != "" {
		fmt.Fprintf(a.stderr, "fustor: hint: %s\n", e.hint)
	}
	return e.code
}

// explain finds the hint for an error that has none of its own.
func explain(err error) *cliError {
	e := &cliError{msg: err.Error(), code: exitFailure, err: err}
	var refused *client.Error
	var unreachable *client.Unreachable
	var incomplete *client.IncompleteError
	switch {
	case errors.As(err, &incomplete):
		e.hint, e.code = fmt.Sprintf("what the other %s is printed; ask a member alone with --view to see what is wrong with it",
			plural(int64(incomplete.Asked-len(incomplete.Missing)), "member has", "members have")), exitIncomplete
	case errors.Is(err, settings.ErrNoServer):
		e.hint = "start `fustor up DIR`, or pass a server with --url or FUSTOR_URL"
	case errors.As(err, &refused):
		e.hint, e.code = explainRefusal(refused)
	case errors.As(err, &unreachable):
		e.msg = fmt.Sprintf("no answer from %s", unreachable.URL)
		e.hint = "check that `fustor up DIR` is running, or check --url, FUSTOR_URL and the config file"
		if !errors.Is(err, syscall.ECONNREFUSED) {
			e.msg += ": " + unreachable.Err.Error()
		} else {
			e.msg += ": connection refused"
		}
	}
	return e
}

func explainRefusal(refused *client.Error) (hint string, code int) {
	code = exitFailure
	switch {
	case refused.Foreign:
		hint = "check that this is the URL of a fustor server"
	case refused.Status == http.StatusNotFound:
		code = exitNotFound
	case refused.Status == http.StatusUnauthorized:
		hint = "pass the key with --api-key, FUSTOR_API_KEY or api_key in the config file"
	case refused.Status == http.StatusForbidden:
		hint = "the key is valid, but not for this: pass another view with --view, or use another key"
	case refused.Status == http.StatusServiceUnavailable && refused.RetryAfter != "":
		hint = "try again in " + refused.RetryAfter + " s"
	}
	if refused.Hint != "" {
		hint = refused.Hint
	}
	return hint, code
}
