//go:build unix

package s3test

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/store/open"
	"github.com/fustor/fustor/testkit/wait"
)

func TestServersServe(t *testing.T) {
	for _, start := range []func(testing.TB) *Server{Versitygw, MinIO} {
		server := start(t)
		for _, sdk := range []string{"s3", "minio"} {
			t.Run(server.Name+" through "+sdk, func(t *testing.T) {
				s, err := open.Open(t.Context(), server.URL(sdk, "a/"+sdk))
				if err != nil {
					t.Fatal(err)
				}
				if _, err := s.Create(t.Context(), "k/1", []byte("body")); err != nil {
					t.Fatal(err)
				}
				server.Kill()
				if _, err := s.Get(t.Context(), "k/1"); err == nil {
					t.Error("a killed server answers")
				}
				server.Start(t)
				object, err := s.Get(t.Context(), "k/1")
				if err != nil || !bytes.Equal(object.Body, []byte("body")) {
					t.Errorf("after a restart: %q, %v", object.Body, err)
				}
			})
		}
	}
}

// TestServerDiesWithTheTest starts this test again in a process that is killed while its server runs.
func TestServerDiesWithTheTest(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux tells a child of its parent's death")
	}
	if os.Getenv("S3TEST_VICTIM") != "" {
		server := Versitygw(t)
		os.Stdout.WriteString("pid " + server.Endpoint() + "\n")
		<-context.Background().Done()
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestServerDiesWithTheTest$")
	cmd.Env = append(os.Environ(), "S3TEST_VICTIM=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line := make([]byte, 256)
	n, err := out.Read(line)
	_ = cmd.Process.Signal(syscall.SIGKILL)
	_ = cmd.Wait()
	address := strings.TrimSpace(strings.TrimPrefix(string(line[:n]), "pid http://"))
	if err != nil || !strings.HasPrefix(address, "127.0.0.1:") {
		t.Fatalf("the victim said %q, %v", line[:n], err)
	}
	deadline := time.After(wait.Limit(10 * time.Second))
	for {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			return // nobody listens
		}
		conn.Close()
		select {
		case <-deadline:
			t.Fatalf("the server on %s outlived its test", address)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
