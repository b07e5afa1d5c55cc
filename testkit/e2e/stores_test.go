//go:build unix

package e2e

import (
	"path/filepath"
	"slices"
	"strings"
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
		{"LocalStack", s3test.LocalStack, []string{"minio"}, "http"}, // it refuses uploads that Fustor has signed
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
