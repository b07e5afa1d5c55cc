package engine

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/fustor/fustor/internal/event"
)

// matchesPath asks a pattern as a search does: the directory first, then the name.
func matchesPath(p pattern, path string) bool {
	parent, name := event.Split(path)
	v := p.directory(parent)
	return v == matchesAll || v == matchesByName && p.name(parent, name)
}

// TestFnmatch holds the rules against examples of Python's own documentation and of paths.
func TestFnmatch(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no []string
	}{
		{"*.bam", []string{"/x.bam", "/a/b/.bam"}, []string{"/x.BAM", "/x.bam.bai"}},
		{"/a/*.txt", []string{"/a/x.txt", "/a/b/c/x.txt"}, []string{"/b/a/x.txt", "/a.txt"}},
		{"x.txt", nil, []string{"/x.txt"}},
		{"*x.txt", []string{"/x.txt", "/a/yx.txt"}, nil},
		{"*/x.txt", []string{"/x.txt", "/a/x.txt"}, []string{"/a/yx.txt"}},
		{"/?/x", []string{"/a/x", "/é/x", "/\xff/x"}, []string{"/ab/x"}},
		{"/a?b", []string{"/a/b", "/a.b"}, []string{"/a//b"}},
		{"/[!a-c]*", []string{"/d", "/dx/y"}, []string{"/a", "/bx"}},
		{"/[]x]", []string{"/]", "/x"}, []string{"/y"}},
		{"/[a", []string{"/[a"}, []string{"/a"}},
		{`/a\*`, []string{`/a\`, `/a\x`}, []string{"/a*"}},
		{"*", []string{"/a", "/a/b"}, nil},
		{"", nil, []string{"/a"}},
		{"*sample*", []string{"/sample-1/reads", "/x/my.sample"}, []string{"/simple"}},
		{"/a/b", []string{"/a/b"}, []string{"/a/bc", "/x/a/b"}},
	} {
		p := compileFnmatch(c.pattern)
		for _, path := range c.yes {
			if !matchesPath(p, path) {
				t.Errorf("%s does not match %q", c.pattern, path)
			}
		}
		for _, path := range c.no {
			if matchesPath(p, path) {
				t.Errorf("%s matches %q", c.pattern, path)
			}
		}
	}
}

// TestFnmatchAsPython asks Python itself about thousands of patterns.
func TestFnmatchAsPython(t *testing.T) {
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("python3 is not installed")
	}
	type question struct{ Pattern, Path string }
	var questions []question
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.SampledFrom([]rune(`**??[[]]!!--^&~|\/aabcé.`))
		for i := range 60 {
			pattern := rapid.StringOfN(letters, 0, 12, -1).Draw(t, "pattern")
			if i%2 == 0 { // one set, which may be anything
				pattern = "[" + rapid.StringOfN(rapid.SampledFrom([]rune(`!^-ab-c]&|\[`)), 1, 9, -1).Draw(t, "set") + "]*"
			}
			path := "/" + rapid.StringOfN(rapid.SampledFrom([]rune(`aaabbc]!-^[\/é.&`)), 0, 8, -1).Draw(t, "path")
			questions = append(questions, question{pattern, path}, question{"/*" + pattern, path}, question{"/" + pattern, path})
		}
	})
	var input bytes.Buffer
	if err := json.NewEncoder(&input).Encode(questions); err != nil {
		t.Fatal(err)
	}
	// A set that Python's re refuses makes fnmatch raise: nothing can be held against that.
	const program = `
import fnmatch, json, re, sys, warnings
warnings.simplefilter("ignore")
def ask(q):
    try:
        return fnmatch.fnmatchcase(q["Path"], q["Pattern"])
    except re.error:
        return None
json.dump([ask(q) for q in json.load(sys.stdin)], sys.stdout)
`
	command := exec.Command(python, "-c", program)
	command.Stdin = &input
	output, err := command.Output()
	if err != nil {
		t.Skipf("python3 does not run: %v", err)
	}
	var answers []*bool
	if err := json.Unmarshal(output, &answers); err != nil || len(answers) != len(questions) {
		t.Fatalf("%d answers to %d questions: %v", len(answers), len(questions), err)
	}
	matched := 0
	for i, q := range questions {
		if answers[i] == nil {
			continue
		}
		if *answers[i] {
			matched++
		}
		if got := compileFnmatch(q.Pattern).match(q.Path, ""); got != *answers[i] {
			t.Errorf("%q on %q: %v, and Python says %v", q.Pattern, q.Path, got, *answers[i])
		}
	}
	if matched < len(questions)/50 {
		t.Errorf("only %d of %d matched", matched, len(questions))
	}
}

// TestFnmatchLosesNothing: what a search leaves unread because of a pattern's texts has no match.
func TestFnmatchLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		letters := rapid.SampledFrom([]rune("aaab/*?["))
		text := rapid.StringOfN(letters, 0, 12, -1).Draw(t, "pattern")
		path := "/" + strings.Trim(rapid.StringOfN(rapid.SampledFrom([]rune("aaab/[")), 1, 12, -1).Draw(t, "path"), "/")
		for strings.Contains(path, "//") {
			path = strings.ReplaceAll(path, "//", "/")
		}
		if path == "/" { // the root is nobody's hit
			return
		}
		p := compileFnmatch(text)
		parent, name := event.Split(path)
		if !p.match(parent, name) {
			if matchesPath(p, path) {
				t.Fatalf("%q: directory and name match %q", text, path)
			}
			return
		}
		why := fmt.Sprintf("%q matches %q", text, path)
		if !matchesPath(p, path) {
			t.Fatalf("%s, but directory and name do not", why)
		}
		if !strings.HasPrefix(parent, p.inside()) {
			t.Fatalf("%s, which is not inside %q", why, p.inside())
		}
		if !strings.HasSuffix(name, p.tail) || p.tailStarts && name != p.tail {
			t.Fatalf("%s, whose name does not end with %q", why, p.tail)
		}
		if l := p.literal(); l != nil && !l.in(name) {
			t.Fatalf("%s, whose name lacks %q", why, l.part)
		}
		if p.piece == "" {
			return
		}
		has := func(component string) bool {
			return strings.Contains(component, p.piece) && (!p.pieceStart || strings.HasPrefix(component, p.piece)) && (!p.pieceEnd || strings.HasSuffix(component, p.piece))
		}
		if has(name) {
			return
		}
		above := p.directories()
		for _, component := range strings.Split(strings.TrimPrefix(parent, p.inside()), "/") {
			if has(component) && above.pattern.name("/", component) {
				return
			}
		}
		t.Fatalf("%s, none of whose components has %q", why, p.piece)
	})
}
