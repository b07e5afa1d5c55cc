package page

import (
	"bytes"
	"net/http"
	"regexp"
	"strings"
)

// A reverse proxy may serve the pages below a path of its own. It takes that prefix off and names it in X-Forwarded-Prefix, as Traefik
// does. Pages then have links with the prefix; app.js finds it in its own address.

// validPrefix keeps what a client says in that header from being anything but a path on this host.
var validPrefix = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)+$`)

// prefixOf is the path below which a proxy serves the pages, without a slash at its end; empty: none.
func prefixOf(r *http.Request) string {
	prefix := strings.TrimSuffix(r.Header.Get("X-Forwarded-Prefix"), "/")
	if !validPrefix.MatchString(prefix) {
		return ""
	}
	return prefix
}

// prefixed writes pages and redirects whose links have the prefix.
type prefixed struct {
	http.ResponseWriter
	prefix string
}

func underPrefix(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if prefix := prefixOf(r); prefix != "" {
			w = prefixed{w, prefix}
		}
		h.ServeHTTP(w, r)
	})
}

// Unwrap serves http.ResponseController.
func (w prefixed) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w prefixed) WriteHeader(status int) {
	if to := w.Header().Get("Location"); strings.HasPrefix(to, "/") {
		w.Header().Set("Location", w.prefix+to)
	}
	w.ResponseWriter.WriteHeader(status)
}

// links puts the prefix in front of every path in a page. Templates escape quotes in texts, so these bytes are only in their own markup.
func (w prefixed) links(page []byte) []byte {
	for _, attribute := range []string{` href="`, ` src="`, ` action="`} {
		page = bytes.ReplaceAll(page, []byte(attribute+"/"), []byte(attribute+w.prefix+"/"))
	}
	return page
}
