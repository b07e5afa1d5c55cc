package openapi

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/fustor/fustor/agent/send"
	"github.com/fustor/fustor/internal/httpclient"
)

// call is one operation, ready to be called.
type call struct {
	*candidate
	role       string
	base       *url.URL
	credential credential
	parameters []parameter
	body       *schema // of JSON; nil: any
	hasBody    bool
	inSession  bool // it names the session
}

// parameter is a value in the path, the query or a header.
type parameter struct {
	name, in string
	source   string // a name of known; empty: fixed
	fixed    string
}

// idempotencyKey is the header that every request with events has.
const idempotencyKey = "Idempotency-Key"

// The names under which documents know what the sender knows, in bodies and parameters.
var aliases = map[string][]string{
	"session": {"session_id", "session-id", "sessionid", "session"},
	"view":    {"view", "view_id", "view-id", "viewid", "dataset", "dataset_id"},
	"agent":   {"agent_id", "agent-id", "agentid", "agent"},
	"task":    {"task_id", "task-id", "taskid", "task"},
	"source":  {"source_uri", "source-uri", "sourceuri"},
}

// sourceOf is what a name is known as; empty: it is not known.
func sourceOf(name string) string {
	for source, all := range aliases {
		if slices.Contains(all, strings.ToLower(name)) {
			return source
		}
	}
	return ""
}

// spread has each value under all of its names.
func spread(known map[string]string) map[string]any {
	out := map[string]any{}
	for source, v := range known {
		if v == "" {
			continue
		}
		for _, name := range aliases[source] {
			out[name] = v
		}
	}
	// As Python and JavaScript write them.
	for _, camel := range []string{"sessionId", "viewId", "agentId", "taskId", "sourceUri", "datasetId"} {
		if v, ok := out[strings.ToLower(camel)]; ok {
			out[camel] = v
		}
	}
	return out
}

func (d *document) newCall(role string, c *candidate, o *Options) (*call, error) {
	out := &call{candidate: c, role: role}
	fail := func(format string, args ...any) (*call, error) {
		return nil, fmt.Errorf("%s, the operation for %s: %s", c, role, fmt.Sprintf(format, args...))
	}
	var err error
	var needed, ok bool
	if out.base, err = d.base(c.item, c.op, o.Server); err != nil {
		return fail("%v", err)
	}
	if out.credential, needed, err = d.credentialOf(c.op); err != nil {
		return fail("%v", err)
	}
	switch {
	case needed && o.Key == "":
		return fail("it needs a key: give the sender api_key_file, api_key_env or api_key")
	case o.Key != "" && out.credential.header == "" && role == roleEvents:
		return fail("the sender has a key, and the document does not say how to send one (securitySchemes)")
	}
	if out.body, out.hasBody, ok = jsonBody(c.op); !ok {
		return fail("it takes no JSON")
	}
	if err := out.findParameters(); err != nil {
		return fail("%v", err)
	}
	return out, nil
}

// findParameters says where the values of its parameters come from.
func (c *call) findParameters() error {
	all := slices.Clone(c.op.Parameters)
	for _, of := range c.item.Parameters {
		if !slices.ContainsFunc(all, func(p *specParameter) bool { return p.Name == of.Name && p.In == of.In }) {
			all = append(all, of)
		}
	}
	for part := range strings.SplitSeq(c.path, "{") { // documents forget to describe some
		name, _, ok := strings.Cut(part, "}")
		if ok && !slices.ContainsFunc(all, func(p *specParameter) bool { return p.Name == name && p.In == "path" }) {
			all = append(all, &specParameter{Name: name, In: "path", Required: true})
		}
	}
	var missing []string
	for _, p := range all {
		one := parameter{name: p.Name, in: p.In, source: sourceOf(p.Name)}
		_, fixed := given(p.Schema, true)
		if p.In == "path" && one.source == "" && !fixed && c.role != roleSession && !slices.ContainsFunc(c.parameters, func(p parameter) bool { return p.in == "path" && p.source == "session" }) {
			one.source = "session"
		}
		known := one.source != "" && !(one.source == "session" && c.role == roleSession)
		if v, ok := given(p.Schema, true); ok && !known && p.Required {
			one.source, one.fixed, known = "", fmt.Sprint(v), true
		}
		switch {
		case p.In == "header" && (strings.EqualFold(p.Name, idempotencyKey) || strings.EqualFold(p.Name, c.credential.header)):
		case known:
			c.parameters = append(c.parameters, one)
			c.inSession = c.inSession || one.source == "session"
		case p.Required:
			missing = append(missing, p.Name+" in "+p.In)
		}
	}
	if missing != nil {
		return fmt.Errorf("it needs parameters that the sender does not know: %s", strings.Join(missing, ", "))
	}
	return nil
}

// request makes a request. known are the values of parameters, by their names in aliases.
func (c *call) request(ctx context.Context, key string, known map[string]string, body []byte) (*http.Request, error) {
	path, query, header := c.path, url.Values{}, http.Header{}
	for _, p := range c.parameters {
		v := p.fixed
		if p.source != "" {
			v = known[p.source]
		}
		switch {
		case p.in == "path":
			path = strings.ReplaceAll(path, "{"+p.name+"}", url.PathEscape(v))
		case v == "":
		case p.in == "query":
			query.Set(p.name, v)
		case p.in == "header":
			header.Set(p.name, v)
		}
	}
	var reader io.Reader
	if body != nil {
		reader = bytes.NewReader(body)
		header.Set("Content-Type", "application/json")
	}
	target := c.base.String() + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	r, err := http.NewRequestWithContext(ctx, c.method, target, reader)
	if err != nil {
		return nil, err
	}
	r.Header = header
	r.Header.Set("Accept", "application/json")
	if key != "" && c.credential.header != "" {
		r.Header.Set(c.credential.header, c.credential.prefix+key)
	}
	return r, nil
}

// maxAnswer bounds the answers that are read, bytes.
const maxAnswer = 4 << 20

// do sends a request and returns the body of a 2xx answer; another one is a *send.StatusError.
func do(client *http.Client, r *http.Request) ([]byte, error) {
	response, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("read answer: %w", err)
	}
	if err := httpclient.CheckNoPage(response); err != nil && response.StatusCode/100 == 2 {
		return nil, err
	}
	if response.StatusCode/100 != 2 {
		return nil, &send.StatusError{Status: response.StatusCode, Server: "the server", Detail: detail(answer), RetryAfter: send.RetryAfter(response.Header)}
	}
	return answer, nil
}

// detail is what an answer says of an error, as servers mostly put it.
func detail(answer []byte) string {
	var members map[string]json.RawMessage
	if json.Unmarshal(answer, &members) == nil {
		for _, name := range []string{"detail", "message", "error", "title"} {
			raw := members[name]
			var text string
			if json.Unmarshal(raw, &text) == nil && text != "" {
				return text
			}
			if len(raw) > 0 && string(raw) != "null" {
				return fmt.Sprintf("%.500s", raw)
			}
		}
	}
	return fmt.Sprintf("%.500s", bytes.TrimSpace(answer))
}
