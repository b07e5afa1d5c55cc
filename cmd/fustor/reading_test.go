//go:build !reading

package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/fustor/fustor/cmd/fustor/internal/first"
)

func TestFirstKnowsTheReadCommands(t *testing.T) {
	var names []string
	for i := range reflect.TypeFor[readCommands]().NumField() {
		names = append(names, strings.ToLower(reflect.TypeFor[readCommands]().Field(i).Name))
	}
	if got, want := fmt.Sprint(first.Commands), fmt.Sprint(names); got != want {
		t.Errorf("first.Commands are %v, readCommands %v", got, want)
	}
}

// TestScriptsByReadingProgram runs the scripts of reading commands through fustor-read, as fustor does if that is beside it. What a
// script says of help and of usage errors holds as well: fustor-read hands those back.
func TestScriptsByReadingProgram(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "fustor-read")
	build := exec.Command("go", "build", "-tags", "reading", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	whole, err := exec.LookPath("fustor") // testscript's: this test program
	if err != nil {
		t.Fatal(err)
	}
	ran := filepath.Join(dir, "ran")
	front := fmt.Sprintf(`#!/bin/sh
case "$1" in
%s)
	if [ -z "$%s" ]; then
		echo "$1" >>%s
		exec %s "$@"
	fi
	echo back >>%[3]s ;;
esac
unset %[2]s
exec %[5]s "$@"
`, strings.Join(first.Commands[:], "|"), first.WholeEnv, ran, program, whole)
	if err := os.WriteFile(filepath.Join(dir, "fustor"), []byte(front), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Run("scripts", func(t *testing.T) {
		p := scripts("")
		for _, name := range []string{"reading", "find", "asof", "forest", "pathcalls", "usage"} {
			p.Files = append(p.Files, filepath.Join("testdata", "script", name+".txt"))
		}
		setup := p.Setup
		p.Setup = func(e *testscript.Env) error {
			e.Setenv("PATH", dir+string(filepath.ListSeparator)+e.Getenv("PATH"))
			return setup(e)
		}
		testscript.Run(t, p)
	})
	if strings.Contains(flag.Lookup("test.run").Value.String(), "/") {
		t.Skip("-run leaves scripts out, so not all commands may have run")
	}
	log, err := os.ReadFile(ran)
	if err != nil {
		t.Fatal(err)
	}
	for _, word := range append(first.Commands[:], "back") {
		if !strings.Contains(string(log), word+"\n") {
			t.Errorf("no script ran %s by fustor-read", word)
		}
	}
}

// TestReadingProgramHandsBack shows which command lines fustor-read does not take.
func TestReadingProgramHandsBack(t *testing.T) {
	dir := t.TempDir()
	program := filepath.Join(dir, "fustor-read")
	if out, err := exec.Command("go", "build", "-tags", "reading", "-ldflags=-X main.version=v1", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	ask := func(env string, args ...string) string {
		cmd := exec.Command(program, args...)
		cmd.Env = append(os.Environ(), env)
		out, _ := cmd.CombinedOutput()
		return string(out)
	}
	if got := ask("", "du", "--help"); !strings.Contains(got, "leaves this to the fustor beside it") {
		t.Errorf("without a fustor: %q", got)
	}
	script := "#!/bin/sh\necho \"whole $FUSTOR_READ_BACK$FUSTOR_READ_BUILD $*\"\n"
	if err := os.WriteFile(filepath.Join(dir, "fustor"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		env  string
		args []string
		back bool
	}{
		{"FUSTOR_READ_BUILD=v1", []string{"du", "/", "--url", "http://127.0.0.1:1"}, false},
		{"FUSTOR_READ_BUILD=v2", []string{"du", "/", "--url", "http://127.0.0.1:1"}, true},
		{"FUSTOR_READ_BUILD=v1", []string{"du", "--help"}, true},
		{"FUSTOR_READ_BUILD=v1", []string{"du", "--no-such-flag"}, true},
		{"FUSTOR_READ_BUILD=v1", []string{"query"}, true},
		{"FUSTOR_READ_BUILD=v1", nil, true},
	} {
		got, want := ask(test.env, test.args...), "whole 1 "+strings.Join(test.args, " ")+"\n"
		if (got == want) != test.back || !test.back && !strings.Contains(got, "no answer from http://127.0.0.1:1") {
			t.Errorf("%s %q: %q", test.env, test.args, got)
		}
	}
}
