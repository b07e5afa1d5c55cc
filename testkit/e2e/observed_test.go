//go:build linux

package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/viewconfig"
)

// observed is one agent on a tree, and the parts that make a view of it.
type observed struct {
	*parts
	dir   string
	agent *process
}

// observation is how a tree is observed; only dir must be given.
type observation struct {
	dir, store, state string
	audit             time.Duration // 0: none
	lease             time.Duration
	via               string // the store as the agent sees it; default: through ingest
	under             launch
	more              []string // flags
}

const observer = "observer"

// observe starts an agent, and waits until the view has all of the tree once.
func observe(t *testing.T, of observation) *observed {
	t.Helper()
	o := begin(t, of)
	o.same(60 * time.Second)
	return o
}

// begin is observe without waiting for the first snapshot.
func begin(t *testing.T, of observation) *observed {
	t.Helper()
	if of.store == "" {
		of.store = fileStore(t)
	}
	if of.state == "" {
		of.state = filepath.Join(t.TempDir(), "session.json")
	}
	c := viewconfig.Default(viewID)
	c.AuditIntervalSeconds, c.SentinelIntervalSeconds = of.audit.Seconds(), 0
	c.SessionTimeoutSeconds = cmp.Or(of.lease, 6*time.Second).Seconds() // three heartbeats in that time
	if err := viewconfig.Save(t.Context(), openStore(t, of.store), c); err != nil {
		t.Fatal(err)
	}
	o := &observed{parts: startParts(t, of.store), dir: of.dir}
	args := []string{"agent", of.dir, "--ingest", o.ingestURL, "--view", viewID, "--agent-id", observer, "--state", of.state}
	if of.via != "" {
		o.known(of.via)
		args = append(args, "--store", of.via)
	}
	o.agent = startUnder(t, of.under, o.env, append(args, of.more...)...)
	return o
}

// same waits until the view is the tree.
func (o *observed) same(within time.Duration) time.Duration {
	o.t.Helper()
	return o.equal(o.t, o.dir, time.Now(), patience(within))
}

// says waits until the agent's log has this, from the offset on.
func (o *observed) says(form string, from int) {
	o.t.Helper()
	o.agent.says(regexp.MustCompile(form), from)
}

// status is what the agent's session tells of it.
func (o *observed) status() map[string]any {
	o.t.Helper()
	var answer struct {
		Active []struct {
			Agent  string         `json:"agent_id"`
			Status map[string]any `json:"agent_status"`
		} `json:"active_sessions"`
	}
	if err := getJSON(o.t.Context(), o.queryURL+"/api/v1/views/"+viewID+"/sessions", &answer); err != nil {
		o.t.Fatal(err)
	}
	for _, s := range answer.Active {
		if s.Agent == observer {
			return s.Status
		}
	}
	return nil
}

// reports waits until the agent's session tells this of it.
func (o *observed) reports(what string, is func(status map[string]any) bool) {
	o.t.Helper()
	var last map[string]any
	defer func() {
		if o.t.Failed() {
			b, _ := json.Marshal(last)
			o.t.Logf("the session tells: %s", b)
		}
	}()
	eventually(o.t, patience(20*time.Second), "the session tells "+what, func() bool {
		last = o.status()
		return is(last)
	})
}

// memory is what a process takes, and has taken at most, bytes.
func (p *process) memory() (now, peak int64) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0 // it has ended
	}
	of := func(name string) int64 {
		_, after, _ := strings.Cut(string(b), name+":")
		kilobytes, _ := strconv.ParseInt(strings.TrimSpace(strings.SplitN(after, "kB", 2)[0]), 10, 64)
		return kilobytes << 10
	}
	return of("VmRSS"), of("VmHWM")
}

// staysBelow fails the test if the process has ever taken more than so many bytes.
func (p *process) staysBelow(limit int64) {
	p.t.Helper()
	now, peak := p.memory()
	p.t.Logf("fustor %s takes %d MB, at most %d MB", p.name, now>>20, peak>>20)
	if peak > limit {
		p.t.Errorf("fustor %s took %d MB, more than %d", p.name, peak>>20, limit>>20)
	}
}

// load is a workload that goes on until the answer is called, which gives the number of operations.
func load(t *testing.T, dir string, seed uint64) (stop func() int) {
	t.Helper()
	return loadOf(t, newWorkload(t, dir, seed))
}

func loadOf(t *testing.T, w *workload) (stop func() int) {
	t.Helper()
	quit := make(chan struct{})
	var busy sync.WaitGroup
	n := 0
	busy.Go(func() {
		for !t.Failed() {
			select {
			case <-quit:
				return
			default:
			}
			w.run(10)
			n += 10
		}
	})
	return func() int {
		close(quit)
		busy.Wait()
		if t.Failed() {
			t.FailNow()
		}
		return n
	}
}
