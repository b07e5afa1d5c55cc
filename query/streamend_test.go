package query

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// streams are the calls that stream.
var streams = []string{"tree", "list", "search?pattern=*", "search?pattern=nothing-of-this-name", "search?pattern=*&limit=1", "tree?explain=true", "reports/largest", "reports/usage?by=owner",
	"reports/histogram?of=size", "reports/empty-directories", "reports/duplicates", "reports/growth?since=0"}

// TestStreamsHaveAnEnd asks every call that streams.
func TestStreamsHaveAnEnd(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	server := httptest.NewServer(f.server.Handler())
	defer server.Close()
	// lines asks over a connection of its own, whose end is that of the answer.
	lines := func(proto, agent, accept, target string) (kind string, all []string) {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		fmt.Fprintf(conn, "GET %s %s\r\nHost: x\r\nConnection: close\r\nX-API-Key: %s\r\nUser-Agent: %s\r\nAccept: %s\r\n\r\n", target, proto, queryKey, agent, accept)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("%s: %d %v %s", target, resp.StatusCode, err, body)
		}
		return resp.Header.Get("Content-Type"), strings.Split(strings.TrimSpace(string(body)), "\n")
	}
	for _, call := range streams {
		target := "/api/v1/views/" + testView + "/" + call
		kind, plain := lines("HTTP/1.1", "curl/8", ndjson, target)
		if kind != ndjson || strings.Contains(plain[len(plain)-1], `"end"`) {
			t.Errorf("%s: unasked, %s ends with %s", call, kind, plain[len(plain)-1])
		}
		entries := 0
		for _, line := range plain {
			if line != "" && !strings.HasPrefix(line, `{"next_cursor"`) && !strings.HasPrefix(line, `{"explain"`) {
				entries++
			}
		}
		want := fmt.Sprintf(`{"end":true,"count":%d}`, entries)
		for _, asked := range [][3]string{{"HTTP/1.1", "curl/8", ndjson + "; end=true"}, {"HTTP/1.0", "curl/8", ndjson}, {"HTTP/1.0", "fustor/0.1", ndjsonEnd}} {
			if kind, got := lines(asked[0], asked[1], asked[2], target); kind != ndjsonEnd || got[len(got)-1] != want {
				t.Errorf("%s, %v: %s ends with %s, want %s", call, asked, kind, got[len(got)-1], want)
			}
		}
		// An earlier build of the command line behind a proxy takes an unknown line for damage.
		if kind, got := lines("HTTP/1.0", "fustor/0.1", ndjson, target); kind != ndjson || strings.Contains(got[len(got)-1], `"end"`) {
			t.Errorf("%s for an earlier build: %s ends with %s", call, kind, got[len(got)-1])
		}
	}
}
