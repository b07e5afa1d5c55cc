package ingest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/testkit/wait"
)

// TestSlowUploads announces as many bytes as may be in memory, in uploads whose bodies never come: those by one key leave room for other keys
// of the view, and those of a view, by whatever key, leave room for other views.
func TestSlowUploads(t *testing.T) {
	segments, batches := newFixture(t, 1).ingests[0].uploads, newFixture(t, 1).ingests[0].v2.bodies
	for name, hostile := range map[string]func(n int) (key, view string){
		"by a key, to one view":   func(int) (string, string) { return "hostile", "shared" },
		"by a key, to many views": func(n int) (string, string) { return "hostile", fmt.Sprint("view-", n) },
		"to a view, by many keys": func(n int) (string, string) { return fmt.Sprint("hostile-", n), "crowded" },
	} {
		for what, u := range map[string]*uploads{"segments": segments, "batches": batches} {
			t.Run(name+"/"+what, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				var done sync.WaitGroup
				defer done.Wait()
				defer cancel()
				for n := range 64 {
					key, view := hostile(n)
					done.Go(func() {
						if release, err := u.acquire(ctx, key, view, u.ofKey); err == nil {
							<-ctx.Done()
							release()
						}
					})
				}
				for range 100 {
					release, err := u.acquire(ctx, "other", "shared", u.ofKey/4)
					if err != nil {
						t.Fatal(err)
					}
					release()
				}
				cancel()
				done.Wait()
				if _, err := u.acquire(ctx, "third", "shared", 1); !errors.Is(err, context.Canceled) {
					t.Errorf("an ended upload: %v", err)
				}
				if len(u.shares) != 0 {
					t.Errorf("shares are remembered that nobody uses: %v", u.shares)
				}
			})
		}
	}
}

// TestUploadsOfAKey begins more uploads by a key than may be under way: those beyond are refused, and other keys' are not.
func TestUploadsOfAKey(t *testing.T) {
	f := newFixture(t, 1)
	session, id := f.create(0, "a")
	never, end := io.Pipe()
	for n := range maxKeyUploads {
		go func() {
			r := httptest.NewRequest("PUT", fmt.Sprint(session, "/segments/", n+1), never)
			r.ContentLength = 1
			r.Header.Set("X-API-Key", agentKey)
			f.ingests[0].Handler().ServeHTTP(httptest.NewRecorder(), r)
		}()
	}
	u := f.ingests[0].uploads
	wait.For(t, time.Minute, "uploads under way", func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return slices.ContainsFunc(slices.Collect(maps.Values(u.shares)), func(s *share) bool { return s.users == maxKeyUploads })
	})
	body := segment(t, event.Header{View: view, Session: id, Seq: 0})
	refused := f.want(f.send(f.ingests[0], agentKey, "PUT", session+"/segments/0", body), http.StatusTooManyRequests)
	if !strings.Contains(refused.text("detail"), "256 uploads") || refused.header.Get("Retry-After") == "" {
		t.Error(refused.body, refused.header)
	}
	end.CloseWithError(io.ErrUnexpectedEOF)
	wait.For(t, time.Minute, "the end of those", func() bool {
		u.mu.Lock()
		defer u.mu.Unlock()
		return len(u.shares) == 0
	})
	f.want(f.send(f.ingests[0], agentKey, "PUT", session+"/segments/0", body), 200)
}

// TestSegmentsSayTheirLength refuses a body of unknown length before it comes.
func TestSegmentsSayTheirLength(t *testing.T) {
	f := newFixture(t, 1)
	session, id := f.create(0, "a")
	server := httptest.NewServer(f.ingests[0].Handler())
	defer server.Close()
	conn, err := net.Dial("tcp", strings.TrimPrefix(server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "PUT %s/segments/0 HTTP/1.1\r\nHost: x\r\nX-API-Key: %s\r\nTransfer-Encoding: chunked\r\n\r\n", session, agentKey)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(response.Body)
	if response.StatusCode != http.StatusLengthRequired || !strings.Contains(string(body), "Content-Length") {
		t.Errorf("%d %s", response.StatusCode, body)
	}
	f.want(f.send(f.ingests[0], agentKey, "PUT", session+"/segments/0", segment(t, event.Header{View: view, Session: id, Seq: 0})), 200)
}
