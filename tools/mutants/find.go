package main

import (
	"bytes"
	"cmp"
	"fmt"
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strconv"
	"strings"
)

// mutant is one change of the source, behind a switch of its own.
type mutant struct {
	id               int
	file, in, text   string // in: the function; text: the line, without the blanks around it
	line             int
	before, after    string // the piece of source that changes, and what it becomes
	start, end       int    // the bytes around which the switch stands
	opening, closing string
	broken           bool // it does not compile
}

// what says what changes, and where.
func (m mutant) what() string { return m.in + ": " + m.before + " → " + m.after }

// finder walks one file.
type finder struct {
	file    string
	source  []byte
	fset    *token.FileSet
	info    *types.Info
	imports map[string]string // by path, the name in this file
	pkg     *types.Package
	next    *int
	found   []*mutant
	path    []ast.Node
	in      string
}

// find lists the mutants of a file. What only tells people (errors, logs), and checks of errors, are left alone: the store's faults have tests
// of their own.
func (f *finder) find(file *ast.File) {
	f.imports = map[string]string{}
	for _, i := range file.Imports {
		path, _ := strconv.Unquote(i.Path.Value)
		if object := f.info.Implicits[i]; object != nil {
			f.imports[path] = object.Name()
		} else if i.Name != nil {
			f.imports[path] = i.Name.Name
		}
	}
	for _, d := range file.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Body == nil {
				continue
			}
			f.in = d.Name.Name
			if d.Recv != nil {
				f.in = strings.TrimPrefix(types.ExprString(d.Recv.List[0].Type), "*") + "." + f.in
			}
			ast.Inspect(d.Body, f.visit)
		case *ast.GenDecl:
			if d.Tok == token.VAR {
				f.in = "var"
				ast.Inspect(d, f.visit)
			}
		}
	}
}

func (f *finder) visit(n ast.Node) bool {
	if n == nil {
		f.path = f.path[:len(f.path)-1]
		return false
	}
	var parent ast.Node
	if len(f.path) > 0 {
		parent = f.path[len(f.path)-1]
	}
	if !f.enter(n, parent) {
		return false
	}
	f.path = append(f.path, n)
	return true
}

// enter adds the mutants of one node, and says whether there are others beneath it.
func (f *finder) enter(n, parent ast.Node) bool {
	switch n := n.(type) {
	case *ast.GenDecl:
		return n.Tok == token.VAR
	case *ast.ArrayType, *ast.DeferStmt:
		return false
	case *ast.CallExpr:
		return !f.forPeople(n) && !f.makesRoom(n)
	case *ast.IfStmt:
		if !f.checksError(n.Cond) && !compound(n.Cond) {
			f.around(n.Cond, "if true", "(mutantIs(%d) || (", "))")
			f.around(n.Cond, "if false", "(!mutantIs(%d) && (", "))")
		}
	case *ast.CaseClause:
		if s, ok := f.path[len(f.path)-2].(*ast.SwitchStmt); ok && s.Tag == nil {
			for _, e := range n.List {
				if !f.checksError(e) && !compound(e) {
					f.around(e, "case false", "(!mutantIs(%d) && (", "))")
				}
			}
		}
		f.statements(n.Body)
	case *ast.BlockStmt:
		f.statements(n.List)
	case *ast.BinaryExpr:
		f.binary(n, parent)
	case *ast.BasicLit:
		f.number(n, parent)
	case *ast.Ident:
		if v := f.info.Types[n]; v.Value != nil && (n.Name == "true" || n.Name == "false") && !isField(parent) {
			f.around(n, map[string]string{"true": "false", "false": "true"}[n.Name], "(mutantIs(%d) != ", ")")
		}
	case *ast.CompositeLit:
		if _, ok := f.typeOf(n).Underlying().(*types.Struct); ok {
			for _, e := range n.Elts {
				if pair, ok := e.(*ast.KeyValueExpr); ok {
					f.add(pair.Value, f.fragment(pair), "left out", "mutantZero(%d, ", ")")
				}
			}
		}
	}
	return true
}

// compound says whether a condition has terms, which have mutants of their own.
func compound(e ast.Expr) bool {
	n, ok := e.(*ast.BinaryExpr)
	return ok && (n.Op == token.LAND || n.Op == token.LOR)
}

func (f *finder) typeOf(e ast.Expr) types.Type {
	t := f.info.TypeOf(e)
	if t == nil {
		return types.Typ[types.Invalid]
	}
	if p, ok := t.Underlying().(*types.Pointer); ok {
		return p.Elem()
	}
	return t
}

func isField(parent ast.Node) bool { _, ok := parent.(*ast.KeyValueExpr); return ok }

// binary adds comparisons and terms of conditions.
func (f *finder) binary(n *ast.BinaryExpr, parent ast.Node) {
	if f.info.Types[n].Value != nil {
		return
	}
	switch n.Op {
	case token.LAND, token.LOR:
		for _, term := range []ast.Expr{n.X, n.Y} {
			if inner, ok := term.(*ast.BinaryExpr); ok && inner.Op == n.Op || f.checksError(term) {
				continue
			}
			if n.Op == token.LAND {
				f.around(term, "true &&", "(mutantIs(%d) || (", "))")
			} else {
				f.around(term, "false ||", "(!mutantIs(%d) && (", "))")
			}
		}
	case token.LSS, token.LEQ, token.GTR, token.GEQ:
		other := map[token.Token]string{token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">"}[n.Op]
		changed := f.fragment(n.X) + " " + other + " " + f.fragment(n.Y)
		whole := string(f.source[f.at(n.X.Pos()):f.at(n.X.End())]) + " " + other + " " + string(f.source[f.at(n.Y.Pos()):f.at(n.Y.End())])
		f.add(n, f.fragment(n), changed, "(mutantIs(%[1]d) && ("+strings.ReplaceAll(whole, "%", "%%")+") || !mutantIs(%[1]d) && (", "))")
		f.turned(n, parent)
	case token.EQL, token.NEQ:
		if !f.checksError(n) {
			f.turned(n, parent)
		}
	}
}

// turned adds the opposite of a comparison that is no condition of its own: those have the mutants of conditions.
func (f *finder) turned(n *ast.BinaryExpr, parent ast.Node) {
	switch p := parent.(type) {
	case *ast.IfStmt, *ast.CaseClause, *ast.ForStmt:
		return
	case *ast.BinaryExpr:
		if p.Op == token.LAND || p.Op == token.LOR {
			return
		}
	}
	f.around(n, "the opposite", "(mutantIs(%d) != (", "))")
}

// checksError says whether a condition asks for an error that is there, or not.
func (f *finder) checksError(e ast.Expr) bool {
	n, ok := e.(*ast.BinaryExpr)
	if !ok || n.Op != token.EQL && n.Op != token.NEQ {
		return false
	}
	return types.Identical(f.typeOf(n.X), types.Universe.Lookup("error").Type())
}

// forPeople says whether a call only makes what people read.
func (f *finder) forPeople(n *ast.CallExpr) bool {
	s, ok := n.Fun.(*ast.SelectorExpr)
	if !ok {
		id, ok := n.Fun.(*ast.Ident)
		return ok && id.Name == "panic"
	}
	if id, ok := s.X.(*ast.Ident); ok {
		if p, ok := f.info.Uses[id].(*types.PkgName); ok {
			path := p.Imported().Path()
			return path == "fmt" && strings.HasPrefix(s.Sel.Name, "Errorf") || path == "errors" && s.Sel.Name == "New" || path == "log/slog"
		}
	}
	t := f.typeOf(s.X).String()
	return strings.HasPrefix(t, "log/slog.") || strings.HasPrefix(t, "github.com/prometheus/")
}

// guards are calls without which others wait for ever, or which only give back what the test's end gives back.
var guards = map[string]bool{"Lock": true, "Unlock": true, "RLock": true, "RUnlock": true, "Close": true, "Wait": true, "Done": true, "Stop": true}

// statements adds those that may be left out.
func (f *finder) statements(list []ast.Stmt) {
	for _, s := range list {
		switch s := s.(type) {
		case *ast.AssignStmt:
			if s.Tok == token.DEFINE || allBlank(s.Lhs) {
				continue
			}
		case *ast.IncDecStmt:
		case *ast.BranchStmt:
			if s.Tok != token.BREAK && s.Tok != token.CONTINUE {
				continue
			}
		case *ast.ExprStmt:
			c, ok := s.X.(*ast.CallExpr)
			if !ok || f.forPeople(c) {
				continue
			}
			if x, ok := c.Fun.(*ast.SelectorExpr); ok && guards[x.Sel.Name] {
				continue
			}
		default:
			continue
		}
		f.add(s, f.fragment(s), "left out", "if !mutantIs(%d) { ", " }")
	}
}

func allBlank(list []ast.Expr) bool {
	for _, e := range list {
		if id, ok := e.(*ast.Ident); !ok || id.Name != "_" {
			return false
		}
	}
	return true
}

// number adds n + 1 for n.
func (f *finder) number(n *ast.BasicLit, parent ast.Node) {
	t := f.info.TypeOf(n)
	if n.Kind != token.INT || t == nil {
		return
	}
	if basic, ok := t.Underlying().(*types.Basic); !ok || basic.Info()&types.IsInteger == 0 {
		return
	}
	switch p := parent.(type) {
	case *ast.BinaryExpr:
		if f.info.Types[p].Value != nil || p.Op == token.SHL || p.Op == token.SHR {
			return
		}
	case ast.Expr:
		if f.info.Types[p].Value != nil {
			return
		}
		if pair, ok := p.(*ast.KeyValueExpr); ok && pair.Key == n {
			return
		}
	}
	name, ok := f.nameOf(t)
	if !ok {
		return
	}
	f.add(n, n.Value, n.Value+" + 1", "(mutantPlus["+name+"](%d) + ", ")")
}

// makesRoom says whether a call of make says how much room there shall be, and not what is in it.
func (f *finder) makesRoom(n *ast.CallExpr) bool {
	id, ok := n.Fun.(*ast.Ident)
	if !ok || id.Name != "make" || len(n.Args) < 2 {
		return false
	}
	_, slice := f.typeOf(n.Args[0]).Underlying().(*types.Slice)
	return len(n.Args) == 3 || !slice
}

// nameOf is what a type is called in this file.
func (f *finder) nameOf(t types.Type) (string, bool) {
	known := true
	name := types.TypeString(types.Default(t), func(p *types.Package) string {
		if p == f.pkg {
			return ""
		}
		name, ok := f.imports[p.Path()]
		known = known && ok
		return name
	})
	return name, known
}

// around adds a mutant of an expression that becomes another.
func (f *finder) around(n ast.Node, after, opening, closing string) {
	f.add(n, f.fragment(n), after, opening, closing)
}

func (f *finder) add(n ast.Node, before, after, opening, closing string) {
	*f.next++
	at := f.fset.Position(n.Pos())
	m := &mutant{id: *f.next, file: f.file, in: f.in, line: at.Line, before: before, after: after, start: at.Offset, end: f.at(n.End()), closing: closing}
	m.opening = fmt.Sprintf(opening, m.id)
	m.text = strings.TrimSpace(string(bytes.Split(f.source, []byte("\n"))[at.Line-1]))
	f.found = append(f.found, m)
}

func (f *finder) at(p token.Pos) int { return f.fset.Position(p).Offset }

// fragment is a node's source on one line, shortened.
func (f *finder) fragment(n ast.Node) string {
	s := []rune(strings.Join(strings.Fields(string(f.source[f.at(n.Pos()):f.at(n.End())])), " "))
	if len(s) > 80 {
		return string(s[:79]) + "…"
	}
	return string(s)
}

// render is a file's source with all its mutants that compile, and which of them stand on each of its lines. It adds lines
// only within mutants.
func render(source []byte, mutants []*mutant) (out []byte, lines map[int][]*mutant) {
	type edit struct {
		at    int
		order []int // among edits at the same place: what closes first, the inner before the outer; then what opens, the outer first
		text  string
		m     *mutant
	}
	var edits []edit
	for _, m := range mutants {
		if !m.broken {
			edits = append(edits, edit{m.start, []int{1, -m.end, m.id}, m.opening, m}, edit{m.end, []int{0, -m.start, -m.id}, m.closing, m})
		}
	}
	slices.SortFunc(edits, func(a, b edit) int { return cmp.Or(cmp.Compare(a.at, b.at), slices.Compare(a.order, b.order)) })
	lines = map[int][]*mutant{}
	var b bytes.Buffer
	line, from := 1, 0
	for _, e := range edits {
		line += bytes.Count(source[from:e.at], []byte("\n"))
		b.Write(source[from:e.at])
		from = e.at
		for range strings.Count(e.text, "\n") + 1 {
			lines[line] = append(lines[line], e.m)
			line++
		}
		line--
		b.WriteString(e.text)
	}
	b.Write(source[from:])
	return b.Bytes(), lines
}
