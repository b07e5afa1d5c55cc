package v2config

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"

	"github.com/fustor/fustor/internal/yamltree"
)

// reader takes one file's nodes apart. What it finds goes into the config, what is wrong into the loader.
type reader struct {
	*loader
	file string
	tree *yamltree.Tree
	side Side // of what is being read
}

// on runs f while what is read is of one side.
func (r *reader) on(s Side, f func()) {
	before := r.side
	r.side = s
	f()
	r.side = before
}

func (r *reader) place(n ast.Node) Place {
	line, column := yamltree.Place(n)
	return Place{r.file, line, column}
}

func (r *reader) problem(n ast.Node, format string, args ...any) {
	r.problemAt(r.place(n), format, args...)
}

func (r *reader) warn(n ast.Node, about, format string, args ...any) {
	r.config.Warnings = append(r.config.Warnings, Warning{r.place(n), r.side, about, fmt.Sprintf(format, args...)})
}

// deprecated warns of a name once, wherever it is found again.
func (r *reader) deprecated(n ast.Node, name, instead string) {
	if r.told[name] {
		return
	}
	r.told[name] = true
	r.warn(n, "", "%s is deprecated in V2, and replaced by %s", name, instead)
}

// null reports whether nothing is said: in V2, that is like leaving the field out.
func (r *reader) null(n ast.Node) bool {
	_, is := r.tree.Plain(n).(*ast.NullNode)
	return is || n == nil
}

type pair struct {
	name       string
	key, value ast.Node
}

// pairs are the keys and values of a mapping, those that << merges into it among them; nil if it is none, which is reported.
func (r *reader) pairs(n ast.Node, what string) []pair {
	if r.null(n) {
		return nil
	}
	const maxMerges = 1000 // lists of lists of merges grow fast
	out, seen, merges := []pair{}, map[string]bool{}, 0
	var add func(n ast.Node, depth int) bool
	add = func(n ast.Node, depth int) bool {
		values, ok := r.tree.Pairs(n)
		if merges++; !ok || depth > 20 || merges > maxMerges { // merges may lead in circles
			return false
		}
		var merged []*ast.MappingValueNode
		for _, v := range values {
			if _, merge := v.Key.(*ast.MergeKeyNode); merge {
				merged = append(merged, v)
				continue
			}
			name := yamltree.KeyText(v.Key)
			switch {
			case !seen[name]:
				seen[name] = true
				out = append(out, pair{name, v.Key, v.Value})
			case depth == 0:
				r.problem(v.Key, "%q is given twice", printable(name))
			}
		}
		for _, v := range merged {
			from := []ast.Node{v.Value}
			if list, is := r.tree.Plain(v.Value).(*ast.SequenceNode); is {
				from = list.Values
			}
			for _, m := range from {
				if !add(m, depth+1) {
					if merges <= maxMerges+1 { // once is enough
						r.problem(v.Key, "<< must name a mapping that does not lead back here, and not too many of them")
					}
				}
			}
		}
		return true
	}
	if !add(n, 0) {
		r.problem(n, "%s must be a mapping of names to values", what)
		return nil
	}
	return out
}

// shape is what a mapping of V2's may have.
type shape struct {
	what  string // "source research"
	take  map[string]func(ast.Node)
	old   map[string]string // deprecated names, and what replaces them
	other map[string]string // what has no counterpart, and what there is instead; empty: nothing needs to be said
	quiet map[string]string // what is left out without a word where it has this value, as it is written
}

// read gives each field of a mapping to what takes it, and warns of the others.
func (r *reader) read(n ast.Node, s shape) {
	r.readPairs(r.pairs(n, s.what), s)
}

func (r *reader) readPairs(pairs []pair, s shape) {
	taken := map[string]bool{}
	for _, p := range pairs {
		name := p.name
		if now, old := s.old[name]; old {
			r.deprecated(p.key, "the field "+name, now)
			name = now
		}
		take, known := s.take[name]
		why, without := s.other[name]
		switch {
		case r.null(p.value):
		case known && taken[name]:
			r.problem(p.key, "%s is given twice, once by its deprecated name", name)
		case known:
			taken[name] = true
			take(p.value)
		case without && why == "":
		case without && s.quiet[name] != "" && r.written(p.value) == s.quiet[name]:
		case without:
			r.warn(p.key, s.what, "%s: %s has no counterpart: %s", s.what, name, why)
		default:
			r.warn(p.key, s.what, "%s: V2 has no field %q, or none that is known here: it is left out", s.what, printable(name))
		}
	}
}

// printable is a name of a file, for a message: short, and without what moves a terminal's cursor.
func printable(name string) string {
	if len(name) > 100 {
		name = name[:100] + "…"
	}
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(name, "?"))
}

// entries calls f with the names of a section, such as sources.
func (r *reader) entries(n ast.Node, section string, f func(name string, key, value ast.Node)) {
	for _, p := range r.pairs(n, section) {
		if strings.Contains(p.name, "${") {
			r.problem(p.key, "the name %q is still to be filled in: run envsubst over the file first", printable(p.name))
			continue
		}
		f(p.name, p.key, p.value)
	}
}

// written is a scalar as it is written, without its quotes; false if it is none.
func (r *reader) written(n ast.Node) string {
	switch t := r.tree.Plain(n).(type) {
	case *ast.StringNode:
		return t.Value
	case *ast.LiteralNode:
		return t.Value.Value
	case *ast.IntegerNode:
		return t.String()
	case *ast.FloatNode:
		return t.String()
	case *ast.BoolNode:
		return t.String()
	}
	return ""
}

var placeholder = regexp.MustCompile(`\$\{([A-Za-z_][A-Za-z0-9_]*)\}`)

// text is a text, or a number where V2's users write one for a name.
func (r *reader) text(to *Text) func(ast.Node) {
	return func(n ast.Node) {
		switch r.tree.Plain(n).(type) {
		case *ast.StringNode, *ast.LiteralNode, *ast.IntegerNode:
		default:
			r.problem(n, "must be a text")
			return
		}
		value := strings.TrimSpace(r.written(n))
		switch {
		case value == "":
			r.problem(n, "must not be empty")
		case strings.ContainsFunc(value, func(c rune) bool { return c < ' ' || c == 0x7f }):
			r.problem(n, "must have no control characters")
		case placeholder.MatchString(value):
			r.problem(n, "%s is still to be filled in: run envsubst over the file first", placeholder.FindString(value))
		default:
			*to = Text{r.place(n), value}
		}
	}
}

// key is an API key. It is in no message.
func (r *reader) key(to *Key) func(ast.Node) {
	return func(n ast.Node) {
		switch r.tree.Plain(n).(type) {
		case *ast.StringNode, *ast.LiteralNode, *ast.IntegerNode:
		default:
			r.problem(n, "an API key must be a text")
			return
		}
		value := strings.TrimSpace(r.written(n))
		if m := placeholder.FindStringSubmatch(value); m != nil && m[0] == value {
			*to = Key{Place: r.place(n), Variable: m[1]}
			return
		}
		switch {
		case value == "":
			r.problem(n, "an API key must not be empty")
		case len(value) > 256 || strings.ContainsFunc(value, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
			r.problem(n, "an API key has at most 256 printable ASCII characters and no blanks, because it travels in a header")
		default:
			*to = Key{Place: r.place(n), Value: value}
		}
	}
}

// yes is what YAML 1.1, which V2 reads, takes for true and false.
func (r *reader) yes(to *Bool) func(ast.Node) {
	return func(n ast.Node) {
		switch strings.ToLower(r.written(n)) {
		case "true", "yes", "on":
			*to = Bool{r.place(n), true}
		case "false", "no", "off":
			*to = Bool{r.place(n), false}
		default:
			r.problem(n, "must be true or false")
		}
	}
}

// off reads disabled and enabled.
func (r *reader) off(take map[string]func(ast.Node), disabled *bool) {
	take["disabled"] = func(n ast.Node) {
		var b Bool
		r.yes(&b)(n)
		*disabled = *disabled || b.Value
	}
	take["enabled"] = func(n ast.Node) {
		var b Bool
		r.yes(&b)(n)
		*disabled = *disabled || b.Given() && !b.Value
	}
}

// number is one from least to most.
func (r *reader) number(to *Number, least, most float64) func(ast.Node) {
	return func(n ast.Node) {
		v, err := strconv.ParseFloat(strings.ReplaceAll(r.written(n), "_", ""), 64)
		if err != nil || math.IsNaN(v) || v < least || v > most {
			r.problem(n, "must be a number from %.0f to %.0f", least, most)
			return
		}
		*to = Number{r.place(n), v}
	}
}

const maxSeconds = 10 * 365 * 24 * 3600 // of any interval: ten years

func (r *reader) seconds(to *Number) func(ast.Node) { return r.number(to, 0, maxSeconds) }

// texts is a list of texts, or one.
func (r *reader) texts(to *[]Text) func(ast.Node) {
	return func(n ast.Node) {
		values := []ast.Node{n}
		if list, is := r.tree.Plain(n).(*ast.SequenceNode); is {
			values = list.Values
		}
		for _, v := range values {
			var t Text
			if r.text(&t)(v); t.Given() {
				*to = append(*to, t)
			}
		}
	}
}

// list calls f with what a list has.
func (r *reader) list(n ast.Node, what string, f func(ast.Node)) {
	list, is := r.tree.Plain(n).(*ast.SequenceNode)
	if !is {
		r.problem(n, "%s must be a list", what)
		return
	}
	for _, v := range list.Values {
		f(v)
	}
}
