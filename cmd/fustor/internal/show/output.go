package show

import (
	"bufio"
	"io"
	"strings"

	"github.com/fustor/fustor/internal/client"
)

// Output is where a command's answer goes. Writes are buffered; Flush says whether they all arrived.
type Output struct {
	*bufio.Writer
	Terminal bool // someone is looking: tables, human sizes, quoted names
	Color    bool
}

// NewOutput buffers w.
func NewOutput(w io.Writer, terminal, color bool) *Output {
	return &Output{Writer: bufio.NewWriterSize(w, 64<<10), Terminal: terminal, Color: color}
}

// Name is the name as it is to be printed: byte for byte, or quoted on a terminal.
func (o *Output) Name(name string) string {
	if o.Terminal {
		return Quote(name)
	}
	return name
}

// Colored is the node's name, or path, as it is to be printed, in the colour of its type.
func (o *Output) Colored(n *client.Node, name string) string {
	name = o.Name(name)
	switch {
	case !o.Color:
		return name
	case n.Letter() == 'd':
		return paint("1;34", name)
	case n.Letter() == 'l':
		return paint("36", name)
	case n.Letter() == 'o':
		return paint("33", name)
	case n.Mode&0o111 != 0:
		return paint("32", name)
	}
	return name
}

// Dim paints what matters less.
func (o *Output) Dim(s string) string {
	if !o.Color || s == "" {
		return s
	}
	return paint("2", s)
}

// Bold paints a heading.
func (o *Output) Bold(s string) string {
	if !o.Color || s == "" {
		return s
	}
	return paint("1", s)
}

func paint(code, s string) string { return "\x1b[" + code + "m" + s + "\x1b[0m" }

// Left and Right pad to a width in columns, counting one column per character.
func Left(s string, width int) string  { return s + padding(s, width) }
func Right(s string, width int) string { return padding(s, width) + s }

func padding(s string, width int) string {
	n := width - len([]rune(s))
	if n <= 0 {
		return ""
	}
	return strings.Repeat(" ", n)
}
