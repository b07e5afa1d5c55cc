package pipeapi_test

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/pipeapi"
)

// fullStatus is a status as an agent in every kind of trouble sends it: each member and its name are the protocol.
const fullStatus = `{"state":"audit","directories":1,"files":2,"bytes":3,"errors":4,"looked":35,"scan":{"scan":"audit","seconds":5},` +
	`"last_scan":{"scan":"snapshot","began_at":"2026-01-31T12:00:00Z","seconds":6,"directories":7,"files":8,"errors":9,"changed_directories":10},` +
	`"coverage":"realtime-hotset","watch_method":"inotify","watch_reason":"r","watch_limit":11,"watches":12,"unwatched":13,"unreadable":14,` +
	`"pending":15,"overflows":16,"atimes":"relatime","backlog_bytes":17,"backlog_segments":18,"sent_bytes":19,"sent_segments":20,"send_failures":21,` +
	`"uploads_refused":"403",` +
	`"spool_bytes":22,"spool_max_bytes":23,"spool_error":"full","rates":{"events_per_s":24,"entries_per_s":25,"sent_bytes_per_s":26},` +
	`"clock":{"offset_s":27,"skew_s":28},"uptime_s":29,"read_errors":{"permission":{"count":30,"example":"/a"}},` +
	`"tasks":{"audit":{"error":"e","at":"2026-01-31T12:00:00Z","restarts":31}},"hanging":32,"hanging_path":"/slow","root_lost":"gone",` +
	`"paused":{"by":"key","since":"2026-01-31T12:00:00Z"},"version":"1","local_file_system":true,"caught_up":{"at_ns":36,"next_seq":37},"omitted":"o"}`

func TestStatusOnTheWire(t *testing.T) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	built := &pipeapi.AgentStatus{State: "audit", Directories: 1, Files: 2, Bytes: 3, Errors: 4, Looked: 35, Scan: &pipeapi.RunningScan{Scan: "audit", Seconds: 5},
		LastScan: &pipeapi.LastScan{Scan: "snapshot", At: at, Seconds: 6, Directories: 7, Files: 8, Errors: 9, Changed: 10},
		Coverage: "realtime-hotset", WatchMethod: "inotify", WatchReason: "r", WatchLimit: 11, Watches: 12, Unwatched: 13, Unreadable: 14, Pending: 15,
		Overflows: 16, Atimes: "relatime", BacklogBytes: 17, BacklogSegments: 18, SentBytes: 19, SentSegments: 20, SendFailures: 21, UploadsRefused: "403", SpoolBytes: new(int64(22)), SpoolMaxBytes: 23,
		SpoolError: "full", Rates: pipeapi.Rates{Events: 24, Entries: 25, Bytes: 26}, Clock: pipeapi.Clock{Offset: 27, Skew: 28}, Uptime: 29,
		ReadErrors: map[string]pipeapi.ReadErrors{"permission": {Count: 30, Example: "/a"}},
		Tasks:      map[string]pipeapi.TaskFailure{"audit": {Error: "e", At: at, Restarts: 31}}, Hanging: 32, HangingPath: "/slow", RootLost: "gone",
		Paused: &pipeapi.Pause{By: "key", Since: at}, Version: "1", Local: true, CaughtUp: &pipeapi.CaughtUp{At: 36, NextSeq: 37}, Omitted: "o"}
	if body, err := json.Marshal(built); err != nil || string(body) != fullStatus {
		t.Errorf("%s, %v", body, err)
	}
	read := decode(t, fullStatus)
	if body, err := json.Marshal(read); err != nil || string(body) != fullStatus {
		t.Errorf("%s, %v", body, err)
	}
	if !reflect.DeepEqual(exported(read), exported(built)) {
		t.Errorf("%+v", read)
	}
}

// What an agent does not send is not made up, what is unknown is kept, and a field of another type costs no other.
func TestStatusOfAnotherVersion(t *testing.T) {
	for _, c := range []struct {
		body string
		want pipeapi.AgentStatus
	}{
		{`{}`, pipeapi.AgentStatus{}},
		{`{"state":"34","role":"leader","events_pushed":7,"is_realtime_ready":true}`, pipeapi.AgentStatus{State: "34"}},
		{`{"state":5,"coverage":"audit-only","tasks":"none","unwatched":1.5}`, pipeapi.AgentStatus{Coverage: "audit-only"}},
		{`{"last_scan":{"began_at":"yesterday"},"files":3}`, pipeapi.AgentStatus{Files: 3}},
		{`{"errors":-1,"bytes":18446744073709551616,"files":3}`, pipeapi.AgentStatus{Files: 3}},
	} {
		s := decode(t, c.body)
		if !reflect.DeepEqual(exported(s), exported(&c.want)) {
			t.Errorf("%s: %+v", c.body, s)
		}
		if body, err := json.Marshal(s); err != nil || string(body) != c.body {
			t.Errorf("%s becomes %s, %v", c.body, body, err)
		}
	}
	for _, bad := range []string{`5`, `"x"`, `[]`, `true`} {
		if err := json.Unmarshal([]byte(`{"agent_status":`+bad+`}`), &pipeapi.Heartbeat{}); err == nil {
			t.Errorf("%s is taken for a status", bad)
		}
	}
	h := pipeapi.Heartbeat{}
	if err := json.Unmarshal([]byte(`{"agent_status":null}`), &h); err != nil || h.AgentStatus != nil {
		t.Errorf("%+v, %v", h, err)
	}
}

// TestMessagesOnTheWire holds the names of every message: agents and ingests of different versions talk to each other.
func TestMessagesOnTheWire(t *testing.T) {
	seq, count, timeout, realtime, skew := uint64(3), 2, 45.0, true, int64(-5)
	standing := pipeapi.Standing{Role: "leader", IsLeader: true, Term: 7, LeaseTTL: 30, LeaseRenewed: true, Heartbeat: 12, Epoch: "e"}
	const standingJSON = `"role":"leader","is_leader":true,"term":7,"lease_ttl_s":30,"lease_renewed":true,"heartbeat_interval_seconds":12,"view_epoch":"e"`
	for _, c := range []struct {
		message any
		want    string
	}{
		{pipeapi.Registration{Task: "a:p", ClientInfo: pipeapi.ClientInfo{pipeapi.InfoAgent: "a", pipeapi.InfoSource: "fs:///d"}, Timeout: &timeout, Paused: true},
			`{"task_id":"a:p","client_info":{"agent_id":"a","source_uri":"fs:///d"},"session_timeout_seconds":45,"paused":true}`},
		{pipeapi.Registration{Task: "a:p"}, `{"task_id":"a:p"}`},
		{pipeapi.Session{ID: "s", View: "v", Standing: standing, Timeout: 30, Audit: 60, Sentinel: 120, Skew: &skew, Broken: []string{}, Message: "m", Timed: pipeapi.Timed{ServerTime: 9}},
			`{"session_id":"s","view_id":"v",` + standingJSON + `,"session_timeout_seconds":30,"audit_interval_sec":60,"sentinel_interval_sec":120,"next_seq":0,"skew_ns":-5,"broken_sessions":[],"message":"m","server_time_ns":9}`},
		{pipeapi.Heartbeat{CanRealtime: &realtime, Paused: true}, `{"can_realtime":true,"paused":true}`},
		{pipeapi.Beat{Status: "ok", Standing: standing, CanRealtime: true, Message: "m"},
			`{"status":"ok",` + standingJSON + `,"can_realtime":true,"message":"m","commands":null}`},
		{pipeapi.UploadsRequest{FromSeq: &seq, Count: &count}, `{"from_seq":3,"count":2}`},
		{pipeapi.SentinelTasks{}, `{}`},
		{pipeapi.SentinelTasks{Type: "suspect_check", Paths: []string{"/a"}, PathsBytes: [][]byte{{0xff}}, View: "v"},
			`{"type":"suspect_check","paths":["/a"],"paths_bytes":["/w=="],"view_id":"v"}`},
	} {
		if body, err := json.Marshal(c.message); err != nil || string(body) != c.want {
			t.Errorf("%T: %s, %v; want %s", c.message, body, err, c.want)
		}
	}
}

func decode(t *testing.T, body string) *pipeapi.AgentStatus {
	t.Helper()
	s := &pipeapi.AgentStatus{}
	if err := json.Unmarshal([]byte(body), s); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return s
}

// exported are the fields without the bytes that a status was decoded from.
func exported(s *pipeapi.AgentStatus) map[string]any {
	fields := map[string]any{}
	for v, i := reflect.ValueOf(s).Elem(), 0; i < v.NumField(); i++ {
		if f := v.Type().Field(i); f.IsExported() {
			fields[f.Name] = v.Field(i).Interface()
		}
	}
	return fields
}

// TestProgress: how far a scan is, and how long it still takes, is said where the last scan of everything tells.
func TestProgress(t *testing.T) {
	running := func(scan string, seconds float64, directories uint64, last *pipeapi.LastScan) *pipeapi.AgentStatus {
		return &pipeapi.AgentStatus{Scan: &pipeapi.RunningScan{Scan: scan, Seconds: seconds}, Directories: directories, Files: 123456, LastScan: last,
			Rates: pipeapi.Rates{Entries: 4321.4}}
	}
	last := &pipeapi.LastScan{Scan: "audit", Directories: 5000}
	for _, c := range []struct {
		status *pipeapi.AgentStatus
		want   string
	}{
		{running("audit", 100, 1000, last), "audit: 1,000 of about 5,000 directories, 123,456 files, 4,321 entries/s, for 1m40s, about 6m40s left"},
		{running("audit", 4, 1000, last), "audit: 1,000 of about 5,000 directories, 123,456 files, 4,321 entries/s, for 4s"},
		{running("audit", 7200, 49, last), "audit: 49 of about 5,000 directories, 123,456 files, 4,321 entries/s, for 2h0m"},
		{running("audit", 7200, 2500, last), "audit: 2,500 of about 5,000 directories, 123,456 files, 4,321 entries/s, for 2h0m, about 2h0m left"},
		{running("audit", 100, 5001, last), "audit: 5,001 directories, 123,456 files, 4,321 entries/s, for 1m40s"},
		{running("cover", 100, 1000, last), "cover: 1,000 directories, 123,456 files, 4,321 entries/s, for 1m40s"},
		{running("snapshot", 100, 1000, nil), "snapshot: 1,000 directories, 123,456 files, 4,321 entries/s, for 1m40s"},
	} {
		if got := c.status.Progress().String(); got != c.want {
			t.Errorf("%s\nnot %s", got, c.want)
		}
	}
	var none *pipeapi.AgentStatus
	if none.Progress() != nil || (&pipeapi.AgentStatus{LastScan: last}).Progress() != nil {
		t.Error("a scan that does not run has a progress")
	}
}
