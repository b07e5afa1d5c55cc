package httpclient

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestKeysStayAtTheirOrigin(t *testing.T) {
	var seen []string
	note := func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Method+" "+r.URL.Path+" "+r.Header.Get("X-API-Key")+r.Header.Get("Authorization"))
	}
	other := httptest.NewServer(http.HandlerFunc(note))
	defer other.Close()
	secure := httptest.NewTLSServer(http.HandlerFunc(note))
	defer secure.Close()
	var to string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/base/") {
			http.Redirect(w, r, to, http.StatusMovedPermanently)
			return
		}
		if strings.HasPrefix(r.URL.Path, "/loop") {
			http.Redirect(w, r, "/loop", http.StatusFound)
			return
		}
		note(w, r)
	}))
	defer srv.Close()
	const call = "/api/v1/views/v/list"
	for _, tc := range []struct{ name, method, to, want string }{
		{"another host", "GET", other.URL + "/new" + call + "?token=x", "the server at " + srv.URL + " answered a redirect (301) to " + other.URL + "/new, where the key is not sent: use that URL"},
		{"another scheme", "GET", secure.URL + "/base" + call, "redirect (301) to " + secure.URL + "/base,"},
		{"a login page", "GET", other.URL + "/login?rd=secret", "redirect (301) to " + other.URL + "/login,"},
		{"a write, elsewhere", "POST", secure.URL + "/base" + call, "redirect (301) to " + secure.URL + "/base, and a POST is not sent again"},
		{"a write, on the same origin", "DELETE", srv.URL + "/here" + call, "redirect (301) to " + srv.URL + "/here, and a DELETE"},
		{"a loop", "GET", srv.URL + "/loop", "redirected more than 5 times"},
		{"the same origin", "GET", srv.URL + "/here" + call, ""},
		{"the same origin, without a host", "HEAD", "/here" + call, ""},
	} {
		seen, to = nil, tc.to
		r, err := http.NewRequestWithContext(t.Context(), tc.method, srv.URL+"/base"+call, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("X-API-Key", "key")
		r.Header.Set("Authorization", "Bearer key")
		resp, err := New(secure.Client()).Do(r)
		if err == nil {
			resp.Body.Close()
		}
		var redirected *RedirectError
		switch {
		case tc.want == "":
			if err != nil || len(seen) != 1 || !strings.Contains(seen[0], tc.method+" /here"+call+" keyBearer key") {
				t.Errorf("%s: %v, %q", tc.name, err, seen)
			}
		case !errors.As(err, &redirected) || !strings.Contains(redirected.Error(), tc.want) || strings.Contains(redirected.Error(), "secret"):
			t.Errorf("%s: %v, want %q", tc.name, err, tc.want)
		case len(seen) > 0:
			t.Errorf("%s: %q arrived", tc.name, seen)
		}
	}
}

func TestWhatIsWrongWithAURLOrKeyIsNamed(t *testing.T) {
	for text, want := range map[string]string{
		"http://h": "", "https://h:1/base/": "", "http://[::1]:80": "", "http://user:secret@h": "",
		"": "is empty", "h": "does not begin with http:// or https://", "localhost:8080": "does not begin with http://", "127.0.0.1:8080": "does not begin with http://",
		"ftp://h": "does not begin with http://", "http://": "has no host", "http://:80": "has no host", "http:///x": "has no host",
		"\ufeffhttp://h": "byte order mark", "http://h\r": "carriage return", "http://h\r\n": "carriage return", "http://h\n": "line break", " http://h": "white space",
		"http://h\x00": "control character U+0000", "http://h:port": "invalid port", "http://h/%zz": "invalid URL escape", "http://h?x=1": "leave out what is behind http://h", "http://h/a#b": "leave out what is behind http://h/a",
	} {
		u, err := ParseURL(text)
		if want == "" && (err != nil || strings.HasSuffix(u.String(), "/")) || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %v, %v; want %q", text, u, err, want)
		}
	}
	for key, want := range map[string]string{"": "", "fk_abc": "", "\ufeffsecret": "byte order mark", "secret\r": "carriage return", "sec\nret": "line break", "secret ": "white space", "sec\x01ret": "control character"} {
		err := CheckKey(key)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("key %q: %v; want %q", key, err, want)
		}
	}
}

func TestAnswersOfOthersAreNamed(t *testing.T) {
	for _, tc := range []struct{ kind, body, want string }{
		{"application/json; charset=utf-8", "{}", ""},
		{"Application/JSON", "{}", ""},
		{"text/html; charset=utf-8", "<html>", "answered 200 with a web page (text/html): it may be a proxy or a login page"},
		{"application/json", "", ""}, // no JSON: whoever decodes it says so
		{"", "", "answered 200 with nothing"},
		{"text/plain", "ok", `with "text/plain" instead of application/json`},
		{"a/b/c", "ok", `with "a/b/c" instead`},
	} {
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{tc.kind}
			_, _ = io.WriteString(w, tc.body)
		}))
		resp, err := New(nil).Get(srv.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		srv.Close()
		err = CheckType(resp, "application/json")
		if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
			t.Errorf("%q: %v, want %q", tc.kind, err, tc.want)
		}
	}
	for body, want := range map[string]string{`{"a":1,"b":""}`: "", `{"a":1}`: "b", `{"a":null,"b":1}`: "a", `[]`: "{}", ``: "{}", `{"a":1,"b":2`: "{}"} {
		if got := Missing([]byte(body), "a", "b"); got != want {
			t.Errorf("%s: lacks %q, want %q", body, got, want)
		}
	}
}
