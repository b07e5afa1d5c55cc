// Package httpclient is how every part of Fustor calls another one over HTTP.
//
// Its invariants: a key goes to the origin that it was given for, never to another scheme, host or port; only reads
// follow redirects, within their origin; a redirect that is not followed is an error that names where it leads; an
// answer counts only if it is of the kind that was asked for. All clients of the product are made by New.
package httpclient

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
)

// New makes a client like the given one (nil: http.DefaultClient) that follows redirects of GET and HEAD within the
// origin of the request only. Go takes the headers of a request along, and only those that it knows to be credentials
// stay behind when the host changes: X-API-Key is none of them. A redirect of a write may drop its body, and the answer
// to what is left of it would be taken for success.
func New(like *http.Client) *http.Client {
	if like == nil {
		like = http.DefaultClient
	}
	c := *like
	c.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		first := via[0]
		e := &RedirectError{From: origin(first.URL), To: base(r.URL, first.URL), Status: r.Response.StatusCode}
		switch {
		case first.Method != http.MethodGet && first.Method != http.MethodHead:
			e.Method = first.Method
			return e
		case origin(r.URL) != origin(first.URL):
			return e
		case len(via) > 5:
			e.Loop = true
			return e
		}
		return nil
	}
	return &c
}

// RedirectError is a redirect that was not followed.
type RedirectError struct {
	From   string // the origin that was asked
	To     string // the URL to use instead: where it leads, without what the call adds to it
	Status int
	Method string // of a write; otherwise empty
	Loop   bool   // redirects of one origin led on and on
}

func (e *RedirectError) Error() string {
	switch {
	case e.Loop:
		return fmt.Sprintf("the server at %s redirected more than 5 times, at last to %s", e.From, e.To)
	case e.Method != "":
		return fmt.Sprintf("the server at %s answered a redirect (%d) to %s, and a %s is not sent again elsewhere: use that URL", e.From, e.Status, e.To, e.Method)
	}
	return fmt.Sprintf("the server at %s answered a redirect (%d) to %s, where the key is not sent: use that URL", e.From, e.Status, e.To)
}

// origin is scheme, host and port, such as "http://host:80", without the port that the scheme implies.
func origin(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "http":
		host = strings.TrimSuffix(host, ":80")
	case "https":
		host = strings.TrimSuffix(host, ":443")
	}
	return u.Scheme + "://" + host
}

// base is what to set as URL if calls are redirected to the given one: without the path that a call adds, if it has it,
// and without a query, which may be long or secret.
func base(to, asked *url.URL) string {
	path := to.EscapedPath()
	if i := strings.Index(asked.EscapedPath(), "/api/v1/"); i >= 0 {
		path = strings.TrimSuffix(path, asked.EscapedPath()[i:])
	}
	return origin(to) + strings.TrimSuffix(path, "/")
}
