package client

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Member is a member of a forest, and how it fared in a call.
type Member struct {
	View   string `json:"view"`
	Status string `json:"status"` // ok, absent (it has no such path), not_ready, forbidden, timeout, error
	Error  string `json:"error"`
}

// answered reports whether what the member has is in the answer.
func (m *Member) answered() bool { return m.Status == "ok" || m.Status == "absent" }

// IncompleteError: members of a forest did not answer. What the others have was delivered.
type IncompleteError struct {
	View    string
	Missing []Member
	Asked   int // members
}

func (e *IncompleteError) Error() string {
	var each []string
	for _, m := range e.Missing {
		each = append(each, m.View+": "+cmp.Or(m.Error, m.Status))
	}
	return fmt.Sprintf("the answer is not complete: %d of the %d members of forest %s did not answer: %s", len(e.Missing), e.Asked, e.View, strings.Join(each, "; "))
}

// members are how the members of a forest fared in all calls: each as in the first call that it did not answer.
type members struct {
	mu sync.Mutex
	by map[string]Member
}

func (s *members) note(list []Member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by == nil {
		s.by = map[string]Member{}
	}
	for _, m := range list {
		if before, known := s.by[m.View]; !known || before.answered() {
			s.by[m.View] = Member{m.View, m.Status, oneLine(m.Error)}
		}
	}
}

// noteBody notes the members in an answer that is one JSON object; of others, the header says less.
func (s *members) noteBody(h http.Header, body []byte) {
	said := h.Get(membersHeader)
	if said == "" {
		return
	}
	var of struct {
		Members []Member `json:"members"`
	}
	if json.Unmarshal(body, &of) == nil && len(of.Members) > 0 {
		s.note(of.Members)
		return
	}
	var list []Member
	for part := range strings.SplitSeq(said, ",") {
		view, status, _ := strings.Cut(strings.TrimSpace(part), "=")
		list = append(list, Member{View: view, Status: status})
	}
	s.note(list)
}

const membersHeader = "Fustor-Members"

// membersOfLine reads the last line of a stream about a forest.
func membersOfLine(line []byte) ([]Member, bool) {
	if !bytes.HasPrefix(line, []byte(`{"members":`)) {
		return nil, false
	}
	var last struct {
		Members []Member `json:"members"`
	}
	err := json.Unmarshal(line, &last)
	return last.Members, err == nil
}

// IsForest reports whether the calls so far were answered by members of a forest.
func (c *Client) IsForest() bool {
	c.members.mu.Lock()
	defer c.members.mu.Unlock()
	return len(c.members.by) > 0
}

// Incomplete is an IncompleteError if a member of a forest did not answer one of the calls so far; otherwise nil.
func (c *Client) Incomplete() error {
	c.members.mu.Lock()
	defer c.members.mu.Unlock()
	e := &IncompleteError{View: c.view, Asked: len(c.members.by)}
	for _, m := range c.members.by {
		if !m.answered() {
			e.Missing = append(e.Missing, m)
		}
	}
	if len(e.Missing) == 0 {
		return nil
	}
	slices.SortFunc(e.Missing, func(a, b Member) int { return strings.Compare(a.View, b.View) })
	return e
}
