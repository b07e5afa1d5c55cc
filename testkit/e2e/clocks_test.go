//go:build linux

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/s3test"
)

// TestClockIsSetBetweenStarts has the host's clock be set hours forward and back each time while its agent is down, with events
// of before still in the spool: they keep their time, and what comes after counts as later. (A clock that is set while the agent
// runs is in testkit/sim; one that is off all the time, in TestHosts.)
func TestClockIsSetBetweenStarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	minio := s3test.MinIO(t)
	url := minio.URL("minio", "clocks")
	line := newLine(t, minio.Endpoint())
	state := t.TempDir()
	o := observe(t, observation{dir: dir, store: url, state: filepath.Join(state, "session.json"), via: line.over(url), more: []string{"--clock-offset=0s"}})
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for i, offset := range shortOr([]string{"3h", "-5h"}, []string{"3h", "-5h", "20h", "-1000h", "0s", "10s", "-10s", "87600h"}) {
		line.cut()
		write("both", fmt.Sprint("before ", offset))
		fill(t, filepath.Join(dir, fmt.Sprint("outage", i)), uint64(160+i))
		eventually(t, patience(20*time.Second), "events are in the spool", func() bool {
			files, _ := filepath.Glob(filepath.Join(state, "session.spool", viewID, "*.seg"))
			return len(files) > 0
		})
		o.agent.Kill()
		o.agent.args[len(o.agent.args)-1] = "--clock-offset=" + offset
		from := len(o.agent.log.String())
		o.agent.Restart()
		o.agent.says(covered, from)
		write("both", fmt.Sprint("with the clock at ", offset))
		line.mend()
		fill(t, filepath.Join(dir, fmt.Sprint("after", i)), uint64(180+i))
		o.same(30 * time.Second)
		if at := time.Unix(0, o.head().ObservedAt); time.Since(at).Abs() > patience(10*time.Second) {
			t.Errorf("with the clock at %s the last event was observed at %v, and it is %v", offset, at, time.Now())
		}
	}
}
