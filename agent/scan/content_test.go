package scan

import (
	"reflect"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"github.com/fustor/fustor/internal/event"
)

// TestContentHasEveryField: a difference in any field of a file's entry is one of its directory's content. A field of an entry that
// is new fails here until content.add has it.
func TestContentHasEveryField(t *testing.T) {
	sum := func(e event.Entry) uint64 {
		var c content
		c.reset()
		c.add(&e)
		return c.get().Sum
	}
	var check func(e *event.Entry, v reflect.Value, name string, was uint64)
	check = func(e *event.Entry, v reflect.Value, name string, was uint64) {
		switch v.Kind() {
		case reflect.Struct:
			for i := range v.NumField() {
				check(e, v.Field(i), v.Type().Field(i).Name, was)
			}
			return
		case reflect.String:
			v.SetString("x")
		case reflect.Slice:
			v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		case reflect.Bool:
			v.SetBool(true)
		default:
			if v.CanInt() {
				v.SetInt(3)
			} else {
				v.SetUint(3)
			}
		}
		if e.Type == 0 {
			e.Type = event.File
		}
		if sum(*e) == was {
			t.Errorf("%s is not in the sum", name)
		}
		v.SetZero()
		e.Type = event.File
	}
	e := event.Entry{Type: event.File}
	check(&e, reflect.ValueOf(&e).Elem(), "Entry", sum(e))
}

// TestContentOfDirectories: a subdirectory's size and times are in its own events, and reading it moves its atime.
func TestContentOfDirectories(t *testing.T) {
	of := func(entries ...event.Entry) Content {
		var c content
		c.reset()
		for i := range entries {
			c.add(&entries[i])
		}
		return c.get()
	}
	directory := event.Entry{Type: event.Directory, Name: "d", Mode: 0o755}
	later := directory
	later.Size, later.MtimeNs, later.CtimeNs, later.AtimeDay, later.Links = 1, 2, 3, 4, 5
	if of(directory) != of(later) {
		t.Error("a subdirectory's times are in its parent's content")
	}
	later.Mode = 0o700
	if of(directory) == of(later) {
		t.Error("a subdirectory's mode is not in its parent's content")
	}
	link := event.Entry{Type: event.Symlink, Name: "l", Target: "t"}
	read := link
	read.AtimeDay = 9
	if of(link) != of(read) {
		t.Error("a link's atime is in the content")
	}
	if linked := (event.Entry{Type: event.File, Inode: event.Inode{Links: 2}}); !of(directory, linked).Linked || of(directory).Linked {
		t.Error("files with several names are not known")
	}
}

// TestContentOfManyEntries is the same as if each entry were hashed by itself, as earlier builds did: what they have stored still holds.
func TestContentOfManyEntries(t *testing.T) {
	var at, once content
	at.reset()
	once.reset()
	for i := range 1000 {
		e := event.Entry{Name: strings.Repeat("n", i), Type: event.File, Size: int64(i), UID: uint32(i)}
		at.add(&e)
		once.add(&e)
		once.flush()
		if i%100 == 0 && at.get() != once.get() {
			t.Fatalf("of %d entries: %v, %v", i+1, at.get(), once.get())
		}
	}
	if at.get() != once.get() {
		t.Fatalf("%v, %v", at.get(), once.get())
	}
	if at.reset(); at.get() != (Content{Sum: xxhash.Sum64(nil)}) {
		t.Error("something is left after a reset")
	}
}
