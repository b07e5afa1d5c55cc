package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// Member is a member of a forest, and how it fared in a call.
type Member struct {
	View   string `json:"view"`
	Status string `json:"status"` // ok, absent (it has no such path), not_ready, forbidden, timeout, error
	Error  string `json:"error"`
	Answered
}

// Answered is the version of a view that answered: its number, and when it was published, in Unix seconds.
type Answered struct {
	Version     uint64  `json:"version"`
	PublishedAt float64 `json:"published_at"`
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
			m.Error = oneLine(m.Error)
			s.by[m.View] = m
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

// answeredBy reads the headers that say which version of a view answered.
func answeredBy(h http.Header) (a Answered, ok bool) {
	var errs [2]error
	a.Version, errs[0] = strconv.ParseUint(h.Get("Fustor-Version"), 10, 64)
	a.PublishedAt, errs[1] = strconv.ParseFloat(h.Get("Fustor-Published-At"), 64)
	return a, errors.Join(errs[:]...) == nil
}

// AnsweredBy is the version that the last call was answered from, or those of a forest's members, by name; none: no call was, or the server
// does not say.
func (c *Client) AnsweredBy() []Member {
	if a := c.answered.Load(); a != nil {
		return []Member{{Answered: *a}}
	}
	c.members.mu.Lock()
	defer c.members.mu.Unlock()
	var list []Member
	for _, m := range c.members.by {
		if m.Version > 0 {
			list = append(list, m)
		}
	}
	slices.SortFunc(list, func(a, b Member) int { return strings.Compare(a.View, b.View) })
	return list
}

// Moment is the version that Options.AsOf means, for which the server is asked.
func (c *Client) Moment(ctx context.Context) (Answered, error) {
	h, err := c.getPage(ctx, "/metadata", url.Values{"path": {"/"}}, &struct{}{}, "path")
	if err != nil {
		return Answered{}, err
	}
	a, ok := answeredBy(h)
	if !ok {
		return Answered{}, errors.New("the server is of an earlier build, which does not say when a version was published: pass a time in --as-of, or times such as 2026-01-31 in the other flags")
	}
	return a, nil
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
