package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/manifest"
)

// What can be wrong with a question. Beside these a call fails with what the store says, with a layer.FormatError, or with
// manifest.ErrFormat or session.ErrDamaged for an object that is damaged.

// NoViewError: no such view was ever heard of.
type NoViewError struct{ View string }

// NoPathError: the version has no such path.
type NoPathError struct{ Path string }

// NotDirectoryError: the path is no directory, and has no entries.
type NotDirectoryError struct{ Path string }

// NotReadyError: the view's first scan is not complete. Begun are the totals of what it has found.
type NotReadyError struct {
	View  string
	Begun evidence.Totals
}

// NotLedError: the view is configured to be read only while an agent leads it, and none does.
type NotLedError struct{ View string }

// GoneError: the version is no longer kept.
type GoneError struct{ Version uint64 }

// NotKeptError: there is no version of that number, or at that time. Oldest is the oldest that is kept, where it was looked for.
type NotKeptError struct {
	Asked  string
	Oldest manifest.Published
}

// IncompleteError: in that version the first scan was not complete yet, so that it cannot be compared with.
type IncompleteError struct{ Version uint64 }

// PatternError: a search's pattern cannot be read.
type PatternError struct{ Reason error }

// The cursor errors.
var (
	ErrCursor      = errors.New("not a cursor that this server gave out")
	ErrCursorQuery = errors.New("the cursor belongs to a call with other parameters")
)

// ErrSince: a text is neither a version nor a time.
var ErrSince = errors.New("no version and no time")

func (e *NoViewError) Error() string { return fmt.Sprintf("there is no view %q", e.View) }
func (e *NoPathError) Error() string {
	return fmt.Sprintf("there is no %q in this version of the view", e.Path)
}
func (e *NotDirectoryError) Error() string { return fmt.Sprintf("%q is not a directory", e.Path) }
func (e *GoneError) Error() string         { return fmt.Sprintf("version %d is no longer kept", e.Version) }
func (e *PatternError) Error() string      { return fmt.Sprintf("the pattern: %v", e.Reason) }
func (e *PatternError) Unwrap() error      { return e.Reason }

func (e *NotReadyError) Error() string {
	return fmt.Sprintf("the first scan of view %q is not complete: %d files, %d directories and %d bytes so far", e.View, e.Begun.Files, e.Begun.Directories, e.Begun.Bytes)
}

func (e *NotLedError) Error() string {
	return fmt.Sprintf("view %q is configured to be live, and no agent leads it at present", e.View)
}

func (e *NotKeptError) Error() string {
	if e.Oldest.Version != 0 {
		return fmt.Sprintf("no version that old is kept: the oldest is version %d of %s", e.Oldest.Version, e.Oldest.At.UTC().Format(time.RFC3339))
	}
	return fmt.Sprintf("version %s is not kept", e.Asked)
}

func (e *IncompleteError) Error() string {
	return fmt.Sprintf("in version %d the first scan was not complete yet", e.Version)
}
