package agent

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fustor/fustor/internal/pipeapi"
)

// A pipe that is paused neither scans nor sends, and does not lead: its heartbeats say so, and ingest frees its lease. It
// keeps its watches, and what the kernel tells waits as in an outage: in the spool, and beyond that as directories to be
// scanned again. The pause outlives the session, and with a state file the process.

// SetPaused pauses the agent, or has it run again; by says who wants that. It reports whether that is news. An error says
// that it is done, and will be forgotten when the process ends.
func (a *Agent) SetPaused(wait bool, by string) (changed bool, err error) {
	var note *pipeapi.Pause
	a.mu.Lock()
	switch {
	case wait == (a.pause != nil):
		a.mu.Unlock()
		return false, nil
	case wait:
		note = &pipeapi.Pause{By: by, Since: time.Now().Round(0)}
		a.pause, a.resumed = note, make(chan struct{})
		a.stand.leader = false
		a.leaseUntil.Store(0)
		a.cancel()
		a.cancelDemand()
		a.occurPause()
	default:
		close(a.resumed)
		a.pause, a.resumed = nil, nil
		if a.state == paused {
			a.occur(resume)
		}
		// Where no watch was yet, nobody knows what has happened.
		a.scans.rescan = a.scans.rescan || !a.scans.covered
	}
	a.mu.Unlock()
	if wait {
		a.o.Logger.Info("paused; what happens meanwhile is kept", "by", by)
	} else {
		a.o.Logger.Info("resumed", "by", by)
	}
	a.poke()
	select { // ingest is to hear of it at once
	case a.beatNow <- struct{}{}:
	default:
	}
	if err := a.note(func(r *remembered) { r.Paused = note }); err != nil {
		return true, fmt.Errorf("it will be forgotten when the agent ends: %w", err)
	}
	return true, nil
}

// occurPause takes in that the agent is paused, in the states that know of it; the others lead to one that does. The
// caller holds a.mu.
func (a *Agent) occurPause() {
	if _, ok := a.state.next(pause); ok && a.pause != nil {
		a.occur(pause)
	}
}

// pausing is nil while the agent runs; otherwise it is closed when it is resumed.
func (a *Agent) pausing() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.resumed
}

// remembered is the state file.
type remembered struct {
	Session string         `json:"session_id"`
	Paused  *pipeapi.Pause `json:"paused,omitempty"`
	Root    string         `json:"root,omitempty"`
	// Mount is where the root's file system is mounted. An agent that starts before it is must not take what lies beneath, an
	// empty directory most often, for the tree.
	Mount string `json:"mount,omitempty"`
}

// recall reads the state file. One that cannot be read says nothing.
func (a *Agent) recall() {
	if a.o.StateFile == "" {
		return
	}
	b, err := os.ReadFile(a.o.StateFile)
	if err != nil || json.Unmarshal(b, &a.notes.is) != nil {
		return
	}
	if a.notes.is.Paused != nil {
		a.pause, a.resumed = a.notes.is.Paused, make(chan struct{})
		a.o.Logger.Info("the pipe is paused since before this start", "by", a.pause.By, "since", a.pause.Since)
	}
}

// note changes the state file.
func (a *Agent) note(change func(*remembered)) error {
	a.notes.mu.Lock()
	defer a.notes.mu.Unlock()
	change(&a.notes.is)
	if a.o.StateFile == "" {
		return nil
	}
	b, err := json.Marshal(a.notes.is)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(a.o.StateFile), 0o700)
	}
	if err == nil {
		temporary := a.o.StateFile + ".new"
		if err = os.WriteFile(temporary, b, 0o600); err == nil {
			err = os.Rename(temporary, a.o.StateFile)
		}
	}
	return err
}
