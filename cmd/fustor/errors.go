package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"strconv"
	"syscall"

	"github.com/fustor/fustor/cmd/fustor/internal/settings"
	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/httpclient"
	"github.com/fustor/fustor/internal/unixsocket"
	"github.com/fustor/fustor/internal/values"
)

// The exit codes. They are a promise: docs/cli.md.
const (
	exitOK          = 0
	exitFailure     = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitIncomplete  = 4 // of a forest, some members did not answer
	exitFound       = 5 // there are some, and --fail-if-any was given
	exitNotYet      = 6 // not complete within --timeout
	exitUnknown     = 7 // and it could not be known
	exitInterrupted = 130
)

// cliError is a failure in the user's words: what is wrong, and what to do about it. Both are lower case, one line.
type cliError struct {
	msg  string // empty: the code says it all
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
	case a.unread(err):
		return exitOK
	}
	var e *cliError
	switch {
	case a.unwritten(err):
		e = &cliError{msg: fmt.Sprintf("the output could not be written: %v", plain(err)), hint: "it is incomplete", code: exitFailure, err: err}
	case errors.As(err, &e):
	default:
		e = explain(err)
	}
	if e.msg == "" {
		return e.code
	}
	switch {
	case e.hint == "":
		a.tell(slog.LevelError, "fustor: error: ", e.msg)
	case a.jsonLog():
		a.tell(slog.LevelError, "", e.msg, slog.String("hint", e.hint))
	default:
		a.tell(slog.LevelError, "fustor: error: ", e.msg+"\nfustor: hint: "+e.hint)
	}
	return e.code
}

// unwritten reports whether err is of writing to stdout. Other writes fail as well, such as those to a server that has gone away.
func (a *app) unwritten(err error) bool {
	var file *fs.PathError
	return errors.As(err, &file) && file.Op == "write" && file.Path == a.stdout.Name()
}

// unread reports whether err is that the reader of stdout stopped reading, which is no failure: `fustor find | head`.
func (a *app) unread(err error) bool { return a.unwritten(err) && errors.Is(err, syscall.EPIPE) }

// explain finds the hint for an error that has none of its own.
func explain(err error) *cliError {
	e := &cliError{msg: err.Error(), code: exitFailure, err: err}
	var refused *client.Error
	var unreachable *client.Unreachable
	var incomplete *client.IncompleteError
	var redirected *httpclient.RedirectError
	var answered *httpclient.AnswerError
	var unsafe *unixsocket.UnsafeError
	switch {
	case errors.As(err, &unsafe):
		e.msg, e.hint = unsafe.Error(), "nothing was sent to it; ask the administrator of this machine, or name a server with --url"
	case errors.As(err, &incomplete):
		e.hint, e.code = fmt.Sprintf("what the other %s is printed; ask a member alone with --view to see what is wrong with it",
			values.Plural(incomplete.Asked-len(incomplete.Missing), "member has", "members have")), exitIncomplete
	case errors.Is(err, settings.ErrNoServer):
		e.hint = "start `fustor up DIR`, or pass a server with --url or FUSTOR_URL"
	case errors.As(err, &refused):
		e.hint, e.code = explainRefusal(refused)
	case errors.As(err, &redirected):
		e.hint = "pass that URL with --url, or set it in the environment or the config file"
	case errors.As(err, &answered):
		e.hint = "check that this is the URL of a fustor server: `curl -si URL/healthz` shows who answers"
	case errors.As(err, &unreachable):
		e.msg = fmt.Sprintf("no answer from %s", unreachable.URL)
		e.hint = "check that `fustor up DIR` is running, or check --url, FUSTOR_URL and the config file"
		if _, socket := unixsocket.PathOf(unreachable.URL); socket {
			e.hint = "check that `fustor query --socket` or `fustor up --socket` is running there, or name another server with --url"
		}
		if !errors.Is(err, syscall.ECONNREFUSED) {
			e.msg += ": " + plain(unreachable.Err).Error()
		} else {
			e.msg += ": connection refused"
		}
	}
	return e
}

// inSeconds is when to try again, after a Retry-After header; one with a date, or none, says nothing here.
func inSeconds(retryAfter string) string {
	if n, err := strconv.ParseUint(retryAfter, 10, 32); err == nil {
		return fmt.Sprintf(" in %d s", n)
	}
	return ""
}

func explainRefusal(refused *client.Error) (hint string, code int) {
	code = exitFailure
	switch {
	case refused.Foreign && refused.Status == http.StatusTooManyRequests:
		hint = "a proxy on the way limits requests: try again" + inSeconds(refused.RetryAfter)
	case refused.Foreign && (refused.Status == http.StatusBadGateway || refused.Status == http.StatusServiceUnavailable || refused.Status == http.StatusGatewayTimeout):
		hint = "a proxy on the way has no answer from the server: try again" + inSeconds(refused.RetryAfter) + ", and check that fustor runs behind it"
	case refused.Foreign:
		hint = "check that this is the URL of a fustor server"
	case refused.Status == http.StatusBadRequest: // a value that only the server can judge, such as a pattern
		code = exitUsage
	case refused.Status == http.StatusNotFound:
		code = exitNotFound
	case refused.Status == http.StatusUnauthorized:
		hint = "pass the key with --api-key, FUSTOR_API_KEY or api_key in the config file"
	case refused.Status == http.StatusForbidden:
		hint = "the key is valid, but not for this: pass another view with --view, or use another key"
	case refused.Status == http.StatusServiceUnavailable && refused.RetryAfter != "":
		hint = "try again" + inSeconds(refused.RetryAfter)
	}
	if refused.Hint != "" {
		hint = refused.Hint
	}
	return hint, code
}

// plain strips the path from a file error, where the message has it already.
func plain(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
