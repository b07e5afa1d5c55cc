//go:build !reading

package main

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/wait"
)

// TestWatchdogStarvesWhenTheAgentHangs has a probe that does not come back for a while.
func TestWatchdogStarvesWhenTheAgentHangs(t *testing.T) {
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "n"), Net: "unixgram"})
	if err != nil {
		t.Skipf("no Unix datagram sockets here: %v", err)
	}
	defer socket.Close()
	t.Setenv("NOTIFY_SOCKET", socket.LocalAddr().String())
	ctx, cancel := context.WithCancel(t.Context())
	hang, probes := make(chan struct{}), atomic.Int32{}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		feed(ctx, slog.New(slog.DiscardHandler), 10*time.Millisecond, func() {
			if probes.Add(1) == 3 {
				<-hang
			}
		})
	}()
	buffer := make([]byte, 100)
	receive := func(within time.Duration) error {
		_ = socket.SetReadDeadline(time.Now().Add(within))
		_, err := socket.Read(buffer)
		return err
	}
	for range 2 {
		if err := receive(wait.Limit(10 * time.Second)); err != nil {
			t.Fatal("the watchdog is not fed:", err)
		}
	}
	if err := receive(100 * time.Millisecond); err == nil {
		t.Error("the watchdog is fed though the agent hangs")
	}
	close(hang)
	if err := receive(wait.Limit(10 * time.Second)); err != nil {
		t.Error("the watchdog is not fed once the agent goes on:", err)
	}
	cancel()
	<-ended
	if probes.Load() < 3 {
		t.Errorf("%d probes", probes.Load())
	}
}

func TestServeMetrics(t *testing.T) {
	var log strings.Builder
	stop, err := serveMetrics(t.Context(), "127.0.0.1:0", processMetrics(), slog.New(slog.NewTextHandler(&log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	_, address, _ := strings.Cut(strings.TrimSpace(log.String()), "url=")
	for path, want := range map[string]string{address: "go_goroutines ", strings.Replace(address, "/metrics", "/healthz", 1): `"ok"`} {
		response, err := http.Get(path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if !strings.Contains(string(body), want) {
			t.Errorf("%s: %s", path, body)
		}
	}
	stop()
	if _, err := http.Get(address); err == nil {
		t.Error("metrics are still served")
	}
	if _, err := serveMetrics(t.Context(), "nonsense", processMetrics(), slog.New(slog.DiscardHandler)); err == nil {
		t.Error("an address that is none is taken")
	}
}

func TestCheckDoesNotWaitForADeadFileServer(t *testing.T) {
	hang := make(chan struct{})
	defer close(hang)
	err := answersSoon("/mnt/dead", time.Millisecond, func(string) error { <-hang; return nil })
	if err == nil || !strings.Contains(err.Error(), `"/mnt/dead" does not answer`) {
		t.Error(err)
	}
	if err := answersSoon(t.TempDir(), time.Minute, checkDir); err != nil {
		t.Error(err)
	}
}
