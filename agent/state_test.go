package agent

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// diagram is the table as a Mermaid state diagram.
func diagram() string {
	var b strings.Builder
	b.WriteString("stateDiagram-v2\n    [*] --> stopped\n")
	for _, t := range transitions {
		for _, from := range t.from {
			fmt.Fprintf(&b, "    %s --> %s: %s\n", from, t.to, t.on)
		}
	}
	return b.String()
}

// docs/agent.md shows the table that the code uses.
func TestStateDiagramIsTheTable(t *testing.T) {
	page, err := os.ReadFile("../docs/agent.md")
	if err != nil {
		t.Fatal(err)
	}
	if want := "```mermaid\n" + diagram() + "```\n"; !strings.Contains(string(page), want) {
		t.Fatalf("docs/agent.md has not this diagram:\n%s", want)
	}
}

// Every state can be reached and left, a trigger leads to one state only, and all end when told to stop.
func TestStateTable(t *testing.T) {
	reached := map[state]bool{stopped: true}
	left := map[state]bool{}
	seen := map[string]bool{}
	for _, tr := range transitions {
		reached[tr.to] = true
		for _, from := range tr.from {
			left[from] = true
			if key := string(from) + "|" + string(tr.on); seen[key] {
				t.Errorf("%s: two ways", key)
			} else {
				seen[key] = true
			}
		}
	}
	for _, s := range []state{stopped, initializing, running, snapshotting, reporting, auditing, reconnecting, paused, draining, failed} {
		if !reached[s] || !left[s] {
			t.Errorf("%s: reached %v, left %v", s, reached[s], left[s])
		}
		if to, ok := s.next(stop); s != stopped && s != draining && (!ok || to != draining) {
			t.Errorf("%s does not stop: %s", s, to)
		}
	}
	if to, ok := stopped.next(rootLost); ok || to != stopped {
		t.Errorf("a trigger without a transition leads to %s", to)
	}
}
