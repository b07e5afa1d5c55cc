package export

import (
	"io"

	"github.com/fustor/fustor/cmd/fustor/internal/show"
	"github.com/fustor/fustor/internal/client"
)

// Text is CSV, if there are columns, or else JSON lines: as the other commands print entries. fields are an entry's fields of CSV. Each
// checkpoint is at least so many bytes after the one before.
func Text(columns []string, fields func(*client.Node) []any, every int64) Format {
	return func(w io.Writer, states [][]byte) (Encoder, error) {
		e := &text{rows: &show.Rows{Output: show.NewOutput(w, false, false), Form: show.NDJSON, Columns: columns, Resumed: len(states) > 0},
			fields: fields, every: every}
		if columns != nil {
			e.rows.Form = show.CSV
		}
		return e, nil
	}
}

type text struct {
	rows   *show.Rows
	fields func(*client.Node) []any
	every  int64
	buf    []byte
}

// Add implements Encoder.
func (e *text) Add(n *client.Node) error {
	if e.rows.Form == show.CSV {
		return e.rows.Record(e.fields(n)...)
	}
	e.buf = show.AppendEntry(e.buf[:0], n)
	return e.rows.Object(e.buf)
}

// Checkpoint implements Encoder. There is nothing to know but that the file has begun.
func (e *text) Checkpoint(since int64) ([]byte, bool, error) {
	if since < e.every {
		return nil, false, nil
	}
	return nil, true, e.rows.Sync()
}

// End implements Encoder.
func (e *text) End() error { return e.rows.End(nil) }
