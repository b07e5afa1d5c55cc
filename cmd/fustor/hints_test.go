package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/fustor/fustor/internal/client"
)

var flagInText = regexp.MustCompile(`(?:^|[\s\x60"'(])--([a-z][a-z0-9-]*[a-z0-9])`)

// TestHintsNameFlagsThatExist: every --flag in a text of the program, hints above all, is a flag of some command.
func TestHintsNameFlagsThatExist(t *testing.T) {
	known := map[string]bool{"version": true}
	model := newParser(&cli{}, &app{stdout: os.Stdout, stderr: os.Stderr}).Model
	for _, n := range model.Leaves(false) {
		for _, flags := range n.AllFlags(false) {
			for _, f := range flags {
				known[f.Name] = true
				if f.Tag.Negatable != "" {
					known["no-"+f.Name] = true
				}
			}
		}
	}
	found := 0
	for _, room := range []string{"agent", "ingest", "compactor", "query", "internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join("..", "..", room), func(path string, d fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				text, ok := n.(*ast.BasicLit)
				if !ok || text.Kind != token.STRING {
					return true
				}
				for _, m := range flagInText.FindAllStringSubmatch(text.Value, -1) {
					found++
					if !known[m[1]] {
						t.Errorf("%s names --%s, which no command has", set.Position(text.Pos()), m[1])
					}
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d flags in texts", found)
}

// TestHintsOfAProxysAnswer: what a proxy refuses by itself is told apart from a wrong URL.
func TestHintsOfAProxysAnswer(t *testing.T) {
	for _, c := range []struct {
		status     int
		retryAfter string
		hint       string
	}{
		{http.StatusTooManyRequests, "", "a proxy on the way limits requests: try again"},
		{http.StatusTooManyRequests, "7", "a proxy on the way limits requests: try again in 7 s"},
		{http.StatusBadGateway, "", "a proxy on the way has no answer from the server: try again, and check that fustor runs behind it"},
		{http.StatusServiceUnavailable, "Sun, 06 Nov 1994 08:49:37 GMT", "a proxy on the way has no answer from the server: try again, and check that fustor runs behind it"},
		{http.StatusGatewayTimeout, "3", "a proxy on the way has no answer from the server: try again in 3 s, and check that fustor runs behind it"},
		{http.StatusNotFound, "", "check that this is the URL of a fustor server"},
	} {
		if e := explain(&client.Error{Status: c.status, RetryAfter: c.retryAfter, Foreign: true}); e.hint != c.hint || e.code != exitFailure {
			t.Errorf("%d, Retry-After %q: %q, exit code %d; want %q", c.status, c.retryAfter, e.hint, e.code, c.hint)
		}
	}
}
