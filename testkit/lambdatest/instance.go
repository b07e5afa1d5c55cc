//go:build unix

package lambdatest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strconv"
	"syscall"
	"time"

	"github.com/fustor/fustor/testkit/child"
)

// instance is one process of a function, with a Runtime API of its own.
type instance struct {
	f         *Function
	cmd       *exec.Cmd
	api       *httptest.Server
	ready     chan struct{} // closed with the first question for an invocation
	next      chan *invocation
	initError chan *Error
	ended     <-chan struct{} // closed once cmd has ended
	current   chan *invocation
}

// invocation is one that an instance is asked for.
type invocation struct {
	id       string
	payload  []byte
	deadline time.Time
	answer   chan answer // at most one comes
	over     chan struct{}
}

type answer struct {
	result *Result
	err    error
}

// start starts a process. It has not asked for an invocation yet.
func (f *Function) start() (*instance, error) {
	i := &instance{f: f, ready: make(chan struct{}), next: make(chan *invocation), initError: make(chan *Error, 1),
		current: make(chan *invocation, 1)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /2018-06-01/runtime/invocation/next", i.serveNext)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/response", i.serveResponse)
	mux.HandleFunc("POST /2018-06-01/runtime/invocation/{id}/error", i.serveError)
	mux.HandleFunc("POST /2018-06-01/runtime/init/error", i.serveInitError)
	i.api = httptest.NewServer(mux)
	f.mu.Lock()
	stream := fmt.Sprintf("2026/01/01/[$LATEST]%032d", len(f.all))
	f.all = append(f.all, i)
	f.mu.Unlock()
	i.cmd = exec.Command(f.o.Binary)
	i.cmd.Env = f.environment(i.api.Listener.Addr().String(), stream)
	i.cmd.Stdout, i.cmd.Stderr = &f.log, &f.log
	var err error
	if i.ended, err = child.Start(i.cmd, syscall.SIGKILL); err != nil {
		return nil, fmt.Errorf("start %s: %w", f.o.Binary, err)
	}
	return i, nil
}

func (i *instance) alive() bool {
	select {
	case <-i.ended:
		return false
	default:
		return true
	}
}

func (i *instance) kill() {
	if i.cmd.Process == nil {
		return
	}
	_ = i.cmd.Process.Signal(syscall.SIGKILL)
	<-i.ended
	i.api.CloseClientConnections()
	i.api.Close()
}

// invoke hands an invocation to the process, which waits for one, and waits for the begin of its answer.
func (i *instance) invoke(ctx context.Context, id string, payload []byte) (*Result, error) {
	v := &invocation{id: id, payload: payload, deadline: time.Now().Add(i.f.o.Timeout), answer: make(chan answer, 1), over: make(chan struct{})}
	_ = i.cmd.Process.Signal(syscall.SIGCONT)
	timeout := time.NewTimer(i.f.o.Timeout)
	handed := i.next
	for {
		select {
		case handed <- v:
			handed = nil
		case a := <-v.answer:
			if a.err != nil {
				i.settle(v, timeout)
			} else {
				go i.settle(v, timeout)
			}
			return a.result, a.err
		case <-timeout.C:
			i.kill()
			return nil, &Error{Type: "Sandbox.Timedout", Message: fmt.Sprintf("%s Task timed out after %.2f seconds", id, i.f.o.Timeout.Seconds())}
		case <-i.ended:
			return nil, &Error{Type: "Runtime.ExitError", Message: "RequestId: " + id + " Error: Runtime exited: " + i.cmd.ProcessState.String()}
		case <-ctx.Done():
			i.kill() // whoever asked has gone; Lambda would let it run, but nobody waits here
			return nil, ctx.Err()
		}
	}
}

// settle waits until the process asks for the next invocation, which ends this one, and freezes it.
func (i *instance) settle(v *invocation, timeout *time.Timer) {
	defer timeout.Stop()
	select {
	case <-v.over:
		_ = i.cmd.Process.Signal(syscall.SIGSTOP)
		i.f.mu.Lock()
		i.f.idle = append(i.f.idle, i)
		i.f.mu.Unlock()
	case <-i.ended:
	case <-timeout.C:
		i.kill()
	}
}

// serveNext answers once there is an invocation. That it is asked ends the one before.
func (i *instance) serveNext(w http.ResponseWriter, r *http.Request) {
	select {
	case <-i.ready:
	default:
		close(i.ready)
	}
	select {
	case before := <-i.current:
		close(before.over)
	default:
	}
	select {
	case v := <-i.next:
		i.current <- v
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Lambda-Runtime-Aws-Request-Id", v.id)
		h.Set("Lambda-Runtime-Deadline-Ms", strconv.FormatInt(v.deadline.UnixMilli(), 10))
		h.Set("Lambda-Runtime-Invoked-Function-Arn", i.f.ARN())
		h.Set("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700;Parent=9a9197af755a6419;Sampled=0")
		_, _ = w.Write(v.payload)
	case <-r.Context().Done():
	}
}

// of finds the invocation under way, if it is the one that the path names.
func (i *instance) of(w http.ResponseWriter, r *http.Request) *invocation {
	select {
	case v := <-i.current:
		i.current <- v
		if v.id == r.PathValue("id") {
			return v
		}
	default:
	}
	w.WriteHeader(http.StatusBadRequest)
	fmt.Fprint(w, `{"errorMessage":"Invalid request ID","errorType":"InvalidRequestID"}`)
	return nil
}

func (i *instance) serveResponse(w http.ResponseWriter, r *http.Request) {
	v := i.of(w, r)
	if v == nil {
		return
	}
	reader, writer := io.Pipe()
	v.answer <- answer{result: &Result{RequestID: v.id, ContentType: r.Header.Get("Content-Type"), Streamed: isStreaming(r.Header), Body: reader}}
	_, err := io.Copy(writer, r.Body)
	if err == nil {
		err = trailerError(r.Trailer)
	} else if errors.Is(err, io.ErrClosedPipe) { // the caller went away; Lambda reads on
		_, err = io.Copy(io.Discard, r.Body)
	}
	writer.CloseWithError(err)
	accepted(w)
}

func (i *instance) serveError(w http.ResponseWriter, r *http.Request) {
	if v := i.of(w, r); v != nil {
		v.answer <- answer{err: failureOf(r)}
		accepted(w)
	}
}

func (i *instance) serveInitError(w http.ResponseWriter, r *http.Request) {
	i.initError <- failureOf(r)
	accepted(w)
}

func failureOf(r *http.Request) *Error {
	e := &Error{}
	if err := json.NewDecoder(r.Body).Decode(e); err != nil {
		e.Type, e.Message = r.Header.Get("Lambda-Runtime-Function-Error-Type"), "its body is no error: "+err.Error()
	}
	return e
}

func accepted(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusAccepted)
	fmt.Fprint(w, `{"status":"OK"}`)
}

// Memory is the most memory that any living process of the function has had, bytes. Linux only; 0 elsewhere.
func (f *Function) Memory() (most int64) {
	for _, pid := range f.Processes() {
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		most = max(most, peak(status))
	}
	return most
}
