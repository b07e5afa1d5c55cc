package query

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/httpapi"
)

// answer10 is what a client that speaks HTTP/1.0 has got when its connection ends.
type answer10 struct {
	status int
	header map[string]string // by names in lower case
	body   []byte
	broken bool // the connection, or the client, says that the answer is not whole
}

// whole reports whether the client may take the answer for complete.
func (a answer10) whole() bool {
	if a.broken {
		return false
	}
	if length, ok := a.header["content-length"]; ok {
		return length == strconv.Itoa(len(a.body))
	}
	if a.header["content-type"] == "application/json" { // complete at the brace that closes it
		return json.Valid(a.body)
	}
	lines := bytes.Split(bytes.TrimSuffix(a.body, []byte("\n")), []byte("\n"))
	return strings.HasPrefix(a.header["content-type"], ndjson) && string(lines[len(lines)-1]) == fmt.Sprintf(`{"end":true,"count":%d}`, len(lines)-1-others(lines))
}

// others are the lines of a stream that are no entries, but for its end.
func others(lines [][]byte) (n int) {
	for _, l := range lines {
		if bytes.HasPrefix(l, []byte(`{"next_cursor"`)) || bytes.HasPrefix(l, []byte(`{"explain"`)) {
			n++
		}
	}
	return n
}

func parse10(t *testing.T, all []byte, broken bool) answer10 {
	t.Helper()
	head, body, ok := bytes.Cut(all, []byte("\r\n\r\n"))
	a := answer10{header: map[string]string{}, body: body, broken: broken}
	lines := strings.Split(string(head), "\r\n")
	if _, err := fmt.Sscanf(lines[0], "HTTP/1.%d %d", new(int), &a.status); err != nil || !ok {
		t.Fatalf("no answer: %q", all)
	}
	for _, line := range lines[1:] {
		name, value, _ := strings.Cut(line, ": ")
		a.header[strings.ToLower(name)] = value
	}
	return a
}

// byNetcat sends a request as a person does with nc: no header but the key.
func byNetcat(t *testing.T, address, target, accept string) answer10 {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Minute))
	fmt.Fprintf(conn, "GET %s HTTP/1.0\r\nX-API-Key: %s\r\nAccept: %s\r\n\r\n", target, queryKey, accept)
	all, err := io.ReadAll(conn)
	if err != nil && !errors.Is(err, syscall.ECONNRESET) {
		t.Fatal(err)
	}
	return parse10(t, all, err != nil)
}

func byCurl(t *testing.T, address, target, accept string) answer10 {
	t.Helper()
	curl := exec.Command("curl", "--http1.0", "-sS", "-i", "--max-time", "120", "--noproxy", "*", "-H", "X-API-Key: "+queryKey, "-H", "Accept: "+accept, "http://"+address+target)
	curl.Env = append(os.Environ(), "HOME="+t.TempDir()) // no .curlrc
	all, err := curl.Output()
	if failed := new(exec.ExitError); err != nil && !errors.As(err, &failed) {
		t.Fatal(err)
	}
	return parse10(t, all, err != nil)
}

// TestHTTP10: without compression and without chunks, an answer is whole, or the client can see that it is not: it has a length or an end
// record, and one that was given up has neither, and ends with a reset.
func TestHTTP10(t *testing.T) {
	good := newFixture(t)
	good.base(testView, sample())
	clients := map[string]func(t *testing.T, address, target, accept string) answer10{"netcat": byNetcat}
	if _, err := exec.LookPath("curl"); err == nil {
		clients["curl"] = byCurl
	} else {
		t.Log("curl is not installed")
	}
	for _, c := range []struct {
		name string
		f    *fixture
	}{{"whole", good}, {"cut", brokenInTheMiddle(t)}} {
		limit := httpapi.LimitConnections(mustListen(t), 0, slog.New(slog.DiscardHandler))
		server := httptest.NewUnstartedServer(httpapi.Pace{}.Wrap(limit.Wrap(httpapi.CORS{}, c.f.server.Handler())))
		server.Listener.Close()
		server.Listener, server.Config.ConnContext = limit, limit.Context
		server.Start()
		defer server.Close()
		for name, ask := range clients {
			t.Run(c.name+"/"+name, func(t *testing.T) {
				cut := 0
				for _, call := range append(streams, "metadata?path=/", "stats", "versions", "sessions", "metadata?path=/none") {
					for _, accept := range []string{"*/*", ndjson, ndjsonEnd} {
						a := ask(t, limit.Addr().String(), "/api/v1/views/"+testView+"/"+call, accept)
						if a.header["content-encoding"] != "" || a.header["transfer-encoding"] != "" {
							t.Fatalf("%s: %v", call, a.header)
						}
						switch gaveUp := bytes.Contains(a.body, []byte(`"status":502`)); {
						case c.f == good && !a.whole(), a.status >= 400 && !a.whole():
							t.Errorf("%s as %s is whole, and does not look so: %+v, %d bytes", call, accept, a.header, len(a.body))
						case a.status == 200 && gaveUp && (!a.broken || a.whole()):
							t.Errorf("%s as %s was given up, and looks whole: %+v, %.300s", call, accept, a.header, a.body)
						case a.status == 200 && gaveUp:
							cut++
						}
					}
				}
				if c.f != good && cut < 4 {
					t.Errorf("%d streams were cut", cut)
				}
			})
		}
	}
}

func mustListen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}
