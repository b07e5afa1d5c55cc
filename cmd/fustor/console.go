package main

import (
	"io"
	"os"
	"sync"

	"golang.org/x/term"
)

// console is a terminal, or a file, that lines of a log go to, and below them one line of progress that is drawn again and
// again. Where it is no terminal there is no such line.
type console struct {
	terminal bool
	width    int // columns; 0: not known

	mu   sync.Mutex
	w    io.Writer
	line string // that is drawn now
}

func newConsole(f *os.File) *console {
	c := &console{w: f, terminal: terminal(f)}
	if c.terminal {
		c.width, _, _ = term.GetSize(int(f.Fd()))
	}
	return c
}

const eraseLine = "\r\x1b[K"

// Write implements io.Writer: p is whole lines.
func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.line == "" {
		return c.w.Write(p)
	}
	out := append(append([]byte(eraseLine), p...), c.line...)
	if _, err := c.w.Write(out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// draw shows a line in place of the one that is drawn; an empty one takes it away.
func (c *console) draw(line string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r := []rune(line); c.width > 0 && len(r) >= c.width {
		line = string(r[:c.width-1])
	}
	if !c.terminal || line == "" && c.line == "" {
		return
	}
	c.line = line
	_, _ = io.WriteString(c.w, eraseLine+line)
}
