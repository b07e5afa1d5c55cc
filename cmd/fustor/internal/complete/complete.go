// Package complete writes completion scripts for bash, zsh and fish from kong's model of the command tree, so that a
// new command or flag needs nothing here. The scripts are static: they never run fustor.
package complete

import (
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// Write writes the script for a shell: bash, zsh or fish.
func Write(w io.Writer, shell string, app *kong.Application) {
	switch shell {
	case "bash":
		bash(w, app)
	case "zsh":
		zsh(w, app)
	case "fish":
		fish(w, app)
	}
}

// words are the command's words after the program's name: "segment cat".
func words(n *kong.Node) string { return n.Path() }

// visible are the commands directly below n, without the one that n stands for.
func visible(n *kong.Node) (out []*kong.Node) {
	for _, child := range n.Children {
		if !child.Hidden && child != n.DefaultCmd {
			out = append(out, child)
		}
	}
	return out
}

// walk calls visit for every visible command, parents first.
func walk(n *kong.Node, visit func(*kong.Node)) {
	for _, child := range visible(n) {
		visit(child)
		walk(child, visit)
	}
}

// flags are the flags that a command takes, its parents' included, or those of the one that it stands for.
func flags(n *kong.Node) (out []*kong.Flag) {
	if n.DefaultCmd != nil {
		n = n.DefaultCmd
	}
	for _, group := range n.AllFlags(true) {
		out = append(out, group...)
	}
	return out
}

// positional are the arguments that a command takes, or the one that it stands for.
func positional(n *kong.Node) []*kong.Positional {
	if n.DefaultCmd != nil {
		n = n.DefaultCmd
	}
	return n.Positional
}

// choices are the words that a value may be, if they are known.
func choices(v *kong.Value) []string {
	if v.Enum == "" {
		return nil
	}
	return v.EnumSlice()
}

// isFile reports whether a value names a file or directory of this machine.
func isFile(v *kong.Value) bool {
	if v.Flag != nil {
		return v.Flag.PlaceHolder == "DIR" || v.Flag.PlaceHolder == "FILE"
	}
	return v.Name == "dir" || v.Name == "object"
}

// quote is s as one word of any of the three shells.
func quote(s string) string {
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
