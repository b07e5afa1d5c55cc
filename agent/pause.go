package agent

import (
	"fmt"
	"time"

	"github.com/fustor/fustor/internal/pipeapi"
)

// SetPaused pauses the agent, or resumes it; by says who asked for it. It reports whether that changed anything. An error
// says that it is done, but will be forgotten when the process ends.
//
// A paused agent neither scans nor sends, and does not lead: its heartbeats say so, and ingest frees its lease. It keeps its
// watches, and the kernel's events wait as in an outage: in the spool, and beyond that as directories to be scanned again.
// The pause outlives the session, and with a state file the process.
func (a *Agent) SetPaused(pause bool, by string) (changed bool, err error) {
	var p *pipeapi.Pause
	if pause {
		p = &pipeapi.Pause{By: by, Since: time.Now().Round(0)}
	}
	if !a.situation.setPaused(p) {
		return false, nil
	}
	if pause {
		a.o.Logger.Info("paused; events are kept meanwhile", "by", by)
	} else {
		a.o.Logger.Info("resumed", "by", by)
	}
	a.session.beatSoon()
	if err := a.stateFile.change(func(r *remembered) { r.Paused = p }); err != nil {
		return true, fmt.Errorf("it will be forgotten when the agent ends: %w", err)
	}
	return true, nil
}
