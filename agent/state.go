package agent

import (
	"log/slog"
	"slices"
)

// state is what an agent's pipe is doing, as its heartbeats say.
type state string

const (
	stopped      state = "stopped"      // not begun, or ended
	initializing state = "initializing" // no session yet
	running      state = "running"      // it has a session; since that began, or it resumed, no scan is complete
	snapshotting state = "snapshot"     // the leader's first scan
	reporting    state = "watching"     // a scan is complete; changes are reported as the kernel tells of them
	auditing     state = "audit"        // a later scan
	reconnecting state = "reconnecting" // the session was lost
	paused       state = "paused"       // told to wait
	draining     state = "draining"     // ending: what is left is sent
	failed       state = "error"        // the root is lost
)

// trigger is what changes a state.
type trigger string

const (
	start         trigger = "start"
	sessionBegan  trigger = "session began"
	sessionLost   trigger = "session lost"
	snapshotBegan trigger = "snapshot began"
	auditBegan    trigger = "audit began"
	scanEnded     trigger = "scan complete"
	scanBroke     trigger = "scan stopped"
	rootLost      trigger = "root lost"
	rootFound     trigger = "root back"
	pause         trigger = "pause"
	resume        trigger = "resume"
	stop          trigger = "stop"
	drained       trigger = "drained"
)

// transition is one line of the table: in each of the states from, the trigger leads to the state to.
type transition struct {
	from []state
	on   trigger
	to   state
}

// transitions are the whole table; docs/agent.md shows it. A trigger that a state has no transition for is logged and changes
// nothing.
var transitions = []transition{
	{[]state{stopped}, start, initializing},
	{[]state{initializing, reconnecting}, sessionBegan, running},
	{[]state{running, snapshotting, reporting, auditing, paused}, sessionLost, reconnecting},
	{[]state{running, reporting}, snapshotBegan, snapshotting},
	{[]state{running, reporting}, auditBegan, auditing},
	{[]state{snapshotting, auditing}, scanEnded, reporting},
	{[]state{snapshotting, auditing}, scanBroke, running},
	{[]state{initializing, running, snapshotting, reporting, auditing, reconnecting, paused}, rootLost, failed},
	{[]state{failed}, rootFound, running},
	{[]state{running, snapshotting, reporting, auditing}, pause, paused},
	{[]state{paused}, resume, running},
	{[]state{initializing, running, snapshotting, reporting, auditing, reconnecting, paused, failed}, stop, draining},
	{[]state{draining}, drained, stopped},
}

// next is the state after a trigger; false if this state has no transition for it.
func (s state) next(on trigger) (state, bool) {
	for _, t := range transitions {
		if t.on == on && slices.Contains(t.from, s) {
			return t.to, true
		}
	}
	return s, false
}

// lifecycle is the state that an agent's pipe is in.
type lifecycle struct {
	state state
	log   *slog.Logger
}

// apply takes in a trigger.
func (l *lifecycle) apply(t trigger) {
	to, ok := l.state.next(t)
	if !ok {
		l.log.Debug("not expected in this state", "state", l.state, "event", t)
		return
	}
	l.state = to
}
