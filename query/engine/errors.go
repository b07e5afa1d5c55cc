package engine

import (
	"errors"
	"fmt"
	"time"

	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/manifest"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/values"
	"github.com/fustor/fustor/query/report"
)

// These errors say what is wrong with a question. A call can also fail with an error of the store, and, if an object is damaged,
// with a layer.FormatError, manifest.ErrFormat or session.ErrDamaged.

// NoViewError: the view does not exist: no agent and no administrator has created it.
type NoViewError struct{ View string }

// ForestError: the view is a forest, and is answered from its members: names and globs of views.
type ForestError struct {
	View    string
	Members []string
}

// NoPathError: the version has no such path.
type NoPathError struct{ Path string }

// NoOwnerError: no host of the view knows a user, or a group, of that name.
type NoOwnerError struct {
	Group bool
	Name  string
}

// NotDirectoryError: the path is no directory, and has no entries.
type NotDirectoryError struct{ Path string }

// NotReadyError: the view's first scan is not complete. Begun are the totals so far, and Leading is the session that scans.
type NotReadyError struct {
	View    string
	Begun   evidence.Totals
	Leading session.Leading
	// Restricted: the reader may not know how much there is.
	Restricted bool
	Troubles   []Trouble
}

// NotLedError: the view is configured to be read only while an agent leads it, and none does.
type NotLedError struct{ View string }

// GoneError: the version is no longer kept.
type GoneError struct{ Version uint64 }

// NotKeptError: there is no version of that number, or of that time. Before and After are the nearest that are kept; nil: there is none.
type NotKeptError struct {
	Asked         string
	Time          bool // a time was asked for
	Before, After *manifest.Published
}

// IncompleteError: the first scan was not complete in that version. After is the first in which it was; nil: there is none.
type IncompleteError struct {
	Version uint64
	After   *manifest.Published
}

// NoVersionError: a text is neither the number of a version nor a time, and the view has no pin of that name. Of is what it was given as.
type NoVersionError struct{ Of, Text string }

// PatternError: the pattern of a search is invalid.
type PatternError struct{ Reason error }

// ErrTooManyDirectories: an answer would need the sums of too many directories.
var ErrTooManyDirectories = report.ErrTooManyDirectories

// The cursor errors.
var (
	ErrCursor      = errors.New("this is not a cursor of this server")
	ErrCursorQuery = errors.New("the cursor belongs to a call with other parameters")
)

func (e *NoViewError) Error() string { return fmt.Sprintf("there is no view %q", e.View) }
func (e *ForestError) Error() string {
	return fmt.Sprintf("view %q is a forest: it is answered from its members", e.View)
}
func (e *NoPathError) Error() string {
	return fmt.Sprintf("there is no %q in this version of the view", e.Path)
}
func (e *NoOwnerError) Error() string {
	kind := "user"
	if e.Group {
		kind = "group"
	}
	return fmt.Sprintf("no host of the view knows a %s %q", kind, e.Name)
}
func (e *NotDirectoryError) Error() string { return fmt.Sprintf("%q is not a directory", e.Path) }
func (e *GoneError) Error() string         { return fmt.Sprintf("version %d is no longer kept", e.Version) }
func (e *PatternError) Error() string      { return fmt.Sprintf("invalid pattern: %v", e.Reason) }
func (e *PatternError) Unwrap() error      { return e.Reason }

func (e *NotReadyError) Error() string {
	if e.Restricted {
		return fmt.Sprintf("the first scan of view %q is not complete", e.View)
	}
	text := fmt.Sprintf("the first scan of view %q is not complete: %s, %s and %s so far", e.View, values.Plural(e.Begun.Files, "file", "files"),
		values.Plural(e.Begun.Directories, "directory", "directories"), values.Plural(e.Begun.Bytes, "byte", "bytes"))
	for _, t := range e.Troubles {
		text += "; " + t.Text
	}
	return text
}

func (e *NotLedError) Error() string {
	return fmt.Sprintf("no agent leads view %q at the moment, and the view is configured to be live", e.View)
}

func (e *NotKeptError) Error() string {
	if e.Time && e.After != nil {
		return fmt.Sprintf("versions that old are not kept: the oldest is %s", describe(e.After))
	}
	if e.Time {
		return "versions that old are not kept"
	}
	near := ""
	switch {
	case e.Before != nil && e.After != nil:
		near = fmt.Sprintf("; next to it are %s, and %s", describe(e.Before), describe(e.After))
	case e.Before != nil:
		near = fmt.Sprintf("; the newest is %s", describe(e.Before))
	case e.After != nil:
		near = fmt.Sprintf("; the oldest is %s", describe(e.After))
	}
	return fmt.Sprintf("version %s is not kept%s", e.Asked, near)
}

func describe(p *manifest.Published) string {
	return fmt.Sprintf("version %d, published %s", p.Version, p.At.UTC().Format(time.RFC3339))
}

func (e *IncompleteError) Error() string {
	if e.After != nil {
		return fmt.Sprintf("the first scan was not complete in version %d: it was in %s", e.Version, describe(e.After))
	}
	return fmt.Sprintf("the first scan was not complete in version %d", e.Version)
}

func (e *NoVersionError) Error() string {
	return fmt.Sprintf("parameter %q: %q is neither a version nor a time, and the view has no pin of that name", e.Of, e.Text)
}
