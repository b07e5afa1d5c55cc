package event

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// eventJSON is an event as one object. Byte strings that are not UTF-8 have a twin in base64url (without padding),
// which is exact, beside the readable one.
type eventJSON struct {
	Kind       string `json:"kind"`
	Evidence   string `json:"evidence"`
	ObservedAt int64  `json:"observed_at_ns"`
	Path       string `json:"path"`
	PathB64    string `json:"path_b64,omitempty"`
	Atomic     *bool  `json:"atomic,omitempty"`
	*entryJSON
	From    string      `json:"from,omitempty"`
	FromB64 string      `json:"from_b64,omitempty"`
	To      string      `json:"to,omitempty"`
	ToB64   string      `json:"to_b64,omitempty"`
	Entries []namedJSON `json:"entries,omitzero"`
	*markJSON
}

type entryJSON struct {
	Type     string `json:"type"`
	Size     int64  `json:"size"`
	MtimeNs  int64  `json:"mtime_ns"`
	Mode     uint32 `json:"mode"`
	UID      uint32 `json:"uid"`
	GID      uint32 `json:"gid"`
	AtimeDay int32  `json:"atime_day"`
	*inodeJSON
	Target    *string `json:"target,omitempty"`
	TargetB64 string  `json:"target_b64,omitempty"`
}

// inodeJSON is what the agent tells of the inode; it is left out if the agent tells nothing.
type inodeJSON struct {
	Allocated int64  `json:"allocated"`
	Links     uint32 `json:"links"`
	CtimeNs   int64  `json:"ctime_ns"`
	ID        uint64 `json:"inode,omitempty"`
	BirthNs   int64  `json:"birth_ns,omitempty"` // whole seconds
	ACL       string `json:"acl,omitempty"`
}

type namedJSON struct {
	Name    string `json:"name"`
	NameB64 string `json:"name_b64,omitempty"`
	entryJSON
}

// nameJSON is the name of an owner.
type nameJSON struct {
	Kind       string `json:"kind"`
	Of         string `json:"of"` // user or group
	ID         uint32 `json:"id"`
	Name       string `json:"name"`
	ResolvedAt int64  `json:"resolved_at_ns"`
}

type markJSON struct {
	Mark        string `json:"mark"`
	Files       uint64 `json:"files"`
	Directories uint64 `json:"directories"`
	Others      uint64 `json:"others"`
	Bytes       uint64 `json:"bytes"`
	Errors      uint64 `json:"errors"`
	Message     string `json:"message,omitempty"`
	MessageB64  string `json:"message_b64,omitempty"`
}

// WriteJSON writes an event as one line of JSON: its kind, what counts for that kind, times as …_ns, types as letters.
func WriteJSON(w io.Writer, ev *Event) error {
	line := eventJSON{Kind: ev.Kind.String(), Evidence: ev.Evidence.String(), ObservedAt: ev.ObservedAt}
	line.Path, line.PathB64 = readable(ev.Path)
	switch ev.Kind {
	case Put:
		line.Atomic = &ev.Atomic
		line.entryJSON = newEntryJSON(&ev.Entry)
	case Unchanged:
		line.entryJSON = newEntryJSON(&ev.Entry)
	case Listing:
		line.entryJSON = newEntryJSON(&ev.Entry)
		line.From, line.FromB64 = readable(ev.From)
		line.To, line.ToB64 = readable(ev.To)
		line.Entries = make([]namedJSON, len(ev.Entries))
		for i := range ev.Entries {
			e := &line.Entries[i]
			e.Name, e.NameB64 = readable(ev.Entries[i].Name)
			e.entryJSON = *newEntryJSON(&ev.Entries[i])
		}
	case Marked:
		m := &ev.Mark
		line.markJSON = &markJSON{
			Mark: m.Kind.String(), Files: m.Files, Directories: m.Directories, Others: m.Others, Bytes: m.Bytes, Errors: m.Errors,
		}
		line.markJSON.Message, line.markJSON.MessageB64 = readable(m.Message)
	}
	return writeLine(w, &line)
}

func newEntryJSON(e *Entry) *entryJSON {
	out := &entryJSON{
		Type: e.Type.Letter(), Size: e.Size, MtimeNs: e.MtimeNs, Mode: e.Mode, UID: e.UID, GID: e.GID, AtimeDay: e.AtimeDay,
	}
	if e.Measured() {
		out.inodeJSON = &inodeJSON{Allocated: e.Allocated, Links: e.Links, CtimeNs: e.CtimeNs, ID: e.ID, BirthNs: e.BirthNs(), ACL: e.ACL.String()}
	}
	if e.Type == Symlink {
		target, encoded := readable(e.Target)
		out.Target, out.TargetB64 = &target, encoded
	}
	return out
}

// readable is s with U+FFFD for what is not UTF-8, and then its bytes in base64url too.
func readable(s string) (text, encoded string) {
	if utf8.ValidString(s) {
		return s, ""
	}
	return strings.ToValidUTF8(s, "\ufffd"), base64.RawURLEncoding.EncodeToString([]byte(s))
}

// headerJSON and trailerJSON are the first and the last line of what Cat writes.
type headerJSON struct {
	Kind       string `json:"kind"`
	View       string `json:"view"`
	Session    string `json:"session"`
	Agent      string `json:"agent"`
	Source     string `json:"source"`
	SourceB64  string `json:"source_b64,omitempty"`
	Seq        uint64 `json:"seq"`
	Term       uint64 `json:"term"`
	CreatedAt  int64  `json:"created_at_ns"`
	Nonce      string `json:"nonce"`
	Local      bool   `json:"local,omitempty"`
	LeaseUntil int64  `json:"lease_until_ns,omitempty"`
	Skew       *int64 `json:"skew_ns,omitempty"`
}

type trailerJSON struct {
	Kind     string `json:"kind"`
	Events   uint64 `json:"events"`
	Entries  uint64 `json:"entries"`
	Blocks   uint64 `json:"blocks"`
	Checksum string `json:"checksum"`
}

// Cat writes a segment as NDJSON: its header ("kind":"header"), its events, and its trailer ("kind":"trailer"), which
// comes only if all of it is sound.
func Cat(w io.Writer, r *Reader) error {
	h := r.Header()
	head := headerJSON{
		Kind: "header", View: h.View, Session: h.Session, Agent: h.Agent,
		Seq: h.Seq, Term: h.Term, CreatedAt: h.CreatedAt, Nonce: h.Nonce, Local: h.Local, LeaseUntil: h.LeaseUntil,
	}
	if h.SkewKnown {
		head.Skew = &h.Skew
	}
	head.Source, head.SourceB64 = readable(h.Source)
	if err := writeLine(w, &head); err != nil {
		return err
	}
	for {
		ev, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := WriteJSON(w, ev); err != nil {
			return err
		}
	}
	for _, n := range r.Names() {
		line := nameJSON{Kind: "name", Of: "user", ID: n.ID, Name: n.Name, ResolvedAt: n.ResolvedAt}
		if n.Group {
			line.Of = "group"
		}
		if err := writeLine(w, &line); err != nil {
			return err
		}
	}
	t := r.Trailer()
	return writeLine(w, &trailerJSON{
		Kind: "trailer", Events: t.Events, Entries: t.Entries, Blocks: t.Blocks, Checksum: fmt.Sprintf("%016x", t.Checksum),
	})
}

// writeLine writes v as one line, in one call of w.
func writeLine(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return encoder.Encode(v)
}
