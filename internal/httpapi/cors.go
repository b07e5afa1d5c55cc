package httpapi

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// AnyOrigin stands for the pages of every site.
const AnyOrigin = "*"

// exposed are the headers of answers, beyond those that browsers show anyway, that a page may read.
const exposed = "ETag, Retry-After, Fustor-Cost, Fustor-From-Version, Fustor-Job, Fustor-Members, Fustor-Moves, Fustor-Next-Cursor, Fustor-Observed-At, Fustor-Published-At, Fustor-Unreadable, Fustor-Version"

// CORS lets pages of other sites call a server from a browser: of these origins, such as https://app.example.org, or AnyOrigin. A page needs
// a key, which it sends in a header: no answer allows credentials, so a browser sends no cookie along.
type CORS struct {
	origins []string // empty: none
}

// NewCORS is for origins as browsers write them.
func NewCORS(origins []string) (CORS, error) {
	for _, o := range origins {
		u, err := url.Parse(o)
		switch {
		case o == AnyOrigin:
		case err != nil, u.Scheme != "http" && u.Scheme != "https", u.Host == "", o != u.Scheme+"://"+u.Host, o != strings.ToLower(o):
			return CORS{}, fmt.Errorf("%q is no origin, as browsers send it: write https://app.example.org, without a path or a slash at the end, or * for all", o)
		}
	}
	return CORS{origins}, nil
}

// Wrap answers preflights of these origins, and marks other answers for them. Calls of Fustor V2's clients are left to ForV2.
func (c CORS) Wrap(h http.Handler) http.Handler {
	if len(c.origins) == 0 {
		return h
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if IsV2(r.URL.Path) || !c.answer(w, r) {
			h.ServeHTTP(w, r)
		}
	})
}

// answer sets the headers of CORS. It reports whether the request was a preflight, which is answered then.
func (c CORS) answer(w http.ResponseWriter, r *http.Request) (preflight bool) {
	origin, h := r.Header.Get("Origin"), w.Header()
	allowed := origin
	if slices.Contains(c.origins, AnyOrigin) {
		allowed = AnyOrigin
	} else {
		h.Add("Vary", "Origin") // of every answer, as caches keep also those for no origin
	}
	if origin == "" || allowed != AnyOrigin && !slices.Contains(c.origins, origin) {
		return false
	}
	h.Set("Access-Control-Allow-Origin", allowed)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		h.Set("Access-Control-Expose-Headers", exposed)
		return false
	}
	h.Set("Access-Control-Allow-Methods", "DELETE, GET, HEAD, OPTIONS, PATCH, POST, PUT")
	h.Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-API-Key")
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Access-Control-Max-Age", "600")
	h.Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte("OK")) // a client that went away is no error of ours
	return true
}
