//go:build linux

package e2e

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/s3test"
)

// TestStoreIsDownUnderLoad has nobody reach the store while the tree changes all the time: neither the agent nor the ingest that
// keeps its session. The agent's memory stays bounded, and afterwards nothing is missing.
func TestStoreIsDownUnderLoad(t *testing.T) {
	t.Parallel()
	dir := inMemory(t)
	minio := s3test.MinIO(t)
	direct := minio.URL("minio", "down")
	line := newLine(t, minio.Endpoint())
	o := observe(t, observation{dir: dir, store: direct, via: line.over(direct)})
	before, _ := o.agent.memory()

	line.cut()
	minio.Pause()
	stop := load(t, filepath.Join(dir, "work"), 150)
	c := startChurn(t, filepath.Join(dir, "churn"), 1)
	awaitPause(shortOr(12*time.Second, 10*time.Minute))
	operations, rate := c.stop()
	atEnd, _ := o.agent.memory()
	minio.Continue()
	line.mend()
	awaitPause(shortOr(time.Second, 10*time.Second))
	n := stop()
	t.Logf("while the store was down: %d changes of every kind, and %d creates, renames and deletes, %.0f a second; the agent took %d MB before and %d MB at the end",
		n, operations, rate, before>>20, atEnd>>20)
	o.same(shortOr(60*time.Second, 5*time.Minute))
	o.agent.staysBelow(churnMemory)
}
