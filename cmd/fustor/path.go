package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path"
	"strings"
	"syscall"

	"github.com/fustor/fustor/cmd/fustor/internal/mounts"
	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/values"
)

// ask calls what a command does with the path of the view that its PATH argument means (docs/cli.md, "Paths"), and the client of that
// view. An absolute path is the view's own first. Only if the view has no such path, the mounts are asked for, and what they make of
// it is tried: run must not have printed anything when it returns a 404.
func (f *serverFlags) ask(ctx context.Context, a *app, arg string, run func(server *client.Client, path string) error) error {
	p, err := f.parse(ctx, a, arg)
	if err != nil {
		return err
	}
	ask := run
	run = func(server *client.Client, path string) error {
		err := ask(server, path)
		a.noteUnreadable(path, server.Unreadable())
		if err == nil {
			f.noteVersion(a, server)
		}
		return err
	}
	err = run(p.server, p.path)
	if !isNotFound(err) || p.path == "/" {
		return err
	}
	return p.elsewhere(ctx, err, run)
}

// noteUnreadable says on stderr that an answer about a path lacks what is in n paths that could not be read.
func (a *app) noteUnreadable(path string, n int64) {
	if n == 0 {
		return
	}
	paths := "1 path"
	if n > 1 {
		paths = values.Plural(n, "path", "paths")
	}
	a.note("%s: %s at or below it could not be read, so the answer lacks what is there; GET /stats names them", show.Quote(path), paths)
}

// place is ask for commands that are about paths which the view may not have yet: one more call finds out whether it has.
func (f *serverFlags) place(ctx context.Context, a *app, arg string) (*client.Client, string, error) {
	p, err := f.parse(ctx, a, arg)
	if err != nil || p.final || p.path == "/" {
		return p.server, p.path, err
	}
	if _, err := p.server.Metadata(ctx, p.path); isNotFound(err) && p.learn(ctx) == nil {
		if places := p.translations(); len(places) == 1 {
			server, err := p.in(places[0].View)
			return server, places[0].Path, err
		}
	}
	return p.server, p.path, nil
}

// pathArg is a PATH argument while it is being understood.
type pathArg struct {
	flags *serverFlags
	app   *app
	arg   string

	server *client.Client // of path
	path   string         // of the view
	final  bool           // path is what is meant, whether it exists or not

	table *mounts.Table // nil: not asked for yet
	dirs  []string      // names of the working directory, for a relative path
	local string        // path as the host has it; empty: it is none of the host
}

// parse understands an argument as far as it can be without knowing what the view has. Only a relative path costs a call.
func (f *serverFlags) parse(ctx context.Context, a *app, arg string) (*pathArg, error) {
	p := &pathArg{flags: f, app: a, arg: arg, path: mounts.Own(arg)}
	explicit, is := mounts.Explicit(arg)
	var err error
	if is {
		p.path, p.final = explicit.Path, true
		p.server, err = p.in(explicit.View)
		return p, err
	}
	if p.server, err = f.connect(a); err != nil || arg == "" || path.IsAbs(arg) {
		return p, err
	}
	p.dirs = workingDirs()
	if err := p.learn(ctx); err != nil {
		return p, ignoreRefusal(err) // the command itself says what is wrong with the view
	}
	local, places, inside := p.table.Relative(p.dirs, arg)
	if !inside {
		return p, nil
	}
	p.final, p.local = true, local
	switch len(places) {
	case 0:
		return p, &cliError{msg: fmt.Sprintf("%s is outside of the view", show.Quote(local)), hint: p.hint(), code: exitNotFound}
	case 1:
		p.path = places[0].Path
		p.server, err = p.in(places[0].View)
		return p, err
	}
	return p, &cliError{msg: fmt.Sprintf("%s is in several members of the forest", show.Quote(local)), hint: "pass one of them: " + list(places), code: exitUsage}
}

// learn asks the server for the mounts. Of a host that mounts a file system which several views index, each view has its own.
func (p *pathArg) learn(ctx context.Context) error {
	if p.table != nil {
		return nil
	}
	feeding, err := p.server.Feeding(ctx)
	if err != nil {
		return err
	}
	host, _ := os.Hostname() // without a name, no mount is one of this host
	p.table = &mounts.Table{Host: host}
	for _, s := range feeding.Sessions {
		if m, ok := mounts.OfSource(s.Member, s.Source); ok {
			p.table.Mounts = append(p.table.Mounts, m)
		}
	}
	for _, m := range feeding.Mounts {
		p.table.Mounts = append(p.table.Mounts, mounts.Mount{View: m.Member, Path: m.Path})
	}
	return nil
}

// translations are what the mounts make of the argument.
func (p *pathArg) translations() []mounts.Place {
	if path.IsAbs(p.arg) {
		return p.table.Translate(p.arg)
	}
	for _, dir := range p.dirs {
		if places := p.table.Translate(path.Join(dir, p.arg)); places != nil {
			return places
		}
	}
	return nil
}

// elsewhere runs a command on what the mounts make of a path that the view has not.
func (p *pathArg) elsewhere(ctx context.Context, absent error, run func(*client.Client, string) error) error {
	if p.final || p.learn(ctx) != nil {
		return p.explain(absent)
	}
	if places := p.translations(); len(places) > 1 {
		return &cliError{msg: absent.Error(), hint: "the path is below a mount of several members; pass one of them: " + list(places), code: exitNotFound, err: absent}
	} else if len(places) == 1 && places[0].Path != p.path {
		server, err := p.in(places[0].View)
		if err != nil {
			return err
		}
		if err = run(server, places[0].Path); !isNotFound(err) {
			return err
		}
		absent = err
	}
	return p.explain(absent)
}

// explain adds a hint to the answer that there is no such path.
func (p *pathArg) explain(absent error) error {
	hint := p.hint()
	var refused *client.Error
	explicit, is := mounts.Explicit(p.arg)
	switch {
	case is:
		hint = fmt.Sprintf("the argument is the path %s of view %s; for a name with a colon, pass %s", show.Quote(explicit.Path), explicit.View, show.Quote("./"+p.arg))
	case errors.As(absent, &refused) && refused.Hint != "":
		return absent
	case p.local != "":
		hint = fmt.Sprintf("the working directory is in the view, so the argument is relative to it; the view's own path is %s", show.Quote(mounts.Own(p.arg)))
	}
	return &cliError{msg: absent.Error(), hint: hint, code: exitNotFound, err: absent}
}

// hint says which paths the view has.
func (p *pathArg) hint() string {
	if p.table == nil {
		return ""
	}
	if where := p.table.Where(); where != "" {
		return "the view's roots are mounted at " + where + "; pass a path below one of them, or the view's own path"
	}
	return ""
}

// in is the client of a view; empty: of the one that is asked anyway.
func (p *pathArg) in(view string) (*client.Client, error) {
	if view == "" {
		return p.server, nil
	}
	f := *p.flags
	f.View = view
	return f.connect(p.app)
}

// list is places as arguments.
func list(places []mounts.Place) string {
	var words []string
	for _, p := range places {
		words = append(words, show.Quote(p.View+":"+p.Path))
	}
	return strings.Join(words, ", ")
}

// workingDirs are the names of the working directory: the kernel's, without symlinks, and the shell's.
func workingDirs() []string {
	var dirs []string
	if dir, err := syscall.Getwd(); err == nil && path.IsAbs(dir) {
		dirs = append(dirs, dir)
	}
	if dir, err := os.Getwd(); err == nil && path.IsAbs(dir) && (len(dirs) == 0 || dir != dirs[0]) {
		dirs = append(dirs, dir)
	}
	return dirs
}

func isNotFound(err error) bool {
	var refused *client.Error
	return errors.As(err, &refused) && refused.Status == http.StatusNotFound && !refused.Foreign
}

// ignoreRefusal keeps what is wrong with the connection.
func ignoreRefusal(err error) error {
	var refused *client.Error
	if errors.As(err, &refused) {
		return nil
	}
	return err
}
