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
	// ErrRefused: this directory's file system cannot be watched in this way.
	ErrRefused = errors.New("cannot be watched")
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
	OpReady     // watching works, and did not before
)

// Notice is what the kernel tells of one name in a directory, or without a name of the watched directory itself. It may
// have put several things that happened one after another into one notice; what their order was is not known then.
type Notice struct {
	Watch WatchID
	Op    Op
	Name  string
}

// WatchID stands for a directory, not for a path: it stays the same when the directory is renamed.
type WatchID int64

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
	// Method is the word for it that users know, and why it is not a better one. None: nothing can be watched.
	Method() (method, reason string)
}

// quotaNotifier is a Notifier whose watches are granted by number.
type quotaNotifier interface {
	// Quota is how many watches may be held by someone who would like so many; others' needs are left to them.
	// wanted < 0: not known yet. 0: any number.
	Quota(wanted int) int
}
