package openapi

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"maps"
	"slices"
	"strings"

	"github.com/fustor/fustor/agent/record"
	"github.com/fustor/fustor/internal/event"
)

// Bounds of one request. Proxies often allow bodies of 1 MiB.
const (
	maxRows  = 2000
	maxBytes = 768 << 10
)

// format is how events are written for a server.
type format interface {
	name() string
	// write adds what an event says to the segment's batches, and finish what is still owed at the segment's end.
	write(s *segment, ev *event.Event) error
	finish(s *segment) error
	// body is that of the request with a batch.
	body(s *segment, b *batch) ([]byte, error)
}

// batch is the rows of one request.
type batch struct {
	phase string // what its rows are: all of one batch are the same
	end   bool   // the last of its snapshot or audit
	rows  []byte // JSON, with commas between
	count int
	key   string // idempotency key
}

// opened is a batch that is being filled.
type opened struct {
	batch
	buffer bytes.Buffer
	sum    hash.Hash
	group  string // of rows, within the batch; empty: none is open
}

func (o *opened) key() string { return hex.EncodeToString(o.sum.Sum(nil)[:16]) }

// newFormat is the format that the events operation takes.
func newFormat(c *call, o *Options, sessions bool) (format, error) {
	if o.Fields == nil {
		if takesRows(c.body) {
			return rows{}, nil
		}
		return nil, errors.New("it does not take Fustor's own events: give the pipe a fields_mapping, which says what its fields are made of")
	}
	return newRecords(c, o, sessions)
}

// takesRows reports whether a body is one of Fustor's own events.
func takesRows(body *schema) bool {
	for _, s := range shapesOf(body, 0) {
		events := s.properties["events"]
		if s.properties["source_type"] == nil || s.properties["is_end"] == nil || !isArray(events) {
			continue
		}
		for _, e := range shapesOf(events.Items, 0) {
			if e.properties["event_type"] != nil && isArray(e.properties["rows"]) {
				return true
			}
		}
	}
	return false
}

// records is the format of servers that are not Fustor: one flat record for each entry.
type records struct {
	call     *call
	sessions bool
	view     string
	at       string // the field of the body that has the records; empty: it is the records, or one
	single   bool   // a request has one record
	most     int    // records of a request
	fields   []recordField
	envelope []record.Field // of the body, beside the records
	ends     bool           // the envelope says when a scan has ended
}

// recordField is a field of a record, and what the server takes for it where an entry has none.
type recordField struct {
	record.Field
	absent json.RawMessage // nil: the field is left out
}

// lists are the names of fields that records are mostly in, the likeliest first.
var lists = []string{"events", "records", "items", "entries", "data", "rows", "documents"}

func newRecords(c *call, o *Options, sessions bool) (*records, error) {
	r := &records{call: c, sessions: sessions, view: o.View, most: maxRows}
	var item, envelope *shape
	switch whole := shapesOf(c.body, 0); {
	case !c.hasBody:
		return nil, errors.New("it takes no JSON body")
	case isArray(c.body):
		item = &shapesOf(c.body.Items, 0)[0]
		r.bound(c.body)
	default:
		envelope = &whole[0]
		at, err := listIn(envelope)
		if err != nil {
			return nil, err
		}
		if r.at = at; at == "" {
			item, envelope, r.single, r.most = envelope, nil, true, 1
			break
		}
		list := envelope.properties[at]
		item = &shapesOf(list.Items, 0)[0]
		r.bound(list)
	}
	return r, r.divide(o.Fields, item, envelope)
}

// bound keeps to the most items that an array may have.
func (r *records) bound(list *schema) {
	if list.MaxItems > 0 {
		r.most = min(list.MaxItems, maxRows)
	}
}

// listIn is the field of an object that is a list of objects; empty: there is none.
func listIn(s *shape) (string, error) {
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s.properties)) {
		p := s.properties[name]
		if isArray(p) && takes(p.Items, jsonObject) {
			all = append(all, name)
		}
	}
	if len(all) <= 1 {
		return strings.Join(all, ""), nil
	}
	for _, name := range lists {
		if slices.Contains(all, name) {
			return name, nil
		}
	}
	return "", fmt.Errorf("its body has several lists, and none of the names %s: %s", strings.Join(lists, ", "), strings.Join(all, ", "))
}

// divide gives each field of the mapping to the record, or to what is around the records, and holds it against the schema.
func (r *records) divide(fields []record.Field, item, envelope *shape) error {
	var problems []string
	problem := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	to := map[string]bool{}
	for _, f := range fields {
		to[f.To] = true
		in := item
		if envelope != nil && item.properties[f.To] == nil && f.To != r.at && envelope.properties[f.To] != nil {
			in = envelope
		}
		schema, known := in.properties[f.To]
		switch kind := f.Kind(); {
		case !known && !in.open:
			problem("it has no field %q; a record has %s", f.To, strings.Join(slices.Sorted(maps.Keys(item.properties)), ", "))
		case f.From != "" && !takes(schema, kind):
			problem("field %q is %s, and %s is %s: add a type to its mapping", f.To, typesOf(schema), f.From, kind)
		case f.From == "" && !takes(schema, constantKind(f.Value)):
			problem("field %q is %s, and its value in the mapping is not", f.To, typesOf(schema))
		case in == envelope && !slices.Contains([]string{"", "evidence", "view", "agent", "source_uri", "session", "end"}, f.From):
			problem("field %q is one of the whole request, which has no %s", f.To, f.From)
		case in == envelope:
			r.envelope = append(r.envelope, f)
			r.ends = r.ends || f.From == "end"
		default:
			r.fields = append(r.fields, fieldOf(f, schema, slices.Contains(item.required, f.To)))
		}
	}
	for _, name := range item.required {
		if v, ok := given(item.properties[name], true); ok && !to[name] {
			r.fields = append(r.fields, fieldOf(record.Field{To: name, Value: v}, item.properties[name], true))
		} else if !to[name] {
			problem("field %q is required, and nothing in fields_mapping gives it", name)
		}
	}
	if envelope != nil {
		_, missing := envelope.fill(r.around(&event.Header{Session: "s", View: r.view, Agent: "a", Source: "s"}, "snapshot", false, []any{}))
		for _, name := range missing {
			problem("field %q of the request is required, and nothing in fields_mapping gives it", name)
		}
	}
	if problems == nil {
		return nil
	}
	return errors.New(strings.Join(problems, "; "))
}

func constantKind(v any) string {
	if f, ok := v.(float64); ok && f == float64(int64(f)) {
		return jsonInteger
	}
	return kindOf(v)
}

// fieldOf says what stands for a value that an entry does not have: null if the server takes it, or else nothing, or else the
// zero value of the field's type.
func fieldOf(f record.Field, schema *schema, required bool) recordField {
	out := recordField{Field: f}
	switch {
	case takes(schema, jsonNull):
		out.absent = json.RawMessage("null")
	case !required:
	case takes(schema, jsonString):
		out.absent = json.RawMessage(`""`)
	case takes(schema, jsonInteger):
		out.absent = json.RawMessage("0")
	case takes(schema, jsonBoolean):
		out.absent = json.RawMessage("false")
	}
	return out
}

// around is what is known of the fields around the records.
func (r *records) around(h *event.Header, evidence string, end bool, list any) map[string]any {
	known := map[string]string{"view": h.View, "agent": h.Agent, "source": h.Source}
	if r.sessions {
		known["session"] = h.Session
	}
	out := spread(known)
	out[r.at] = list
	for i := range r.envelope {
		f := &r.envelope[i]
		switch f.From {
		case "evidence":
			out[f.To] = evidence
		default:
			s := record.Subject{Header: h, Event: &event.Event{}, End: end}
			out[f.To] = s.Value(f)
		}
	}
	return out
}

func (r *records) name() string {
	switch {
	case r.single:
		return "a record in each request"
	case r.at == "":
		return "a list of records"
	}
	return "records in " + r.at
}

func (r *records) write(s *segment, ev *event.Event) error {
	if ev.Kind == event.Marked {
		if r.ends && (ev.Mark.Kind == event.SnapshotEnd || ev.Mark.Kind == event.AuditEnd) {
			s.end(ev.Evidence.String(), ev)
		}
		return nil
	}
	return record.Each(&s.header, ev, func(subject *record.Subject) error {
		row, err := r.row(subject)
		if err != nil {
			return err
		}
		s.add(ev.Evidence.String(), "", subject.ID(), row, r.most)
		return nil
	})
}

func (r *records) row(subject *record.Subject) ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i := range r.fields {
		f := &r.fields[i]
		value := f.absent
		if v := subject.Value(&f.Field); v != nil {
			var err error
			if value, err = json.Marshal(v); err != nil {
				return nil, err
			}
		}
		if value == nil {
			continue
		}
		if b.Len() > 1 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(f.To)
		if err != nil {
			return nil, err
		}
		b.Write(name)
		b.WriteByte(':')
		b.Write(value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

func (r *records) finish(s *segment) error {
	s.flush()
	return nil
}

func (r *records) body(s *segment, b *batch) ([]byte, error) {
	switch {
	case r.single:
		return b.rows, nil
	case r.at == "":
		return slices.Concat([]byte("["), b.rows, []byte("]")), nil
	}
	list := json.RawMessage(slices.Concat([]byte("["), b.rows, []byte("]")))
	body, _ := r.call.fill(r.around(&s.header, b.phase, b.end, list))
	return json.Marshal(body)
}
