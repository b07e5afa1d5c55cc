//go:build !reading

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"

	tea "charm.land/bubbletea/v2"

	"github.com/fustor/fustor/cmd/fustor/internal/browse"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

type browseCmd struct {
	Path   string `arg:"" optional:"" default:"/" help:"Directory to begin at: a path of the view, or of a host that mounts it."`
	Sort   string `enum:"name,size,allocated,files,mtime" default:"size" placeholder:"BY" help:"Order at the beginning: name, size, allocated (what occupies most on the disk first), files or mtime."`
	Since  string `placeholder:"TIME|VERSION|NAME" help:"Begin with the directories that grew since then: 7d, yesterday, 2026-01-31, the number of a version, the name of a pin."`
	Print0 bool   `name:"print0" short:"0" help:"End each printed path with a NUL byte, for xargs -0."`
	pastFlags
}

// Help implements kong.HelpProvider.
func (browseCmd) Help() string {
	return `It fills the terminal, as ncdu does, and takes ncdu's keys; ? lists them. A directory
opens at once however large it is, because only the entries on the screen are asked
for. Space marks entries. When you leave with q, their paths are printed: quoted for
a shell on a terminal, otherwise byte for byte, one a line. The screen is drawn on the
terminal even if stdout is a pipe.

Examples:

    fustor browse
    fustor browse /projects --sort files
    fustor browse /projects --since 7d
    fustor browse /projects --as-of 2026-01-31
    fustor browse -0 /scratch | xargs -0 ls -ld`
}

func (c *browseCmd) Run(ctx context.Context, a *app) error {
	return c.ask(ctx, a, c.Path, func(server *client.Client, path string) error {
		self, err := server.Metadata(ctx, path)
		if err != nil {
			return err
		}
		if self.Letter() != 'd' {
			return &cliError{msg: fmt.Sprintf("%s is no directory", show.Quote(path)), hint: "pass its directory, or ask fustor stat about it", code: exitUsage}
		}
		in, out, err := a.fullScreen()
		if err != nil {
			return err
		}
		marked, err := browse.Run(ctx, c.options(a, server, path, out), in, out, os.Environ())
		if err != nil {
			return err
		}
		return c.print(a, marked)
	})
}

// options are what the flags mean for one who looks at out.
func (c *browseCmd) options(a *app, server *client.Client, path string, out *os.File) browse.Options {
	o := browse.Options{
		Server: server, Path: path, AsOf: c.AsOf, Sort: c.Sort, Since: c.Since, Color: a.colors(out), OpenPage: a.browser(), Version: whichVersion,
		In: func(view string) (*client.Client, error) {
			forest := a.asked // whose members that did not answer are reported at the end
			defer func() { a.asked = forest }()
			f := c.serverFlags
			f.View = view
			return f.connect(a)
		},
		Explain: func(err error) (string, string) {
			e := explain(err)
			return e.msg, e.hint
		},
	}
	if c.Since != "" {
		o.Sort = browse.Growth
	}
	return o
}

// print prints what is marked: for eyes quoted, for programs byte for byte.
func (c *browseCmd) print(a *app, marked []browse.Place) error {
	out, end := a.out(), "\n"
	if c.Print0 {
		out.Terminal, end = false, "\x00"
	}
	for _, at := range marked {
		if _, err := out.WriteString(out.Name(at.String()) + end); err != nil {
			return err
		}
	}
	return out.Flush()
}

// fullScreen finds the terminal: the standard files, or where they are none the one that this process belongs to.
func (a *app) fullScreen() (in, out *os.File, err error) {
	if t := a.getenv("TERM"); runtime.GOOS != "windows" && (t == "" || t == "dumb") {
		return nil, nil, &cliError{msg: fmt.Sprintf("this terminal (TERM=%s) cannot show a full screen", show.Quote(t)),
			hint: "set TERM to what the terminal is, or use `fustor ls --sort size`, which prints lines", code: exitUsage}
	}
	in, out = os.Stdin, a.stdout
	if !terminal(out) {
		out = a.stderr
	}
	if terminal(in) && terminal(out) {
		return in, out, nil
	}
	ttyIn, ttyOut, err := tea.OpenTTY()
	if err != nil {
		return nil, nil, &cliError{msg: "there is no terminal to browse on", hint: "`fustor ls --sort size` prints lines for programs", code: exitUsage}
	}
	if !terminal(in) {
		in = ttyIn
	}
	if !terminal(out) {
		out = ttyOut
	}
	return in, out, nil
}

// browser shows an address in the browser of this machine; nil: nobody is in front of it, as over ssh.
func (a *app) browser() func(address string) error {
	program := "xdg-open"
	switch {
	case runtime.GOOS == "darwin" && a.getenv("SSH_CONNECTION") == "":
		program = "open"
	case a.getenv("DISPLAY") == "" && a.getenv("WAYLAND_DISPLAY") == "" || a.getenv("SSH_CONNECTION") != "":
		return nil
	}
	program, err := exec.LookPath(program)
	if err != nil {
		return nil
	}
	return func(address string) error { return exec.Command(program, address).Run() }
}
