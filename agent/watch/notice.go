package watch

import (
	"errors"

	"github.com/fustor/fustor/agent/tree"
)

var errFinished = errors.New("no more notices")

// op is what a notice says.
type op uint16

const (
	opCreate op = 1 << iota
	opDelete
	opMovedFrom
	opMovedTo
	opModify
	opCloseWrite
	opAttrib
	opSelfGone // the watched directory itself was deleted, moved or unmounted
	opIgnored  // the watch is no more
	opOverflow
	opDirectory // the name is, or was, a directory
)

// notice is one thing the kernel tells. Without a name it is of the watched directory itself.
type notice struct {
	watch watchID
	op    op
	name  string
}

// watchID stands for a directory, not for a path: it stays the same when the directory is renamed.
type watchID int32

const noWatch watchID = -1

// notifier is the operating system's side.
type notifier interface {
	// add watches an open directory. Adding one that is watched already returns the same id. errLimit wraps what
	// comes of the system's limit.
	add(root string, d *tree.Dir, path string) (watchID, error)
	remove(watchID)
	// read waits for notices. After finish it returns what has come, and then errFinished.
	read() ([]notice, error)
	finish()
	close()
	// closes reports whether opCloseWrite is ever told.
	closes() bool
}
