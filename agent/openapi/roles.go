package openapi

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// The roles of operations, as x-fustor-role names them; Operations says what they do.
const (
	roleSession   = "session"
	roleHeartbeat = "heartbeat"
	roleEvents    = "events"
	roleClose     = "close"
)

// None, in place of an operation, says that a role has none.
const None = "none"

// names are the operationIds that tell a role, in lower case without - and _.
var names = map[string][]string{
	roleSession:   {"createsession", "startsession", "opensession", "newsession", "registersession", "postsession"},
	roleHeartbeat: {"heartbeat", "sendheartbeat", "postheartbeat", "sessionheartbeat", "keepalive"},
	roleEvents:    {"sendevents", "postevents", "pushevents", "createevents", "addevents", "ingestevents", "sendevent", "postevent", "createevent", "addevent"},
	roleClose:     {"endsession", "closesession", "deletesession", "stopsession"},
}

// candidate is an operation of the document.
type candidate struct {
	method, path string
	item         *pathItem
	op           *operation
}

func (c *candidate) String() string {
	if c.op.ID == "" {
		return c.method + " " + c.path
	}
	return c.method + " " + c.path + " (" + c.op.ID + ")"
}

// candidates are all operations, in a fixed order.
func (d *document) candidates() (all []*candidate) {
	for _, path := range slices.Sorted(maps.Keys(d.Paths)) {
		item := d.Paths[path]
		if item == nil {
			continue
		}
		operations := item.operations()
		for _, method := range slices.Sorted(maps.Keys(operations)) {
			all = append(all, &candidate{method, path, item, operations[method]})
		}
	}
	return all
}

// find is the operation of a role: the one that is configured, or else the one that says so by x-fustor-role, by its operationId,
// or by its method and path, in this order. nil: there is none.
func find(all []*candidate, role, configured string) (*candidate, error) {
	if configured == None {
		return nil, nil
	}
	if configured != "" {
		for _, c := range all {
			if c.op.ID == configured || strings.EqualFold(c.method+" "+c.path, configured) {
				return c, nil
			}
		}
		return nil, fmt.Errorf("the document has no operation %q for %s; it has %s", configured, role, list(all))
	}
	for _, rule := range []func(*candidate) bool{
		func(c *candidate) bool { return c.op.Role == role },
		func(c *candidate) bool { return slices.Contains(names[role], plainName(c.op.ID)) },
		func(c *candidate) bool { return shaped(role, c) },
	} {
		var found []*candidate
		for _, c := range all {
			if rule(c) {
				found = append(found, c)
			}
		}
		switch {
		case len(found) == 1:
			return found[0], nil
		case len(found) > 1:
			return nil, fmt.Errorf("several operations may be the one for %s: %s; name one under operations", role, list(found))
		}
	}
	return nil, nil
}

func plainName(id string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(id))
}

// shaped reports whether an operation has the method and the path that a role mostly has.
func shaped(role string, c *candidate) bool {
	parts := strings.Split(strings.Trim(strings.ToLower(c.path), "/"), "/")
	last := parts[len(parts)-1]
	before := ""
	if len(parts) > 1 {
		before = parts[len(parts)-2]
	}
	switch role {
	case roleSession:
		return c.method == http.MethodPost && (last == "session" || last == "sessions")
	case roleHeartbeat:
		return c.method == http.MethodPost && (last == "heartbeat" || last == "heartbeats" || last == "keepalive")
	case roleEvents:
		return c.method == http.MethodPost && (last == "events" || last == "event")
	case roleClose:
		return c.method == http.MethodDelete && (before == "session" || before == "sessions") && strings.HasPrefix(last, "{")
	}
	return false
}

// list names at most twenty operations.
func list(all []*candidate) string {
	const most = 20
	var texts []string
	for _, c := range all[:min(len(all), most)] {
		texts = append(texts, c.String())
	}
	if len(all) > most {
		texts = append(texts, fmt.Sprintf("and %d more", len(all)-most))
	}
	if texts == nil {
		return "none"
	}
	return strings.Join(texts, ", ")
}

// writing are those that take a body, which a role could have.
func writing(all []*candidate) (out []*candidate) {
	for _, c := range all {
		if c.op.Body != nil && (c.method == http.MethodPost || c.method == http.MethodPut) {
			out = append(out, c)
		}
	}
	return out
}
