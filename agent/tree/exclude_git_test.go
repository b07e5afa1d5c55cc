package tree

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestExcludesAsGitDoes compares random patterns on random trees with `git check-ignore`.
func TestExcludesAsGitDoes(t *testing.T) {
	git, err := exec.LookPath("git")
	if err != nil {
		t.Skip("git is not installed")
	}
	const trees, sets = 4, 60
	excluded := 0
	for seed := range uint64(trees) {
		random := rand.New(rand.NewPCG(seed, 19))
		dir := t.TempDir()
		run(t, git, dir, nil, "init", "-q")
		paths := randomTree(t, random, dir)
		for range sets {
			var patterns []string
			for range 1 + random.IntN(4) {
				patterns = append(patterns, randomPattern(random))
			}
			x, err := NewExcludes(patterns)
			if err != nil {
				continue // git says nothing where we refuse
			}
			want := checkIgnore(t, git, dir, patterns, paths)
			got := map[string]bool{}
			for _, p := range paths {
				if isExcluded(x, dir, p) {
					got[p] = true
				}
			}
			for _, p := range paths {
				if got[p] != want[p] {
					t.Fatalf("seed %d, patterns %q: %q excluded: %v; git: %v", seed, patterns, p, got[p], want[p])
				}
			}
			excluded += len(got)
		}
	}
	if excluded < 1000 {
		t.Errorf("only %d entries were excluded: the patterns are too rare", excluded)
	}
}

// isExcluded is what a walk from the root comes to: what is below an excluded directory is not met.
func isExcluded(x *Excludes, root, path string) bool {
	for at := 1; at <= len(path); at++ {
		if at < len(path) && path[at] != '/' {
			continue
		}
		info, err := os.Lstat(filepath.Join(root, path[:at]))
		if err == nil && x.MatchPath(path[:at], info.IsDir()) {
			return true
		}
	}
	return false
}

// names are few and alike, so that patterns often match some of them.
var names = []string{"a", "b", "ab", "ba", "a.b", "abc", "b.c", "a b", "-a", "!a", "#a", "a]", "[a]", "a{b}", "{a,b}", "A", "1", `a\b`, "a*", "**"}

func randomTree(t *testing.T, random *rand.Rand, root string) (paths []string) {
	dirs := []string{""}
	for range 120 {
		path := dirs[random.IntN(len(dirs))] + "/" + names[random.IntN(len(names))]
		full := filepath.Join(root, path)
		if _, err := os.Lstat(full); err == nil {
			continue
		}
		switch {
		case random.IntN(5) < 2 && strings.Count(path, "/") < 5:
			must(t, os.Mkdir(full, 0o755))
			dirs = append(dirs, path)
		case random.IntN(10) == 0:
			must(t, os.Symlink("/", full)) // a link to a directory is none
			continue                       // git refuses to look below it; the names above do
		default:
			must(t, os.WriteFile(full, nil, 0o644))
		}
		paths = append(paths, path)
	}
	return paths
}

func randomPattern(random *rand.Rand) string {
	pick := func(of ...string) string { return of[random.IntN(len(of))] }
	var b strings.Builder
	b.WriteString(pick("", "", "", "", "!"))
	b.WriteString(pick("", "", "", "/", "**/"))
	for i := range 1 + random.IntN(3) {
		if i > 0 {
			b.WriteString("/")
		}
		switch random.IntN(6) {
		case 0:
			b.WriteString("**")
		case 1, 2:
			b.WriteString(pick("a", "b", "ab", "abc", "A", "1", `\a`, `a\*`, `\!a`, `\#a`, `a\\b`, `\*\*`))
		default:
			for range 1 + random.IntN(3) {
				b.WriteString(pick("a", "b", "*", "?", ".", "**", "[ab]", "[!a]", "[^b]", "[a-c]", "[[:alpha:]]", "[]a]", `[\]]`, "[!]]", "{", "}", `\a`, "[[:digit:][:upper:]]", "[a-]", "[.-b]", "]"))
			}
		}
	}
	b.WriteString(pick("", "", "", "/", "/**"))
	return b.String()
}

func checkIgnore(t *testing.T, git, dir string, patterns, paths []string) map[string]bool {
	t.Helper()
	file := make([]string, len(patterns))
	for i, p := range patterns { // # and a trailing blank mean something in a file alone
		if strings.HasPrefix(p, "#") {
			p = `\` + p
		}
		file[i] = p
	}
	must(t, os.WriteFile(filepath.Join(dir, ".git", "info", "exclude"), []byte(strings.Join(file, "\n")+"\n"), 0o644))
	var input bytes.Buffer
	for _, p := range paths {
		fmt.Fprintf(&input, "%s\x00", p[1:])
	}
	ignored := map[string]bool{}
	for line := range strings.SplitSeq(string(run(t, git, dir, &input, "check-ignore", "-z", "--stdin", "--no-index")), "\x00") {
		if line != "" {
			ignored["/"+line] = true
		}
	}
	return ignored
}

func run(t *testing.T, git, dir string, input *bytes.Buffer, args ...string) []byte {
	t.Helper()
	c := exec.Command(git, args...)
	c.Dir = dir
	c.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "LC_ALL=C")
	if input != nil {
		c.Stdin = input
	}
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if err := c.Run(); err != nil && c.ProcessState.ExitCode() != 1 { // 1: nothing is ignored
		t.Fatalf("git %v: %v: %s", args, err, errs.String())
	}
	return out.Bytes()
}

// TestExcludePatterns has the patterns that people try.
func TestExcludePatterns(t *testing.T) {
	for _, c := range []struct {
		patterns string // divided by blanks
		path     string // a directory if it ends in a slash
		want     bool
	}{
		{"cache/", "/cache/", true}, {"cache/", "/a/cache/", true}, {"cache/", "/cache", false},
		{"/abs", "/abs", true}, {"/abs", "/a/abs", false}, {"a/b", "/a/b", true}, {"a/b", "/c/a/b", false},
		{"*.tmp !keep.tmp", "/a/keep.tmp", false}, {"*.tmp !keep.tmp", "/a/x.tmp", true}, {"!keep.tmp *.tmp", "/keep.tmp", true},
		{`\!x`, "/!x", true}, {"#recycle", "/#recycle/", true}, {"a{b}", "/a{b}", true}, {"a{b}", "/ab", false},
		{"*.{bam,bai}", "/x.bai", true}, {"{a/x,b/}", "/a/x", true}, {"{a/x,b/}", "/c/b/", true},
		{"a/**", "/a/", false}, {"a/**", "/a/b", true}, {"**/logs", "/x/logs", true}, {"?.txt", "/é.txt", true}, {`*\*`, "/a*", true}, {`*\*`, "/a", false}, {".snapshot !.snapshot", "/.snapshot/", false},
	} {
		x, err := NewExcludes(strings.Fields(c.patterns))
		must(t, err)
		path, directory := strings.CutSuffix(c.path, "/")
		if got := x.MatchPath(path, directory); got != c.want {
			t.Errorf("%s of %s: %v", c.path, c.patterns, got)
		}
	}
	for _, bad := range []string{"", "/", "!", "//", "./x", "../x", "..", ".", "a/../b", "a//b", "[", "a/[b", `a\`, "[[:nothing:]]", "!/"} {
		if _, err := NewExcludes([]string{bad}); err == nil {
			t.Errorf("%q was taken", bad)
		}
	}
}

// TestLeaveOut has the directory tell the types, or not.
func TestLeaveOut(t *testing.T) {
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "cache"), 0o755))
	must(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	must(t, os.WriteFile(filepath.Join(dir, "sub", "cache"), nil, 0o644))
	x, err := NewExcludes([]string{"cache/", "absent"})
	must(t, err)
	for _, hints := range []bool{true, false} {
		tally := x.Tally()
		for path, want := range map[string]int{"/": 1, "/sub": 1} {
			d, err := openRoot(t, dir).OpenDir(path)
			must(t, err)
			defer d.Close()
			var names Names
			must(t, d.Read(&names))
			for i := range names.refs {
				if !hints {
					names.refs[i].dir = UnknownType
				}
			}
			tally.Add(x.LeaveOut(d, path, &names, nil))
			if names.Len() != want {
				t.Errorf("%d names of %s are left", names.Len(), path)
			}
		}
		for pattern, n := range tally.Each {
			if want := map[string]uint64{"cache/": 1}[pattern]; n != want {
				t.Errorf("%s: %d", pattern, n)
			}
		}
	}
}

func BenchmarkExcludes(b *testing.B) {
	x, err := NewExcludes(append([]string{"*.tmp", "cache/", "/build", "a/**/b"}, DefaultExcludes...))
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		x.Match("/projects/alpha/run42", "measurement-0001.parquet", false)
	}
}
