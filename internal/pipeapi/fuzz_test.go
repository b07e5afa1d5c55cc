package pipeapi_test

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/fustor/fustor/internal/pipeapi"
)

// FuzzStatus: whatever an agent of any version says of itself is passed on as it came, and reads the same after another hop.
func FuzzStatus(f *testing.F) {
	for _, text := range []string{fullStatus, `{"state":7,"files":"many","clock":[],"new":{"a":[1]}}`, `{}`, `[]`, "null", `{"version":"\ud800"}`, "{\"state\":\"\xff\"}"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > 1<<14 {
			t.Skip()
		}
		var s pipeapi.AgentStatus
		if json.Unmarshal(body, &s) != nil {
			return
		}
		_ = s.Progress()
		passed, err := json.Marshal(&s)
		if err != nil {
			t.Fatalf("%q cannot be passed on: %v", body, err)
		}
		var again pipeapi.AgentStatus
		if err := json.Unmarshal(passed, &again); err != nil {
			t.Fatalf("%q is passed on as %q: %v", body, passed, err)
		}
		if twice, err := json.Marshal(&again); err != nil || !bytes.Equal(passed, twice) || again.State != s.State || again.Files != s.Files {
			t.Errorf("%q is passed on as %q, then as %q, %v", body, passed, twice, err)
		}
	})
}
