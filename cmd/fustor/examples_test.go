//go:build !reading

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"

	"github.com/fustor/fustor/testkit/wait"
)

// examplesOf are the examples in a command's help, each a script of one or more lines.
func examplesOf(n *kong.Node) (examples []string) {
	_, text, _ := strings.Cut(n.Detail, "Examples:\n")
	for _, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "":
		case len(examples) > 0 && strings.HasSuffix(examples[len(examples)-1], "\\"):
			examples[len(examples)-1] += "\n" + line
		default:
			examples = append(examples, line)
		}
	}
	return examples
}

// stub puts a program into dir that appends its arguments, a NUL after each, to the file NAME.said, and ends well.
func stub(t *testing.T, dir, name string) {
	t.Helper()
	script := "#!/bin/sh\nprintf '%s\\0' \"$@\" >>'" + filepath.Join(dir, name+".said") + "'\nprintf '\\n\\0' >>'" + filepath.Join(dir, name+".said") + "'\n"
	if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
}

// shell runs a script in bash, in a directory of its own, which is its zsh fpath as well.
func (f *field) shell(path, script string) ending {
	work := f.t.TempDir()
	for _, dir := range []string{".config/fish/completions", "home"} {
		if err := os.MkdirAll(filepath.Join(work, dir), 0o755); err != nil {
			f.t.Fatal(err)
		}
	}
	return f.run(nil, "env", "PATH="+path+":"+os.Getenv("PATH"), "HOME="+work, "bash", "-c",
		"set -o pipefail; cd '"+work+"'; fpath=(. '"+work+"')\n"+script)
}

// TestExamplesParse types every example of every command's help, and of the pages, into a shell, and holds the command lines that `fustor` gets against the
// command tree: commands and flags exist, values are of their kind.
func TestExamplesParse(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil {
		t.Skip("bash is missing")
	}
	f := &field{t: t, here: t.TempDir(), env: os.Environ()}
	stubs := t.TempDir()
	for _, name := range []string{"fustor", "jq", "systemctl", "ssh", "ls", "sha256sum", "rmdir", "sleep", "xargs", "duckdb", "ncdu", "zstd"} {
		stub(t, stubs, name)
	}
	said := filepath.Join(stubs, "fustor.said")
	check := func(where, example string) {
		os.Remove(said)
		if end := f.shell(stubs, example); end.code != 0 {
			t.Errorf("%s: %s: %+v", where, example, end)
		}
		lines, err := os.ReadFile(said)
		if err != nil {
			t.Errorf("%s: %s: fustor was not called", where, example)
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(string(lines), "\n\x00"), "\n\x00") {
			args := strings.Split(strings.TrimSuffix(line, "\x00"), "\x00")
			if args[0] == "--version" {
				continue
			}
			if _, err := newParser(&cli{}, &app{stdout: os.Stdout, stderr: os.Stderr}).Parse(args); err != nil {
				t.Errorf("%s: %s: %q: %v", where, example, args, err)
			}
		}
	}
	type example struct{ where, line string }
	var examples []example
	for _, n := range newParser(&cli{}, &app{stdout: os.Stdout, stderr: os.Stderr}).Model.Leaves(true) {
		if len(examplesOf(n)) == 0 {
			t.Errorf("%s has no examples", title(n))
		}
		for _, line := range examplesOf(n) {
			examples = append(examples, example{title(n), line})
		}
	}
	for _, e := range examples {
		check(e.where, e.line)
	}
	inHelp := len(examples)
	examples = nil
	t.Setenv("FUSTOR_STORE", "file:///srv/fustor") // pages name it once
	f.env = append(f.env, "STORE=file:///srv/fustor")
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, page := range append(pages, "../../README.md") {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range examplesIn(string(text)) {
			examples = append(examples, example{page, line})
		}
	}
	t.Logf("%d examples in help, %d in pages", inHelp, len(examples))
	for _, e := range examples {
		check(e.where, e.line)
	}
}

// examplesIn are the command lines of a page that begin with fustor, in blocks of sh.
func examplesIn(page string) (examples []string) {
	page, _, _ = strings.Cut(page, "<!-- generated")
	for i, block := range strings.Split(page, "```") {
		language, lines, _ := strings.Cut(block, "\n")
		if i%2 == 0 || language != "sh" {
			continue
		}
		for line := range strings.SplitSeq(strings.ReplaceAll(lines, "\\\n", " "), "\n") {
			if strings.HasPrefix(line, "fustor ") {
				examples = append(examples, line)
			}
		}
	}
	return examples
}

// answersElse are the examples that end otherwise than with 0 here, and why.
var answersElse = map[string]int{
	"fustor search '*.parquet' --min-size 100M --owner alice":                         exitUsage,   // no host of the view has an alice
	"fustor report odd /projects --type f --owner alice":                              exitUsage,   // nor here
	"fustor report growth /projects --since 2h --depth 3":                             exitFailure, // the view is younger
	"fustor report growth --since 1042 --json | jq 'select(.bytes > 1e12)'":           exitFailure, // there is no such version
	"fustor access /projects/alpha":                                                   exitUsage,   // its key sees everything
	"fustor access /projects/alpha/reads.bam --as alice":                              exitFailure, // the host has no alice
	"fustor diff --from 2h":                                                           exitFailure, // the view is younger
	"fustor diff --from 7d --summary --depth 2":                                       exitFailure, // so it is
	"fustor diff /projects --from 1042 --to 1050 --type f":                            exitFailure, // there are no such versions
	"fustor ls /projects --as-of yesterday":                                           exitFailure, // nor of yesterday
	"fustor diff --from yesterday --json | jq -r 'select(.change==\"removed\").path'": exitFailure, // nor of yesterday
}

// soon is an example that waits for a tree at rest, with a second for it.
func soon(example string) string {
	const long = "--quiet 5m"
	if strings.HasPrefix(example, "fustor wait") && !strings.Contains(example, long) {
		return strings.Replace(example, "fustor wait", "fustor wait --quiet 1s", 1)
	}
	return strings.Replace(example, long, "--quiet 1s", 1)
}

// TestExamplesRun runs the examples of all commands that read, and of those that need nothing, on a served tree.
func TestExamplesRun(t *testing.T) {
	for _, tool := range []string{"bash", "jq"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skip(tool, " is missing")
		}
	}
	f := newField(t)
	f.await("fustor", "admin", "view", "create", "all", "--members", "default")
	stubs := t.TempDir()
	for _, name := range []string{"ls", "sha256sum", "rmdir", "ncdu", "zstd"} {
		stub(t, stubs, name)
	}
	alone := []string{"fustor cost", "fustor version", "fustor help", "fustor completion"}
	run := 0
	for _, n := range newParser(&cli{}, &app{stdout: os.Stdout, stderr: os.Stderr}).Model.Leaves(true) {
		if !asksServer(n) && !slices.Contains(alone, title(n)) || outcomes[title(n)].good == outcomes[title(n)].missing && outcomes[title(n)].good != "" {
			continue
		}
		for _, example := range examplesOf(n) {
			if strings.HasPrefix(example, "fustor sessions pause") {
				continue // there is no agent nfs07
			}
			if strings.HasPrefix(example, "fustor watch") && !strings.Contains(example, "--once") {
				continue // it waits
			}
			if strings.HasPrefix(example, "fustor wait") && strings.Contains(example, "--expect") || strings.HasPrefix(example, "ssh ") {
				continue // the upload and its list are elsewhere
			}
			if strings.HasPrefix(example, "fustor browse") {
				continue // it needs a terminal
			}
			if strings.Contains(example, "s3://") {
				continue // no such bucket is here
			}
			run++
			end := f.shell(stubs, soon(example))
			if end.code != answersElse[example] {
				t.Errorf("%s: %+v", example, end)
			}
			if _, said, ok := strings.Cut(example, "&& echo "); ok && !strings.Contains(end.stdout, strings.Trim(said, `"`)) {
				t.Errorf("%s printed %q", example, end.stdout)
			}
		}
	}
	t.Logf("%d examples", run)

	// What is still written to is not complete.
	if runtime.GOOS != "linux" {
		return
	}
	upload, err := os.Create(filepath.Join(f.here, "tree/incoming/run42/upload"))
	if err != nil {
		t.Fatal(err)
	}
	defer upload.Close()
	if _, err := upload.WriteString("part"); err != nil {
		t.Fatal(err)
	}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(wait.Limit(time.Minute)); ; <-tick.C {
		end := f.shell(stubs, `fustor suspects /incoming/run42 --fail-if-any && echo "complete"`)
		if end.code == exitFound && strings.HasSuffix(end.stdout, "/upload\n") && end.stderr == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", end)
		}
	}
	if end := f.run(nil, "fustor", "suspects", "--fail-if-any", "--json"); end.code != exitFound {
		t.Errorf("%+v", end)
	}
}
