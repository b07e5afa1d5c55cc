package v2api

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/fustor/fustor/internal/event"
)

// FuzzSession: a body of V2 about a session (create, heartbeat, feedback of a sentinel) is read or refused with the field that is wrong, and
// what is taken of it has a path and an entry that a segment takes, and a status that can be passed on.
func FuzzSession(f *testing.F) {
	for _, text := range []string{
		`{"task_id":"a:b","source_type":"fs","client_info":{"hostname":"h"},"session_timeout_seconds":30.5}`,
		`{"can_realtime":true,"agent_status":{"state":"160","component_states":{}}}`, `{"agent_status":{"state":4294967295}}`, `{"agent_status":[]}`, `{"agent_status":null}`,
		`{"type":"suspect_update","updates":[{"path":"/a","mtime":1.5,"size":3,"status":"exists"},{"path":"b","status":"missing"},{"path":"/\udcff","mtime":"x"}]}`,
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<14 {
			t.Skip()
		}
		var field *FieldError
		var create Create
		if json.Unmarshal(body, &create) == nil && create.Source != "" && !IsCreate(body) {
			t.Errorf("%q has a source, and is not V2's", body)
		}
		var beat Heartbeat
		if json.Unmarshal(body, &beat) == nil {
			status, err := beat.AgentStatus()
			if err != nil && !errors.As(err, &field) {
				t.Errorf("%q: %v names no field", body, err)
			}
			if status != nil {
				if _, err := json.Marshal(status); err != nil {
					t.Errorf("%q: its status cannot be passed on: %v", body, err)
				}
			}
		}
		var feedback Feedback
		if json.Unmarshal(body, &feedback) != nil {
			return
		}
		for i := range feedback.Updates {
			u := &feedback.Updates[i]
			if u.Check("updates") != nil {
				continue
			}
			row := u.Row()
			path, err := row.Where(func() string { return "" })
			if err != nil {
				continue
			}
			if !event.ValidPath(path) {
				t.Errorf("%q is taken for a path", path)
			}
			if e, err := row.Entry(func() string { return "" }, path); err == nil && e.Size < 0 {
				t.Errorf("%q is %+v", path, e)
			}
		}
	})
}
