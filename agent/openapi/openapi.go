// Package openapi feeds any server that publishes an OpenAPI document: it finds the operations that create a session, prove that
// it lives, take events and end it, and sends events to them. docs/agent.md has the rules.
//
// A Target is two things to package agent. Its Handler answers the calls that an agent makes to its ingest (internal/pipeapi) by
// the operations of the document, so that roles, lost sessions and pauses are the agent's own business. Its Send is the sender: a
// segment becomes requests in order, each with an idempotency key, and counts as sent once the server has answered each with 2xx.
// Servers that take Fustor's own events (rows.go) get them; others get records of the pipe's fields_mapping (records.go).
package openapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"

	"github.com/fustor/fustor/agent/record"
	"github.com/fustor/fustor/internal/httpclient"
)

// URL is what an agent of a Target has as the URL of its ingest: the Handler answers in this process.
const URL = "http://openapi"

// Options say which server a Target feeds. Document, View and HTTP must be given.
type Options struct {
	Document   string // URL or file
	Server     string // URL that paths are added to; empty: the document's first server
	Key        string // empty: none
	Operations Operations
	Fields     []record.Field // nil: the server must take Fustor's own events
	View       string
	HTTP       *http.Client
	Logger     *slog.Logger
}

// Operations are those of the roles: an operationId, METHOD PATH, or None. Those that are empty are found.
type Operations struct {
	Session   string `json:"session,omitempty"`   // creates a session, answers with its id
	Heartbeat string `json:"heartbeat,omitempty"` // proves that the session lives
	Events    string `json:"events,omitempty"`    // takes events; must be there
	Close     string `json:"close,omitempty"`     // ends the session
}

// Target is a server that takes events. It is safe for concurrent use, but Send, which one goroutine calls.
type Target struct {
	o                               Options
	session, heartbeat, end, events *call // all but events may be nil
	format                          format

	mu      sync.Mutex
	current current // session

	segment *segment // that is being sent
	round   round    // the audit that the session has sent rows of
}

// New reads the document and finds what it needs in it. An error says what is missing, or ambiguous, and what to set.
func New(ctx context.Context, o Options) (*Target, error) {
	o.HTTP = httpclient.New(o.HTTP)
	d, err := load(ctx, &o)
	if err != nil {
		return nil, err
	}
	t := &Target{o: o}
	if err := t.findOperations(d); err != nil {
		return nil, fmt.Errorf("%s: %w", o.Document, err)
	}
	if t.format, err = newFormat(t.events, &o, t.session != nil); err != nil {
		return nil, fmt.Errorf("%s: %s, the operation for events: %w", o.Document, t.events.candidate, err)
	}
	t.log()
	return t, nil
}

// findOperations finds the operations of all roles.
func (t *Target) findOperations(d *document) error {
	all := d.candidates()
	var problems []error
	of := &t.o.Operations
	for _, r := range []struct {
		role, configured string
		at               **call
	}{
		{roleSession, of.Session, &t.session}, {roleHeartbeat, of.Heartbeat, &t.heartbeat},
		{roleEvents, of.Events, &t.events}, {roleClose, of.Close, &t.end},
	} {
		c, err := find(all, r.role, r.configured)
		if err == nil && c != nil {
			*r.at, err = d.newCall(r.role, c, &t.o)
		}
		if err != nil {
			problems = append(problems, err)
		}
	}
	if len(problems) > 0 {
		return errors.Join(problems...)
	}
	if t.events == nil {
		return fmt.Errorf("no operation for events was found: name one under operations; those that take a body are %s", list(writing(all)))
	}
	if t.session == nil {
		t.heartbeat, t.end = nil, nil
		if t.events.inSession {
			return fmt.Errorf("%s has a parameter that is, or is taken for, the id of a session, and no operation creates one: name it under operations", t.events.candidate)
		}
		return nil
	}
	return t.checkSession()
}

// checkSession tries whether the bodies of the session's calls can be made.
func (t *Target) checkSession() error {
	for _, c := range []*call{t.session, t.heartbeat, t.end} {
		if c == nil || !c.hasBody {
			continue
		}
		if _, missing := c.fill(example(c.role)); len(missing) > 0 {
			return fmt.Errorf("%s, the operation for %s, requires fields that the sender does not know: %s; name another under operations, or %q",
				c.candidate, c.role, strings.Join(missing, ", "), None)
		}
	}
	return nil
}

// log says what was found.
func (t *Target) log() {
	of := func(c *call) string {
		if c == nil {
			return None
		}
		return c.String()
	}
	t.o.Logger.Info("the OpenAPI document was read", "document", t.o.Document, "server", t.events.base.String(), roleEvents, of(t.events),
		roleSession, of(t.session), roleHeartbeat, of(t.heartbeat), roleClose, of(t.end), "format", t.format.name())
}

// fill makes a body for an operation: of the first alternative whose required fields are all known.
func (c *call) fill(known map[string]any) (body map[string]any, missing []string) {
	for _, s := range shapesOf(c.body, 0) {
		b, m := s.fill(known)
		if len(m) == 0 {
			return b, nil
		}
		if missing == nil || len(m) < len(missing) {
			missing = m
		}
	}
	return nil, missing
}
