package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"

	"github.com/fustor/fustor/internal/httpclient"
	"github.com/fustor/fustor/internal/unixsocket"
)

// Error is a server's refusal: its problem+json (RFC 9457).
type Error struct {
	Status int    // the HTTP status
	Detail string // what the server says is wrong, one line
	Hint   string // what the server says to do; often empty
	// RetryAfter is the server's Retry-After header as it came: seconds, or empty.
	RetryAfter string
	// Foreign is set where the answer was no problem+json: whoever answered may not be a Fustor server.
	Foreign bool
}

func (e *Error) Error() string {
	if e.Detail == "" {
		return fmt.Sprintf("the server answered %d %s", e.Status, strings.ToLower(http.StatusText(e.Status)))
	}
	return e.Detail
}

// problem reads a refusal.
func problem(resp *http.Response) error {
	e := &Error{Status: resp.StatusCode, RetryAfter: resp.Header.Get("Retry-After"), Foreign: true}
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return e
	}
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	var p struct {
		Detail string `json:"detail"`
		Title  string `json:"title"`
		Hint   string `json:"hint"`
	}
	if kind != "application/problem+json" && kind != "application/json" || json.Unmarshal(body, &p) != nil {
		return e
	}
	e.Foreign = kind != "application/problem+json"
	e.Detail, e.Hint = oneLine(p.Detail), oneLine(p.Hint)
	if e.Detail == "" {
		e.Detail = oneLine(p.Title)
	}
	return e
}

// oneLine keeps a server's words from drawing on a terminal.
func oneLine(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return ' '
		}
		return r
	}, strings.TrimSpace(s))
}

// Unreachable is the failure to get any answer from the server.
type Unreachable struct {
	URL string // scheme and host, or unix: and the path of a socket
	Err error
}

func (e *Unreachable) Error() string { return fmt.Sprintf("no answer from %s: %v", e.URL, e.Err) }

// Unwrap gives the reason, such as syscall.ECONNREFUSED.
func (e *Unreachable) Unwrap() error { return e.Err }

func unreachable(ctx context.Context, u *url.URL, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var redirected *httpclient.RedirectError
	if errors.As(err, &redirected) {
		return redirected
	}
	var wrapped *url.Error
	if errors.As(err, &wrapped) {
		err = wrapped.Err
	}
	var local *socketError
	if errors.As(err, &local) {
		return &Unreachable{URL: unixsocket.Scheme + local.path, Err: local.err}
	}
	return &Unreachable{URL: u.Scheme + "://" + u.Host, Err: err}
}
