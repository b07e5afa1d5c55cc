// Package logs has what tests read while others write it: the log of a server or a process.
package logs

import (
	"bytes"
	"strings"
	"sync"
)

// Buffer is text that is written and read at once. The zero value is empty.
type Buffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer; it never fails.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String is what was written so far.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Count is how often a text is in it.
func (b *Buffer) Count(text string) int { return strings.Count(b.String(), text) }
