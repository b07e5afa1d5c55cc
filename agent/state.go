package agent

import (
	"fmt"
	"slices"
	"strings"
)

// state is what an agent's pipe is doing, as its heartbeats say.
type state string

const (
	stopped      state = "stopped"      // not begun, or ended
	initializing state = "initializing" // no session yet
	running      state = "running"      // watching, as a follower or between two scans
	snapshotting state = "snapshot"     // the leader's first scan
	messaging    state = "message"      // the leader has scanned, and reports what happens
	auditing     state = "audit"        // a later scan
	reconnecting state = "reconnecting" // the session was lost
	paused       state = "paused"       // told to wait
	draining     state = "draining"     // ending: what is left is sent
	failed       state = "error"        // the root is lost
)

// occurrence is what changes a state.
type occurrence string

const (
	start         occurrence = "start"
	sessionBegan  occurrence = "session began"
	sessionLost   occurrence = "session lost"
	snapshotBegan occurrence = "snapshot began"
	auditBegan    occurrence = "audit began"
	scanEnded     occurrence = "scan complete"
	scanBroke     occurrence = "scan stopped"
	rootLost      occurrence = "root lost"
	rootFound     occurrence = "root back"
	pause         occurrence = "pause"
	resume        occurrence = "resume"
	stop          occurrence = "stop"
	drained       occurrence = "drained"
)

// transition is one line of the table: in each of the states, the occurrence leads to another.
type transition struct {
	from []state
	on   occurrence
	to   state
}

// transitions are all that can happen; docs/agent.md shows them. What is not among them is refused, and logged.
var transitions = []transition{
	{[]state{stopped}, start, initializing},
	{[]state{initializing, reconnecting}, sessionBegan, running},
	{[]state{running, snapshotting, messaging, auditing, paused}, sessionLost, reconnecting},
	{[]state{running, messaging}, snapshotBegan, snapshotting},
	{[]state{running, messaging}, auditBegan, auditing},
	{[]state{snapshotting, auditing}, scanEnded, messaging},
	{[]state{snapshotting, auditing}, scanBroke, running},
	{[]state{initializing, running, snapshotting, messaging, auditing, reconnecting, paused}, rootLost, failed},
	{[]state{failed}, rootFound, running},
	{[]state{running, snapshotting, messaging, auditing}, pause, paused},
	{[]state{paused}, resume, running},
	{[]state{initializing, running, snapshotting, messaging, auditing, reconnecting, paused, failed}, stop, draining},
	{[]state{draining}, drained, stopped},
}

// next is the state after an occurrence; false if it cannot occur in this state.
func (s state) next(on occurrence) (state, bool) {
	for _, t := range transitions {
		if t.on == on && slices.Contains(t.from, s) {
			return t.to, true
		}
	}
	return s, false
}

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

// occur takes in what happened. The caller holds a.mu.
func (a *Agent) occur(on occurrence) {
	to, ok := a.state.next(on)
	if !ok {
		a.refused++
		a.o.Logger.Debug("not expected in this state", "state", a.state, "event", on)
		return
	}
	a.state = to
}

// happened is occur for callers that do not hold a.mu.
func (a *Agent) happened(on occurrence) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.occur(on)
}
