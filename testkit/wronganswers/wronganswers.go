// Package wronganswers has what a server, a proxy or a page may answer that is no answer to any call of Fustor. Tests of the clients
// make every call with each of them: no call may take one for success, and the key reaches no other server.
package wronganswers

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// NoField is the name of the answer {}, which only a call that requires no field may take.
const NoField = "an object without a field"

// Each serves each of the answers in turn. calls makes every call to a server at url, and passes its name and error to check. answer is
// the name of the answer.
func Each(t *testing.T, calls func(answer, url string, check func(call string, err error))) {
	t.Helper()
	stolen := 0
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-API-Key") != "" {
			stolen++
		}
		w.Header().Set("Content-Type", r.Header.Get("Accept"))
	}))
	defer other.Close()
	answer := func(kind, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = w.Write([]byte(body))
		}
	}
	for _, wrong := range []struct {
		name, want string
		handler    http.HandlerFunc
	}{
		{"redirect", "answered a redirect (301) to " + other.URL, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusMovedPermanently)
		}},
		{"web page", "with a web page (text/html)", answer("text/html; charset=utf-8", "<html>please log in</html>")},
		{"nothing", "with nothing", func(w http.ResponseWriter, _ *http.Request) { w.Header()["Content-Type"] = nil }},
		{"nothing as JSON", "", answer("application/json", "")},
		{NoField, "", answer("application/json", "{}")},
		{"null", "", answer("application/json", "null")},
		{"half of an object", "", answer("application/json", `{"views":[`)},
		{"3xx without a place", "304", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotModified) }},
	} {
		server := httptest.NewServer(wrong.handler)
		calls(wrong.name, server.URL, func(call string, err error) {
			t.Helper()
			if err == nil || !strings.Contains(err.Error(), wrong.want) {
				t.Errorf("%s, answered with %s: error %v, want %q", call, wrong.name, err, wrong.want)
			}
		})
		server.Close()
	}
	if stolen > 0 {
		t.Errorf("another server got the key %d times", stolen)
	}
}
