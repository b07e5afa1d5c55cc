// Package openapitest holds a server to its OpenAPI document: the document is valid, its examples are what its schemas say,
// each call takes the parameters that it has and no others, and every answer of the server's tests is one that it describes.
//
// Schemas are read more strictly than clients should: a field that the document does not have is a fault here.
package openapitest

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Document is one that answers are held against. It is safe for concurrent use.
type Document struct {
	calls    []call
	raw      any
	compiler *jsonschema.Compiler

	mu      sync.Mutex
	schemas map[string]*jsonschema.Schema // by JSON pointer

	valid sync.Map // hashes of a schema's pointer and a value that it has been found to hold for: many answers come again and again
}

// call is one operation of the document.
type call struct {
	method, path string
	operation    map[string]any
	pattern      *regexp.Regexp
	wildcards    int
}

const name = "https://fustor.example/openapi.json"

// Read reads a document, which must be valid, and checks its examples.
func Read(t testing.TB, document []byte) *Document {
	t.Helper()
	loaded, err := openapi3.NewLoader().LoadFromData(document)
	if err == nil {
		err = loaded.Validate(t.Context())
	}
	if err != nil {
		t.Fatalf("the OpenAPI document is not valid: %v", err)
	}
	raw, err := jsonschema.UnmarshalJSON(bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	d := &Document{raw: closed(raw), compiler: jsonschema.NewCompiler(), schemas: map[string]*jsonschema.Schema{}}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	if err := d.compiler.AddResource(name, d.raw); err != nil {
		t.Fatal(err)
	}
	for path, methods := range d.raw.(map[string]any)["paths"].(map[string]any) {
		for method, operation := range methods.(map[string]any) {
			c := call{method: strings.ToUpper(method), path: path, operation: operation.(map[string]any), wildcards: strings.Count(path, "{")}
			literal := wildcard.Split(path, -1)
			for i := range literal {
				literal[i] = regexp.QuoteMeta(literal[i])
			}
			c.pattern = regexp.MustCompile("^" + strings.Join(literal, "[^/]+") + "/?$")
			d.calls = append(d.calls, c)
		}
	}
	slices.SortFunc(d.calls, func(a, b call) int { return strings.Compare(a.path+a.method, b.path+b.method) })
	d.examples(t)
	return d
}

var wildcard = regexp.MustCompile(`\{\w+\}`)

// closed refuses, in every schema with properties, those that it does not have, unless it says something of them itself.
func closed(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for key := range v {
			v[key] = closed(v[key])
		}
		if _, hasProperties := v["properties"].(map[string]any); hasProperties && v["type"] == "object" && v["additionalProperties"] == nil {
			v["additionalProperties"] = false
		}
	case []any:
		for i := range v {
			v[i] = closed(v[i])
		}
	}
	return v
}

// Calls are the operations, each as METHOD PATH.
func (d *Document) Calls() (out []string) {
	for _, c := range d.calls {
		out = append(out, c.method+" "+c.path)
	}
	return out
}

// examples validates those of requests and answers.
func (d *Document) examples(t testing.TB) {
	t.Helper()
	for _, c := range d.calls {
		at := pointer("paths", c.path, strings.ToLower(c.method))
		body, _ := c.operation["requestBody"].(map[string]any)
		d.exampleOf(t, at+"/requestBody", body)
		for status, answer := range c.operation["responses"].(map[string]any) {
			d.exampleOf(t, at+"/responses/"+status, answer.(map[string]any))
		}
	}
}

func (d *Document) exampleOf(t testing.TB, at string, part map[string]any) {
	t.Helper()
	content, _ := part["content"].(map[string]any)
	for media, of := range content {
		if example, ok := of.(map[string]any)["example"]; ok {
			if err := d.validate(at+"/content/"+escape(media)+"/schema", example); err != nil {
				t.Errorf("the example at %s: %v", at, err)
			}
		}
	}
}

// validate holds a value against the schema at a JSON pointer.
func (d *Document) validate(at string, value any) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	schema, ok := d.schemas[at]
	if !ok {
		var err error
		if schema, err = d.compiler.Compile(name + "#" + at); err != nil {
			return err
		}
		d.schemas[at] = schema
	}
	return schema.Validate(value)
}

func pointer(parts ...string) (out string) {
	for _, p := range parts {
		out += "/" + escape(p)
	}
	return out
}

// escape makes a key fit for a JSON pointer in the fragment of a URL.
func escape(key string) string {
	return strings.NewReplacer("~", "~0", "/", "~1", "{", "%7B", "}", "%7D").Replace(key)
}

// find is the operation that answers a path.
func (d *Document) find(method, path string) (best call, ok bool) {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	for _, c := range d.calls {
		if c.method == method && c.pattern.MatchString(path) && (!ok || c.wildcards < best.wildcards) {
			best, ok = c, true
		}
	}
	return best, ok
}

// Answer holds one answer against the document. Paths that are not in it, such as pages for people, are passed over.
func (d *Document) Answer(t testing.TB, r *http.Request, status int, header http.Header, body []byte) {
	t.Helper()
	c, ok := d.find(r.Method, r.URL.EscapedPath())
	if !ok || status == http.StatusInternalServerError { // which may come anywhere
		return
	}
	at := pointer("paths", c.path, strings.ToLower(c.method), "responses") + "/" + strconv.Itoa(status)
	answer, ok := c.operation["responses"].(map[string]any)[strconv.Itoa(status)].(map[string]any)
	if !ok {
		t.Errorf("%s %s answers %d, which its document does not have: %s", c.method, c.path, status, body)
		return
	}
	if ref, ok := answer["$ref"].(string); ok {
		at = strings.TrimPrefix(ref, "#")
		answer = d.raw.(map[string]any)["components"].(map[string]any)["responses"].(map[string]any)[ref[strings.LastIndexByte(ref, '/')+1:]].(map[string]any)
	}
	content, _ := answer["content"].(map[string]any)
	if r.Method == http.MethodHead { // net/http sends no body, whatever the handler writes
		return
	}
	if len(content) == 0 {
		if len(body) > 0 {
			t.Errorf("%s %s answers %d with a body", c.method, c.path, status)
		}
		return
	}
	media, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if _, ok := content[media]; err != nil || !ok {
		t.Errorf("%s %s answers %d as %q; its document has %v", c.method, c.path, status, header.Get("Content-Type"), slices.Sorted(maps.Keys(content)))
		return
	}
	if body, err = d.withoutCost(r, body); err == nil {
		err = d.validateBody(at+"/content/"+escape(media)+"/schema", media, body)
	}
	if err != nil {
		t.Errorf("%s %s?%s answers %d with what its document does not describe: %v\n%.2000s", c.method, c.path, r.URL.RawQuery, status, err, body)
	}
}

// withoutCost takes out of an answer what it cost, which the parameter explain adds to any object.
func (d *Document) withoutCost(r *http.Request, body []byte) ([]byte, error) {
	var object map[string]json.RawMessage
	if !r.URL.Query().Has("explain") || json.Unmarshal(body, &object) != nil || object["explain"] == nil || len(object) == 1 {
		return body, nil
	}
	if err := d.validateJSON("/components/schemas/Explain", object["explain"]); err != nil {
		return nil, err
	}
	delete(object, "explain")
	return json.Marshal(object)
}

func (d *Document) validateBody(at, media string, body []byte) error {
	switch media {
	case "application/json", "application/problem+json":
		return d.validateJSON(at, body)
	case "application/x-ndjson":
		for line := range bytes.Lines(body) {
			if err := d.validateJSON(at, line); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d *Document) validateJSON(at string, body []byte) error {
	hash := sha256.Sum256(slices.Concat([]byte(at), []byte{0}, body))
	if _, known := d.valid.Load(hash); known {
		return nil
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err != nil {
		return err
	}
	if err := d.validate(at, value); err != nil {
		return err
	}
	d.valid.Store(hash, nil)
	return nil
}

// Parameters asks every call but the probes for a parameter that none has, and compares those that it says to know with
// those of the document. send sends a request with a key that may do everything; apart are parameters that calls take
// before they read theirs, and calls that read none and take any.
func (d *Document) Parameters(t testing.TB, send func(method, target string) (status int, body []byte), apart ...string) {
	t.Helper()
	for _, c := range d.calls {
		if !strings.HasPrefix(c.path, "/api/") && !strings.HasPrefix(c.path, "/iceberg/") || slices.Contains(apart, c.method+" "+c.path) {
			continue
		}
		target, documented := d.target(c)
		status, body := send(c.method, target)
		var problem struct {
			Detail, Hint string
			Error        struct{ Message string } // of Iceberg's catalog: the detail and the hint
		}
		err := json.Unmarshal(body, &problem)
		if detail, hint, ok := strings.Cut(problem.Error.Message, "; "); ok {
			problem.Detail, problem.Hint = detail, hint
		}
		if err != nil || status != http.StatusBadRequest || !strings.Contains(problem.Detail, unknown) {
			t.Errorf("%s %s takes a parameter that it does not know: %d %s", c.method, c.path, status, body)
			continue
		}
		var known []string
		if list, ok := strings.CutPrefix(problem.Hint, "known here: "); ok {
			known = strings.Split(list, ", ")
		}
		slices.Sort(documented)
		documented = slices.DeleteFunc(documented, func(p string) bool { return slices.Contains(apart, p) })
		if !slices.Equal(known, documented) {
			t.Errorf("%s %s takes the parameters %q, its document has %q", c.method, c.path, known, documented)
		}
	}
}

const unknown = "no_such_parameter"

// target is a request of the call with a parameter that no call has, and the names of those that it has.
func (d *Document) target(c call) (target string, query []string) {
	target = c.path
	given := unknown + "=1"
	parameters, _ := c.operation["parameters"].([]any)
	for _, p := range parameters {
		p := p.(map[string]any)
		value := "x"
		if example, ok := p["example"]; ok {
			value = fmt.Sprint(example)
		}
		switch p["in"] {
		case "path":
			target = strings.ReplaceAll(target, "{"+p["name"].(string)+"}", value)
		case "query":
			query = append(query, p["name"].(string))
			if _, example := p["example"]; example {
				given += "&" + p["name"].(string) + "=" + url.QueryEscape(value)
			}
		}
	}
	return target + "?" + given, query
}
