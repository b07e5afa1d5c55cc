package agent

import (
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/pipeapi"
)

// What is called now and then beside a task may panic: it is reported, and called again.
func TestEveryContainsPanics(t *testing.T) {
	a := &Agent{o: Options{Logger: slog.New(slog.DiscardHandler)}, failures: map[string]taskFailure{}}
	calls := make(chan int)
	n := 0
	stop := a.every("job", time.Millisecond, func() {
		n++
		calls <- n
		panic("a fault")
	})
	for want := 1; want <= 3; want++ {
		if got := <-calls; got != want {
			t.Fatalf("call %d, want %d", got, want)
		}
	}
	go func() {
		for range calls {
		}
	}()
	stop()
	close(calls)
	if f := a.failures["job"]; f.restarts < 3 || f.err != "panic: a fault" {
		t.Errorf("%+v", f)
	}
}

// Whatever befalls an agent, its report stays below what ingest keeps.
func TestReportIsBounded(t *testing.T) {
	long := strings.Repeat("long\x00", 10_000)
	a := &Agent{o: Options{Logger: slog.New(slog.DiscardHandler)}, failures: map[string]taskFailure{}}
	for _, err := range []error{fs.ErrPermission, fs.ErrNotExist, syscall.ETIMEDOUT, syscall.EIO, errors.New("else")} {
		a.countUnreadable("/"+long, err)
	}
	s := Status{State: "error", RootLost: errors.New(long), ReadErrors: a.tally.errors, LastScan: &pipeapi.LastScan{}, Paused: &pipeapi.Pause{By: "key"}, Tasks: map[string]pipeapi.TaskFailure{}}
	s.Spool.Err = errors.New(long)
	for _, task := range []string{"watch", "scan", "on-demand", "commands", "orders", "sentinel", "upload", "spool", "heartbeat", "lease", "measure", "job", "progress"} {
		s.Tasks[task] = pipeapi.TaskFailure{Error: long, At: time.Now()}
	}
	b, err := json.Marshal(s.report())
	if err != nil || len(b) > 16<<10 || len(s.ReadErrors) != 5 {
		t.Errorf("%d bytes, %v; %d kinds", len(b), err, len(s.ReadErrors))
	}
}
