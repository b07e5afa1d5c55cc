//go:build !reading

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/fustor/fustor/testkit/wait"
)

// outcome is how a command is run so that it ends well, and so that what it is asked for is not there. HERE is a work directory of the
// test: an indexed tree, the store of its `fustor up`, a file of prices, a config file of an agent.
type outcome struct {
	good    string // the command line after the command's name; "-": it runs until it is ended, or prints nothing
	missing string // "": nothing can be missing
}

// outcomes has every command. A new one is added here, and to the table in docs/cli.md.
var outcomes = map[string]outcome{
	"fustor up":                {"-", ""},
	"fustor agent":             {"-", ""},
	"fustor agent check":       {"--config HERE/agent.yaml", ""},
	"fustor agent import":      {"-", ""},
	"fustor agent reload":      {"-", ""},
	"fustor agent pause":       {"-", ""},
	"fustor agent resume":      {"-", ""},
	"fustor agent status":      {"-", ""},
	"fustor ingest":            {"-", ""},
	"fustor compact":           {"--store file://HERE/cold", ""},
	"fustor query":             {"-", ""},
	"fustor find":              {"/", "/none"},
	"fustor ls":                {"/", "/none"},
	"fustor tree":              {"/", "/none"},
	"fustor du":                {"/", "/none"},
	"fustor stat":              {"/", "/none"},
	"fustor search":            {"f", "f --path /none"},
	"fustor browse":            {"-", "/none"}, // browse_test.go has a terminal
	"fustor report largest":    {"/", "/none"},
	"fustor report usage":      {"/", "/none"},
	"fustor report histogram":  {"/", "/none"},
	"fustor report growth":     {"/ --json", "/none"},
	"fustor report trend":      {"/", "/none"},
	"fustor report duplicates": {"/ --min-size 0", "/none"},
	"fustor report empty":      {"/", "/none"},
	"fustor report odd":        {"/ --format csv", "/none"},
	"fustor views":             {"", ""},
	"fustor diff":              {"/ --summary", "/none"},
	"fustor export":            {"/ --format csv", "/none --format csv"},
	"fustor log":               {"/", "/none"},
	"fustor access":            {"/ --as 1000:1000", "/none --as 1000:1000"},
	"fustor watch":             {"/ --once", "/none --once"},
	"fustor versions":          {"", ""},
	"fustor sql":               {"-", "--store file://HERE/cold --view none"},
	"fustor wait":              {"-", ""},
	"fustor suspects":          {"/", "/none"},
	"fustor blind-spots":       {"/", "/none"},
	"fustor sessions":          {"", ""},
	"fustor sessions pause":    {"nobody", "nobody"},
	"fustor sessions resume":   {"nobody", "nobody"},
	"fustor sessions stop":     {"nobody", "nobody"},
	"fustor sessions reload":   {"nobody", "nobody"},
	"fustor sessions scan":     {"nobody /", "nobody /"},
	"fustor scan":              {"/", "/none --wait"},
	"fustor jobs":              {"", ""},

	"fustor admin setup":          {"--store file://HERE/cold --view made", ""},
	"fustor admin import":         {"-", ""},
	"fustor admin view create":    {"NEW --store file://HERE/cold", ""},
	"fustor admin view list":      {"--store file://HERE/cold", ""},
	"fustor admin view show":      {"cold --store file://HERE/cold", "none --store file://HERE/cold"},
	"fustor admin view configure": {"cold --audit-interval 2h --store file://HERE/cold", "none --audit-interval 2h --store file://HERE/cold"},
	"fustor admin view delete":    {"NEW --yes --store file://HERE/cold", "none --yes --store file://HERE/cold"},
	"fustor admin key create":     {"NEW --role query --view cold --store file://HERE/cold", ""},
	"fustor admin key list":       {"--store file://HERE/cold", ""},
	"fustor admin key revoke":     {"NEW --yes --store file://HERE/cold", "none --yes --store file://HERE/cold"},
	"fustor admin session list":   {"cold --store file://HERE/cold", "none --store file://HERE/cold"},
	"fustor admin session end":    {"-", "cold none --yes --store file://HERE/cold"},
	"fustor admin reset":          {"cold --yes --store file://HERE/cold", "none --yes --store file://HERE/cold"},
	"fustor admin versions":       {"-", "none --store file://HERE/cold"},
	"fustor admin version pin":    {"cold kept --store file://HERE/cold", "none kept --store file://HERE/cold"},
	"fustor admin version unpin":  {"-", "cold none --store file://HERE/cold"},
	"fustor admin publish":        {"cold --store file://HERE/cold", "none --store file://HERE/cold"},
	"fustor admin retain":         {"-", "none --store file://HERE/cold"},

	"fustor cost":        {"", ""},
	"fustor segment cat": {"-", "HERE/none"},
	"fustor doctor":      {"file://HERE/cold", ""},
	"fustor check":       {"file://HERE/cold", ""},
	"fustor healthcheck": {"-", ""},
	"fustor version":     {"", ""},
	"fustor help":        {"find", ""},
	"fustor completion":  {"bash", ""},
	"fustor manual":      {"", ""},
}

// ending is a command's end.
type ending struct {
	code   int
	stdout string
	stderr string
}

// field is a machine on which a `fustor up` serves a small tree, and a store with a view that nobody feeds.
type field struct {
	t    *testing.T
	here string
	env  []string
}

// newField makes a field, and has "fustor" mean a program without the race detector: with it, hundreds of processes begin slowly.
func newField(t *testing.T) *field {
	f := &field{t: t, here: t.TempDir()}
	programs := t.TempDir()
	build := exec.Command("go", "build", "-o", filepath.Join(programs, "fustor"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Setenv("PATH", programs+string(os.PathListSeparator)+os.Getenv("PATH"))
	for _, dir := range []string{"tree/incoming/run42", "tree/old", "tree/projects/alpha", "tree/archive", "tree/scratch", "cold"} {
		if err := os.MkdirAll(filepath.Join(f.here, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Date(2019, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, name := range []string{"tree/f1", "tree/readme", "tree/old/f2", "tree/projects/alpha/reads.bam", "tree/projects/f1", "tree/incoming/run42/f3"} {
		file := filepath.Join(f.here, name)
		if err := errors.Join(os.WriteFile(file, []byte("x"), 0o600), os.Chtimes(file, old, old)); err != nil {
			t.Fatal(err)
		}
	}
	config := "sources: {tree: {path: " + f.here + "/tree}}\nsenders: {main: {type: echo}}\npipes: {one: {source: tree, sender: main, view: cold}}\n"
	if err := os.WriteFile(filepath.Join(f.here, "agent.yaml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	theirs := func(variable string) bool {
		return strings.HasPrefix(variable, "FUSTOR_") || strings.HasPrefix(variable, "XDG_")
	}
	f.env = append(slices.DeleteFunc(os.Environ(), theirs), "HOME="+f.here, "FUSTOR_DATA="+f.here+"/data", "TZ=UTC", "GORACE="+endAtOnce)
	f.start("fustor", "up", f.here+"/tree", "--listen", "127.0.0.1:0")
	f.await("fustor", "stat", "/incoming/run42")
	return f
}

// start runs a command until the test ends.
func (f *field) start(name string, args ...string) {
	c := exec.Command(name, args...)
	c.Env, c.Dir = f.env, f.here
	var log bytes.Buffer
	c.Stdout, c.Stderr = &log, &log
	if err := c.Start(); err != nil {
		f.t.Fatal(err)
	}
	f.t.Cleanup(func() {
		c.Process.Signal(os.Interrupt)
		c.Wait()
		if f.t.Failed() {
			f.t.Logf("%s: %s", args, log.String())
		}
	})
}

// await runs a command until it ends well.
func (f *field) await(name string, args ...string) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(wait.Limit(2 * time.Minute)); ; <-tick.C {
		end := f.run(nil, name, args...)
		if end.code == 0 {
			return
		}
		if time.Now().After(deadline) {
			f.t.Fatalf("%s: %+v", args, end)
		}
	}
}

// run runs a command to its end, with stdout as its output where it is not nil.
func (f *field) run(stdout *os.File, name string, args ...string) ending {
	ctx, cancel := context.WithTimeout(f.t.Context(), wait.Limit(2*time.Minute))
	defer cancel()
	c := exec.CommandContext(ctx, name, args...)
	c.Env, c.Dir, c.WaitDelay = f.env, f.here, time.Second
	var out, diagnostics bytes.Buffer
	c.Stdout, c.Stderr = &out, &diagnostics
	if stdout != nil {
		c.Stdout = stdout
	}
	err := c.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		f.t.Fatal(err)
	}
	code := c.ProcessState.ExitCode()
	if code < 0 { // a signal, as shells have it
		code = 255
	}
	return ending{code, out.String(), diagnostics.String()}
}

// TestExitCodes is the table of docs/cli.md: every command, and how it ends. What is said on stderr is JSON if the log is.
func TestExitCodes(t *testing.T) {
	f := newField(t)
	if end := f.run(nil, "fustor", "admin", "view", "create", "cold", "--store", "file://"+f.here+"/cold"); end.code != 0 {
		t.Fatalf("%+v", end)
	}
	answer := func(status int) string {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(status)
			json.NewEncoder(w).Encode(map[string]any{"type": "about:blank", "title": http.StatusText(status), "status": status, "detail": "so it is"})
		}))
		t.Cleanup(server.Close)
		return server.URL
	}
	notReady := answer(http.StatusServiceUnavailable)
	model := newParser(&cli{}, &app{stdout: os.Stdout, stderr: os.Stderr}).Model
	// What the parser does for all commands alike is tried on an eighth of them, another one each time.
	alike := rand.IntN(8)
	for i, n := range model.Leaves(false) {
		name := title(n)
		o, known := outcomes[name]
		if !known {
			t.Errorf("%s is not in the table", name)
			continue
		}
		fresh := 0
		check := func(what string, want int, stdout *os.File, args string) {
			t.Helper()
			fresh++
			words := strings.Fields(name + " " + args)
			for i, w := range words {
				words[i] = strings.ReplaceAll(w, "HERE", f.here)
				if w == "NEW" {
					words[i] = f.fresh(name, fresh)
				}
			}
			end := f.run(stdout, words[0], append(words[1:], "--log-format", "json")...)
			if end.code != want || want != 0 && want != exitFound && end.stderr == "" {
				t.Errorf("%s: %s: exit code %d, want %d; stderr %q", what, words, end.code, want, end.stderr)
			}
			for line := range strings.Lines(end.stderr) {
				if err := inJSON(line); err != nil {
					t.Errorf("%s: %s: %v in the JSON log", what, words, err)
				}
			}
		}
		full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
		if err != nil {
			t.Skip("no /dev/full: ", err)
		}
		defer full.Close()
		if i%8 == alike || os.Getenv("FUSTOR_E2E_LONG") != "" {
			check("unknown flag", exitUsage, nil, "--no-such-flag")
			check("help", exitOK, nil, "--help")
			check("help, full output", exitFailure, full, "--help")
			check("help, broken pipe", exitOK, brokenPipe(t), "--help")
		}
		if o.missing != "" {
			check("not found", exitNotFound, nil, o.missing)
		}
		if o.good == "-" {
			continue
		}
		if o.good != o.missing {
			check("good", exitOK, nil, o.good)
			if printsAlways(name) {
				check("full output", exitFailure, full, o.good)
				check("broken pipe", exitOK, brokenPipe(t), o.good)
			}
		}
		if asksServer(n) {
			ofView := name != "fustor views" // which is about all of them, whatever state they are in
			if ofView {
				check("no such view", exitNotFound, nil, o.good+" --view none")
			}
			check("refused key", exitFailure, nil, o.good+" --api-key no-such-key-no-such-key-no-such-key")
			check("server away", exitFailure, nil, o.good+" --url http://127.0.0.1:1")
			if ofView {
				check("not ready", exitFailure, nil, o.good+" --url "+notReady)
			}
		}
		if strings.HasPrefix(name, "fustor admin ") && strings.Contains(o.good, "--store") && name != "fustor admin setup" && name != "fustor admin publish" { // these two work on a store alone
			remote, _, _ := strings.Cut(o.good, "--store")
			check("server away", exitFailure, nil, remote+" --url http://127.0.0.1:1")
		}
	}
	for _, c := range []struct {
		args string
		want int
	}{
		{"fustor", exitUsage},
		{"fustor --version", exitOK},
		{"fustor help", exitOK},
		{"fustor help none", exitUsage},
		{"fustor find --name [a", exitUsage},
		{"fustor search [a", exitUsage},
		{"fustor search /a/[a", exitUsage},
		{"fustor report growth --since 99999999999999999999", exitUsage},
		{"fustor up tree --data HERE/other --exclude [a", exitUsage},
		{"fustor up tree --data HERE/other --listen 127.0.0.1:99999", exitUsage},
		{"fustor up none --data HERE/other", exitFailure},
		{"fustor agent tree --ingest http://127.0.0.1:1 --exclude [a", exitUsage},
		{"fustor suspects /old --fail-if-any", exitOK},
		{"fustor suspects /none --fail-if-any", exitNotFound},
		{"fustor wait /none --timeout 0s", exitNotYet},
		{"fustor wait /none --timeout 0s --view none", exitNotFound},
		{"fustor wait / --timeout 0s --url http://127.0.0.1:1", exitFailure},
		{"fustor wait / --quiet soon", exitUsage},
		{"fustor wait / --expect HERE/none", exitUsage},
		{"fustor healthcheck http://127.0.0.1:1", exitFailure},
		{"fustor admin view list --store file://HERE/typo", exitNotFound},
		{"fustor compact --store file://HERE/typo", exitNotFound},
		{"fustor agent tree --ingest http://127.0.0.1:1 --state HERE/state.json --store file://HERE/typo", exitNotFound},
		{"fustor doctor file://HERE/typo", exitNotFound},
	} {
		words := strings.Fields(strings.ReplaceAll(c.args, "HERE", f.here))
		if end := f.run(nil, words[0], words[1:]...); end.code != c.want {
			t.Errorf("%s: exit code %d, want %d; %q", words, end.code, c.want, end.stderr)
		}
	}
}

// inJSON says what keeps a line on stderr from being one of a log in JSON.
func inJSON(line string) error {
	var entry struct {
		Time       time.Time
		Level, Msg string
	}
	if err := json.Unmarshal([]byte(line), &entry); err != nil {
		return fmt.Errorf("%w: %q", err, line)
	}
	if entry.Time.IsZero() || entry.Level == "" || entry.Msg == "" {
		return fmt.Errorf("no time, level or msg: %q", line)
	}
	return nil
}

// fresh is the name of a view or a key that there is not yet, or that there is where the command removes it.
func (f *field) fresh(command string, n int) string {
	name := strings.ReplaceAll(strings.TrimPrefix(command, "fustor admin "), " ", "-") + "-" + string(rune('a'+n))
	store := []string{"--store", "file://" + f.here + "/cold"}
	switch command {
	case "fustor admin view delete":
		f.run(nil, "fustor", append([]string{"admin", "view", "create", name}, store...)...)
	case "fustor admin key revoke":
		f.run(nil, "fustor", append([]string{"admin", "key", "create", name, "--role", "query", "--view", "cold"}, store...)...)
	}
	return name
}

// asksServer reports whether a command takes the flags of reading commands.
func asksServer(n *kong.Node) bool {
	for _, flags := range n.AllFlags(true) {
		for _, f := range flags {
			if f.Group != nil && f.Group.Key == "server" {
				return true
			}
		}
	}
	return false
}

// printsAlways reports whether a command has something to print in a good case.
func printsAlways(name string) bool {
	switch name {
	case "fustor watch", "fustor suspects", "fustor blind-spots", "fustor report growth", "fustor admin session list", "fustor compact":
		return false
	}
	return true
}

// brokenPipe is the writing end of a pipe that nobody reads.
func brokenPipe(t *testing.T) *os.File {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	t.Cleanup(func() { w.Close() })
	return w
}
