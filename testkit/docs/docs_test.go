// Package docs holds the project's Markdown to two rules: every relative link leads to a file and a heading that exist,
// and no line of prose is so long that a diff hides what changed in it.
package docs

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

const root = "../.."

// longest is how many columns a line of prose may have: one sentence, a link included.
const longest = 200

var (
	link      = regexp.MustCompile(`\[[^\]]*\]\(([^)\s]+)\)`)
	inlineOff = regexp.MustCompile("`[^`]*`")
	// mention is how code, comments and plain text name a page of docs/, with a heading or without.
	mention = regexp.MustCompile(`\bdocs/[a-zA-Z0-9_/-]+\.md(#[a-z0-9_-]+)?`)
)

// TestLinksResolve follows every relative link of every page, and every mention of a page in any other file.
func TestLinksResolve(t *testing.T) {
	pages := map[string]page{}
	for _, path := range files(t, func(path string) bool { return filepath.Ext(path) == ".md" }) {
		pages[path] = read(t, path)
	}
	check := func(from string, line int, target, heading string) {
		if _, err := os.Stat(filepath.Join(root, target)); err != nil {
			t.Errorf("%s:%d: there is no %s", from, line, target)
		} else if p, isPage := pages[target]; heading != "" && isPage && !p.anchors[heading] {
			t.Errorf("%s:%d: %s has no heading #%s", from, line, target, heading)
		}
	}
	links := 0
	for path, p := range pages {
		for i, line := range p.lines {
			if p.code[i] {
				continue
			}
			for _, m := range link.FindAllStringSubmatch(inlineOff.ReplaceAllString(line, ""), -1) {
				target, heading, _ := strings.Cut(m[1], "#")
				if strings.Contains(target, "://") || strings.HasPrefix(target, "mailto:") {
					continue
				}
				links++
				to := path
				if target != "" {
					to = filepath.Join(filepath.Dir(path), target)
				}
				check(path, i+1, to, heading)
			}
		}
	}
	if links < 50 {
		t.Errorf("found %d links: the pages have more, so the test does not see them", links)
	}
	text := map[string]bool{".go": true, ".md": true, ".sh": true, ".yaml": true, ".yml": true, ".service": true, ".txt": true, "": true}
	for _, path := range files(t, func(path string) bool { return text[filepath.Ext(path)] }) {
		content, err := os.ReadFile(filepath.Join(root, path))
		if err != nil {
			t.Fatal(err)
		}
		if !utf8.Valid(content) {
			continue // a binary
		}
		for i, line := range strings.Split(string(content), "\n") {
			for _, m := range mention.FindAllString(line, -1) {
				target, heading, _ := strings.Cut(m, "#")
				check(path, i+1, target, heading)
			}
		}
	}
}

// TestNoProseLineIsLong: tables, code and headings may be longer.
func TestNoProseLineIsLong(t *testing.T) {
	for _, path := range files(t, func(path string) bool { return filepath.Ext(path) == ".md" }) {
		p := read(t, path)
		for i, line := range p.lines {
			prose := !p.code[i] && !strings.HasPrefix(strings.TrimSpace(line), "|") && !strings.HasPrefix(line, "#")
			if n := utf8.RuneCountInString(line); prose && n > longest {
				t.Errorf("%s:%d has %d columns, more than %d: write one sentence a line, and shorter ones", path, i+1, n, longest)
			}
		}
	}
}

// page is one Markdown file: its lines, which of them are code, and the anchors that its headings have on GitHub.
type page struct {
	lines   []string
	code    []bool
	anchors map[string]bool
}

func read(t *testing.T, path string) page {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root, path))
	if err != nil {
		t.Fatal(err)
	}
	p := page{lines: strings.Split(string(content), "\n"), anchors: map[string]bool{}}
	fenced, list := false, false
	for _, line := range p.lines {
		trimmed := strings.TrimSpace(line)
		fence := strings.HasPrefix(trimmed, "```")
		if fence {
			fenced = !fenced
		}
		switch {
		case strings.HasPrefix(trimmed, "- ") || len(trimmed) > 1 && trimmed[0] >= '1' && trimmed[0] <= '9' && trimmed[1] == '.':
			list = true
		case trimmed != "" && !strings.HasPrefix(line, " "):
			list = false
		}
		code := fenced || fence || !list && strings.HasPrefix(line, "    ")
		p.code = append(p.code, code)
		if heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " "); ok && !code && strings.HasPrefix(line, "#") {
			anchor := slug(heading)
			for n := 1; p.anchors[anchor]; n++ {
				anchor = slug(heading) + "-" + strconv.Itoa(n)
			}
			p.anchors[anchor] = true
		}
	}
	if fenced {
		t.Errorf("%s ends inside a code block", path)
	}
	return p
}

// slug is the anchor that GitHub gives a heading: "What `up` does: more" is #what-up-does-more.
func slug(heading string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(strings.TrimSpace(heading)) {
		switch {
		case r == ' ':
			b.WriteByte('-')
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			b.WriteRune(r)
		}
	}
	return b.String()
}

// files are the project's own files that want picks, by paths from the root.
func files(t *testing.T, want func(path string) bool) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && (name == ".git" || name == ".cache" || name == "bin" || name == "node_modules") {
			return filepath.SkipDir
		}
		if path, err = filepath.Rel(root, path); err != nil {
			return err
		}
		if entry.Type().IsRegular() && want(path) {
			found = append(found, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) == 0 {
		t.Fatal("found no files")
	}
	return found
}
