package ingest

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
)

// TestSlowUploadsOfAView announces all the bytes that a view may have in memory, in uploads whose bodies never come: those of another view
// go through meanwhile.
func TestSlowUploadsOfAView(t *testing.T) {
	u := newUploads(maxUploadMemory, maxViewUploads)
	ctx := t.Context()
	for range 8 {
		go func() {
			release, err := u.acquire(ctx, "hostile", maxSegment)
			if err == nil {
				<-ctx.Done()
				release()
			}
		}()
	}
	for range 100 {
		within, cancel := context.WithTimeout(ctx, time.Minute)
		release, err := u.acquire(within, "other", maxSegment)
		cancel()
		if err != nil {
			t.Fatal(err)
		}
		release()
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := u.acquire(ended, "third", 1); err == nil {
		t.Error("an ended upload was let in")
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ofView["other"] != nil || u.ofView["third"] != nil {
		t.Errorf("views are remembered that have no uploads: %v", u.ofView)
	}
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
