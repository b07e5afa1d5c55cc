//go:build unix

package e2e

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/testkit/v2agent"
)

// asV2Agent is in the environment of a process of this test binary that is to be a V2 agent.
const asV2Agent = "FUSTOR_E2E_AS_V2_AGENT"

// What a V2 agent says in its log: that it has a session, and that ingest refused something.
var (
	v2Session = regexp.MustCompile(`V2 agent has session \S+`)
	v2Refused = "V2 agent was refused: "
)

// beV2Agent is the process of a V2 agent: DIR ID URL BEAT. It watches DIR and feeds the view of v2Key until it is killed.
func beV2Agent(args []string) {
	beat, err := time.ParseDuration(args[3])
	if err == nil {
		a := &v2agent.Agent{URL: args[2], Key: v2Key, Task: args[1] + ":pipe", Dir: args[0], Batch: 200, Patience: time.Second,
			OnError:   func(err error) { fmt.Fprintln(os.Stderr, v2Refused+err.Error()) },
			OnSession: func(id, role string) { fmt.Fprintf(os.Stderr, "V2 agent has session %s as %s\n", id, role) }}
		a.Watch = a.WatchDisk
		err = a.Run(context.Background(), beat)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// startV2Process starts a V2 agent that is a process of its own, so that it can be killed like the others.
func (p *parts) startV2Process(dir, id string, beat time.Duration) *process {
	p.t.Helper()
	started := startProcess(p.t, &process{t: p.t, name: "V2 agent " + id, binary: os.Args[0],
		args: []string{dir, id, p.ingestURL, beat.String()}, env: []string{asV2Agent + "=1"}})
	p.t.Cleanup(func() { notRefused(p.t, started) })
	return started
}

// notRefused: everything that a V2 agent sends is as V2 sends it, and must be taken.
func notRefused(t testing.TB, agent *process) {
	t.Helper()
	if _, refused, ok := strings.Cut(agent.log.String(), v2Refused); ok {
		t.Errorf("%s was refused: %.500s", agent.name, refused)
	}
}
