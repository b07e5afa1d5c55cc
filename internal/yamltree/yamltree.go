// Package yamltree reads YAML into nodes that know their place, for config files whose mistakes are reported with line and
// column.
//
// It owns what every reader of such a file does alike: syntax errors with their place, anchors and aliases, and the pairs
// of a mapping. It decides nothing about fields. Invariant: following aliases ends, also if they lead in circles.
// agent/config and internal/v2config read with it.
package yamltree

import (
	"bytes"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// Problem is one thing that is wrong, and where: lines and columns from 1.
type Problem struct {
	Line, Column int
	Text         string
}

// Tree is the first document of a file.
type Tree struct {
	Root    ast.Node // nil: the file has no document
	anchors map[string]ast.Node
}

// Parse reads a file. Problems are its syntax errors, and a second document.
func Parse(body []byte) (*Tree, []Problem) {
	t := &Tree{anchors: map[string]ast.Node{}}
	body, err := Text(body)
	if err != nil {
		return t, []Problem{{1, 1, err.Error()}}
	}
	f, err := parser.ParseBytes(body, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		p := Problem{Line: 1, Column: 1, Text: err.Error()}
		var syntax yaml.Error
		if errors.As(err, &syntax) {
			p.Text = syntax.GetMessage()
			if at := syntax.GetToken(); at != nil && at.Position != nil {
				p.Line, p.Column = at.Position.Line, at.Position.Column
			}
		}
		return t, []Problem{p}
	}
	for _, d := range f.Docs {
		switch {
		case d.Body == nil:
		case t.Root == nil:
			t.Root = d.Body
		default:
			line, column := Place(d.Body)
			return t, []Problem{{line, column, "a second document: the file has one"}}
		}
	}
	if t.Root != nil {
		for _, n := range ast.Filter(ast.AnchorType, t.Root) {
			if a, ok := n.(*ast.AnchorNode); ok {
				t.anchors[a.Name.String()] = a.Value
			}
		}
	}
	return t, nil
}

// Text is the text of a file without the mark that editors on Windows put before it. The error says that it is no UTF-8.
func Text(body []byte) ([]byte, error) {
	switch {
	case bytes.HasPrefix(body, []byte("\xff\xfe")), bytes.HasPrefix(body, []byte("\xfe\xff")):
		return nil, errors.New("the file is UTF-16: save it as UTF-8")
	case !utf8.Valid(body):
		line := 1 + bytes.Count(body[:firstInvalid(body)], []byte("\n"))
		return nil, fmt.Errorf("line %d is not UTF-8: save the file as UTF-8", line)
	}
	return bytes.TrimPrefix(body, []byte("\ufeff")), nil
}

// Place is where a node begins.
func Place(n ast.Node) (line, column int) {
	if n != nil {
		if at := n.GetToken(); at != nil && at.Position != nil {
			return at.Position.Line, at.Position.Column
		}
	}
	return 1, 1
}

// Plain is the node that an anchor or an alias stands for.
func (t *Tree) Plain(n ast.Node) ast.Node {
	for range 100 { // an alias may lead in circles
		switch a := n.(type) {
		case *ast.AnchorNode:
			n = a.Value
		case *ast.AliasNode:
			to, ok := t.anchors[a.Value.String()]
			if !ok {
				return n
			}
			n = to
		default:
			return n
		}
	}
	return n
}

// Pairs are the keys and values of a mapping, as they are written; false if it is none.
func (t *Tree) Pairs(n ast.Node) ([]*ast.MappingValueNode, bool) {
	switch m := t.Plain(n).(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	return nil, false
}

// KeyText is a mapping's key, as text.
func KeyText(k ast.MapKeyNode) string {
	if s, ok := k.(*ast.StringNode); ok {
		return s.Value
	}
	return k.String()
}

// firstInvalid is where the first byte stands that is not UTF-8.
func firstInvalid(body []byte) int {
	at := 0
	for at < len(body) {
		r, size := utf8.DecodeRune(body[at:])
		if r == utf8.RuneError && size == 1 {
			break
		}
		at += size
	}
	return at
}
