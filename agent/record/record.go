// Package record makes flat records of events, one for each entry they speak of, with the fields that a user chose, named
// as the user wants: what the senders echo and openapi send for a pipe with a fields_mapping. docs/agent.md describes it.
package record

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
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
		"view", "agent", "source_uri", "session", "id", "end",
	}
	Types = []string{"string", "integer", "number", "boolean", "time", "seconds"}
)

// textual are the sources that are words, in which there is no number to be found.
var textual = []string{"kind", "evidence", "path", "name", "type", "target", "view", "agent", "source_uri", "session", "id"}

// Kind is what a field is in JSON: string, integer, number or boolean; empty: a constant of any.
func (f *Field) Kind() string {
	switch {
	case f.From == "":
		return ""
	case f.Type == "time":
		return "string"
	case f.Type == "seconds":
		return "number"
	case f.Type != "":
		return f.Type
	case slices.Contains(textual, f.From):
		return "string"
	case f.From == "end":
		return "boolean"
	}
	return "integer"
}

// Fits reports why a source cannot be made into a type; nil: it can.
func Fits(source, typ string) error {
	switch {
	case (typ == "time" || typ == "seconds") && source != "observed_at_ns" && source != "mtime_ns" && source != "atime_day":
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
		err = Each(&h, ev, func(s *Subject) error {
			line.Reset()
			if err := encode(&line, s, fields); err != nil {
				return err
			}
			_, err := w.Write(line.Bytes())
			return err
		})
		if err != nil {
			return err
		}
	}
}

// Each calls f with every entry that an event speaks of.
func Each(h *event.Header, ev *event.Event, f func(*Subject) error) error {
	switch ev.Kind {
	case event.Put:
		return f(&Subject{Header: h, Event: ev, Path: ev.Path, Entry: &ev.Entry})
	case event.Delete:
		return f(&Subject{Header: h, Event: ev, Path: ev.Path})
	case event.Listing:
		for i := range ev.Entries {
			if err := f(&Subject{Header: h, Event: ev, Path: event.Join(ev.Path, ev.Entries[i].Name), Entry: &ev.Entries[i]}); err != nil {
				return err
			}
		}
	}
	return nil
}

// Subject is what a record is made of: one entry that an event speaks of.
type Subject struct {
	Header *event.Header
	Event  *event.Event
	Path   string
	Entry  *event.Entry // nil: gone
	End    bool         // of a scan; no entry says so
}

// Value is the value of a field, as encoding/json takes it; nil where the entry has none.
func (s *Subject) Value(f *Field) any {
	if f.From == "" {
		return f.Value
	}
	return convert(s.value(f.From), f.From, f.Type)
}

// ID names what was seen of the entry, and when: it stays the same when the event is sent again, by another process too.
func (s *Subject) ID() string {
	h := sha256.New()
	for _, text := range []string{s.Header.Agent, s.Header.Source, s.Event.Kind.String(), s.Event.Evidence.String(), s.Path} {
		h.Write(binary.AppendUvarint(nil, uint64(len(text))))
		io.WriteString(h, text)
	}
	h.Write(binary.BigEndian.AppendUint64(nil, uint64(s.Event.ObservedAt)))
	return hex.EncodeToString(h.Sum(nil)[:16])
}

func encode(line *bytes.Buffer, s *Subject, fields []Field) error {
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
	for i := range fields {
		if i > 0 {
			line.WriteByte(',')
		}
		if err := put(fields[i].To); err != nil {
			return err
		}
		line.WriteByte(':')
		if err := put(s.Value(&fields[i])); err != nil {
			return err
		}
	}
	line.WriteString("}\n")
	return nil
}

// value is a string, an int64, a bool, or nil where there is none.
func (s *Subject) value(source string) any {
	switch source {
	case "kind":
		if s.Event.Kind == event.Listing {
			return event.Put.String()
		}
		return s.Event.Kind.String()
	case "evidence":
		return s.Event.Evidence.String()
	case "observed_at_ns":
		return s.Event.ObservedAt
	case "path":
		return strings.ToValidUTF8(s.Path, "\ufffd")
	case "name":
		_, name := event.Split(s.Path)
		return strings.ToValidUTF8(name, "\ufffd")
	case "view":
		return s.Header.View
	case "agent":
		return s.Header.Agent
	case "source_uri":
		return s.Header.Source
	case "session":
		return s.Header.Session
	case "id":
		return s.ID()
	case "end":
		return s.End
	}
	e := s.Entry
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
	case "seconds":
		n, _ := v.(int64)
		if source == "atime_day" {
			return n * 86400
		}
		return float64(n) / 1e9
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
