package v2api

import (
	"bytes"
	"encoding/json"
	"math/bits"
	"slices"
	"strconv"
	"strings"

	"github.com/fustor/fustor/internal/pipeapi"
)

// states are V2's pipe states by their bits, the lowest first, each with the state of docs/agent.md that it is; none is one that
// says nothing of what the pipe does.
var states = [...]struct{ name, ours string }{
	{"initializing", "initializing"}, {"running", "running"}, {"paused", "paused"}, {"error", "error"}, {"conf_outdated", ""}, {"snapshot_sync", "snapshot"},
	{"message_sync", "watching"}, {"audit_phase", "audit"}, {"reconnecting", "reconnecting"}, {"draining", "draining"}, {"stopping", "draining"},
}

// precedence is which of several states at once is shown as the one: a pipe that watches and audits is in an audit.
var precedence = []string{"error", "paused", "draining", "reconnecting", "snapshot", "audit", "watching", "running", "initializing"}

// decodeState is the names of a pipe's states, as heartbeats have them (a decimal bit mask), and the one state of docs/agent.md that
// they come to. Bits that nobody has named are their numbers. Not ok: s is no bit mask.
func decodeState(s string) (names []string, ours string, ok bool) {
	mask, err := strconv.ParseUint(s, 10, 32)
	if err != nil || strings.HasPrefix(s, "+") {
		return nil, "", false
	}
	if mask == 0 {
		return []string{"stopped"}, "stopped", true
	}
	var all []string
	for ; mask != 0; mask &= mask - 1 {
		if bit := bits.TrailingZeros64(mask); bit < len(states) {
			names, all = append(names, states[bit].name), append(all, states[bit].ours)
		} else {
			names = append(names, strconv.FormatUint(1<<bit, 10))
		}
	}
	for _, ours := range precedence {
		if slices.Contains(all, ours) {
			return names, ours, true
		}
	}
	return names, "running", true
}

// AgentStatus is what the agent says of itself as our agents say it: its states by name (states) beside the bit mask (state_mask),
// and as state the one that they come to. Everything else is as it came. nil: it says nothing.
func (h *Heartbeat) AgentStatus() (*pipeapi.AgentStatus, error) {
	if len(h.Status) == 0 || bytes.Equal(h.Status, []byte("null")) {
		return nil, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(h.Status, &members); err != nil {
		return nil, &FieldError{"agent_status", "is no object"}
	}
	mask := strings.Trim(string(members["state"]), `"`)
	if names, ours, ok := decodeState(mask); ok {
		for name, value := range map[string]any{"state": ours, "states": names, "state_mask": mask} {
			raw, err := json.Marshal(value)
			if err != nil {
				return nil, err
			}
			members[name] = raw
		}
	}
	body, err := json.Marshal(members)
	if err != nil {
		return nil, err
	}
	status := &pipeapi.AgentStatus{}
	if err := json.Unmarshal(body, status); err != nil {
		return nil, &FieldError{"agent_status", "is malformed"}
	}
	return status, nil
}
