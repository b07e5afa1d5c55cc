package httpapi

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestClientBehindProxies(t *testing.T) {
	proxies, err := ParseProxies([]string{"10.1.2.0/24", "2001:db8::1"})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		from, xff, forwarded, want string
	}{
		{"192.0.2.7:1", "", "", "192.0.2.7"},
		{"192.0.2.7:1", "203.0.113.9", "for=203.0.113.9", "192.0.2.7"}, // no proxy
		{"10.1.2.3:1", "", "", "10.1.2.3"},
		{"10.1.2.3:1", "203.0.113.9", "", "203.0.113.9"},
		{"10.1.2.3:1", "198.51.100.1, 203.0.113.9", "", "203.0.113.9"}, // the client says it is another one
		{"10.1.2.3:1", "198.51.100.1,203.0.113.9 ,10.1.2.9", "", "203.0.113.9"},
		{"10.1.2.3:1", "10.1.2.7, 10.1.2.9", "", "10.1.2.7"}, // a proxy asks for itself
		{"10.1.2.3:1", "203.0.113.9, unknown", "", "10.1.2.3"},
		{"10.1.2.3:1", "unknown, 10.1.2.9", "", "10.1.2.9"},
		{"10.1.2.3:1", "203.0.113.9:4711", "", "203.0.113.9"},
		{"10.1.2.3:1", "[2001:db8::5]:4711", "", "2001:db8::5"},
		{"10.1.2.3:1", "::ffff:203.0.113.9", "", "203.0.113.9"},
		{"10.1.2.3:1", "203.0.113.9", "for=198.51.100.1", "203.0.113.9"},
		{"10.1.2.3:1", "", `for=198.51.100.1;proto=https, For="[2001:db8::5]:47";by=10.1.2.9`, "2001:db8::5"},
		{"10.1.2.3:1", "", "for=198.51.100.1, proto=https", "10.1.2.3"},
		{"[2001:db8::1]:1", "203.0.113.9", "", "203.0.113.9"},
		{"[2001:db8::2]:1", "203.0.113.9", "", "2001:db8::2"},
		{"@", "203.0.113.9", "", "@"}, // a Unix socket
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.from
		if c.xff != "" {
			r.Header.Set("X-Forwarded-For", c.xff)
		}
		if c.forwarded != "" {
			r.Header.Set("Forwarded", c.forwarded)
		}
		got := ""
		proxies.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = ClientIP(r) })).ServeHTTP(nil, r)
		if got != c.want {
			t.Errorf("from %s, X-Forwarded-For %q, Forwarded %q: the client is %s, want %s", c.from, c.xff, c.forwarded, got, c.want)
		}
	}
	for _, text := range []string{"", "x", "10.1.2.0/33", "::ffff:10.1.2.3", "fe80::1%eth0"} {
		if _, err := ParseProxies([]string{text}); err == nil {
			t.Errorf("%q is taken for a network", text)
		}
	}
}

// TestLimitPerForwardedClient: the connections of a proxy are not counted, but the requests under way of each client behind it are.
func TestLimitPerForwardedClient(t *testing.T) {
	proxies, err := ParseProxies([]string{"10.1.2.3"})
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	limit := LimitConnections(nil, 2, slog.New(slog.NewTextHandler(&log, nil)))
	busy, end := make(chan bool), make(chan bool)
	h := proxies.Wrap(limit.Wrap(CORS{}, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		busy <- true
		<-end
	})))
	ask := func(client string) int {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "10.1.2.3:1"
		r.Header.Set("X-Forwarded-For", client)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Code
	}
	done := make(chan int)
	for _, client := range []string{"203.0.113.9", "203.0.113.9", "198.51.100.1"} {
		go func() { done <- ask(client) }()
		<-busy
	}
	if code := ask("203.0.113.9"); code != http.StatusTooManyRequests || !strings.Contains(log.String(), "client=203.0.113.9") {
		t.Errorf("a third request of one client is answered with %d, log %q", code, log.String())
	}
	for range 3 {
		end <- true
	}
	for range 3 {
		if code := <-done; code != http.StatusOK {
			t.Errorf("answered with %d", code)
		}
	}
	go func() { done <- ask("203.0.113.9") }()
	<-busy
	end <- true
	if code := <-done; code != http.StatusOK {
		t.Errorf("after they ended it is answered with %d", code)
	}
}
