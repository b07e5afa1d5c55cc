package complete

import (
	"fmt"
	"io"
	"strings"

	"github.com/alecthomas/kong"
)

// fish writes one complete line per command, flag and choice.
func fish(w io.Writer, app *kong.Application) {
	fmt.Fprint(w, "# fish completion for fustor; put it into ~/.config/fish/completions/fustor.fish\n\ncomplete -c fustor -f\n")
	walk(app.Node, func(n *kong.Node) {
		fmt.Fprintf(w, "complete -c fustor -n %s -a %s -d %s\n", quote(fishBefore(n)), n.Name, quote(n.Help))
		if len(visible(n)) == 0 {
			fishLeaf(w, n)
		}
	})
}

func fishLeaf(w io.Writer, n *kong.Node) {
	within := quote(fishWithin(n))
	for _, f := range flags(n) {
		line := fmt.Sprintf("complete -c fustor -n %s -l %s", within, f.Name)
		if f.Short != 0 {
			line += " -s " + string(f.Short)
		}
		switch {
		case f.IsBool():
		case isFile(f.Value):
			line += " -r -F"
		case len(choices(f.Value)) > 0:
			line += " -x -a " + quote(strings.Join(choices(f.Value), " "))
		default:
			line += " -x"
		}
		fmt.Fprintf(w, "%s -d %s\n", line, quote(f.Help))
	}
	for _, p := range positional(n) {
		if isFile(p) {
			fmt.Fprintf(w, "complete -c fustor -n %s -F\n", within)
		} else if c := choices(p); len(c) > 0 {
			fmt.Fprintf(w, "complete -c fustor -n %s -a %s\n", within, quote(strings.Join(c, " ")))
		}
	}
}

// fishBefore is the condition that n's name may come next, fishWithin that it came.
func fishBefore(n *kong.Node) string {
	if words(n.Parent) == "" {
		return "__fish_use_subcommand"
	}
	return fishWithin(n.Parent) + "; and not __fish_seen_subcommand_from " + n.Name
}

func fishWithin(n *kong.Node) string {
	conditions := []string{}
	for _, word := range strings.Fields(words(n)) {
		conditions = append(conditions, "__fish_seen_subcommand_from "+word)
	}
	return strings.Join(conditions, "; and ")
}
