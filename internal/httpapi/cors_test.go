package httpapi

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const page = "https://app.example.org"

// asked is what a browser gets of a server with these origins. The handler behind answers 401 to OPTIONS, as it asks for a key.
func asked(t *testing.T, origins []string, method, path string, header ...string) (status int, h http.Header, reached bool) {
	t.Helper()
	cors, err := NewCORS(origins)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(method, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	cors.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		reached = true
		if r.Method == http.MethodOptions {
			w.WriteHeader(http.StatusUnauthorized)
		}
	})).ServeHTTP(w, r)
	return w.Code, w.Header(), reached
}

func TestCORS(t *testing.T) {
	const path = "/api/v1/views/v/tree"
	for _, c := range []struct {
		name                          string
		origins                       []string
		method, path                  string
		header                        []string
		reached                       bool
		allow, headers, expose, varys string
	}{
		{"off", nil, "GET", path, []string{"Origin", page}, true, "", "", "", ""},
		{"off, preflight", nil, "OPTIONS", path, []string{"Origin", page, "Access-Control-Request-Method", "GET"}, true, "", "", "", ""},
		{"a page of the site", []string{page}, "GET", path, []string{"Origin", page}, true, page, "", exposed, "Origin"},
		{"another site", []string{page}, "GET", path, []string{"Origin", "https://evil.example"}, true, "", "", "", "Origin"},
		{"a site whose name begins so", []string{page}, "GET", path, []string{"Origin", page + ".evil.example"}, true, "", "", "", "Origin"},
		{"another port", []string{page}, "GET", path, []string{"Origin", page + ":8443"}, true, "", "", "", "Origin"},
		{"a file", []string{page}, "GET", path, []string{"Origin", "null"}, true, "", "", "", "Origin"},
		{"no page", []string{page}, "GET", path, nil, true, "", "", "", "Origin"},
		{"the second site", []string{"https://a.example", page}, "POST", path, []string{"Origin", page}, true, page, "", exposed, "Origin"},
		{"preflight", []string{page}, "OPTIONS", path, []string{"Origin", page, "Access-Control-Request-Method", "GET", "Access-Control-Request-Headers", "x-api-key"}, false, page, "x-api-key", "", "Origin"},
		{"preflight of another site", []string{page}, "OPTIONS", path, []string{"Origin", "https://evil.example", "Access-Control-Request-Method", "GET"}, true, "", "", "", "Origin"},
		{"OPTIONS that is no preflight", []string{page}, "OPTIONS", path, []string{"Origin", page}, true, page, "", exposed, "Origin"},
		{"any site", []string{AnyOrigin}, "GET", path, []string{"Origin", page}, true, "*", "", exposed, ""},
		{"Fustor V2's calls have their own rule", []string{page}, "OPTIONS", "/v2/api/v1/views/v/tree", []string{"Origin", page, "Access-Control-Request-Method", "GET"}, true, "", "", "", ""},
	} {
		_, h, reached := asked(t, c.origins, c.method, c.path, c.header...)
		got := []string{h.Get("Access-Control-Allow-Origin"), h.Get("Access-Control-Allow-Headers"), h.Get("Access-Control-Expose-Headers"), h.Get("Vary")}
		if want := []string{c.allow, c.headers, c.expose, c.varys}; reached != c.reached || !slices.Equal(got, want) {
			t.Errorf("%s: it reached the handler: %v; %q, want %q", c.name, reached, got, want)
		}
		if h.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%s: a browser may send its cookies", c.name)
		}
	}
}

func TestOrigins(t *testing.T) {
	for _, o := range []string{"app.example.org", "https://app.example.org/", "https://app.example.org/x", "HTTPS://app.example.org", "https://", "ftp://x", "null", "", "https://*.example.org/", "https://u@x"} {
		if _, err := NewCORS([]string{o}); err == nil || !strings.Contains(err.Error(), "https://app.example.org") {
			t.Errorf("%q: %v", o, err)
		}
	}
	if _, err := NewCORS([]string{page, "http://127.0.0.1:3000", "*"}); err != nil {
		t.Error(err)
	}
}

// TestExposedHeaders: a page may read each header of Fustor's own, wherever an answer has it.
func TestExposedHeaders(t *testing.T) {
	own, n := regexp.MustCompile(`"(Fustor-[A-Za-z-]+)"`), 0
	ofRequests := []string{"Fustor-As", "Fustor-Session-Secret"} // administrators ask as somebody else; agents prove whose a session is
	for _, room := range []string{"internal", "query", "ingest"} {
		err := filepath.WalkDir("../../"+room, func(file string, _ os.DirEntry, err error) error {
			if err != nil || filepath.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
				return err
			}
			source, err := os.ReadFile(file)
			for _, header := range own.FindAllStringSubmatch(string(source), -1) {
				if n++; !slices.Contains(ofRequests, header[1]) && !slices.Contains(strings.Split(exposed, ", "), header[1]) {
					t.Errorf("%s has %s, which pages of other sites may not read", file, header[1])
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if n < 6 {
		t.Errorf("%d headers were found", n)
	}
}
