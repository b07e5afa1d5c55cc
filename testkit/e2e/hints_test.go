//go:build unix

package e2e

import (
	"bufio"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/s3test"
)

// TestHints: what an agent uploads reaches the compactor as a hint of ingest, and a version reaches query as one of the compactor.
// Between the two stands a witness, as without hints the same shows a moment later.
func TestHints(t *testing.T) {
	dir := t.TempDir()
	p := startParts(t, s3test.MinIO(t).URL("minio", "hints"))
	address := freeAddress(t)
	p.compact.Stop()
	p.compact = p.start("compact", "--follow", "--store", p.store, "--view", viewID, "--listen", address)

	var mu sync.Mutex
	posted, followed := 0, 0
	witness := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+address+r.URL.Path, r.Body)
		if err != nil {
			panic(err)
		}
		request.Header = r.Header
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer answer.Body.Close()
		w.WriteHeader(answer.StatusCode)
		if r.Method == http.MethodPost {
			mu.Lock()
			posted++
			mu.Unlock()
			return
		}
		for lines := bufio.NewScanner(answer.Body); lines.Scan(); {
			if strings.Contains(lines.Text(), `"`+viewID+`"`) {
				mu.Lock()
				followed++
				mu.Unlock()
			}
			if _, err := w.Write(append(lines.Bytes(), '\n')); err != nil || http.NewResponseController(w).Flush() != nil {
				return
			}
		}
	})}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = witness.Serve(l) }()
	t.Cleanup(func() { witness.Close() })
	hints := []string{"--compactor", "http://" + l.Addr().String()}
	for _, server := range []*process{p.ingest, p.query} {
		server.Stop()
		server.args = append(server.args, hints...)
		server.Restart()
	}
	p.startAgent(dir, "a", "")
	p.equal(t, dir, time.Now(), patience(settle))
	for i := 0; ; i++ {
		if err := os.WriteFile(filepath.Join(dir, "f"), []byte(strings.Repeat("x", i)), 0o644); err != nil {
			t.Fatal(err)
		}
		p.equal(t, dir, time.Now(), patience(settle))
		mu.Lock()
		told := posted > 0 && followed > 0
		mu.Unlock()
		if told {
			return
		}
		if i == 20 {
			t.Fatalf("after %d changes there were %d hints of segments and %d of versions", i, posted, followed)
		}
	}
}
