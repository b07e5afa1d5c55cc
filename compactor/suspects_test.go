package compactor

import (
	"fmt"
	"testing"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/evidence"
	"github.com/fustor/fustor/internal/manifest"
)

// TestSuspects: those whose rows have not changed stay until their time is over, those that have are as they are now; the latest come first, and there are
// no more than a version names.
func TestSuspects(t *testing.T) {
	row := func(name string, until int64, removed bool) *evidence.Row {
		return &evidence.Row{Parent: "/", Name: name, Type: event.File, SuspectUntil: until, Removed: removed}
	}
	known := func(name string, until int64) manifest.Suspect {
		return manifest.Suspect{Path: []byte("/" + name), Until: until}
	}
	for _, c := range []struct {
		known []manifest.Suspect
		rows  []*evidence.Row
		want  string
	}{
		{nil, nil, "[]"},
		{nil, []*evidence.Row{row("a", 10, false), row("b", 11, false), row("c", 12, true)}, "[/b 11]"},
		{[]manifest.Suspect{known("a", 10), known("b", 11), known("c", 20)}, nil, "[/c 20 /b 11]"},
		{[]manifest.Suspect{known("a", 20), known("b", 20)}, []*evidence.Row{row("a", 5, false), row("x", 9, false)}, "[/b 20]"},
		{[]manifest.Suspect{known("b", 20), known("a", 20)}, []*evidence.Row{row("b", 30, false)}, "[/b 30 /a 20]"},
		{[]manifest.Suspect{known("a", 20)}, []*evidence.Row{row("a", 20, true)}, "[]"},
		{[]manifest.Suspect{known("b", 20), known("a", 20)}, []*evidence.Row{row("c", 20, false)}, "[/a 20 /b 20 /c 20]"},
	} {
		s := newSuspects(c.known, 10)
		for _, r := range c.rows {
			s.add(r)
		}
		got := []string{}
		for _, one := range s.list() {
			got = append(got, fmt.Sprint(string(one.Path), " ", one.Until))
		}
		if fmt.Sprint(got) != c.want {
			t.Errorf("%+v, then %v: %v, want %s", c.known, c.rows, got, c.want)
		}
	}
	s, most := newSuspects(nil, 10), 0
	for i := range 25 * manifest.MaxSuspects {
		s.add(row(fmt.Sprint(i), int64(i)+11, false))
		most = max(most, len(s.found))
	}
	if list := s.list(); len(list) != manifest.MaxSuspects || list[0].Until != 25*manifest.MaxSuspects+10 || most >= 10*manifest.MaxSuspects {
		t.Errorf("%d of %d are named, up to %d are kept", len(list), 25*manifest.MaxSuspects, most)
	}
}
