//go:build unix

package e2e

import (
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/s3test"
)

// TestOtherStores runs doctor and the main job on servers that are tried on request, each by a variable of its own
// (testkit/s3test): docs/self-hosting.md has what was seen. On a store that doctor refuses, no part may write.
func TestOtherStores(t *testing.T) {
	for _, c := range []struct {
		name    string
		start   func(testing.TB) *s3test.Server
		refused []string // through these
		sender  string
	}{
		{"rclone", s3test.Rclone, []string{"s3", "minio"}, ""},
		{"SeaweedFS", s3test.SeaweedFS, nil, "upload"},
		{"moto", s3test.Moto, nil, "upload"},
		{"LocalStack", s3test.LocalStack, []string{"minio"}, "upload"}, // it refuses uploads that Fustor has signed: they go through ingest
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := c.start(t)
			for _, sdk := range []string{"s3", "minio"} {
				verdict := command(t, nil, "doctor", server.URL(sdk, "doctor-"+sdk))
				t.Logf("through %s:\n%s%s", sdk, verdict.stdout, verdict.stderr)
				slow := strings.Contains(verdict.stdout, "no end within") // SeaweedFS, at times: a race of 32 takes five seconds and more
				if refused := verdict.code != 0; refused != slices.Contains(c.refused, sdk) && !slow {
					t.Errorf("doctor ends with %d", verdict.code)
				}
			}
			url := server.URL("s3", "job")
			if slices.Contains(c.refused, "s3") {
				refused := command(t, []string{"FUSTOR_API_KEY=" + apiKey}, "ingest", "--store", url, "--listen", "127.0.0.1:0")
				if refused.code == 0 || !strings.Contains(refused.stderr, "unfit for writing") {
					t.Errorf("ingest on it: %d %s", refused.code, refused.stderr)
				}
				return
			}
			p, dir := startParts(t, url), t.TempDir()
			agent := start(t, p.env, "agent", dir, "--ingest", p.ingestURL, "--view", viewID, "--agent-id", "agent-1", "--sender", c.sender,
				"--state", filepath.Join(t.TempDir(), "session.json"))
			work(t, dir, 70, operationsOf(2_000), nil)
			p.equal(t, dir, time.Now(), patience(20*time.Second))
			for _, each := range []*process{agent, p.ingest, p.compact, p.query} {
				each.Stop()
			}
		})
	}
}

// TestStoreRefusesSignedUploads has a MinIO answer 403 to every upload that ingest has signed: the agent sends through ingest by
// itself and says so once. Its next session finds that they are taken again.
func TestStoreRefusesSignedUploads(t *testing.T) {
	t.Parallel()
	minio := s3test.MinIO(t)
	endpoint, err := url.Parse(minio.Endpoint())
	if err != nil {
		t.Fatal(err)
	}
	var takes atomic.Bool
	var refused, taken atomic.Int64
	forward := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(endpoint)
		r.Out.Host = r.In.Host // which is signed
	}}
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPut && r.URL.Query().Has("X-Amz-Signature") {
			if !takes.Load() {
				refused.Add(1)
				http.Error(w, "<Code>AccessDenied</Code>", http.StatusForbidden)
				return
			}
			taken.Add(1)
		}
		forward.ServeHTTP(w, r)
	}))
	t.Cleanup(front.Close)
	through, err := url.Parse(minio.URL("minio", "refuses"))
	if err != nil {
		t.Fatal(err)
	}
	through.Host = strings.TrimPrefix(front.URL, "http://")
	p, dir := startParts(t, through.String()), t.TempDir()
	agent := p.startAgent(dir, "agent-1", "")
	work(t, dir, 71, operationsOf(2_000), nil)
	p.equal(t, dir, time.Now(), patience(20*time.Second))
	if refused.Load() != 2 || taken.Load() != 0 {
		t.Errorf("%d uploads were refused, %d taken", refused.Load(), taken.Load())
	}
	if n := strings.Count(agent.log.String(), "this session's segments go through ingest"); n != 1 {
		t.Errorf("the log says it %d times", n)
	}
	eventually(t, patience(30*time.Second), "the session says why", func() bool {
		return strings.Contains(p.ask(t, "sessions", "--json").stdout, `"uploads_refused":"the object store answers 403: `)
	})

	takes.Store(true)
	agent.Stop()
	agent.Restart()
	if err := os.WriteFile(filepath.Join(dir, "of the next session"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	p.equal(t, dir, time.Now(), patience(20*time.Second))
	if refused.Load() != 2 || taken.Load() == 0 {
		t.Errorf("the next session: %d uploads were refused, %d taken", refused.Load(), taken.Load())
	}
	if said := p.ask(t, "sessions", "--json").stdout; strings.Contains(said, "uploads_refused") {
		t.Errorf("the next session says: %s", said)
	}
}
