package event

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// check says what is wrong with an event, for writers and readers alike, and otherwise how many bytes of text it has.
// An event that passes survives the round trip.
func check(ev *Event, maxEntries int) (text int, err error) {
	if ev.Evidence < Realtime || ev.Evidence > OnDemand {
		return 0, fmt.Errorf("unknown evidence %d", uint8(ev.Evidence))
	}
	if !ValidPath(ev.Path) {
		return 0, fmt.Errorf("not a path: %q", excerpt(ev.Path))
	}
	if err := Fits(ev.Path); err != nil {
		return 0, fmt.Errorf("%s of %q: %w", ev.Kind, excerpt(ev.Path), err)
	}
	text = len(ev.Path)
	switch ev.Kind {
	case Delete:
	case Put:
		if err := checkOwn(ev); err != nil {
			return 0, err
		}
		text += len(ev.Entry.Target)
	case Unchanged, Listing:
		if err := checkOwn(ev); err != nil {
			return 0, err
		}
		if ev.Entry.Type != Directory {
			return 0, fmt.Errorf("%s of %q: its own entry is a %s, not a directory", ev.Kind, excerpt(ev.Path), ev.Entry.Type)
		}
		if ev.Kind == Listing {
			n, err := checkListing(ev, maxEntries)
			if err != nil {
				return 0, fmt.Errorf("listing of %q: %w", excerpt(ev.Path), err)
			}
			text += n
		}
	case Marked:
		if ev.Mark.Kind < SnapshotBegin || ev.Mark.Kind > CoverageLimited {
			return 0, fmt.Errorf("unknown mark %d", uint8(ev.Mark.Kind))
		}
		if len(ev.Mark.Message) > MaxText {
			return 0, fmt.Errorf("a mark's message of %d bytes, more than %d", len(ev.Mark.Message), MaxText)
		}
		text += len(ev.Mark.Message)
	default:
		return 0, fmt.Errorf("unknown kind of event %d", uint8(ev.Kind))
	}
	return text, nil
}

// checkOwn checks the entry that an event has for its own path.
func checkOwn(ev *Event) error {
	if _, name := Split(ev.Path); ev.Entry.Name != name {
		return fmt.Errorf("%s of %q: its own entry has the name %q", ev.Kind, excerpt(ev.Path), excerpt(ev.Entry.Name))
	}
	if err := checkEntry(&ev.Entry); err != nil {
		return fmt.Errorf("%s of %q: %w", ev.Kind, excerpt(ev.Path), err)
	}
	return nil
}

// checkListing checks the bounds and the entries of a listing.
func checkListing(ev *Event, maxEntries int) (text int, err error) {
	if len(ev.Entries) > maxEntries {
		return 0, fmt.Errorf("%d entries, more than %d: split it by name range (SplitListing)", len(ev.Entries), maxEntries)
	}
	if err := checkRange(ev.From, ev.To, len(ev.Path)); err != nil {
		return 0, err
	}
	text = len(ev.From) + len(ev.To)
	previous := ""
	for i := range ev.Entries {
		e := &ev.Entries[i]
		if e.Name <= previous {
			return 0, disorder(previous, e.Name)
		}
		if !validName(e.Name) || len(ev.Path)+1+len(e.Name) > MaxText {
			return 0, fmt.Errorf("not a name: %q", excerpt(e.Name))
		}
		if err := checkEntry(e); err != nil {
			return 0, fmt.Errorf("entry %q: %w", excerpt(e.Name), err)
		}
		text += len(e.Name) + len(e.Target)
		previous = e.Name
	}
	if len(ev.Entries) == 0 {
		return text, nil
	}
	if first := ev.Entries[0].Name; first < ev.From {
		return 0, fmt.Errorf("%q lies before its range, which begins at %q", excerpt(first), excerpt(ev.From))
	}
	if ev.To != "" && previous >= ev.To {
		return 0, fmt.Errorf("%q lies beyond its range, which ends before %q", excerpt(previous), excerpt(ev.To))
	}
	if text > MaxListingBytes {
		return 0, fmt.Errorf("%d bytes of names and targets, more than %d: split it by name range (SplitListing)", text, MaxListingBytes)
	}
	return text, nil
}

func disorder(previous, name string) error {
	if name == "" {
		return fmt.Errorf("an entry without a name")
	}
	if name == previous {
		return fmt.Errorf("two entries named %q", excerpt(name))
	}
	return fmt.Errorf("not in byte order: %q after %q", excerpt(name), excerpt(previous))
}

func checkRange(from, to string, pathLength int) error {
	for _, bound := range [...]string{from, to} {
		if bound != "" && (!validName(bound) || pathLength+1+len(bound) > MaxText) {
			return fmt.Errorf("a bound of its range is not a name: %q", excerpt(bound))
		}
	}
	if to != "" && from >= to {
		return fmt.Errorf("its range ends at %q, not after its beginning %q", excerpt(to), excerpt(from))
	}
	return nil
}

// checkEntry checks everything but the name.
func checkEntry(e *Entry) error {
	if e.Type < File || e.Type > Other {
		return fmt.Errorf("unknown type %d", uint8(e.Type))
	}
	if e.Mode > 0o7777 {
		return fmt.Errorf("mode %#o, more than 07777", e.Mode)
	}
	if e.Size < 0 {
		return fmt.Errorf("negative size %d", e.Size)
	}
	if e.Inode != (Inode{}) {
		if err := checkInode(e); err != nil {
			return err
		}
	}
	if e.Target != "" && (e.Type != Symlink || len(e.Target) > MaxText) {
		return checkTarget(e)
	}
	return nil
}

func checkInode(e *Entry) error {
	switch {
	case !e.Measured():
		return fmt.Errorf("an inode without links")
	case e.Allocated < 0:
		return fmt.Errorf("negative allocated size %d", e.Allocated)
	case e.CtimeNs == math.MinInt64: // layers have another use for it
		return fmt.Errorf("a ctime of %d ns", e.CtimeNs)
	case e.ID != 0 && !e.hasID():
		return fmt.Errorf("an identity of an inode with one name")
	case e.BirthS < -MaxBirthS || e.BirthS > MaxBirthS:
		return fmt.Errorf("a birth %d seconds from 1970", e.BirthS)
	case !e.ACL.Valid():
		return fmt.Errorf("a malformed ACL of %d bytes", len(e.ACL))
	}
	return nil
}

func checkTarget(e *Entry) error {
	if e.Type != Symlink {
		return fmt.Errorf("a %s with a link target", e.Type)
	}
	return fmt.Errorf("a link target of %d bytes, more than %d", len(e.Target), MaxText)
}

// validName reports whether s can be the last part of a path.
func validName(s string) bool {
	if len(s) <= 2 && (s == "" || s == "." || s == "..") {
		return false
	}
	return strings.IndexByte(s, '/') < 0 && strings.IndexByte(s, 0) < 0
}

// checkHeader says what a segment's header cannot carry. Whether the view and the session exist is others' business.
func checkHeader(h *Header) error {
	for _, field := range [...]struct{ name, value string }{
		{"view", h.View}, {"session", h.Session}, {"agent", h.Agent}, {"nonce", h.Nonce}, {"source", h.Source},
	} {
		if len(field.value) > MaxText {
			return fmt.Errorf("header: %s of %d bytes, more than %d", field.name, len(field.value), MaxText)
		}
		if field.name != "source" && !utf8.ValidString(field.value) {
			return fmt.Errorf("header: %s %q is not UTF-8", field.name, excerpt(field.value))
		}
	}
	return nil
}

// excerpt keeps messages about hostile input short.
func excerpt(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
