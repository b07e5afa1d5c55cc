// Package v2agent is a client that speaks the pipe protocol of Fustor V2's agents as they do: the calls, their order, the bodies,
// and the retries (docs/v2.md). It is written from what those agents send, and shares with the server only the types of rows.
//
// It looks at a tree when it is told to, so that a test decides what is seen, and when.
package v2agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fustor/fustor/internal/v2api"
)

// Agent is one pipe of one agent. Its calls may be made from several goroutines, as a V2 agent makes them.
type Agent struct {
	URL  string // of the server, without a path
	Key  string
	Task string // AGENT:PIPE
	Dir  string // the tree, on this machine's disk
	// Tree, if set, is the tree in place of Dir.
	Tree Tree
	// Timeout is asked for when a session is created, seconds; 0 asks for none.
	Timeout float64
	// Batch is how many rows go into a batch of a scan; 0: 1000.
	Batch int
	// Patience is for how long a call is repeated that is not answered, or with a 5xx; 0: 30 s.
	Patience time.Duration
	// Client sends; nil: http.DefaultClient.
	Client *http.Client
	// Watch has Run report what the kernel says of the tree: it calls report with each change, until ctx ends, and returns once all that
	// is there is watched. WatchDisk is one for Dir. Without it, Changed, Renamed and Tell report.
	Watch func(ctx context.Context, report func(Change)) error
	// Random puts the rows of a batch in no order; nil: a generator of its own.
	Random *rand.Rand
	// OnError hears in Run of answers that no V2 agent should get; nil: nobody.
	OnError func(error)
	// OnSession hears in Run of each session, once what is there is watched; nil: nobody.
	OnSession func(id, role string)

	mu      sync.Mutex
	session string
	role    string
	listed  map[string]int64 // directories' mtimes at the last audit
}

// failed tells OnError.
func (a *Agent) failed(err error) {
	if a.OnError != nil {
		a.OnError(err)
	}
}

// ErrGone: the session is gone (419). A V2 agent creates another.
var ErrGone = errors.New("the session is gone")

// StatusError is an answer that is no success.
type StatusError struct {
	Status int
	Body   string
}

// Error implements error.
func (e *StatusError) Error() string { return fmt.Sprintf("status %d: %s", e.Status, e.Body) }

// Session is the id of the session at hand; Role what it was told last.
func (a *Agent) Session() string { a.mu.Lock(); defer a.mu.Unlock(); return a.session }

// Role is leader or follower, as the server said last.
func (a *Agent) Role() string { a.mu.Lock(); defer a.mu.Unlock(); return a.role }

func (a *Agent) setRole(role string) { a.mu.Lock(); defer a.mu.Unlock(); a.role = role }

// Call sends one request and decodes the answer into v, if that is not nil. It is repeated while the server does not answer.
func (a *Agent) Call(ctx context.Context, method, path string, body, v any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	if body == nil {
		raw = nil
	}
	patience := a.Patience
	if patience == 0 {
		patience = 30 * time.Second
	}
	for until, pause := time.Now().Add(patience), 50*time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		err := a.once(ctx, method, path, raw, v)
		var status *StatusError
		if err == nil || errors.Is(err, ErrGone) || errors.As(err, &status) && status.Status < 500 || ctx.Err() != nil || time.Now().After(until) {
			return err
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

func (a *Agent) once(ctx context.Context, method, path string, body []byte, v any) error {
	request, err := http.NewRequestWithContext(ctx, method, a.URL+"/api/v1"+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("X-API-Key", a.Key)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	client := a.Client
	if client == nil {
		client = http.DefaultClient
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	switch {
	case err != nil:
		return err
	case response.StatusCode == 419:
		return fmt.Errorf("%s %s: %w", method, path, ErrGone)
	case response.StatusCode != http.StatusOK:
		return fmt.Errorf("%s %s: %w", method, path, &StatusError{response.StatusCode, string(answer)})
	case v == nil:
		return nil
	}
	return json.Unmarshal(answer, v)
}

// Create creates a session, and reports the agent's configuration as V2's do.
func (a *Agent) Create(ctx context.Context) (v2api.Created, error) {
	var created v2api.Created
	if err := a.Call(ctx, "GET", "/pipe/session/", nil, nil); err != nil {
		return created, err
	}
	body := map[string]any{"task_id": a.Task, "source_type": "fs", "client_info": map[string]any{"source_uri": nil}}
	if a.Timeout > 0 {
		body["session_timeout_seconds"] = a.Timeout
	}
	if err := a.Call(ctx, "POST", "/pipe/session/", body, &created); err != nil {
		return created, err
	}
	a.mu.Lock()
	a.session, a.role, a.listed = created.Session, created.Role, map[string]int64{}
	a.mu.Unlock()
	config := map[string]any{"filename": "default.yaml", "config_yaml": "senders:\n  s:\n    credential: {key: " + Secret + "}\n"}
	return created, a.send(ctx, v2api.ConfigReport, nil, false, config, nil)
}

// Secret stands in the configuration that Create reports.
const Secret = "v2-agents-own-secret"

// Beat sends a heartbeat with the pipe's state, a bit mask.
func (a *Agent) Beat(ctx context.Context, state string) (v2api.Beaten, error) {
	agent, pipe, _ := strings.Cut(a.Task, ":")
	var beaten v2api.Beaten
	err := a.Call(ctx, "POST", "/pipe/session/"+a.Session()+"/heartbeat", map[string]any{"can_realtime": true, "agent_status": map[string]any{
		"agent_id": agent, "pipe_id": pipe, "state": state, "role": a.Role(), "events_pushed": 0, "is_realtime_ready": true}}, &beaten)
	if err == nil {
		a.setRole(beaten.Role)
	}
	return beaten, err
}

// Close ends the session.
func (a *Agent) Close(ctx context.Context) error {
	return a.Call(ctx, "DELETE", "/pipe/session/"+a.Session(), nil, nil)
}

// Events is the body of an events call.
func (a *Agent) Events(source string, events []any, end bool, metadata map[string]any) map[string]any {
	if events == nil {
		events = []any{}
	}
	body := map[string]any{"session_id": a.Session(), "events": events, "source_type": source, "is_end": end}
	if metadata != nil {
		body["metadata"] = metadata
	}
	return body
}

func (a *Agent) send(ctx context.Context, source string, events []any, end bool, metadata map[string]any, v any) error {
	return a.Call(ctx, "POST", "/pipe/ingest/"+a.Session()+"/events", a.Events(source, events, end, metadata), v)
}

// Event is an event of rows.
func Event(kind, from string, rows ...v2api.Row) any {
	now := time.Now()
	fields := []string{"path", "file_name", "size", "modified_time", "created_time", "is_directory"}
	if kind == v2api.Delete {
		fields = []string{"path"}
	}
	return map[string]any{"event_id": nil, "timestamp": float64(now.UnixNano()) / 1e9, "event_type": kind, "fields": fields, "rows": rows,
		"index": now.UnixMilli(), "event_schema": "fs", "table": "files", "message_source": from, "metadata": map[string]any{}}
}

// tree is the tree that the agent sees.
func (a *Agent) tree() Tree {
	if a.Tree != nil {
		return a.Tree
	}
	return disk(a.Dir)
}

// Row is what there is at a path of the tree.
func (a *Agent) Row(path string) (v2api.Row, error) {
	seen, err := a.tree().Lstat(path)
	if err != nil {
		return v2api.Row{}, err
	}
	name := filepath.Base(path)
	if path == "/" {
		name = ""
	}
	return v2api.Row{Path: v2api.Text(path), Name: v2api.Text(name), Size: v2api.Whole(seen.Size), Modified: v2api.Seconds(seen.MtimeNs),
		Created: v2api.Seconds(seen.CtimeNs), IsDirectory: v2api.Of(seen.Directory)}, nil
}

// Changed reports in realtime what is at some paths now: an update for what is there, a delete for what is not. writing says
// that the files are still being written.
func (a *Agent) Changed(ctx context.Context, writing bool, paths ...string) error {
	var changes []Change
	for _, path := range paths {
		changes = append(changes, Change{Path: path, Writing: writing})
	}
	return a.report(ctx, changes)
}

// Renamed reports a rename, as deletes and updates of everything below.
func (a *Agent) Renamed(ctx context.Context, from, to string) error {
	return a.report(ctx, []Change{{Path: to, From: from}})
}

// report reports changes in their order.
func (a *Agent) report(ctx context.Context, changes []Change) error {
	var events []any
	for _, c := range changes {
		if c.From == "" {
			events = append(events, a.event(c.Path, c.Writing))
			continue
		}
		below := a.below(c.Path)
		for i := range below {
			events = append(events, a.event(c.From+below[len(below)-1-i], false))
		}
		for _, b := range below {
			events = append(events, a.event(c.Path+b, false))
		}
	}
	return a.send(ctx, v2api.Message, events, false, nil, nil)
}

// event is what is at a path now.
func (a *Agent) event(path string, writing bool) any {
	row, err := a.Row(path)
	if err != nil { // gone, or no directory above it any more
		return Event(v2api.Delete, "realtime", v2api.Row{Path: v2api.Text(path)})
	}
	row.IsAtomicWrite = v2api.Of(!writing)
	return Event(v2api.Update, "realtime", row)
}

// below is what is at a path and below it, relative to it: the path itself, which is "", first, also if it is gone.
func (a *Agent) below(path string) []string {
	found := []string{""}
	var walk func(rel string)
	walk = func(rel string) {
		names, _ := a.tree().Names(path + rel) // what is gone meanwhile is not there
		for _, n := range names {
			found = append(found, rel+"/"+n.Name)
			if n.Directory {
				walk(rel + "/" + n.Name)
			}
		}
	}
	walk("")
	return found
}

// scan calls f with the rows below a path, in no order, in batches.
func (a *Agent) scan(path string, row func(path string, r *v2api.Row, parent *v2api.Row) bool, f func([]v2api.Row) error) error {
	size := a.Batch
	if size == 0 {
		size = 1000
	}
	var batch []v2api.Row
	add := func(r v2api.Row) error {
		if batch = append(batch, r); len(batch) < size {
			return nil
		}
		shuffle := rand.Shuffle
		if a.Random != nil {
			shuffle = a.Random.Shuffle
		}
		shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
		full := batch
		batch = nil
		return f(full)
	}
	var walk func(path string, parent *v2api.Row) error
	walk = func(path string, parent *v2api.Row) error {
		own, err := a.Row(path)
		if err != nil {
			return nil // gone meanwhile, as V2's agents take it
		}
		whole := row(path, &own, parent)
		if err := add(own); err != nil || !own.IsDirectory.Value {
			return err
		}
		names, err := a.tree().Names(path)
		if err != nil {
			return nil
		}
		for _, n := range names {
			if !whole && !n.Directory {
				continue
			}
			if err := walk(join(path, n.Name), &own); err != nil {
				return err
			}
		}
		return nil
	}
	if err := walk(path, nil); err != nil {
		return err
	}
	return f(batch) // the rest, which may be nothing
}

// Snapshot sends a snapshot: batches, then an empty one that says that it is the end, twice.
func (a *Agent) Snapshot(ctx context.Context) error {
	all := func(string, *v2api.Row, *v2api.Row) bool { return true }
	err := a.scan("/", all, func(rows []v2api.Row) error {
		if len(rows) == 0 {
			return nil
		}
		return a.send(ctx, v2api.Snapshot, []any{Event(v2api.Insert, "snapshot", rows...)}, false, nil, nil)
	})
	for range 2 {
		if err == nil {
			err = a.send(ctx, v2api.Snapshot, nil, true, nil, nil)
		}
	}
	return err
}

// Audit sends an audit: the last batch says that it is the end, then an empty one does, and the call that ends audits is made
// twice. Directories whose mtime is that of the session's last audit are skipped.
func (a *Agent) Audit(ctx context.Context) error {
	a.mu.Lock()
	before, now := a.listed, map[string]int64{}
	a.mu.Unlock()
	var held []v2api.Row
	flush := func(end bool) error {
		if len(held) == 0 && !end {
			return nil
		}
		return a.send(ctx, v2api.Audit, []any{Event(v2api.Update, "audit", held...)}, end, nil, nil)
	}
	err := a.scan("/", func(path string, r, parent *v2api.Row) bool {
		if !r.IsDirectory.Value {
			if parent != nil {
				r.ParentPath, r.ParentMtime = parent.Path, parent.Modified
			}
			return true
		}
		now[path] = r.Modified.Ns
		if mtime, known := before[path]; known && mtime == r.Modified.Ns {
			r.AuditSkipped = v2api.Of(true)
		}
		return !r.AuditSkipped.Value
	}, func(rows []v2api.Row) error {
		err := flush(false)
		held = rows
		return err
	})
	if err == nil {
		err = flush(true)
	}
	if err == nil {
		err = a.send(ctx, v2api.Audit, nil, true, nil, nil)
	}
	for range 2 {
		if err == nil {
			err = a.Call(ctx, "POST", "/pipe/consistency/audit/end", nil, nil)
		}
	}
	if err == nil {
		a.mu.Lock()
		a.listed = now
		a.mu.Unlock()
	}
	return err
}

// Obey does what a heartbeat's commands ask for: scans, as jobs. It returns the others.
func (a *Agent) Obey(ctx context.Context, commands []v2api.Command) (others []v2api.Command, err error) {
	for _, c := range commands {
		if c.Type != "scan" {
			others = append(others, c)
			continue
		}
		err := a.scan(string(c.Path), func(string, *v2api.Row, *v2api.Row) bool { return true }, func(rows []v2api.Row) error {
			if len(rows) == 0 {
				return nil
			}
			return a.send(ctx, v2api.OnDemandJob, []any{Event(v2api.Update, "on_demand_job", rows...)}, false, nil, nil)
		})
		var answer v2api.Accepted
		if err == nil {
			err = a.send(ctx, v2api.JobComplete, nil, true, map[string]any{"scan_path": c.Path, "job_id": c.Job}, &answer)
		}
		if err == nil && answer.Phase != v2api.JobComplete {
			err = fmt.Errorf("a complete job is answered with %+v", answer)
		}
		if err != nil {
			return others, err
		}
	}
	return others, nil
}

// Sentinel looks at the files that may still be written to, and says what it found.
func (a *Agent) Sentinel(ctx context.Context) (looked int, err error) {
	var tasks v2api.Tasks
	if err := a.Call(ctx, "GET", "/pipe/consistency/sentinel/tasks", nil, &tasks); err != nil || tasks.Type == "" {
		return 0, err
	}
	feedback := v2api.Feedback{Type: "suspect_update"}
	for _, path := range tasks.Paths {
		found := v2api.Found{Path: path, Mtime: v2api.Seconds(0), Status: v2api.Missing}
		if row, err := a.Row(string(path)); err == nil {
			found.Mtime, found.Size, found.Status = row.Modified, row.Size, v2api.Exists
		}
		feedback.Updates = append(feedback.Updates, found)
	}
	return len(tasks.Paths), a.Call(ctx, "POST", "/pipe/consistency/sentinel/feedback", feedback, nil)
}
