//go:build unix

package e2e

import (
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/s3test"
)

// TestOtherStores runs doctor and the main job on servers that are tried on request, each by a variable of its own
// (testkit/s3test): docs/self-hosting.md has what was seen. On a store that doctor refuses, no part may write.
func TestOtherStores(t *testing.T) {
	for _, c := range []struct {
		name  string
		start func(testing.TB) *s3test.Server
		fit   bool
	}{
		{"rclone", s3test.Rclone, false},
		{"moto", s3test.Moto, true},
		{"LocalStack", s3test.LocalStack, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			server := c.start(t)
			for _, sdk := range []string{"s3", "minio"} {
				verdict := command(t, nil, "doctor", server.URL(sdk, "doctor-"+sdk))
				t.Logf("through %s:\n%s%s", sdk, verdict.stdout, verdict.stderr)
				if fit := verdict.code == 0; fit != c.fit {
					t.Errorf("doctor ends with %d", verdict.code)
				}
			}
			url := server.URL("s3", "job")
			if !c.fit {
				refused := command(t, []string{"FUSTOR_API_KEY=" + apiKey}, "ingest", "--store", url, "--listen", "127.0.0.1:0")
				if refused.code == 0 || !strings.Contains(refused.stderr, "unfit for writing") {
					t.Errorf("ingest on it: %d %s", refused.code, refused.stderr)
				}
				return
			}
			p, dir := startParts(t, url), t.TempDir()
			agent := p.startAgent(dir, "agent-1", "")
			work(t, dir, 70, operationsOf(2_000), nil)
			p.equal(t, dir, time.Now(), patience(20*time.Second))
			for _, each := range []*process{agent, p.ingest, p.compact, p.query} {
				each.Stop()
			}
		})
	}
}
