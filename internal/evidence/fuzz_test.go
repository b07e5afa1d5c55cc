package evidence

import (
	"encoding/hex"
	"testing"

	"github.com/fustor/fustor/internal/event"
)

// TestDamagedHistoryCountsAsNone: a history that breaks off says nothing, not half of what it said.
func TestDamagedHistoryCountsAsNone(t *testing.T) {
	for _, c := range earlier {
		h, err := hex.DecodeString(c.hex)
		if err != nil {
			t.Fatal(err)
		}
		row := Row{Parent: "/", Name: "f", Type: event.File, Mode: 0o644, MtimeNs: 50, ObservedAt: 300, Evidence: event.Audit, Agent: "a", Source: "s"}
		want := rewritten(row)
		for n := 2; n < len(h)+1; n++ {
			if row.History = "\x40" + string(h[:n-1]); rewritten(row) != want {
				t.Errorf("%s: the first %d bytes are read as %x", c.name, n, rewritten(row).History)
			}
		}
	}
}

// FuzzHistory: no history that a row has makes the rules panic, and what they decide with it is the same each time.
func FuzzHistory(f *testing.F) {
	for _, c := range earlier {
		h, err := hex.DecodeString(c.hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(h), false)
		f.Add("\x40"+string(h), true)
	}
	f.Add("\x41\xcd\x04\x1f\x04\x1f\x00\xff\xff\x10\xe2\xff\xa4\xff\x01\xd9\xc3\xde\xce\x10", false) // broken off
	f.Add("\x41\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", false)
	f.Fuzz(func(t *testing.T, history string, directory bool) {
		if len(history) > 4096 {
			t.Skip()
		}
		row := Row{Parent: "/", Name: "f", Type: event.File, Mode: 0o644, MtimeNs: 50, ObservedAt: 300, Evidence: event.Audit, Agent: "a", Source: "s", History: history}
		if directory {
			row.Type = event.Directory
		}
		_ = rewritten(rewritten(row))
		parent := &ParentState{}
		for _, c := range []Claim{put(400, 390).claim, gone(400).claim, listed(250, 50, event.Audit).claim, unlisted(350, 340).claim} {
			one, two := row, row
			testRules.Resolve(&one, true, []Claim{c}, true, parent)
			testRules.Resolve(&two, true, []Claim{c}, true, parent)
			if one != two {
				t.Fatalf("%x: %+v, and then %+v", history, one, two)
			}
		}
	})
}

// rewritten is a row with its history as it is written today.
func rewritten(row Row) Row {
	parent := &ParentState{}
	s := testRules.decode(&row, true, parent)
	s.encode(&row, parent)
	return row
}
