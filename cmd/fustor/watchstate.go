//go:build !reading

package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
	"github.com/fustor/fustor/internal/store/flock"
)

// position is the state file of a watch: where it is in the feed. It is replaced at once, so that a reader, and a watch after a crash, finds
// the old position or the new one. While a watch runs, it holds a lock beside the file.
type position struct {
	file   string // empty: none is kept
	unlock func()

	Format  int    `json:"format"`
	Path    string `json:"path"` // of the view
	PathB64 string `json:"path_b64,omitempty"`
	Cursor  string `json:"cursor"`
	Version uint64 `json:"version"` // whose changes came last
}

const positionFormat = 1

// openPosition reads a state file, if there is one.
func openPosition(file string) (*position, error) {
	p := &position{file: file}
	if file == "" {
		return p, nil
	}
	failed := func(err error) error {
		return &cliError{msg: fmt.Sprintf("state file %s: %v", show.Quote(file), plain(err)), hint: "check the file and its directory, or pass another with --state", code: exitFailure, err: err}
	}
	var err error
	switch p.unlock, err = flock.TryLock(file + ".lock"); {
	case errors.Is(err, flock.ErrLocked):
		return nil, &cliError{msg: fmt.Sprintf("another fustor watch uses the state file %s", show.Quote(file)), hint: "stop it first, or pass another file with --state", code: exitFailure, err: err}
	case errors.Is(err, errors.ErrUnsupported): // nothing keeps a second one off there
	case err != nil:
		return nil, failed(err)
	}
	body, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		if err = json.Unmarshal(body, p); err == nil && (p.Format != positionFormat || p.Cursor == "") {
			err = errors.New("it is not a state file of this version of fustor watch")
		}
	}
	if err == nil {
		p.Path, err = exactPath(p.Path, p.PathB64)
	}
	if err != nil {
		p.close()
		return nil, failed(err)
	}
	return p, nil
}

// exactPath is a path as JSON has it: as text, and in base64 if that does not say it all.
func exactPath(path, b64 string) (string, error) {
	if b64 == "" {
		return path, nil
	}
	exact, err := base64.RawURLEncoding.DecodeString(b64)
	return string(exact), err
}

// otherPathError: the state file is of a watch of another path. It is a 404, so that a path of a host is tried as one of the view.
type otherPathError struct{ file, path string }

func (e *otherPathError) Error() string {
	return fmt.Sprintf("the state file %s is of a watch of %s; pass another with --state", show.Quote(e.file), show.Quote(e.path))
}
func (*otherPathError) Unwrap() error { return &client.Error{Status: http.StatusNotFound} }

// of checks that the position is one of a watch of that path of the view.
func (p *position) of(path string) error {
	if p.Cursor != "" && p.Path != path {
		return &otherPathError{p.file, p.Path}
	}
	p.Path = path
	return nil
}

// keep replaces the file. What it says is on the disk when it returns.
func (p *position) keep(cursor string, version uint64) error {
	p.Cursor, p.Version = cursor, version
	if p.file == "" {
		return nil
	}
	kept := *p
	kept.Format, kept.PathB64 = positionFormat, show.B64(p.Path)
	body, err := json.Marshal(kept)
	if err == nil {
		err = replaceDurably(p.file, append(body, '\n'))
	}
	if err != nil {
		return &cliError{msg: fmt.Sprintf("the position cannot be kept in %s: %v", show.Quote(p.file), plain(err)),
			hint: "what came since the last position comes again at the next start", code: exitFailure, err: err}
	}
	return nil
}

func (p *position) close() {
	if p.unlock != nil {
		p.unlock()
	}
}

// replaceDurably replaces a file at once. What it says is on the disk then.
func replaceDurably(path string, body []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(body)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
