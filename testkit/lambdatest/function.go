//go:build unix

// Package lambdatest runs real function binaries for tests as AWS Lambda does: as processes that speak the Runtime API
// (https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html) with this package in place of Lambda.
//
// A Function has as many processes as it has invocations at once, each with one invocation at a time, and with the
// environment that Lambda gives them and nothing else. Between invocations a process is stopped (SIGSTOP), as Lambda freezes
// it: what it does in the background does not go on. One that is not done by its deadline is killed. Functions end with the
// test.
package lambdatest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/logs"
)

// Options say which function it is. All but Env are required.
type Options struct {
	Binary  string // the bootstrap
	Name    string // of the function
	Handler string
	Memory  int           // MiB
	Timeout time.Duration // of an invocation
	Env     []string      // NAME=value, beside what Lambda sets
}

// Function is a function as Lambda has it.
type Function struct {
	t testing.TB
	o Options

	mu    sync.Mutex
	idle  []*instance
	all   []*instance
	count int // of invocations, for their ids
	log   logs.Buffer
}

// ARN is the name by which invocations are told which function they are of.
func (f *Function) ARN() string {
	return "arn:aws:lambda:us-east-1:123456789012:function:" + f.o.Name
}

// New makes a function. No process is started before the first invocation.
func New(t testing.TB, o Options) *Function {
	t.Helper()
	if o.Binary == "" || o.Name == "" || o.Handler == "" || o.Memory == 0 || o.Timeout == 0 {
		t.Fatal("lambdatest: every option but Env is required")
	}
	f := &Function{t: t, o: o}
	t.Cleanup(func() {
		f.End()
		if t.Failed() {
			log := f.Log()
			t.Logf("function %s said, at the end:\n%s", o.Name, log[max(0, len(log)-8000):])
		}
	})
	return f
}

// End kills the function's processes.
func (f *Function) End() {
	f.mu.Lock()
	all := f.all
	f.all, f.idle = nil, nil
	f.mu.Unlock()
	for _, i := range all {
		i.kill()
	}
}

// Again is the same function without the processes that it has.
func (f *Function) Again() *Function { return New(f.t, f.o) }

// Log is what the function's processes have written so far.
func (f *Function) Log() string { return f.log.String() }

// Error is a failure of an invocation, or of the function's begin, as Lambda tells it.
type Error struct {
	Message string `json:"errorMessage"`
	Type    string `json:"errorType"`
}

// Error implements error.
func (e *Error) Error() string { return e.Type + ": " + e.Message }

// Result is what an invocation was answered with. Body must be read to its end; its error is the function's, if the answer
// broke off.
type Result struct {
	RequestID   string
	ContentType string
	Streamed    bool // Lambda-Runtime-Function-Response-Mode: streaming
	Body        io.Reader
	Cold        *Cold // of the first invocation of a process
}

// Cold is how a process began.
type Cold struct {
	Init time.Duration // from the start of the process to its first question for an invocation
}

// Invoke invokes the function once. The error is an *Error if the function failed.
func (f *Function) Invoke(ctx context.Context, payload []byte) (*Result, error) {
	i, cold, err := f.take()
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.count++
	id := fmt.Sprintf("8476a536-e9f4-11e8-9739-%012d", f.count)
	f.mu.Unlock()
	r, err := i.invoke(ctx, id, payload)
	if r != nil {
		r.Cold = cold
	}
	return r, err
}

// take finds a process that waits for an invocation, or starts one.
func (f *Function) take() (*instance, *Cold, error) {
	f.mu.Lock()
	for n := len(f.idle); n > 0; n = len(f.idle) {
		i := f.idle[n-1]
		f.idle = f.idle[:n-1]
		if i.alive() {
			f.mu.Unlock()
			return i, nil, nil
		}
	}
	f.mu.Unlock()
	i, err := f.start()
	if err != nil {
		return nil, nil, err
	}
	began := time.Now()
	select {
	case <-i.ready:
		return i, &Cold{Init: time.Since(began)}, nil
	case e := <-i.initError:
		i.kill()
		return nil, nil, e
	case <-i.ended:
		select {
		case e := <-i.initError: // it told why before it ended
			return nil, nil, e
		default:
		}
		return nil, nil, &Error{Type: "Runtime.ExitError", Message: "Error: Runtime exited with error: " + i.cmd.ProcessState.String()}
	case <-time.After(10 * time.Second): // Lambda's limit of the init phase
		i.kill()
		return nil, nil, &Error{Type: "Sandbox.Timedout", Message: "init took longer than 10 s"}
	}
}

// Processes are the function's processes that live.
func (f *Function) Processes() (pids []int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, i := range f.all {
		if i.alive() {
			pids = append(pids, i.cmd.Process.Pid)
		}
	}
	return pids
}

// Ended is how many of the function's processes have ended.
func (f *Function) Ended() int {
	alive := len(f.Processes())
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.all) - alive
}

// environment is what Lambda sets for custom runtimes (docs: configuration-envvars), beside the function's own.
func (f *Function) environment(api, stream string) []string {
	dir := filepath.Dir(f.o.Binary)
	return append([]string{
		"AWS_LAMBDA_RUNTIME_API=" + api,
		"AWS_LAMBDA_FUNCTION_NAME=" + f.o.Name,
		"AWS_LAMBDA_FUNCTION_VERSION=$LATEST",
		fmt.Sprintf("AWS_LAMBDA_FUNCTION_MEMORY_SIZE=%d", f.o.Memory),
		"AWS_LAMBDA_INITIALIZATION_TYPE=on-demand",
		"AWS_LAMBDA_LOG_GROUP_NAME=/aws/lambda/" + f.o.Name,
		"AWS_LAMBDA_LOG_STREAM_NAME=" + stream,
		"_HANDLER=" + f.o.Handler,
		"LAMBDA_TASK_ROOT=" + dir, "LAMBDA_RUNTIME_DIR=" + dir,
		"AWS_REGION=us-east-1", "AWS_DEFAULT_REGION=us-east-1",
		"PATH=/usr/local/bin:/usr/bin:/bin:/opt/bin", "LD_LIBRARY_PATH=/lib64:/usr/lib64:" + dir,
		"LANG=en_US.UTF-8", "TZ=:UTC",
	}, f.o.Env...)
}

// Build builds the bootstrap as `make build-lambda` does, for this machine.
func Build(dir string) (string, error) {
	bin := filepath.Join(dir, "bootstrap")
	cmd := exec.Command("go", "build", "-trimpath", "-tags", "lambda.norpc", "-ldflags", "-s -w", "-o", bin, "github.com/fustor/fustor/cmd/fustor-lambda")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build fustor-lambda: %w\n%s", err, out)
	}
	return bin, nil
}

// Decode reads an answer of JSON to its end.
func (r *Result) Decode(v any) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("answer %q: %w", body, err)
	}
	return nil
}

// trailerError is the failure that a stream ended with, if any.
func trailerError(h http.Header) error {
	kind := h.Get("Lambda-Runtime-Function-Error-Type")
	if kind == "" {
		return nil
	}
	return &Error{Type: kind, Message: "the stream broke off"}
}

func isStreaming(h http.Header) bool {
	return strings.EqualFold(h.Get("Lambda-Runtime-Function-Response-Mode"), "streaming") ||
		h.Get("Content-Type") == "application/vnd.awslambda.http-integration-response"
}
