package complete

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// zsh writes one function per command.
func zsh(w io.Writer, app *kong.Application) {
	fmt.Fprint(w, "#compdef fustor\n# zsh completion for fustor; put it into a directory of $fpath as _fustor\n\n")
	zshCommand(w, app.Node)
	walk(app.Node, func(n *kong.Node) { zshCommand(w, n) })
	fmt.Fprint(w, "if [ \"$funcstack[1]\" = _fustor ]; then\n    _fustor \"$@\"\nelse\n    compdef _fustor fustor\nfi\n")
}

func zshName(n *kong.Node) string {
	return strings.TrimSuffix("_fustor_"+strings.ReplaceAll(words(n), " ", "_"), "_")
}

func zshCommand(w io.Writer, n *kong.Node) {
	fmt.Fprintf(w, "%s() {\n", zshName(n))
	if children := visible(n); len(children) > 0 {
		zshParent(w, n, children)
	} else {
		fmt.Fprint(w, "    _arguments -S")
		for _, f := range flags(n) {
			zshFlag(w, f)
		}
		for i, p := range positional(n) {
			fmt.Fprintf(w, " \\\n        %s", quote(fmt.Sprintf("%d:%s:%s", i+1, p.Name, zshAction(p))))
		}
		fmt.Fprintln(w)
	}
	fmt.Fprint(w, "}\n\n")
}

// zshParent writes a function that completes a command's name, or hands on to it.
func zshParent(w io.Writer, n *kong.Node, children []*kong.Node) {
	fmt.Fprint(w, "    local state line\n    local -a commands\n    commands=(\n")
	for _, child := range children {
		fmt.Fprintf(w, "        %s\n", quote(child.Name+":"+strings.ReplaceAll(child.Help, ":", `\:`)))
	}
	fmt.Fprint(w, "    )\n    _arguments -C '1: :->command' '*:: :->rest'")
	arguments := ""
	if n.DefaultCmd != nil { // its own flags and arguments go as well
		for _, f := range flags(n) {
			zshFlag(w, f)
		}
		for _, p := range positional(n) {
			arguments += "; " + strings.TrimSpace(zshAction(p))
		}
	}
	fmt.Fprintf(w, "\n    case $state in\n    command) _describe command commands%s ;;\n    rest)\n        case $words[1] in\n", arguments)
	for _, child := range children {
		fmt.Fprintf(w, "        %s) %s ;;\n", child.Name, zshName(child))
	}
	fmt.Fprint(w, "        esac ;;\n    esac\n")
}

func zshFlag(w io.Writer, f *kong.Flag) {
	help := "[" + strings.NewReplacer(`[`, `\[`, `]`, `\]`, `:`, `\:`).Replace(f.Help) + "]"
	value := ""
	if !f.IsBool() {
		value = ":" + f.Name + ":" + zshAction(f.Value)
	}
	long := "--" + f.Name
	if !f.IsBool() {
		long += "="
	}
	fmt.Fprintf(w, " \\\n        %s", quote(long+help+value))
	if f.Short != 0 {
		fmt.Fprintf(w, " \\\n        %s", quote("-"+string(f.Short)+help+value))
	}
}

func zshAction(v *kong.Value) string {
	if c := choices(v); len(c) > 0 {
		return "(" + strings.Join(c, " ") + ")"
	}
	if isFile(v) {
		return "_files"
	}
	return ""
}
