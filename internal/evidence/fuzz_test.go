package evidence

import (
	"encoding/hex"
	"testing"

	"github.com/fustor/fustor/internal/event"
)

// FuzzHistory: no history that a row has makes the rules panic, and what they take of it is written so that they take the same of it again.
func FuzzHistory(f *testing.F) {
	for _, c := range earlier {
		h, err := hex.DecodeString(c.hex)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(h), false)
		f.Add("\x40"+string(h), true)
	}
	f.Add("\x41\x04\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", false)
	f.Fuzz(func(t *testing.T, history string, directory bool) {
		if len(history) > 4096 {
			t.Skip()
		}
		row := Row{Parent: "/", Name: "f", Type: event.File, Mode: 0o644, MtimeNs: 50, ObservedAt: 300, Evidence: event.Audit, Agent: "a", Source: "s", History: history}
		if directory {
			row.Type = event.Directory
		}
		one := rewritten(row)
		if two := rewritten(one); one.History != two.History {
			t.Fatalf("%x is written as %x, and that as %x", history, one.History, two.History)
		}
		parent := &ParentState{}
		for _, c := range []Claim{put(400, 390).claim, gone(400).claim, listed(250, 50, event.Audit).claim, unlisted(350, 340).claim} {
			changed := row
			testRules.Resolve(&changed, true, []Claim{c}, true, parent)
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
