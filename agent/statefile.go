package agent

import (
	"crypto/rand"
	"encoding/json"
	"os"
	"path/filepath"
	"sync"

	"github.com/fustor/fustor/internal/pipeapi"
)

// remembered is the content of the state file.
type remembered struct {
	Session string         `json:"session_id"`       // the live one; empty: it was closed
	Secret  string         `json:"secret,omitempty"` // by which the agent's sessions are held
	Paused  *pipeapi.Pause `json:"paused,omitempty"`
	Root    string         `json:"root,omitempty"` // that Mount is of
	// Mount is where the root's file system is mounted. An agent that starts before it is mounted must not take the directory
	// below the mount point, most often an empty one, for the tree.
	Mount string `json:"mount,omitempty"`
}

// stateFile is what an agent remembers of itself beyond its process. It is safe for concurrent use.
type stateFile struct {
	path string // empty: nothing is written

	mu sync.Mutex
	is remembered
}

// openStateFile reads the file at path. One that cannot be read counts as empty.
func openStateFile(path string) *stateFile {
	f := &stateFile{path: path}
	if path != "" {
		if b, err := os.ReadFile(path); err == nil {
			f.is = decodeState(b)
		}
	}
	return f
}

// decodeState is empty for what is no state: a part of one could name the mount of another root.
func decodeState(b []byte) remembered {
	var is remembered
	if json.Unmarshal(b, &is) != nil {
		return remembered{}
	}
	return is
}

func (f *stateFile) read() remembered {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.is
}

// secret is that by which the agent's sessions are held, also by the process after this one, which ends the session that this one leaves
// open. A new one is written together with the first session.
func (f *stateFile) secret() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.is.Secret == "" {
		f.is.Secret = rand.Text()
	}
	return f.is.Secret
}

// change writes the file anew, as a whole.
func (f *stateFile) change(change func(*remembered)) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(&f.is)
	if f.path == "" {
		return nil
	}
	b, err := json.Marshal(f.is)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(f.path), 0o700)
	}
	if err == nil {
		temporary := f.path + ".new"
		if err = os.WriteFile(temporary, b, 0o600); err == nil {
			err = os.Rename(temporary, f.path)
		}
	}
	return err
}

// mount is where the file system of root was mounted when an agent with this file watched it; empty: not known.
func (f *stateFile) mount(root string) string {
	if r := f.read(); r.Root == root {
		return r.Mount
	}
	return ""
}
