package agent

import (
	"log/slog"
	"testing"
	"time"
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
