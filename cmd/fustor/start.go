//go:build !reading

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strconv"
	"syscall"

	"github.com/fustor/fustor/agent/tree"
	"github.com/fustor/fustor/internal/layer"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/store/doctor"
)

// What can be wrong when a part starts, in the user's words.

// checkDir refuses what an agent cannot scan: a DIR that is missing, no directory, or not to be read.
func checkDir(dir string) error {
	err := tree.Check(dir)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return &cliError{
			msg:  fmt.Sprintf("directory %q does not exist", dir),
			hint: "pass an existing directory, such as `fustor up /usr`", code: exitFailure, err: err,
		}
	case errors.Is(err, fs.ErrPermission):
		return &cliError{
			msg:  fmt.Sprintf("cannot read directory %q: permission denied", dir),
			hint: "run fustor as a user with read permission", code: exitFailure, err: err,
		}
	}
	return &cliError{msg: err.Error(), hint: "pass a directory that can be read", code: exitFailure, err: err}
}

// checkExcludes refuses what is no glob, before anything is asked or written.
func checkExcludes(patterns []string) error {
	if _, err := tree.NewExcludes(patterns); err != nil {
		return &cliError{msg: "--exclude: " + err.Error(), code: exitUsage, err: err}
	}
	return nil
}

// listen opens the address to serve on, or says why not and what else to try.
func listen(address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if _, bad := strconv.ParseUint(port, 10, 16); err != nil || bad != nil {
		return nil, &cliError{
			msg:  fmt.Sprintf("%q is not an address to listen on", address),
			hint: "use the form HOST:PORT, such as --listen 127.0.0.1:8080", code: exitUsage, err: err,
		}
	}
	l, err := net.Listen("tcp", address)
	if err == nil {
		return l, nil
	}
	e := &cliError{code: exitFailure, err: err}
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		e.msg = fmt.Sprintf("port %s on %s is in use already", port, hostName(host))
		e.hint = fmt.Sprintf("stop the process that listens there, or choose another port: --listen %s uses any free one", net.JoinHostPort(host, "0"))
	case errors.Is(err, syscall.EACCES):
		e.msg = fmt.Sprintf("cannot use port %s on %s: permission denied", port, hostName(host))
		e.hint = "choose a port of 1024 or higher with --listen"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		e.msg = fmt.Sprintf("%s is not an address of this machine", host)
		e.hint = "choose an address of this machine with --listen, such as 127.0.0.1:8080"
	default:
		e.msg = fmt.Sprintf("cannot listen on %s: %v", address, err)
	}
	return nil, e
}

func hostName(host string) string {
	if host == "" {
		return "this machine"
	}
	return host
}

// makeDataDir makes the data directory, which only its owner may enter.
func makeDataDir(dir string) error {
	err := os.MkdirAll(dir, 0o700)
	if err == nil {
		return nil
	}
	return &cliError{
		msg:  fmt.Sprintf("cannot create data directory %s: %v", dir, plain(err)),
		hint: "choose another with --data or FUSTOR_DATA", code: exitFailure, err: err,
	}
}

// storeFailure is a store that did not do what was asked of it. It keeps the store's own words and adds what to do.
// Nil stays nil.
func storeFailure(err error) error {
	if err == nil {
		return nil
	}
	e := &cliError{msg: err.Error(), code: exitFailure, err: err}
	var file *fs.PathError
	var layerObject *layer.FormatError
	switch {
	case errors.Is(err, doctor.ErrUnfit):
		e.hint = "`fustor doctor URL` tests every rule and says what to do"
	case errors.As(err, &layerObject):
		e.hint = "restore the object from a backup of the store, or start the view over, so that its agents scan again: `fustor admin reset VIEW`; other views are not affected"
	case errors.Is(err, manifest.ErrFormat):
		e.hint = "restore the object from a backup of the store, or run the version of fustor that wrote it; other views are not affected"
	case errors.Is(err, store.ErrNotFound):
		e.code = exitNotFound
	case store.Hint(err) != "":
		e.hint = store.Hint(err)
	case errors.As(err, &file) && errors.Is(err, fs.ErrNotExist) && file.Op == "stat":
		e.code, e.hint = exitNotFound, "correct the URL, or create the directory first: mkdir "+file.Path
	case errors.As(err, &file):
		e.hint = "pass a directory that fustor may create, read and write"
	default:
		e.hint = "check that this is the address of an object store; `fustor doctor URL` tests every rule"
	}
	return e
}
