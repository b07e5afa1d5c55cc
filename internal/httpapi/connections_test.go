package httpapi

import (
	"bufio"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/logs"
	"github.com/fustor/fustor/testkit/wait"
)

// elsewhere is a listener on this machine whose connections come from the addresses that the test says.
type elsewhere struct {
	net.Listener
	from chan string
}

func (l elsewhere) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	address, err := net.ResolveTCPAddr("tcp", <-l.from)
	return remoteConn{c, address}, err
}

type remoteConn struct {
	net.Conn
	from net.Addr
}

func (c remoteConn) RemoteAddr() net.Addr { return c.from }

// limited is a server with a limit, and what it logs.
type limited struct {
	t    *testing.T
	from chan string
	addr string

	log logs.Buffer
}

func limitedServer(t *testing.T, limit int) *limited {
	t.Helper()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := &limited{t: t, from: make(chan string, 1), addr: inner.Addr().String()}
	bounded := LimitConnections(elsewhere{inner, l.from}, limit, slog.New(slog.NewTextHandler(&l.log, nil)))
	server := &http.Server{ConnContext: bounded.Context, Handler: bounded.Wrap(CORS{[]string{page}}, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "served")
	}))}
	go func() { _ = server.Serve(bounded) }()
	t.Cleanup(func() { server.Close() })
	return l
}

// ask opens a connection from an address, and asks on it. It stays open unless the server ends it. status 0: there was no answer.
func (l *limited) ask(from string) (c net.Conn, status int, body string) {
	l.t.Helper()
	l.from <- from
	c = dial(l.t, l.addr, "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nbody")
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return c, 0, ""
	}
	all, err := io.ReadAll(resp.Body)
	if err != nil {
		l.t.Fatal(err)
	}
	if closes := resp.Close; closes != (resp.StatusCode == http.StatusTooManyRequests) {
		l.t.Errorf("%d, and the connection ends: %v", resp.StatusCode, closes)
	}
	return c, resp.StatusCode, string(all)
}

// An address has as many connections as it may, and no other address notices; the next is told so, and closed ones count no more.
func TestConnectionsOfAnAddress(t *testing.T) {
	for _, c := range []struct{ name, one, sameHost, other string }{
		{"IPv4", "192.0.2.1:1000", "192.0.2.1:1001", "192.0.2.2:1000"},
		{"IPv6, by /64", "[2001:db8::1]:1000", "[2001:db8::2]:1000", "[2001:db8:0:1::1]:1000"},
		{"IPv4 in IPv6", "[::ffff:192.0.2.1]:1000", "192.0.2.1:1001", "[::ffff:192.0.2.2]:1001"},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := limitedServer(t, 3)
			var open []net.Conn
			for range 3 {
				conn, status, _ := l.ask(c.one)
				if status != 200 {
					t.Fatal(status)
				}
				open = append(open, conn)
			}
			_, status, body := l.ask(c.sameHost)
			var p ProblemBody
			if err := json.Unmarshal([]byte(body), &p); err != nil || status != 429 || !strings.Contains(p.Detail, "3 connections") || !strings.Contains(p.Hint, "--connections-per-address") {
				t.Errorf("the fourth: %d %q, %v", status, body, err)
			}
			if _, status, _ := l.ask(c.other); status != 200 {
				t.Errorf("another address: %d", status)
			}
			open[0].Close()
			wait.For(t, 10*time.Second, "another may come once one was closed", func() bool {
				_, status, _ := l.ask(c.sameHost)
				return status == 200
			})
			if n := l.log.Count("connections are refused"); n != 1 {
				t.Errorf("it is logged %d times: %s", n, l.log.String())
			}
		})
	}
}

// Whoever opens more and more connections without a request gets no more of them than a few beyond the limit.
func TestConnectionsBeyondAnswers(t *testing.T) {
	l := limitedServer(t, 2)
	for range 2 + refusals {
		l.from <- "192.0.2.1:1000"
		dial(t, l.addr, "GET / HT")
	}
	l.from <- "192.0.2.1:1000"
	c := dial(t, l.addr, "")
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if b, err := io.ReadAll(c); len(b) > 0 || err != nil && strings.Contains(err.Error(), "timeout") {
		t.Errorf("%q, %v", b, err)
	}
	if _, status, _ := l.ask("192.0.2.2:1000"); status != 200 {
		t.Errorf("another address: %d", status)
	}
}

// A limit of 0 is none, and this machine's own connections, such as a proxy's, have none.
func TestConnectionsWithoutALimit(t *testing.T) {
	none, proxied := limitedServer(t, 0), limitedServer(t, 1)
	for range 20 {
		for l, from := range map[*limited]string{none: "192.0.2.1:1000", proxied: "127.0.0.9:1000"} {
			if _, status, _ := l.ask(from); status != 200 {
				t.Fatalf("%s: %d", from, status)
			}
		}
	}
}
