package agent

import (
	"log/slog"
	"testing"
	"time"
)

// What is called now and then beside a task may panic: it is reported, and called again.
func TestEveryContainsPanics(t *testing.T) {
	s := newSupervisor(slog.New(slog.DiscardHandler), 0)
	calls := make(chan int)
	n := 0
	stop := s.every("job", time.Millisecond, func() {
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
	if f := s.report()["job"]; f.Restarts < 3 || f.Error != "panic: a fault" {
		t.Errorf("%+v", f)
	}
}
