package agent

import (
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/pipeapi"
)

// Whatever befalls an agent, its report stays below what ingest keeps.
func TestReportIsBounded(t *testing.T) {
	long := strings.Repeat("long\x00", 10_000)
	c := newCounters()
	for _, err := range []error{fs.ErrPermission, fs.ErrNotExist, syscall.ETIMEDOUT, syscall.EIO, errors.New("else")} {
		c.unreadable("/"+long, err)
	}
	readErrors, _ := c.report()
	s := Status{State: "error", RootLost: errors.New(long), ReadErrors: readErrors, LastScan: &pipeapi.LastScan{}, Paused: &pipeapi.Pause{By: "key"}, Tasks: map[string]pipeapi.TaskFailure{}}
	s.Spool.Err = errors.New(long)
	for _, task := range []string{"watch", "scan", "on-demand", "commands", "orders", "sentinel", "upload", "spool", "heartbeat", "lease", "measure", "job", "progress"} {
		s.Tasks[task] = pipeapi.TaskFailure{Error: long, At: time.Now()}
	}
	b, err := json.Marshal(s.report())
	if err != nil || len(b) > 16<<10 || len(s.ReadErrors) != 5 {
		t.Errorf("%d bytes, %v; %d kinds", len(b), err, len(s.ReadErrors))
	}
}
