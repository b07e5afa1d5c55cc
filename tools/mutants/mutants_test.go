package main

import (
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const sample = `package sample

type pair struct{ a, b int }

func Grade(n int, strict bool) (p pair, ok bool) {
	if n < 3 && !strict {
		return p, true
	}
	for i := 0; i < n; i++ {
		if i%2 == 0 {
			continue
		}
		p.a += i
	}
	switch {
	case n > 9:
		return pair{a: n}, false
	}
	return p, n == 3
}
`

// findIn finds the mutants of a file of its own.
func findIn(t *testing.T, path, source string) []*mutant {
	t.Helper()
	fset := token.NewFileSet()
	file, err := parser.ParseFile(fset, path, source, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}, Implicits: map[ast.Node]types.Object{}}
	config := types.Config{Importer: importer.Default()}
	pkg, err := config.Check("sample", fset, []*ast.File{file}, info)
	if err != nil {
		t.Fatal(err)
	}
	next := 0
	f := &finder{file: path, source: []byte(source), fset: fset, info: info, pkg: pkg, next: &next}
	f.find(file)
	return f.found
}

func TestFindsEachKindOfMutant(t *testing.T) {
	var got []string
	for _, m := range findIn(t, "sample.go", sample) {
		got = append(got, strconv.Itoa(m.line)+" "+m.before+" → "+m.after)
	}
	for _, want := range []string{
		"6 n < 3 → true &&", "6 !strict → true &&", "6 n < 3 → n <= 3", "6 3 → 3 + 1", "7 true → false", "9 i < n → i <= n", "10 i%2 == 0 → if true", "10 i%2 == 0 → if false",
		"11 continue → left out", "13 p.a += i → left out", "16 n > 9 → case false", "16 n > 9 → n >= 9", "17 a: n → left out", "17 false → true", "19 n == 3 → the opposite",
	} {
		if !slices.Contains(got, want) {
			t.Errorf("%q is not among %q", want, got)
		}
	}
}

// TestEachMutantChangesWhatItSays builds a program with all mutants, and asks what it answers with each: something else than without.
func TestEachMutantChangesWhatItSays(t *testing.T) {
	dir := t.TempDir()
	found := findIn(t, filepath.Join(dir, "sample.go"), sample)
	out, _ := render([]byte(sample), found)
	source := strings.Replace(string(out), "package sample", "package main", 1) + `
func main() {
	sum := 0
	for n := range 12 {
		for _, strict := range []bool{false, true} {
			p, ok := Grade(n, strict)
			sum = sum*31 + p.a*7 + p.b
			if ok {
				sum++
			}
		}
	}
	println(sum)
}
`
	for name, text := range map[string]string{"sample.go": source, "switches.go": strings.NewReplacer("%s", "main", "%d", strconv.Itoa(len(found)+1)).Replace(switches), "go.mod": "module sample\n\ngo 1.26\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.Command("go", "build", "-o", "sample", ".")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, source)
	}
	answer := func(id int) string {
		c := exec.CommandContext(t.Context(), filepath.Join(dir, "sample"))
		c.Env = append(os.Environ(), "FUSTOR_MUTANT="+strconv.Itoa(id))
		out, err := c.CombinedOutput()
		if err != nil {
			t.Fatalf("mutant %d: %v\n%s", id, err, out)
		}
		return string(out)
	}
	without := answer(0)
	for _, m := range found {
		if equivalent := m.line == 9 && m.before == "0"; (answer(m.id) == without) != equivalent {
			t.Errorf("line %d, %s: %s", m.line, m.what(), answer(m.id))
		}
	}
}

func TestListOfSurvivors(t *testing.T) {
	m := mutant{file: "a/b.go", in: "T.f", before: "x < y", after: "x <= y", text: "if x < y {"}
	reasons, err := parseSurvivors("# A comment.\n\n" + m.entry() + "x is never y.\nThat is why.\n\n")
	if err != nil || reasons[m.key()] != "x is never y. That is why." {
		t.Errorf("%q, %v", reasons, err)
	}
	if _, err := parseSurvivors(m.entry()); err == nil {
		t.Error("an entry without a reason is taken")
	}
}

// TestQuickTestsComeFirst: a mutant is killed by a quick test where one reaches it, and a judge's budget ends what it tries.
func TestQuickTestsComeFirst(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\necho \"$FUSTOR_MUTANT $*\" >>calls\ncase \"$*\" in *Slow*) echo '--- FAIL: TestSlow (1s)'; exit 1;; esac\n"
	if err := os.WriteFile(filepath.Join(dir, "t"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	x := &tests{binary: filepath.Join(dir, "t"), dir: dir, all: []test{{"TestOther", 0, []byte{0, 0}}, {"TestQuick", time.Millisecond, []byte{0, 1}}, {"TestSlow", time.Minute, []byte{0, 1}}}}
	for budget, want := range map[time.Duration]string{time.Second: "", time.Hour: "TestSlow"} {
		if by, err := x.kill(mutant{id: 1}, budget); err != nil || by != want {
			t.Errorf("in %v: %q, %v", budget, by, err)
		}
	}
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil || strings.Contains(string(calls), "TestOther") || strings.Count(string(calls), "^(TestQuick)$") != 2 {
		t.Errorf("%s, %v", calls, err)
	}
}
