// Package record makes flat records of events, one for each entry they speak of, with the fields that a user chose, named
// as the user wants: what the sender echo prints for a pipe with a fields_mapping. docs/agent.md describes it.
package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/fustor/fustor/internal/event"
)

// Field is one field of a record.
type Field struct {
	To    string `json:"to"`
	From  string `json:"source"` // one of Sources; empty: Value
	Type  string `json:"type"`   // one of Types; empty: as it is
	Value any    `json:"value"`  // a constant
}

// The fields that an event's entry has, and what they can be made into. What an entry does not have (a deletion has no
// size) is null in every type.
var (
	Sources = []string{
		"kind", "evidence", "observed_at_ns", "path", "name", "type", "size", "mtime_ns", "mode", "uid", "gid", "atime_day", "target",
		"view", "agent",
	}
	Types = []string{"string", "integer", "number", "boolean", "time"}
)

// textual are the sources that are words, in which there is no number to be found.
var textual = []string{"kind", "evidence", "path", "name", "type", "target", "view", "agent"}

// Fits reports why a source cannot be made into a type; nil: it can.
func Fits(source, typ string) error {
	switch {
	case typ == "time" && source != "observed_at_ns" && source != "mtime_ns" && source != "atime_day":
		return fmt.Errorf("%s is not a time; observed_at_ns, mtime_ns and atime_day are", source)
	case (typ == "integer" || typ == "number" || typ == "boolean") && slices.Contains(textual, source):
		return fmt.Errorf("%s is a text and cannot be converted to %s", source, typ)
	}
	return nil
}

// Write reads a segment and writes its records, one JSON object a line, with the fields in their order. Marks and
// directories that have not changed make none.
func Write(w io.Writer, r *event.Reader, fields []Field) error {
	h := r.Header()
	var line bytes.Buffer
	for {
		ev, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		one := func(path string, e *event.Entry) error {
			line.Reset()
			if err := encode(&line, &subject{&h, ev, path, e}, fields); err != nil {
				return err
			}
			_, err := w.Write(line.Bytes())
			return err
		}
		switch ev.Kind {
		case event.Put:
			err = one(ev.Path, &ev.Entry)
		case event.Delete:
			err = one(ev.Path, nil)
		case event.Listing:
			for i := range ev.Entries {
				if err = one(event.Join(ev.Path, ev.Entries[i].Name), &ev.Entries[i]); err != nil {
					break
				}
			}
		}
		if err != nil {
			return err
		}
	}
}

// subject is what a record is made of.
type subject struct {
	header *event.Header
	event  *event.Event
	path   string
	entry  *event.Entry // nil: gone
}

func encode(line *bytes.Buffer, s *subject, fields []Field) error {
	line.WriteByte('{')
	encoder := json.NewEncoder(line)
	encoder.SetEscapeHTML(false)
	put := func(v any) error {
		if err := encoder.Encode(v); err != nil {
			return err
		}
		line.Truncate(line.Len() - 1) // the newline that Encode adds
		return nil
	}
	for i, f := range fields {
		if i > 0 {
			line.WriteByte(',')
		}
		if err := put(f.To); err != nil {
			return err
		}
		line.WriteByte(':')
		v := f.Value
		if f.From != "" {
			v = s.value(f.From)
		}
		if err := put(convert(v, f.From, f.Type)); err != nil {
			return err
		}
	}
	line.WriteString("}\n")
	return nil
}

// value is a string, an int64, or nil where there is none.
func (s *subject) value(source string) any {
	switch source {
	case "kind":
		if s.event.Kind == event.Listing {
			return event.Put.String()
		}
		return s.event.Kind.String()
	case "evidence":
		return s.event.Evidence.String()
	case "observed_at_ns":
		return s.event.ObservedAt
	case "path":
		return strings.ToValidUTF8(s.path, "\ufffd")
	case "name":
		_, name := event.Split(s.path)
		return strings.ToValidUTF8(name, "\ufffd")
	case "view":
		return s.header.View
	case "agent":
		return s.header.Agent
	}
	e := s.entry
	if e == nil {
		return nil
	}
	switch source {
	case "type":
		return e.Type.Letter()
	case "size":
		return e.Size
	case "mtime_ns":
		return e.MtimeNs
	case "mode":
		return int64(e.Mode)
	case "uid":
		return int64(e.UID)
	case "gid":
		return int64(e.GID)
	case "atime_day":
		return int64(e.AtimeDay)
	case "target":
		if e.Type == event.Symlink {
			return strings.ToValidUTF8(e.Target, "\ufffd")
		}
	}
	return nil
}

// convert makes a type of a value.
func convert(v any, source, typ string) any {
	if v == nil || typ == "" {
		return v
	}
	switch typ {
	case "string":
		if source == "mode" {
			return fmt.Sprintf("%04o", v)
		}
		return fmt.Sprint(v)
	case "time":
		n, ok := v.(int64)
		switch {
		case !ok:
			return nil
		case source == "atime_day":
			return time.Unix(n*86400, 0).UTC().Format(time.DateOnly)
		}
		return time.Unix(0, n).UTC().Format(time.RFC3339Nano)
	}
	n, ok := number(v)
	switch {
	case !ok:
		return nil
	case typ == "boolean":
		return n != 0
	case typ == "integer":
		if whole, is := v.(int64); is {
			return whole
		}
		return int64(n)
	}
	return n
}

func number(v any) (float64, bool) {
	switch n := v.(type) {
	case int64:
		return float64(n), true
	case uint64:
		return float64(n), true
	case float64:
		return n, true
	case bool:
		if n {
			return 1, true
		}
		return 0, true
	case string:
		f, err := strconv.ParseFloat(n, 64)
		return f, err == nil
	}
	return 0, false
}
