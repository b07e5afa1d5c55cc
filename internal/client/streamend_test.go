package client

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// TestAStreamMustHaveItsEnd has a server that promises an end record, and what may come of it on the way. The answers are of HTTP/1.0:
// their end is that of the connection, as behind a proxy.
func TestAStreamMustHaveItsEnd(t *testing.T) {
	const one, two = `{"path":"/1","content_type":"file"}` + "\n", `{"path":"/2","content_type":"file"}` + "\n"
	for _, tc := range []struct{ name, kind, body, want string }{
		{"whole", "application/x-ndjson;end=true", one + two + `{"members":[{"view":"a","status":"ok"}]}` + "\n" + `{"end":true,"count":2}` + "\n", ""},
		{"empty and whole", "application/x-ndjson; end=true", `{"end":true,"count":0}` + "\n", ""},
		{"cut off between lines", "application/x-ndjson;end=true", one, "ended early, after 1 entry: its end record is missing"},
		{"cut off at once", "application/x-ndjson;end=true", "", "ended early, after 0 entries: its end record is missing"},
		{"a line lost", "application/x-ndjson;end=true", one + `{"end":true,"count":2}` + "\n", "ended early, after 1 entry: its end record counts 2"},
		{"of an earlier build", "application/x-ndjson", one + two, ""},
		{"of a proxy", "text/html", "<html>", "with a web page (text/html)"},
		{"nothing", "", "", "with nothing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := serve(t, func(w http.ResponseWriter, r *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				length := ""
				if tc.kind == "" {
					length = "Content-Length: 0\r\n"
				}
				fmt.Fprintf(conn, "HTTP/1.0 200 OK\r\nContent-Type: %s\r\n%s\r\n%s", tc.kind, length, tc.body)
			})
			err := c.Tree(context.Background(), "/", -1, true, func(*Node) error { return nil })
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("error %v, want %q", err, tc.want)
			}
		})
	}
}
