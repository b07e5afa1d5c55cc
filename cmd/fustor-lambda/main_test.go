//go:build unix

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-lambda-go/lambda"

	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/internal/viewconfig"
	"github.com/fustor/fustor/testkit/issuer"
	"github.com/fustor/fustor/testkit/lambdatest"
	"github.com/fustor/fustor/testkit/s3test"
	"github.com/fustor/fustor/testkit/wait"
)

// bootstrap is the binary under test, built once; scratch is a directory that all tests share.
var bootstrap, scratch string

// TestMain lets the test's own binary be a function too, with handlers that go wrong as ours should not.
func TestMain(m *testing.M) {
	if os.Getenv("FUSTOR_LAMBDA_TEST") != "" {
		log := newLogger(os.Stderr)
		takeLibrariesLog(log)
		if os.Getenv("FUSTOR_LAMBDA_TEST") == "fails" {
			lambda.StartHandlerFunc(func(context.Context, json.RawMessage) (any, error) { return nil, errors.New("it\nfails") })
		}
		lambda.StartHandlerFunc(serveURL(http.HandlerFunc(goWrong), log))
	}
	var err error
	if scratch, err = os.MkdirTemp("", "fustor-lambda-"); err == nil {
		bootstrap, err = lambdatest.Build(scratch)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(scratch)
	os.Exit(code)
}

// streamedLines is more than any buffer on the way holds.
const streamedLines = 200_000

// goWrong does what the path says.
func goWrong(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/panic":
		panic("the handler's secret is s3cr3t")
	case "/panic-late":
		fmt.Fprint(w, "the first half")
		panic("in the middle")
	case "/abort":
		fmt.Fprint(w, "the first half")
		panic(http.ErrAbortHandler)
	case "/stream": // a line, and the others once a file is there
		fmt.Fprintln(w, `{"n":0}`)
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for there := false; !there; {
			select {
			case <-tick.C:
			case <-r.Context().Done():
				panic(http.ErrAbortHandler)
			}
			_, err := os.Stat(r.URL.Query().Get("until"))
			there = err == nil
		}
		for n := 1; n <= streamedLines; n++ {
			fmt.Fprintf(w, "{\"n\":%d}\n", n)
		}
	case "/wait":
		<-r.Context().Done()
		http.Error(w, "the time is over", http.StatusServiceUnavailable)
	case "/hang":
		select {}
	}
}

// newFunction is a function with a file store, unless env says otherwise.
func newFunction(t *testing.T, handler string, env ...string) *lambdatest.Function {
	t.Helper()
	return lambdatest.New(t, lambdatest.Options{
		Binary: bootstrap, Name: "fustor-" + handler, Handler: handler, Memory: 256, Timeout: time.Minute, Env: env,
	})
}

// TestInitErrorsSayWhat: whoever looks at the function in the console, or invokes it, is told what is wrong.
func TestInitErrorsSayWhat(t *testing.T) {
	dir := "file://" + t.TempDir()
	for name, c := range map[string]struct {
		handler string
		env     []string
		want    string
	}{
		"no store":             {"query", nil, "FUSTOR_STORE is not set"},
		"no such part":         {"bootstrap", []string{"FUSTOR_STORE=" + dir}, `no part "bootstrap": set the function's handler, or FUSTOR_PART`},
		"bad part":             {"query", []string{"FUSTOR_PART=qeury", "FUSTOR_STORE=" + dir}, `no part "qeury"`},
		"a provider alone":     {"query", []string{"FUSTOR_STORE=" + dir, "FUSTOR_OIDC_ISSUER=https://login.example.org", "FUSTOR_OIDC_AUDIENCE=fustor"}, "FUSTOR_OIDC_UID_CLAIM"},
		"no audience":          {"query", []string{"FUSTOR_STORE=" + dir, "FUSTOR_OIDC_ISSUER=https://login.example.org", "FUSTOR_OIDC_UID_CLAIM=uid", "FUSTOR_OIDC_GIDS_CLAIM=gids"}, "the audience of the tokens is missing"},
		"no issuer":            {"query", []string{"FUSTOR_STORE=" + dir, "FUSTOR_OIDC_AUDIENCE=fustor"}, "FUSTOR_OIDC_ISSUER is not set"},
		"bad URL":              {"ingest", []string{"FUSTOR_STORE=bucket"}, "it has no scheme"},
		"bad parameter":        {"ingest", []string{"FUSTOR_STORE=s3://bucket?regoin=x"}, `unknown parameter "regoin"`},
		"compactor of no S3":   {"compactor", []string{"FUSTOR_STORE=" + dir}, "has no bucket"},
		"nobody is there":      {"query", append(s3test.Env(), "FUSTOR_STORE=s3://bucket?endpoint=http://127.0.0.1:1"), "connection refused"},
		"a directory that may": {"ingest", []string{"FUSTOR_STORE=file:///proc/fustor"}, "/proc/fustor"},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFunction(t, c.handler, c.env...)
			_, err := f.Invoke(t.Context(), lambdatest.ScheduledEvent())
			failed, ok := err.(*lambdatest.Error)
			if !ok || failed.Type != "Fustor.Init" || !strings.Contains(failed.Message, c.want) {
				t.Errorf("init: %v; want it to say %q", err, c.want)
			}
			if !strings.Contains(f.Log(), "the function cannot start") {
				t.Errorf("the log does not say so: %s", f.Log())
			}
		})
	}
}

// TestUsersOfAProvider: the function answers users of an OpenID provider, by the uid and groups of their tokens, where a view is open to them.
func TestUsersOfAProvider(t *testing.T) {
	provider := issuer.New(t)
	dir := t.TempDir()
	st, err := local.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	config := viewconfig.Default("research")
	config.OpenTo = []string{viewconfig.OpenToOIDC}
	if err := viewconfig.Save(t.Context(), st, config); err != nil {
		t.Fatal(err)
	}
	f := newFunction(t, "query", "FUSTOR_STORE=file://"+dir, "FUSTOR_OIDC_ISSUER="+provider.URL(), "FUSTOR_OIDC_AUDIENCE=fustor",
		"FUSTOR_OIDC_UID_CLAIM=uidNumber", "FUSTOR_OIDC_GIDS_CLAIM=gids")
	ids := func(uid int) map[string]any { return map[string]any{"uidNumber": uid, "gids": []int{100, 4711}} }
	for name, c := range map[string]struct {
		token string
		want  int
	}{
		"a user":                  {provider.Token("fustor", "alice", ids(1001)), http.StatusOK},
		"root":                    {provider.Token("fustor", "root", ids(0)), http.StatusForbidden},
		"a token without groups":  {provider.Token("fustor", "alice", map[string]any{"uidNumber": 1001}), http.StatusUnauthorized},
		"a token for others":      {provider.Token("other", "alice", ids(1001)), http.StatusUnauthorized},
		"a token of another time": {provider.Token("fustor", "alice", map[string]any{"uidNumber": 1001, "gids": 100, "exp": 1}), http.StatusUnauthorized},
	} {
		if r := get(t, f, "/api/v1/views", http.Header{"Authorization": {"Bearer " + c.token}}); r.status != c.want {
			t.Errorf("%s: %+v, want %d", name, r, c.want)
		}
	}
}

// TestPartByVariable: FUSTOR_PART counts before the handler's name.
func TestPartByVariable(t *testing.T) {
	f := newFunction(t, "bootstrap", "FUSTOR_PART=query", "FUSTOR_STORE=file://"+t.TempDir())
	r := get(t, f, "/healthz", nil)
	if r.status != http.StatusOK {
		t.Errorf("healthz: %+v", r)
	}
}

// TestWhatIsNoEventOfAURL fails that invocation with words, and nothing else.
func TestWhatIsNoEventOfAURL(t *testing.T) {
	f := newFunction(t, "query", "FUSTOR_STORE=file://"+t.TempDir())
	for _, payload := range []string{`{}`, `{"version":"1.0","requestContext":{"http":{"method":"GET"}}}`, `[1]`, `"x"`, string(lambdatest.ScheduledEvent())} {
		_, err := f.Invoke(t.Context(), []byte(payload))
		if failed, ok := err.(*lambdatest.Error); !ok || !strings.Contains(failed.Message, "Function URL") {
			t.Errorf("%s: %v", payload, err)
		}
	}
	if r := get(t, f, "/healthz", nil); r.status != http.StatusOK {
		t.Errorf("afterwards: %+v", r)
	}
	if n := f.Ended(); n != 0 {
		t.Errorf("%d processes have ended", n)
	}
}

// TestHandlersThatGoWrong: a panic is a 500 with its stack and request id in the log; one in the middle of an answer breaks
// it off; the function goes on.
func TestHandlersThatGoWrong(t *testing.T) {
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	f := lambdatest.New(t, lambdatest.Options{Binary: self, Name: "wrong", Handler: "x", Memory: 256, Timeout: 2 * time.Second,
		Env: []string{"FUSTOR_LAMBDA_TEST=1"}})
	if r := get(t, f, "/panic", nil); r.status != http.StatusInternalServerError || strings.Contains(r.body, "s3cr3t") || r.broke != nil {
		t.Errorf("panic: %+v", r)
	}
	for _, want := range []string{`"level":"ERROR"`, `"message":"panic"`, "s3cr3t", `"requestId":"8476a536-e9f4-11e8-9739-000000000001"`, "goWrong"} {
		awaitLog(t, f, want)
	}
	for _, path := range []string{"/panic-late", "/abort"} {
		if r := get(t, f, path, nil); r.status != http.StatusOK || r.broke == nil {
			t.Errorf("%s must break the answer off: %+v", path, r)
		}
	}
	if r := get(t, f, "/wait", nil); r.status != http.StatusServiceUnavailable {
		t.Errorf("a handler that waits is told before the deadline: %+v", r)
	}
	if n := f.Ended(); n != 0 {
		t.Errorf("%d processes have ended", n)
	}
	if r := get(t, f, "/hang", nil); r.failed == nil || !strings.Contains(r.failed.Error(), "timed out") {
		t.Errorf("a handler that hangs: %+v", r)
	}
	if r := get(t, f, "/", nil); r.status != http.StatusOK {
		t.Errorf("afterwards: %+v", r)
	}
	linesAreJSON(t, f)
}

// TestLinesOfLambdasLibrary: what the library says by the log package, as of an error, is a line of our log.
func TestLinesOfLambdasLibrary(t *testing.T) {
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	f := lambdatest.New(t, lambdatest.Options{Binary: self, Name: "fails", Handler: "x", Memory: 256, Timeout: time.Minute,
		Env: []string{"FUSTOR_LAMBDA_TEST=fails"}})
	if _, err := f.Invoke(t.Context(), []byte("{}")); err == nil {
		t.Error("it does not fail")
	}
	awaitLog(t, f, `it\\nfails`)
	linesAreJSON(t, f)
}

// linesAreJSON looks at all that a function has written.
func linesAreJSON(t *testing.T, f *lambdatest.Function) {
	t.Helper()
	for line := range strings.Lines(f.Log()) {
		var entry struct {
			Timestamp      time.Time
			Level, Message string
		}
		if err := json.Unmarshal([]byte(line), &entry); err != nil || entry.Timestamp.IsZero() || entry.Level == "" || entry.Message == "" {
			t.Errorf("no line of JSON: %v: %q", err, line)
		}
	}
}

// TestAnswersStream: who asks the function's URL has the first line before the last is made, and sees that an answer broke off
// in its middle, by a panic or since the invocation's time was over.
func TestAnswersStream(t *testing.T) {
	self, err := filepath.Abs(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	f := lambdatest.New(t, lambdatest.Options{Binary: self, Name: "streams", Handler: "x", Memory: 256, Timeout: time.Minute,
		Env: []string{"FUSTOR_LAMBDA_TEST=1"}})
	get := func(base, path string) *bufio.Reader {
		t.Helper()
		response, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { response.Body.Close() })
		if response.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s", path, response.Status)
		}
		return bufio.NewReader(response.Body)
	}
	base := f.URL().URL
	until := filepath.Join(t.TempDir(), "now")
	answer := get(base, "/stream?until="+until)
	if line, err := answer.ReadString('\n'); err != nil || line != "{\"n\":0}\n" {
		t.Fatalf("while the rest is not made: %q, %v", line, err)
	}
	if err := os.WriteFile(until, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for n := 1; n <= streamedLines; n++ {
		if line, err := answer.ReadString('\n'); err != nil || line != fmt.Sprintf("{\"n\":%d}\n", n) {
			t.Fatalf("line %d: %q, %v", n, line, err)
		}
	}
	if rest, err := io.ReadAll(answer); err != nil || len(rest) > 0 {
		t.Errorf("after the last line: %q, %v", rest, err)
	}
	if half, err := io.ReadAll(get(base, "/panic-late")); string(half) != "the first half" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a panic in the middle: %q, %v", half, err)
	}
	short := lambdatest.New(t, lambdatest.Options{Binary: self, Name: "short", Handler: "x", Memory: 256, Timeout: time.Second,
		Env: []string{"FUSTOR_LAMBDA_TEST=1"}})
	if half, err := io.ReadAll(get(short.URL().URL, "/stream?until=/never")); string(half) != "{\"n\":0}\n" || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the time is over in the middle: %q, %v", half, err)
	}
	if n := short.Ended(); n != 0 {
		t.Errorf("%d processes have ended", n)
	}
}

// awaitLog waits for what the function has written, which comes through a pipe.
func awaitLog(t *testing.T, f *lambdatest.Function, want string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(wait.Limit(10 * time.Second)); !strings.Contains(f.Log(), want); <-tick.C {
		if time.Now().After(deadline) {
			t.Errorf("the log lacks %s:\n%s", want, f.Log())
			return
		}
	}
}

// TestOutsideOfLambda says what this program is.
func TestOutsideOfLambda(t *testing.T) {
	var out strings.Builder
	if code := run(func(string) string { return "" }, &out); code != 2 || !strings.Contains(out.String(), "fustor query") {
		t.Errorf("exit code %d: %s", code, out.String())
	}
}
