// Package guard turns panics into errors, so that a fault in one task of an agent does not end the others. Whoever
// supervises the task reports the error and starts it again.
package guard

import (
	"fmt"
	"runtime/debug"
)

// PanicError is a panic that was caught.
type PanicError struct {
	Value any
	Stack []byte
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Do runs f; a panic in it is returned as a PanicError.
func Do(f func() error) (err error) {
	defer func() {
		switch v := recover().(type) {
		case nil:
		case *PanicError: // one of another goroutine, handed on
			err = v
		default:
			err = &PanicError{v, debug.Stack()}
		}
	}()
	return f()
}
