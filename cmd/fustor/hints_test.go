package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
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
