// Package expected is the list of files that `fustor wait --expect` waits for: it reads the list, takes in which files are there, and says
// which are missing or of another size. It holds the list in memory, and nothing of the tree.
package expected

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/values"
)

// List is the files that are expected.
type List struct {
	files map[string]*file // by path below the directory
	sizes bool             // the list has sizes
	order []string
	wrong []Wrong // of the check that runs
	other int
}

type file struct {
	size  int64 // -1: any
	found bool
}

// Wrong is a file of another size.
type Wrong struct {
	Path     string `json:"path"`
	Expected int64  `json:"expected"`
	Size     int64  `json:"size"`
}

// Result is what a list lacks.
type Result struct {
	Missing   int
	OtherSize int
	First     []string // missing ones
	Wrong     []Wrong  // the first ones
}

// shown is how many files a Result names of each kind.
const shown = 10

var (
	// sum is a line of sha256sum and its kin: with a backslash before it, the name has escapes.
	sum = regexp.MustCompile(`^(\\?)(?:[0-9a-fA-F]{32}|[0-9a-fA-F]{40}|[0-9a-fA-F]{56}|[0-9a-fA-F]{64}|[0-9a-fA-F]{96}|[0-9a-fA-F]{128}) [ *](.+)$`)
	// sized is a line of find -printf '%s %P\n'.
	sized = regexp.MustCompile(`^([0-9]+)[ \t](.+)$`)
)

// A form is how a line tells of a file: its path, and its bytes, -1 where it does not tell. ok: the line is of this form.
type form func(line string) (path string, size int64, ok bool)

// forms are those that lists have, in the order in which they are tried.
var forms = []form{
	func(line string) (string, int64, bool) {
		m := sum.FindStringSubmatch(line)
		if m == nil {
			return "", 0, false
		}
		if m[1] != "" {
			return strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\r`, "\r").Replace(m[2]), -1, true
		}
		return m[2], -1, true
	},
	func(line string) (string, int64, bool) {
		at := strings.LastIndexByte(line, '\t')
		if at <= 0 || !isNumber(line[at+1:]) {
			return "", 0, false
		}
		return line[:at], number(line[at+1:]), true
	},
	func(line string) (string, int64, bool) {
		m := sized.FindStringSubmatch(line)
		if m == nil {
			return "", 0, false
		}
		return m[2], number(m[1]), true
	},
}

// read is a line of any form, unless it is empty.
func read(line string) (path string, size int64, ok bool) {
	for _, f := range forms {
		if path, size, ok = f(line); ok {
			break
		}
	}
	return path, size, ok
}

// formOf is the form that all lines have: "8 a<tab>7" is of two, and the others tell which is meant. Without one, each line counts by itself.
func formOf(lines []string) form {
	for _, f := range forms {
		if !slices.ContainsFunc(lines, func(line string) bool {
			_, _, ok := f(line)
			return !ok && strings.TrimSpace(line) != ""
		}) {
			return f
		}
	}
	return read
}

// Read reads a list. Its lines have one of the three forms; a line of none is an error that names it.
func Read(r io.Reader) (*List, error) {
	l := &List{files: map[string]*file{}}
	scanner := bufio.NewScanner(r)
	scanner.Buffer(nil, 1<<20)
	var lines []string
	for scanner.Scan() {
		lines = append(lines, strings.TrimSuffix(scanner.Text(), "\r"))
	}
	if err := scanner.Err(); err != nil {
		return nil, err
	}
	parse := formOf(lines)
	for i, line := range lines {
		if strings.TrimSpace(line) == "" {
			continue
		}
		path, size, ok := parse(line)
		if !ok {
			return nil, fmt.Errorf("line %d is of no known form: %.100q", i+1, line)
		}
		for strings.HasPrefix(path, "./") {
			path = path[2:]
		}
		path = strings.TrimLeft(path, "/")
		if path == "" || size < -1 {
			return nil, fmt.Errorf("line %d names no file, or no size: %.100q", i+1, line)
		}
		if l.files[path] == nil {
			l.order = append(l.order, path)
		}
		l.files[path] = &file{size: size}
		l.sizes = l.sizes || size >= 0
	}
	if len(l.files) == 0 {
		return nil, fmt.Errorf("the list names no file")
	}
	return l, nil
}

func isNumber(text string) bool {
	return text != "" && strings.Trim(text, "0123456789") == ""
}

// number is -2 where it is too large.
func number(text string) int64 {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return -2
	}
	return n
}

// Len is how many files are expected.
func (l *List) Len() int { return len(l.files) }

// Compared says what was compared beside the names.
func (l *List) Compared() string {
	if l.sizes {
		return ", with their sizes"
	}
	return "; the list has no sizes"
}

// Begin begins a check.
func (l *List) Begin() {
	l.wrong, l.other = nil, 0
	for _, f := range l.files {
		f.found = false
	}
}

// Found takes in a file that is there: its path below the directory, and its bytes.
func (l *List) Found(path string, size int64) {
	f := l.files[path]
	if f == nil {
		return
	}
	f.found = true
	if f.size < 0 || f.size == size {
		return
	}
	if l.other++; len(l.wrong) < shown {
		l.wrong = append(l.wrong, Wrong{path, f.size, size})
	}
}

// End ends a check.
func (l *List) End() Result {
	r := Result{OtherSize: l.other, Wrong: l.wrong}
	for _, path := range l.order {
		if l.files[path].found {
			continue
		}
		if r.Missing++; len(r.First) < shown {
			r.First = append(r.First, path)
		}
	}
	return r
}

// Text says what a list of n files lacks; empty: nothing.
func (r *Result) Text(n int) string {
	var parts []string
	if r.Missing > 0 {
		parts = append(parts, fmt.Sprintf("%d of %s missing, the first is %q", r.Missing, values.Plural(n, "file of the list is", "files of the list are"), r.First[0]))
	}
	if r.OtherSize > 0 {
		w, verb := r.Wrong[0], "have"
		if r.OtherSize == 1 {
			verb = "has"
		}
		parts = append(parts, fmt.Sprintf("%d %s another size, the first is %q with %d bytes instead of %d", r.OtherSize, verb, w.Path, w.Size, w.Expected))
	}
	return strings.Join(parts, ", ")
}

// AppendTo adds the result to an answer, which is a JSON object, and whether all is complete.
func (r *Result) AppendTo(answer []byte, complete bool) []byte {
	var fields map[string]json.RawMessage
	if json.Unmarshal(answer, &fields) != nil {
		return answer
	}
	set := func(name string, v any) { fields[name], _ = json.Marshal(v) } // numbers, texts and lists of them can be encoded
	set("complete", complete)
	set("missing", map[string]any{"count": r.Missing, "first": orEmpty(r.First)})
	set("other_size", map[string]any{"count": r.OtherSize, "first": orEmpty(r.Wrong)})
	out, err := json.Marshal(fields)
	if err != nil {
		return answer
	}
	return out
}

func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
