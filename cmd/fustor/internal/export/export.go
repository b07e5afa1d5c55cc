// Package export writes the entries of a view into one file: as Parquet, as text or in ncdu's format. The command reads the entries page by
// page and gives them to an Encoder; between two pages it may note a checkpoint, from which a later run goes on (File).
//
// Invariants: memory does not depend on the number of entries, but for what an Encoder says of itself. A file has its name only once it is
// whole. A checkpoint names a length of the partial file up to which everything in it is on the disk.
package export

import (
	"context"
	"io"

	"github.com/fustor/fustor/internal/client"
)

// Encoder writes entries to the writer that it was made with. Entries come in the order of the API: by the path of their directory, then
// by name, so that a directory comes before everything in it.
type Encoder interface {
	Add(n *client.Node) error
	// Checkpoint writes out all entries that were added, and returns what it takes to go on behind them. ok is false if it is too early
	// for that; then nothing needs to be written. since is how many bytes were written since the last checkpoint.
	Checkpoint(since int64) (state []byte, ok bool, err error)
	// End writes what ends the file.
	End() error
}

// Format makes an Encoder. states are those of all checkpoints that were noted in the file so far, in order; none: the file begins.
type Format func(w io.Writer, states [][]byte) (Encoder, error)

// Output is where an export goes.
type Output interface {
	io.Writer
	// Start says where the export goes on: behind the entries of the checkpoint.
	Start() (from Checkpoint, states [][]byte)
	// Checkpoint notes that everything up to here is written.
	Checkpoint(c Checkpoint, state []byte) error
	// Commit ends the export: what was written is there under its name.
	Commit() error
	// Abort ends an export that failed.
	Abort()
}

// Checkpoint is how far an export is.
type Checkpoint struct {
	Cursor string `json:"cursor,omitempty"` // of the next page
	Rows   int64  `json:"rows"`
	Bytes  int64  `json:"bytes"` // that the output has of them
}

// Job is one export.
type Job struct {
	// Read calls each for the entries of the page at a cursor, and returns that of the next page; empty: there is none.
	Read   func(ctx context.Context, cursor string, each client.Each) (next string, err error)
	Format Format
	// Count is called for each entry that was written; bytes is the length of the output so far.
	Count func(n *client.Node, rows, bytes int64)
}

// CheckpointBytes is about how much text is written between two checkpoints.
const CheckpointBytes = 8 << 20

// Run writes all entries. It returns how many rows and bytes the output has, those of an earlier run included.
func (j *Job) Run(ctx context.Context, to Output) (at Checkpoint, err error) {
	at, states := to.Start()
	counted := &counter{w: to, n: at.Bytes}
	encoder, err := j.Format(counted, states)
	if err != nil {
		return at, err
	}
	last := at.Bytes
	each := func(n *client.Node) error {
		if err := encoder.Add(n); err != nil {
			return err
		}
		at.Rows++
		j.Count(n, at.Rows, counted.n)
		return nil
	}
	for {
		next, err := j.Read(ctx, at.Cursor, each)
		if err != nil {
			return at, err
		}
		if at.Cursor = next; next == "" {
			break
		}
		state, ok, err := encoder.Checkpoint(counted.n - last)
		if err != nil {
			return at, err
		}
		if !ok {
			continue
		}
		at.Bytes = counted.n
		if err := to.Checkpoint(at, state); err != nil {
			return at, err
		}
		last = at.Bytes
	}
	if err := encoder.End(); err != nil {
		return at, err
	}
	at.Bytes = counted.n
	return at, to.Commit()
}

// counter counts what is written.
type counter struct {
	w io.Writer
	n int64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += int64(n)
	return n, err
}
