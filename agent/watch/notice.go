package watch

import (
	"errors"

	"github.com/fustor/fustor/agent/tree"
)

// What a Notifier answers.
var (
	// ErrFinished ends the notices after Finish.
	ErrFinished = errors.New("no more notices")
	// ErrLimit: the system grants no more watches.
	ErrLimit = errors.New("no more watches")
)

// Op is what a notice says.
type Op uint16

// What happened, as flags.
const (
	OpCreate Op = 1 << iota
	OpDelete
	OpMovedFrom
	OpMovedTo
	OpModify
	OpCloseWrite
	OpAttrib
	OpSelfGone // the watched directory itself was deleted, moved or unmounted
	OpIgnored  // the watch is no more
	OpOverflow
	OpDirectory // the name is, or was, a directory
)

// Notice is one thing the kernel tells. Without a name it is of the watched directory itself.
type Notice struct {
	Watch WatchID
	Op    Op
	Name  string
}

// WatchID stands for a directory, not for a path: it stays the same when the directory is renamed.
type WatchID int32

// NoWatch is no directory's.
const NoWatch WatchID = -1

// Notifier is the operating system's side: inotify, what fsnotify makes of other systems, or a simulation.
type Notifier interface {
	// Add watches an open directory. Adding one that is watched already returns the same id. ErrLimit wraps what
	// comes of the system's limit.
	Add(root string, d tree.Dir, path string) (WatchID, error)
	Remove(WatchID)
	// Read waits for notices. After Finish it returns what has come, and then ErrFinished.
	Read() ([]Notice, error)
	Finish()
	Close()
	// Closes reports whether OpCloseWrite is ever told.
	Closes() bool
}
