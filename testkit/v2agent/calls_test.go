package v2agent

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/event"
	"github.com/fustor/fustor/internal/job"
	"github.com/fustor/fustor/internal/layout"
	"github.com/fustor/fustor/internal/session"
	"github.com/fustor/fustor/internal/v2api"
)

// ask sends one request with any headers and returns the answer's status and body.
func (f *fixture) ask(method, path string, header map[string]string, body string) (int, map[string]any) {
	f.Helper()
	request, err := http.NewRequestWithContext(f.Context(), method, f.urls[0]+"/api/v1"+path, strings.NewReader(body))
	f.must(err)
	request.Header.Set("X-API-Key", key)
	for name, value := range header {
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	f.must(err)
	defer response.Body.Close()
	var answer map[string]any
	f.must(json.NewDecoder(response.Body).Decode(&answer))
	return response.StatusCode, answer
}

func (f *fixture) want(status int, method, path string, header map[string]string, body string) map[string]any {
	f.Helper()
	got, answer := f.ask(method, path, header, body)
	if got != status {
		f.Fatalf("%s %s %s: %d %v, want %d", method, path, body, got, answer, status)
	}
	return answer
}

// A session of V2's is created as its SDKs do it, and what they say beside what is known is skipped; a native agent's mistakes are not.
func TestSession(t *testing.T) {
	f := newFixture(t, 1)
	created := f.want(200, "POST", "/pipe/session/", nil, `{"task_id":"nfs07:p","source_type":"fs","client_info":{"source_uri":null},"something":"new"}`)
	for _, field := range []string{"session_id", "role", "session_timeout_seconds", "audit_interval_sec", "sentinel_interval_sec", "message"} {
		if created[field] == nil {
			t.Errorf("the answer lacks %s: %v", field, created)
		}
	}
	id := created["session_id"].(string)
	beaten := f.want(200, "POST", "/pipe/session/"+id+"/heartbeat", nil, `{"can_realtime":true,"agent_status":{"agent_id":"nfs07","state":"34"},"more":[]}`)
	if beaten["status"] != "ok" || beaten["role"] != "leader" || len(beaten["commands"].([]any)) != 0 {
		t.Errorf("a heartbeat is answered with %v", beaten)
	}
	o, err := session.List(t.Context(), f.store, view)
	f.must(err)
	if r := o.Sessions[0].Record; r.Agent != "nfs07" || r.Dialect != session.V2 || r.AgentStatus.State != "snapshot" || !r.CanRealtime {
		t.Errorf("the record is %+v", r)
	} else if kept, err := json.Marshal(r.AgentStatus); err != nil || !strings.Contains(string(kept), `"states":["running","snapshot_sync"]`) || !strings.Contains(string(kept), `"state_mask":"34"`) || !strings.Contains(string(kept), `"agent_id":"nfs07"`) {
		t.Errorf("its status is %s, %v", kept, err)
	}
	f.want(400, "POST", "/pipe/session/"+id+"/heartbeat", nil, `{"agent_status":7}`)
	f.want(409, "POST", "/pipe/session/", nil, `{"task_id":"nfs07:p","source_type":"fs"}`)
	for body, field := range map[string]string{`{"source_type":"fs"}`: "task_id", `{"task_id":7,"source_type":"fs"}`: "task_id", `{"task_id":"a","source_type":7}`: "source_type",
		`{"task_id":"a","source_type":"fs","client_info":[]}`: "client_info", `{"task_id":"a","source_type":"fs","session_timeout_seconds":"x"}`: "session_timeout_seconds",
		`{"task_id":"a","source_type":"fs","client_info":{"source_uri":7}}`: "source_uri", `{"task_id":"a","session_timeout":1}`: "session_timeout"} {
		if detail := f.want(400, "POST", "/pipe/session/", nil, body)["detail"].(string); !strings.Contains(detail, field) {
			t.Errorf("%s: %s", body, detail)
		}
	}
	native := f.want(200, "POST", "/pipe/session/", nil, `{"task_id":"native"}`)["session_id"].(string)
	f.want(400, "POST", "/pipe/session/"+native+"/heartbeat", nil, `{"more":[]}`)
	for range 2 {
		f.want(200, "DELETE", "/pipe/session/"+id, nil, "")
	}
	f.want(419, "POST", "/pipe/session/"+id+"/heartbeat", nil, `{}`)
	f.want(419, "POST", "/pipe/ingest/"+id+"/events", nil, `{"events":[],"source_type":"message","is_end":false}`)
}

// SDKs of early 2026 have other names for the calls, and the session's id in a header or in the body.
func TestOldNames(t *testing.T) {
	f := newFixture(t, 1)
	events := func(id, path, end string) string {
		return fmt.Sprintf(`{"session_id":%q,"events":[{"event_type":"insert","rows":[{"file_path":%q,"size":1,"modified_time":1.5}]}],"source_type":"snapshot",%s}`, id, path, end)
	}
	for name, calls := range map[string][3]string{"pipe": {"/pipe/session/", "/pipe/session/heartbeat", "/pipe/ingest/"}, "ingest": {"/ingest/sessions/", "/ingest/sessions/heartbeat", "/ingest/events/"}} {
		id := f.want(200, "POST", calls[0], nil, `{"task_id":"`+name+`","source_type":"fs"}`)["session_id"].(string)
		f.want(200, "GET", calls[0], nil, "")
		f.want(200, "POST", calls[1], map[string]string{"session-id": id}, `{"agent_status":null}`)
		f.want(200, "POST", calls[2], nil, events(id, "/"+name, `"is_snapshot_end":true`))
		if success := f.want(200, "POST", "/pipe/"+id+"/events", nil, events(id, "/alias", `"is_end":false`))["success"]; success != true {
			t.Errorf("the alias says %v", success)
		}
		if !f.fold().Ready() {
			t.Errorf("%s: the view is not ready", name)
		}
		rows := f.rows()
		if _, there := rows["/"+name]; !there || rows["/alias"].Size != 1 {
			t.Errorf("%s: the view is %v", name, rows)
		}
		f.want(200, "DELETE", "/pipe/session/"+id, nil, "")
	}
	f.want(200, "POST", "/ingest/consistency/audit/start", nil, `{"anything":1}`)
	if a := f.want(200, "POST", "/pipe/consistency/audit/end", nil, ``); a["status"] != "audit_ended" || a["drivers_handled"] != 1.0 {
		t.Errorf("an audit's end is answered with %v", a)
	}
}

// Whatever field of a batch is wrong, the answer is a 4xx that names it, and nothing of the batch is taken.
func TestMalformedBatches(t *testing.T) {
	f := newFixture(t, 1)
	a := f.agent(0, t.TempDir(), "a:p")
	good := func() map[string]any {
		return map[string]any{"session_id": a.Session(), "source_type": "message", "is_end": false, "metadata": map[string]any{},
			"events": []any{
				map[string]any{"event_type": "insert", "rows": []any{map[string]any{"path": "/first", "size": 1, "modified_time": 1.5}}},
				map[string]any{"event_id": nil, "timestamp": 1.5, "event_type": "update", "fields": []any{"path"}, "index": 5, "event_schema": "fs", "table": "files",
					"message_source": "realtime", "metadata": map[string]any{}, "rows": []any{map[string]any{"path": "/a", "file_name": "a", "size": 1, "modified_time": 1.5, "created_time": 1.5,
						"is_directory": false, "is_atomic_write": true, "parent_path": "/", "parent_mtime": 1.5, "audit_skipped": false, "observed_at_ns": 1}}},
			}}
	}
	wrong := map[string][]any{
		"session_id": {7, "another", []any{}}, "source_type": {7, "gossip", "", map[string]any{}}, "is_end": {"yes", 7, []any{}}, "metadata": {7, "x", []any{}}, "events": {7, "x", map[string]any{}, []any{7}, []any{"x"}},
		"event_id": {[]any{}, map[string]any{}, true}, "timestamp": {[]any{}, true}, "event_type": {7, "upsert", nil}, "fields": {"path", []any{7}}, "index": {"x", 1.5, []any{}}, "event_schema": {7}, "table": {7},
		"message_source": {7}, "rows": {7, map[string]any{}, []any{7}, []any{[]any{}}},
		"path": {7, "a", "", "/a/../b", "/a\x00b", []any{}, nil, "/" + strings.Repeat("x", event.MaxText)}, "file_name": {7, []any{}}, "size": {"1", 1.5, -1, true, nil, 1e30, []any{}},
		"modified_time": {"1", true, nil, 1e30, []any{}}, "created_time": {"1", true, []any{}}, "is_directory": {"yes", 7, []any{}}, "is_atomic_write": {"yes", 7}, "parent_path": {7}, "parent_mtime": {"x"},
		"audit_skipped": {"x", []any{}}, "observed_at_ns": {"1", 1.5, 0, -1, true, []any{}},
	}
	before := f.segments(a.Session())
	for field, values := range wrong {
		for _, source := range []string{"message", "snapshot", "audit", "on_demand_job"} {
			for _, value := range values {
				body := good()
				body["source_type"] = source
				event := body["events"].([]any)[1].(map[string]any)
				row := event["rows"].([]any)[0].(map[string]any)
				found := false
				for _, at := range []map[string]any{body, event, row} {
					if _, found = at[field]; found {
						at[field] = value
						break
					}
				}
				raw, err := json.Marshal(body)
				if err != nil || !found {
					t.Fatal(field, err)
				}
				status, answer := f.ask("POST", "/pipe/ingest/"+a.Session()+"/events", nil, string(raw))
				if detail, _ := answer["detail"].(string); status < 400 || status >= 500 || !strings.Contains(detail, field) {
					t.Errorf("%s of %.40q in a batch of %s: %d %v", field, fmt.Sprint(value), source, status, answer)
				}
			}
		}
	}
	for _, body := range []string{``, `{`, `[]`, `7`, `{"events":[]}x`, `null`} {
		if status, _ := f.ask("POST", "/pipe/ingest/"+a.Session()+"/events", nil, body); status != 400 {
			t.Errorf("%q: %d", body, status)
		}
	}
	if status, _ := f.ask("POST", "/pipe/ingest/"+a.Session()+"/events", nil, `{"x":"`+strings.Repeat("x", 17<<20)+`"}`); status != 413 {
		t.Errorf("a body of 17 MiB: %d", status)
	}
	for _, body := range []string{`{"updates":7}`, `{"updates":[{"path":"a"}]}`, `{"updates":[{"path":"/a","status":"odd"}]}`, `{"updates":[{"path":"/a","status":"exists"}]}`, `{"updates":[{"path":"/a","status":"exists","mtime":1,"size":-1}]}`} {
		f.want(400, "POST", "/pipe/consistency/sentinel/feedback", nil, body)
	}
	if after := f.segments(a.Session()); after != before {
		t.Errorf("%d segments came of bad batches", after-before)
	}
	f.nothingStaged()
	if raw, err := json.Marshal(good()); err != nil {
		t.Fatal(err)
	} else {
		f.want(200, "POST", "/pipe/ingest/"+a.Session()+"/events", nil, string(raw))
	}
	if f.segments(a.Session()) != before+1 {
		t.Error("the good batch is no segment")
	}
}

// segments is how many a session has.
func (f *fixture) segments(id string) int {
	f.Helper()
	page, err := f.store.List(f.Context(), layout.Segments(view, id), "", 0)
	f.must(err)
	return len(page.Items)
}

// The configuration that an agent reports has its keys: neither the store nor the log has them afterwards.
func TestConfigReportIsDropped(t *testing.T) {
	f := newFixture(t, 1)
	a := f.agent(0, t.TempDir(), "a:p") // Create reports it
	f.must(a.Snapshot(t.Context()))
	f.want(400, "POST", "/pipe/ingest/"+a.Session()+"/events", nil, `{"events":7,"source_type":"config_report","metadata":{"config_yaml":"`+Secret+`"}}`)
	f.want(400, "POST", "/pipe/ingest/"+a.Session()+"/events", nil, `{"events":[],"source_type":"config_report","metadata":"`+Secret+`"}`)
	f.want(400, "POST", "/pipe/ingest/"+a.Session()+"/events", nil, `{"source_type":"config_report","metadata":{"config_yaml":"`+Secret+`"}`)
	f.fold()
	f.must(filepath.WalkDir(f.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		if bytes.Contains(b, []byte(Secret)) || strings.Contains(path, Secret) {
			t.Errorf("%s has it", path)
		}
		return err
	}))
	if strings.Contains(f.log.String(), Secret) {
		t.Error("the log has it")
	}
}

// Commands reach a V2 agent in its words, once; a scan is a job until the agent says that it is done.
func TestCommands(t *testing.T) {
	f := newFixture(t, 1)
	dir := t.TempDir()
	a := f.agent(0, dir, "nfs07:data")
	f.must(a.Snapshot(t.Context()))
	f.must(os.MkdirAll(dir+"/late/below", 0o755))
	write(t, dir+"/late/below/file", 3)
	command := func(body string) string {
		return f.want(200, "POST", "/pipe/session/"+a.Session()+"/commands", nil, body)["job_id"].(string)
	}
	for _, kind := range []string{"pause", "resume"} {
		if answer := f.want(409, "POST", "/pipe/session/"+a.Session()+"/commands", nil, `{"command":"`+kind+`"}`); !strings.Contains(answer["detail"].(string), "V2") {
			t.Errorf("%s: %v", kind, answer)
		}
	}
	stop, reload := command(`{"command":"stop"}`), command(`{"command":"reload"}`)
	scan := command(`{"command":"scan","path":"/late"}`)
	leaders, err := job.Ask(t.Context(), f.store, job.Job{View: view, Session: a.Session(), Path: []byte("/late"), Recursive: true}, time.Now().UnixNano(), rand.Reader)
	f.must(err)
	beaten, err := a.Beat(t.Context(), "66")
	f.must(err)
	if len(beaten.Commands) != 4 {
		t.Fatalf("it is told %+v", beaten.Commands)
	}
	again, err := a.Beat(t.Context(), "66")
	f.must(err)
	if len(again.Commands) != 0 {
		t.Errorf("it is told again: %+v", again.Commands)
	}
	others, err := a.Obey(t.Context(), beaten.Commands)
	f.must(err)
	if len(others) != 2 || others[0].Type != "stop_pipe" || others[0].Pipe != "data" || others[1].Type != "reload_config" {
		t.Errorf("it is told %+v", others)
	}
	for _, id := range []string{stop, reload, scan, leaders.ID} {
		j, err := job.Get(t.Context(), f.store, view, id)
		f.must(err)
		if j.State != job.Done {
			t.Errorf("job %s is %+v", id, j)
		}
		if last := int64(f.segments(a.Session()) - 1); id == leaders.ID && j.LastSeq != last {
			t.Errorf("the last segment of the scan that came last is %d, not %d", j.LastSeq, last)
		}
	}
	f.must(a.Changed(t.Context(), false, "/"))
	f.equal(dir)
	if row := f.rows()["/late/below/file"]; row.Evidence != event.OnDemand || !row.AgentMissing {
		t.Errorf("the file that the scan found is %+v", row)
	}
}

// A file that is being written is suspect, the leader's sentinel is asked to look at it, and what it finds counts.
func TestSentinel(t *testing.T) {
	f := newFixture(t, 1)
	dir := t.TempDir()
	a := f.agent(0, dir, "a:p")
	f.must(a.Snapshot(t.Context()))
	write(t, dir+"/growing\xff", 3)
	write(t, dir+"/gone", 3)
	f.must(a.Changed(t.Context(), true, "/growing\xff", "/gone", "/"))
	f.equal(dir)
	write(t, dir+"/growing\xff", 9)
	f.must(os.Remove(dir + "/gone"))
	looked, err := a.Sentinel(t.Context())
	f.must(err)
	if looked != 2 {
		t.Errorf("%d files to look at", looked)
	}
	rows := f.rows()
	if row := rows["/growing\xff"]; row.Size != 9 || !row.AgentMissing {
		t.Errorf("the file that grew is %+v", row)
	}
	if _, there := rows["/gone"]; !there {
		t.Error("what a sentinel did not find is gone without a word of the kernel or of an audit")
	}
}

// What is sent twice counts once, through whichever ingest.
func TestRepeatedRequests(t *testing.T) {
	f := newFixture(t, 3)
	dir := t.TempDir()
	a := f.agent(0, dir, "a:p")
	f.must(a.Snapshot(t.Context()))
	write(t, dir+"/a", 1)
	row, err := a.Row("/a")
	f.must(err)
	root, err := a.Row("/")
	f.must(err)
	for _, source := range []string{v2api.Message, v2api.OnDemandJob, v2api.Audit} {
		before := f.segments(a.Session())
		body := a.Events(source, []any{Event(v2api.Update, source, row, root)}, source == v2api.Audit, nil)
		for _, url := range f.urls {
			a.URL = url
			for range 2 {
				f.must(a.Call(t.Context(), "POST", "/pipe/ingest/"+a.Session()+"/events", body, nil))
			}
		}
		if n := f.segments(a.Session()) - before; n != 1 {
			t.Errorf("six times the same %s: %d segments", source, n)
		}
	}
	f.equal(dir)
	if m := f.fold(); m.Scan.Audits != 1 {
		t.Errorf("one audit counts %d times", m.Scan.Audits)
	}
	var status *StatusError
	if err := a.Call(t.Context(), "POST", "/pipe/ingest/"+a.Session()+"/events", 7, nil); !errors.As(err, &status) || status.Status != 400 {
		t.Errorf("%v", err)
	}
}
