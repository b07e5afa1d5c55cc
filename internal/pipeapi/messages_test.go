package pipeapi_test

import (
	"encoding/json"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/pipeapi"
	"github.com/fustor/fustor/internal/store"
	"github.com/fustor/fustor/internal/values"
)

// TestMessages holds every message against its JSON as agents and ingests in the field know it (testdata/messages.txt: a name
// and the JSON a line). A line may be added there and never be changed.
func TestMessages(t *testing.T) {
	timed := pipeapi.Timed{ServerTime: 1700000000123456789}
	standing := pipeapi.Standing{Role: "leader", IsLeader: true, Term: 7, LeaseTTL: 45, LeaseRenewed: true, Heartbeat: 18, Epoch: "epoch"}
	following := pipeapi.Standing{Role: "follower", Term: 1, LeaseTTL: 45, Heartbeat: 15}
	command := job.Command{ID: "J", Type: "scan", Path: []byte("/a\xff"), Text: "/a?", Recursive: true, For: "S", Target: "S", By: "key"}
	upload := pipeapi.Grant{Seq: 1<<53 + 1, Upload: store.Upload{Method: "PUT", URL: "https://store/k?a=1&b=2", Header: http.Header{"If-None-Match": {"*"}},
		Expires: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}}
	pipe := pipeapi.Pipe{ID: "nfs07:data", View: "research", Session: "S", Agent: "nfs07", Source: "fs://nfs07/data", ClientIP: "10.0.0.1", Role: "leader",
		CanRealtime: true, Timeout: 45, CreatedAt: values.Seconds(1700000000500000000), LastActivity: values.Seconds(1700000001000000000),
		AgentStatus: decode(t, `{"state":"watching"}`)}
	messages := map[string]any{
		"ask-session":           pipeapi.Registration{Task: "nfs07:data", ClientInfo: pipeapi.ClientInfo{pipeapi.InfoAgent: "nfs07", pipeapi.InfoSource: "fs://nfs07/data"}, Timeout: new(45.0), Paused: true},
		"ask-session-plain":     pipeapi.Registration{Task: "nfs07:data", ClientInfo: pipeapi.ClientInfo{pipeapi.InfoAgent: "nfs07", pipeapi.InfoSource: ""}},
		"session":               pipeapi.Session{ID: "S", View: "research", Standing: standing, Timeout: 45, Audit: 21600, Sentinel: 120, Skew: new(int64(-7)), Broken: []string{"B"}, Message: "leads", Timed: timed},
		"session-of-a-new-view": pipeapi.Session{ID: "S", View: "research", Standing: following, Timeout: 45, Broken: []string{}, Message: "follows"},
		"ended":                 pipeapi.Ended{Status: "terminated", Session: "S", Timed: timed},
		"authorized":            pipeapi.Authorized{View: "research", Status: "authorized", Timed: timed},

		"ask-heartbeat":              pipeapi.Heartbeat{CanRealtime: new(true), AgentStatus: decode(t, `{"state":"watching"}`), Paused: true},
		"ask-heartbeat-plain":        pipeapi.Heartbeat{CanRealtime: new(false)},
		"heartbeat":                  pipeapi.Beat{Status: "ok", Standing: standing, CanRealtime: true, Message: "leads", Commands: []job.Command{command}, Timed: timed},
		"heartbeat-without-commands": pipeapi.Beat{Status: "ok", Standing: standing, Message: "leads", Commands: []job.Command{}, Timed: timed},

		"ask-uploads": pipeapi.UploadsRequest{FromSeq: new(uint64(1<<53 + 1)), Count: new(16)},
		"uploads":     pipeapi.Uploads{Session: "S", Uploads: []pipeapi.Grant{upload}, Timed: timed},
		"stored":      pipeapi.SegmentStored{Status: "stored", Session: "S", Seq: 7, Timed: timed},

		"asked":       pipeapi.CommandAsked{Job: "J", View: "research", Session: "S", Command: "scan", Path: "/a", Recursive: true, State: job.Queued, Timed: timed},
		"asked-pause": pipeapi.CommandAsked{Job: "J", View: "research", Session: "S", Command: "pause", State: job.Queued, Timed: timed},
		"commands":    pipeapi.Commands{Commands: []job.Command{}, Timed: timed},
		"job":         pipeapi.JobReported{Status: "ok", State: job.Running, Timed: timed},
		"suspects":    pipeapi.SentinelTasks{Type: "suspect_check", Paths: []string{"/a"}, PathsBytes: [][]byte{[]byte("/a\xff")}, View: "research", Timed: timed},
		"no-suspects": pipeapi.SentinelTasks{Timed: timed},
		"feedback":    pipeapi.FeedbackTaken{Status: "processed", Drivers: 1, Received: 3, Timed: timed},
		"accepted":    pipeapi.AuditMarked{Status: "audit_started", Drivers: 1, View: "research", Timed: timed},

		"pipe":  pipeapi.OnePipe{Pipe: pipe, Timed: timed},
		"pipes": pipeapi.Pipes{View: "research", Pipes: []pipeapi.Pipe{pipe}, Count: 1, Timed: timed},
		"stats": pipeapi.Stats{View: "research", Live: 1, Ended: 2, Leader: "S", Term: 7, Store: store.Counts{Get: 1}, Timed: timed},
	}
	golden, err := os.ReadFile("testdata/messages.txt")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(golden)) {
		name, want, _ := strings.Cut(strings.TrimSpace(line), " ")
		body, err := json.Marshal(messages[name])
		if err != nil || string(body) != want {
			t.Errorf("%s: %s, %v; want %s", name, body, err, want)
		}
		delete(messages, name)
	}
	if len(messages) > 0 {
		t.Errorf("not in testdata/messages.txt: %v", messages)
	}
}

// A status that is too large leaves its state and nothing made up; texts that are not UTF-8 do not go on.
func TestStatusThatIsNotKept(t *testing.T) {
	if body, err := json.Marshal(pipeapi.Omit("audit", "too large")); err != nil || string(body) != `{"omitted":"too large","state":"audit"}` {
		t.Errorf("%s, %v", body, err)
	}
	if body, err := json.Marshal(decode(t, "{\"state\":\"a\xff\"}")); err != nil || string(body) != "{\"state\":\"a\ufffd\"}" {
		t.Errorf("%q, %v", body, err)
	}
	// A spool without a segment is no agent without a spool.
	if body, err := json.Marshal(&pipeapi.AgentStatus{SpoolBytes: new(int64(0)), SpoolMaxBytes: 1}); err != nil || !strings.Contains(string(body), `"spool_bytes":0`) {
		t.Errorf("%s, %v", body, err)
	}
}
