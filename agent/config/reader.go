package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/fustor/fustor/internal/yamltree"
)

// Problem is one thing that is wrong, and where.
type Problem = yamltree.Problem

// Error is everything that is wrong with a config file.
type Error struct {
	Path     string
	Problems []Problem
	V2       bool // it is a file of Fustor V2, which is the one problem
}

// Error has a line for each problem.
func (e *Error) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = fmt.Sprintf("%s:%d:%d: %s", e.Path, p.Line, p.Column, p.Text)
	}
	return strings.Join(lines, "\n")
}

// reader takes YAML's nodes apart and gathers what is wrong with them.
type reader struct {
	problems []Problem
	tree     *yamltree.Tree
}

// fields are what a mapping may have, each with what takes its value.
type fields map[string]func(ast.Node)

func (r *reader) problem(n ast.Node, format string, args ...any) {
	line, column := yamltree.Place(n)
	r.problems = append(r.problems, Problem{Line: line, Column: column, Text: fmt.Sprintf(format, args...)})
}

// parse is the document's root; nil: there is none.
func (r *reader) parse(body []byte) ast.Node {
	r.tree, r.problems = yamltree.Parse(body)
	if r.tree.Root == nil && len(r.problems) == 0 {
		r.problems = []Problem{{Line: 1, Column: 1, Text: "the file is empty: it needs sources, senders and pipes"}}
	}
	return r.tree.Root
}

// plain is the node that an anchor or an alias stands for.
func (r *reader) plain(n ast.Node) ast.Node { return r.tree.Plain(n) }

// pairs are the keys and values of a mapping; false if it is none, which is reported.
func (r *reader) pairs(n ast.Node, what string) ([]*ast.MappingValueNode, bool) {
	pairs, ok := r.tree.Pairs(n)
	if !ok {
		r.problem(n, "%s must be a mapping of names to values", what)
	}
	return pairs, ok
}

// mapping gives each field of a mapping to what takes it.
func (r *reader) mapping(n ast.Node, what string, take fields, required ...string) {
	pairs, ok := r.pairs(n, what)
	if !ok {
		return
	}
	seen := map[string]bool{}
	for _, p := range pairs {
		name := yamltree.KeyText(p.Key)
		f, known := take[name]
		switch {
		case !known:
			r.problem(p.Key, "%s has no field %q; it has %s", what, name, strings.Join(slices.Sorted(maps.Keys(take)), ", "))
			continue
		case seen[name]:
			r.problem(p.Key, "%q is given twice", name)
			continue
		}
		seen[name] = true
		f(p.Value)
	}
	for _, name := range required {
		if !seen[name] {
			r.problem(n, "%s needs the field %q", what, name)
		}
	}
}

// each calls f with the names of a mapping.
func (r *reader) each(n ast.Node, what string, f func(name string, value ast.Node)) {
	pairs, ok := r.pairs(n, what)
	if !ok {
		return
	}
	seen := map[string]bool{}
	for _, p := range pairs {
		name := yamltree.KeyText(p.Key)
		if seen[name] {
			r.problem(p.Key, "%q is given twice", name)
			continue
		}
		seen[name] = true
		f(name, p.Value)
	}
}

// key is a mapping's key of that name, for its place.
func (r *reader) key(n ast.Node, name string) ast.Node {
	pairs, _ := r.pairs(n, "")
	for _, p := range pairs {
		if yamltree.KeyText(p.Key) == name {
			return p.Key
		}
	}
	return n
}

func (r *reader) list(n ast.Node, f func(ast.Node)) {
	s, ok := r.plain(n).(*ast.SequenceNode)
	if !ok {
		r.problem(n, "must be a list")
		return
	}
	for _, v := range s.Values {
		f(v)
	}
}

// str is a text that is not empty.
func (r *reader) str(n ast.Node, to *string) {
	switch t := r.plain(n).(type) {
	case *ast.StringNode:
		*to = t.Value
	case *ast.LiteralNode:
		*to = t.Value.Value
	default:
		r.problem(n, "must be a text; a number, or a word such as yes or null, needs quotes")
		return
	}
	if *to == "" {
		r.problem(n, "must not be empty")
	}
}

// scalar is a text or a number, as it is written.
func (r *reader) scalar(n ast.Node, to *string) {
	if t, ok := r.plain(n).(*ast.IntegerNode); ok {
		*to = t.String()
		return
	}
	r.str(n, to)
}

func (r *reader) oneOf(n ast.Node, to *string, words ...string) {
	var text string
	if r.str(n, &text); text == "" {
		return
	}
	if !slices.Contains(words, text) {
		r.problem(n, "%q is not one of %s", text, strings.Join(words, ", "))
		return
	}
	*to = text
}

func (r *reader) boolean(n ast.Node, to *bool) {
	b, ok := r.plain(n).(*ast.BoolNode)
	if !ok {
		r.problem(n, "must be true or false")
		return
	}
	*to = b.Value
}

func (r *reader) integer(n ast.Node, least, most int64) int64 {
	if t, ok := r.plain(n).(*ast.IntegerNode); ok {
		if v, err := strconv.ParseInt(t.String(), 0, 64); err == nil && v >= least && v <= most {
			return v
		}
	}
	r.problem(n, "must be a whole number from %d to %d", least, most)
	return least
}

// constant is a text, a number, or true or false.
func (r *reader) constant(n ast.Node) any {
	switch t := r.plain(n).(type) {
	case *ast.StringNode:
		return t.Value
	case *ast.BoolNode:
		return t.Value
	case *ast.IntegerNode:
		return t.Value
	case *ast.FloatNode:
		return t.Value
	}
	r.problem(n, "must be a text, a number, true or false")
	return nil
}
