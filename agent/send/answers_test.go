package send

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/agent/pipe"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/testkit/wronganswers"
)

// TestEveryCallChecksItsAnswer makes every call, by its name, with every answer that is none: no call may take one for success, and the
// key reaches nobody but the ingest.
func TestEveryCallChecksItsAnswer(t *testing.T) {
	segment := pipe.Segment{View: "v", Session: "s", Body: []byte("x")}
	calls := map[string]func(context.Context, *Client) error{
		"KeyView": func(ctx context.Context, c *Client) error { _, err := c.KeyView(ctx); return err },
		"CreateSession": func(ctx context.Context, c *Client) error {
			_, err := c.CreateSession(ctx, pipeapi.Registration{Task: "t"})
			return err
		},
		"Heartbeat": func(ctx context.Context, c *Client) error {
			_, err := c.Heartbeat(ctx, "s", pipeapi.Heartbeat{})
			return err
		},
		"Commands":     func(ctx context.Context, c *Client) error { _, err := c.Commands(ctx, "s", time.Second); return err },
		"ReportJob":    func(ctx context.Context, c *Client) error { return c.ReportJob(ctx, "s", "j", job.Report{}) },
		"Suspects":     func(ctx context.Context, c *Client) error { _, err := c.Suspects(ctx); return err },
		"CloseSession": func(ctx context.Context, c *Client) error { return c.CloseSession(ctx, "s") },
		"upload":       func(ctx context.Context, c *Client) error { return NewIngest(c, nil).Send(ctx, segment) },
		"through":      func(ctx context.Context, c *Client) error { return NewThrough(c).Send(ctx, segment) },
	}
	for i := range reflect.TypeFor[*Client]().NumMethod() {
		if name := reflect.TypeFor[*Client]().Method(i).Name; calls[name] == nil {
			t.Errorf("%s is not in the table", name)
		}
	}
	wronganswers.Each(t, func(answer, url string, check func(string, error)) {
		c, err := NewClient(url, "key", "v", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, call := range calls {
			if answer != wronganswers.NoField {
				check(name, call(t.Context(), c))
			} else if name != "Suspects" { // where that there are none
				err := call(t.Context(), c)
				if check(name, err); err != nil && !strings.Contains(err.Error(), `without "`) {
					t.Errorf("%s, answered without a field: error %v", name, err)
				}
			}
		}
	})
}

// A presigned upload that is redirected to a page was no upload, and the page's answer is no store's.
func TestAnUploadThatAPageAnswersIsNotStored(t *testing.T) {
	for path, want := range map[string]string{"/moved": "answered a redirect (302)", "/page": "with a web page"} {
		bucket := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/moved" {
				http.Redirect(w, r, "/login?secret=1", http.StatusFound)
				return
			}
			w.Header().Set("Content-Type", "text/html")
		}))
		s := NewIngest(newClient(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(pipeapi.Uploads{Uploads: []pipeapi.Grant{{Upload: store.Upload{Method: "PUT", URL: bucket.URL + path, Expires: time.Now().Add(time.Hour)}}}})
		})), nil)
		if err := s.Send(t.Context(), pipe.Segment{Session: "s", Body: []byte("x")}); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: error %v, want %q", path, err, want)
		}
		bucket.Close()
	}
}
