package complete

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// bash writes two functions: _fustor_words knows the command tree, _fustor the words on the command line.
func bash(w io.Writer, app *kong.Application) {
	var known []string
	walk(app.Node, func(n *kong.Node) { known = append(known, quote(words(n))) })
	fmt.Fprint(w, "# bash completion for fustor; load it with: source <(fustor completion bash)\n\n")
	fmt.Fprint(w, "_fustor_words() { # COMMAND PREVIOUS-WORD: sets words and files to what may come next\n    case $1 in\n")
	bashCommand(w, app.Node)
	walk(app.Node, func(n *kong.Node) { bashCommand(w, n) })
	fmt.Fprint(w, "    esac\n}\n\n")
	fmt.Fprintf(w, bashMain, strings.Join(known, "|"))
}

// bashCommand writes what may come after a command: a value if a flag wants one, otherwise flags, commands, arguments.
func bashCommand(w io.Writer, n *kong.Node) {
	fmt.Fprintf(w, "    %s)\n        case $2 in\n", quote(words(n)))
	next := []string{}
	for _, child := range visible(n) {
		next = append(next, child.Name)
	}
	for _, f := range flags(n) {
		next = append(next, "--"+f.Name)
		if f.IsBool() {
			continue
		}
		pattern := "--" + f.Name
		if f.Short != 0 {
			pattern += "|-" + string(f.Short)
		}
		fmt.Fprintf(w, "        %s) words=%s files=%s; return ;;\n", pattern, quote(strings.Join(choices(f.Value), " ")), yes(isFile(f.Value)))
	}
	files := false
	for _, p := range positional(n) {
		next = append(next, choices(p)...)
		files = files || isFile(p)
	}
	fmt.Fprintf(w, "        esac\n        words=%s files=%s ;;\n", quote(strings.Join(next, " ")), yes(files))
}

func yes(b bool) string {
	if b {
		return "1"
	}
	return ""
}

// bashMain finds the command before the cursor. Bash makes three words of --flag=value.
const bashMain = `_fustor() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} command= words= files= i
    for ((i = 1; i < COMP_CWORD; i++)); do
        case "$command${command:+ }${COMP_WORDS[i]}" in
        %s) command+=${command:+ }${COMP_WORDS[i]} ;;
        esac
    done
    if [[ $cur == = ]]; then
        cur=
    elif [[ $prev == = ]]; then
        prev=${COMP_WORDS[COMP_CWORD-2]}
    fi
    _fustor_words "$command" "$prev"
    COMPREPLY=()
    if [[ $words ]]; then
        COMPREPLY=($(compgen -W "$words" -- "$cur"))
    fi
    if [[ $files && $cur != -* ]]; then
        compopt -o filenames 2>/dev/null
        local IFS=$'\n'
        COMPREPLY+=($(compgen -f -- "$cur"))
    fi
}

complete -F _fustor fustor
`
