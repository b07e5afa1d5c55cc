//go:build unix

// Package s3test runs real S3 servers for tests: MinIO and versitygw, built from the modules in testkit/servers, each with a
// fresh directory on a free loopback port. Others run where they are asked for (others.go).
//
// A server ends with its test, and on Linux also when the test's process is killed. All servers have the same fixed
// credentials, which are put into the environment of the test's process and so of its children. Every package whose
// tests need a store that is not a directory uses it.
package s3test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	miniogo "github.com/minio/minio-go/v7"
	"github.com/minio/minio-go/v7/pkg/credentials"

	"github.com/fustor/fustor/testkit/child"
	"github.com/fustor/fustor/testkit/wait"
)

// The credentials of every server.
const (
	AccessKey = "fustor-test"
	SecretKey = "fustor-test-secret"
	Region    = "us-east-1"
)

// bucket is the one that every server has from the start.
const bucket = "fustor"

// startLimit is how long a server may take to answer; buildLimit, how long it may take to be built.
var (
	startLimit = wait.Limit(time.Minute)
	buildLimit = 40 * time.Minute
)

// Server is a running S3 server and one of its buckets.
type Server struct {
	Name   string // minio, versitygw, rclone, …
	Bucket string
	*process
}

// process is what the views on several buckets of one server share.
type process struct {
	address string // host:port
	dir     string
	command func(address, dir string) *exec.Cmd

	mu   sync.Mutex
	cmd  *exec.Cmd
	done <-chan struct{} // closed when cmd has ended
}

// MinIO starts a MinIO server that ends with the test.
func MinIO(t testing.TB) *Server {
	t.Helper()
	return start(t, "minio", func(bin, address, dir string) *exec.Cmd {
		cmd := exec.Command(bin, "server", "--quiet", "--address", address, filepath.Join(dir, "data"))
		cmd.Env = append(os.Environ(), "MINIO_ROOT_USER="+AccessKey, "MINIO_ROOT_PASSWORD="+SecretKey, "MINIO_BROWSER=off",
			"MINIO_UPDATE=off", "MINIO_CALLHOME_ENABLE=off", "HOME="+dir)
		return cmd
	})
}

// Versitygw starts a versitygw server over a directory, with its metadata in extended attributes.
func Versitygw(t testing.TB) *Server {
	t.Helper()
	return start(t, "versitygw", func(bin, address, dir string) *exec.Cmd {
		return exec.Command(bin, "--access", AccessKey, "--secret", SecretKey, "--region", Region, "--port", address, "--quiet",
			"posix", filepath.Join(dir, "data"))
	})
}

func start(t testing.TB, name string, command func(bin, address, dir string) *exec.Cmd) *Server {
	t.Helper()
	setenv()
	ctx, cancel := context.WithTimeout(context.Background(), buildLimit)
	defer cancel()
	bin, err := binary(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	return run(t, name, func(address, dir string) *exec.Cmd { return command(bin, address, dir) })
}

// run runs a server that is built.
func run(t testing.TB, name string, command func(address, dir string) *exec.Cmd) *Server {
	t.Helper()
	setenv()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o755); err != nil {
		t.Fatal(err)
	}
	p := &process{dir: dir, command: command}
	t.Cleanup(p.Kill)
	for try := 1; ; try++ { // another process may take the port before the server does
		p.address = freePort(t)
		err := p.startProcess()
		if err == nil {
			break
		}
		if try == 3 {
			t.Fatalf("start %s: %v", name, err)
		}
	}
	return (&Server{Name: name, process: p}).WithBucket(t, bucket)
}

// setenv makes the credentials those of the test's process, and keeps the developer's own out.
func setenv() {
	for _, line := range Env() {
		name, value, _ := strings.Cut(line, "=")
		os.Setenv(name, value)
	}
}

// Env is what a process needs in its environment to use the servers, as NAME=value. The test's own has it already.
func Env() []string {
	return []string{
		"AWS_ACCESS_KEY_ID=" + AccessKey, "AWS_SECRET_ACCESS_KEY=" + SecretKey, "AWS_REGION=" + Region, "AWS_SESSION_TOKEN=",
		"AWS_PROFILE=", "AWS_CONFIG_FILE=" + os.DevNull, "AWS_SHARED_CREDENTIALS_FILE=" + os.DevNull, "AWS_EC2_METADATA_DISABLED=true",
	}
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// WithBucket is the same server with another, new bucket.
func (s *Server) WithBucket(t testing.TB, name string) *Server {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	client, err := s.client()
	if err == nil {
		err = client.MakeBucket(ctx, name, miniogo.MakeBucketOptions{Region: Region})
	}
	if err != nil {
		t.Fatalf("make bucket %s: %v", name, err)
	}
	return &Server{Name: s.Name, Bucket: name, process: s.process}
}

// client is for what the store contract does not have.
func (p *process) client() (*miniogo.Client, error) {
	return miniogo.New(p.address, &miniogo.Options{
		Creds: credentials.NewStaticV4(AccessKey, SecretKey, ""), Region: Region,
		Transport: &http.Transport{DisableKeepAlives: true}, MaxRetries: 1,
	})
}

// Endpoint is http://host:port.
func (s *Server) Endpoint() string { return "http://" + s.address }

// URL is a store URL of the bucket for the backend sdk, "s3" or "minio".
func (s *Server) URL(sdk, prefix string) string {
	if sdk == "minio" {
		return fmt.Sprintf("minio://%s/%s/%s?tls=false", s.address, s.Bucket, prefix)
	}
	return fmt.Sprintf("s3://%s/%s?region=%s&endpoint=%s", s.Bucket, prefix, Region, url.QueryEscape(s.Endpoint()))
}

// Start starts the server again, on the same port and directory, after Stop or Kill.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.startProcess(); err != nil {
		t.Fatalf("start %s: %v", s.Name, err)
	}
}

// Stop ends the server as an operator would (SIGTERM), and waits for it.
func (s *Server) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server as a crash would (SIGKILL), and waits for it.
func (p *process) Kill() { p.end(syscall.SIGKILL) }

// Pause stops the server in its tracks (SIGSTOP), so that it answers nothing until Continue.
func (p *process) Pause() {
	p.signal(syscall.SIGSTOP)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		awaitStopped(p.cmd.Process.Pid)
	}
}

// Continue undoes Pause.
func (p *process) Continue() { p.signal(syscall.SIGCONT) }

func (p *process) signal(sig os.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		_ = p.cmd.Process.Signal(sig) // it may have ended by itself
	}
}

func (p *process) end(sig os.Signal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return
	}
	_ = p.cmd.Process.Signal(sig)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
	p.cmd = nil
}

// startProcess starts the server and waits until it answers.
func (p *process) startProcess() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return errors.New("it runs already")
	}
	cmd, log := p.command(p.address, p.dir), &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Dir = p.dir
	done, err := child.Start(cmd, syscall.SIGKILL)
	if err != nil {
		return err
	}
	if err := p.awaitAnswer(done); err != nil {
		_ = cmd.Process.Kill()
		<-done
		return fmt.Errorf("%w; it said: %s", err, log)
	}
	p.cmd, p.done = cmd, done
	return nil
}

// awaitAnswer waits until the server lists its buckets, which is when it takes writes.
func (p *process) awaitAnswer(done <-chan struct{}) error {
	client, err := p.client()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		if ready(ctx, client, p.address) {
			return nil
		}
		select {
		case <-tick.C:
		case <-done:
			return errors.New("it ended at once")
		case <-ctx.Done():
			return errors.New("it does not answer")
		}
	}
}

func ready(ctx context.Context, client *miniogo.Client, address string) bool {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+"/", nil)
	if err != nil {
		return false
	}
	request.Close = true
	response, err := http.DefaultClient.Do(request) // cheap, and without the pauses of the SDK
	if err != nil {
		return false
	}
	_, _ = io.Copy(io.Discard, response.Body)
	response.Body.Close()
	_, err = client.ListBuckets(ctx)
	return err == nil
}
