package layer

import (
	"errors"
	"fmt"

	"github.com/fustor/fustor/internal/store"
)

// FormatError says that an object is missing, no layer, a damaged one, one of another version, or not the one that
// the manifest means.
type FormatError struct {
	Object string // the object's key
	Reason string
	Err    error // what it rests on, if anything: store.ErrNotFound for a missing object
}

func (e *FormatError) Error() string { return fmt.Sprintf("layer object %s: %s", e.Object, e.Reason) }

// Unwrap gives what the error rests on.
func (e *FormatError) Unwrap() error { return e.Err }

// ErrOrder: a row or a row group was appended that does not come after the one before it.
var ErrOrder = errors.New("rows of a layer must come in strictly increasing key order")

// readError says what went wrong with a request for an object.
func readError(object string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return &FormatError{Object: object, Reason: "the object is missing", Err: err}
	}
	return fmt.Errorf("read layer object %s: %w", object, err)
}
