//go:build !reading

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fustor/fustor/testkit/v2agent"
	"github.com/fustor/fustor/testkit/wait"
)

// endAtOnce is GORACE for the commands that the tests run: a program with the race detector otherwise sleeps for a second at its end,
// and the tests run hundreds of them.
const endAtOnce = "atexit_sleep_ms=0"

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"fustor": main})
}

// TestScripts runs the scripts in testdata/script through the real main. Beyond testscript's own commands they have
//
//	api                 serves the recorded answers in tree.ndjson, metadata.json, list.json and search.json of the
//	                    work directory to whoever has the key "secret", sets $API to its URL and writes every request
//	                    to requests.txt
//	status N COMMAND…   runs COMMAND and fails unless it ends with the exit code N
//	samebytes A B       fails unless both files have the same bytes
//	eventually [!] …    runs a command, or grepout, until it succeeds (with !: fails), for at most 30 seconds
//	grepout COMMAND…    of eventually: runs COMMAND and fails unless it prints something
//	writing FILE        opens FILE, writes "upload\n", and keeps it open until `written FILE` or the script's end
//	v2agent LOG KEY TASK DIR
//	                    is an agent of Fustor V2: it registers with the ingest that logs to LOG, sends a snapshot of DIR
//	                    and a change, and stays until the script's end
//	screen FILE         fails unless FILE fits a screen of 24 lines of 80 columns
func TestScripts(t *testing.T) {
	testscript.Run(t, scripts(filepath.Join("testdata", "script")))
}

// scripts are the parameters of the scripts in dir: a user who has set nothing.
func scripts(dir string) testscript.Params {
	files := &sync.Map{} // open ones, by path
	return testscript.Params{
		Dir: dir,
		Setup: func(e *testscript.Env) error {
			e.Setenv("HOME", e.WorkDir)
			for _, name := range []string{"FUSTOR_URL", "FUSTOR_API_KEY", "FUSTOR_VIEW", "FUSTOR_DATA", "FUSTOR_SOCKET", "FUSTOR_STORE", "XDG_DATA_HOME", "XDG_CONFIG_HOME", "NO_COLOR"} {
				e.Setenv(name, "")
			}
			e.Setenv("TZ", "UTC")
			e.Setenv("GORACE", endAtOnce)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"api": serveRecorded, "status": status, "samebytes": sameBytes,
			"eventually": eventually, "writing": writing(files), "written": written(files), "screen": fitsScreen, "v2agent": beV2Agent,
			"certificate": certified,
		},
	}
}

// certified writes a certificate and its key, for the hosts that are named.
func certified(ts *testscript.TestScript, _ bool, args []string) {
	_, err := makeCertificate(ts.MkAbs(args[0]), ts.MkAbs(args[1]), args[2], args[2:]...)
	ts.Check(err)
}

func serveRecorded(ts *testscript.TestScript, _ bool, _ []string) {
	var mu sync.Mutex
	log, err := os.Create(ts.MkAbs("requests.txt"))
	ts.Check(err)
	dir := ts.MkAbs(".")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		fmt.Fprintf(log, "%s %s\n", r.URL.RequestURI(), r.Header.Get("X-API-Key"))
		mu.Unlock()
		answerRecorded(w, r, dir)
	}))
	ts.Defer(func() {
		server.Close()
		log.Close()
	})
	ts.Setenv("API", server.URL)
}

func answerRecorded(w http.ResponseWriter, r *http.Request, dir string) {
	if r.Header.Get("X-API-Key") != "secret" {
		w.Header().Set("Content-Type", "application/problem+json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"type":"about:blank","title":"Unauthorized","status":401,"detail":"the API key is not known"}`)
		return
	}
	for _, ext := range []string{".ndjson", ".json"} {
		body, err := os.ReadFile(filepath.Join(dir, path.Base(r.URL.Path)+ext))
		if err == nil {
			if bytes.Contains(body, []byte(`"member":`)) { // as answers about a forest do
				w.Header().Set("Fustor-Members", "nfs01=ok")
			}
			w.Header().Set("Content-Type", map[string]string{".ndjson": "application/x-ndjson", ".json": "application/json"}[ext])
			w.Write(body)
			return
		}
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(http.StatusNotFound)
	fmt.Fprintf(w, `{"type":"about:blank","title":"Not Found","status":404,"detail":"there is no %s in the view"}`, r.URL.Query().Get("path"))
}

func status(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) < 2 || neg {
		ts.Fatalf("usage: status N COMMAND ...")
	}
	err := ts.Exec(args[1], args[2:]...)
	var exit *exec.ExitError
	if !errors.As(err, &exit) || strconv.Itoa(exit.ExitCode()) != args[0] {
		ts.Fatalf("%s ended with %v, want exit code %s", args[1], err, args[0])
	}
}

func eventually(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: eventually [!] [grepout] COMMAND ...")
	}
	fails := args[0] == "!"
	if fails {
		args = args[1:]
	}
	prints := args[0] == "grepout"
	if prints {
		args = args[1:]
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(wait.Limit(30 * time.Second)); ; <-tick.C {
		err := ts.Exec(args[0], args[1:]...)
		good := err == nil && (!prints || ts.ReadFile("stdout") != "")
		switch {
		case good != fails:
			return
		case time.Now().After(deadline):
			ts.Fatalf("not in time: %q: %v", args, err)
		}
	}
}

func writing(files *sync.Map) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		path := ts.MkAbs(args[0])
		f, err := os.Create(path)
		ts.Check(err)
		_, err = f.WriteString("upload\n")
		ts.Check(err)
		files.Store(path, f)
		ts.Defer(func() { f.Close() })
	}
}

func written(files *sync.Map) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, _ bool, args []string) {
		f, ok := files.Load(ts.MkAbs(args[0]))
		if !ok {
			ts.Fatalf("%s is not being written", args[0])
		}
		ts.Check(f.(*os.File).Close())
	}
}

var readyURL = regexp.MustCompile(`(?m)ingest is ready.* url=(\S+)`)

func beV2Agent(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 4 || neg {
		ts.Fatalf("usage: v2agent LOG KEY TASK DIR")
	}
	at := readyURL.FindStringSubmatch(ts.ReadFile(args[0]))
	if at == nil {
		ts.Fatalf("%s names no URL", args[0])
	}
	dir := ts.MkAbs(args[3])
	a := &v2agent.Agent{URL: at[1], Key: args[1], Task: args[2], Dir: dir}
	ctx, cancel := context.WithCancel(context.Background())
	ts.Defer(cancel)
	_, err := a.Create(ctx)
	ts.Check(err)
	ts.Check(a.Snapshot(ctx))
	ts.Check(os.WriteFile(filepath.Join(dir, "later"), []byte("later"), 0o600))
	ts.Check(a.Changed(ctx, false, "/later", "/"))
	go a.Run(ctx, time.Second)
}

func sameBytes(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 || neg {
		ts.Fatalf("usage: samebytes FILE FILE")
	}
	if a, b := ts.ReadFile(args[0]), ts.ReadFile(args[1]); a != b {
		ts.Fatalf("%s has %q, %s has %q", args[0], a, args[1], b)
	}
}

func fitsScreen(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 || neg {
		ts.Fatalf("usage: screen FILE")
	}
	lines, columns := 0, 0
	for _, r := range ts.ReadFile(args[0]) {
		columns++
		if r == '\n' {
			lines, columns = lines+1, 0
		}
		if columns > 80 {
			ts.Fatalf("line %d is wider than 80 columns", lines+1)
		}
	}
	if lines == 0 || lines > 24 {
		ts.Fatalf("%d lines do not fit a screen", lines)
	}
}

// TestManualIsCurrent: docs/cli.md has the help of this very command tree.
func TestManualIsCurrent(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "cli.md"))
	if err != nil {
		t.Fatal(err)
	}
	var want strings.Builder
	printManual(&want, newParser(&cli{}, &app{stdout: os.Stdout, stderr: os.Stderr}).Model)
	if _, got, _ := strings.Cut(string(page), "<!-- generated by make generate -->\n"); got != want.String() {
		t.Error("docs/cli.md is out of date: run make generate")
	}
}
