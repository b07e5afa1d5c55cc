package openapi_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/fustor/fustor/internal/httpapi/openapi"
)

type inner struct {
	Role string `json:"role"`
}

type thing struct {
	Name string `json:"name"`
	inner
	Left  *thing            `json:"left,omitempty"`
	Size  *int64            `json:"size"`
	When  time.Time         `json:"when"`
	Bytes []byte            `json:"bytes"`
	By    map[string]uint32 `json:"by"`
	Any   json.RawMessage   `json:"any,omitzero"`
	Kind  kind              `json:"kind"`
	None  string            `json:"-"`
}

type kind string

type asked struct {
	Name string `json:"name"`
	Size int    `json:"size"`
}

type opaque struct{}

func (opaque) MarshalJSON() ([]byte, error) { return nil, nil }

type pair[T any] struct{ A, B T }

func build(d openapi.Document, calls ...openapi.Call) ([]byte, error) {
	d.Problem, d.Types = (*asked)(nil), append(d.Types, openapi.Type{Of: (*kind)(nil), Schema: `{"type":"string","enum":["a"]}`})
	return d.Build(calls)
}

func TestSchemas(t *testing.T) {
	document, err := build(openapi.Document{Notes: []openapi.Note{{At: "Inner.role", Text: "r"}, {At: "Thing.name", Also: `"minLength":1`}, {At: "Asked.size", Also: `"required":true`}}},
		openapi.Call{Method: "POST", Path: "/a", Operation: &openapi.Operation{ID: "a", Body: &openapi.Body{Type: (*asked)(nil)}, Answers: []openapi.Answer{{Type: (*thing)(nil)}}}})
	if err != nil {
		t.Fatal(err)
	}
	var d struct {
		Components struct{ Schemas map[string]any }
	}
	if err := json.Unmarshal(document, &d); err != nil {
		t.Fatal(err)
	}
	got, _ := json.Marshal(d.Components.Schemas)
	want := `{"Asked":{"properties":{"name":{"type":"string"},"size":{"format":"int64","type":"integer"}},"required":["size"],"type":"object"},` +
		`"Thing":{"properties":{"any":{},"by":{"additionalProperties":{"format":"int64","type":"integer"},"type":"object"},` +
		`"bytes":{"contentEncoding":"base64","type":"string"},"kind":{"enum":["a"],"type":"string"},"left":{"$ref":"#/components/schemas/Thing"},` +
		`"name":{"minLength":1,"type":"string"},"role":{"description":"r","type":"string"},"size":{"format":"int64","type":["integer","null"]},` +
		`"when":{"format":"date-time","type":"string"}},"required":["name","role","size","when","bytes","by","kind"],"type":"object"}}`
	if string(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// What does not fit is refused, and named.
func TestRefusals(t *testing.T) {
	answer := func(of any) openapi.Operation {
		return openapi.Operation{ID: "a", Answers: []openapi.Answer{{Type: of}}}
	}
	for _, c := range []struct {
		document  openapi.Document
		operation openapi.Operation
		path      string
		want      string
	}{
		{openapi.Document{Notes: []openapi.Note{{At: "Thing.nmae"}}}, answer((*thing)(nil)), "/a", "a note on Thing.nmae"},
		{openapi.Document{Notes: []openapi.Note{{At: "Thing.name"}, {At: "Thing.name"}}}, answer((*thing)(nil)), "/a", "two notes on Thing.name"},
		{openapi.Document{}, answer((*opaque)(nil)), "/a", "opaque writes its JSON itself"},
		{openapi.Document{}, answer((*pair[int])(nil)), "/a", "needs a name"},
		{openapi.Document{Types: []openapi.Type{{Of: (*asked)(nil), Name: "Thing"}}}, openapi.Operation{ID: "a", Answers: []openapi.Answer{{Type: (*thing)(nil)}, {Status: 201, Type: (*asked)(nil)}}}, "/a", "are both Thing"},
		{openapi.Document{}, openapi.Operation{}, "/a", `the operationId ""`},
		{openapi.Document{}, answer((*thing)(nil)), "/a/{id}", "nothing says what {id} is"},
		{openapi.Document{}, openapi.Operation{ID: "a", Errors: []int{404}}, "/a", "nothing says what 404 means"},
		{openapi.Document{}, openapi.Operation{ID: "a", Answers: []openapi.Answer{{Schema: `{`}}}, "/a", "{"},
	} {
		if _, err := build(c.document, openapi.Call{Method: "GET", Path: c.path, Operation: &c.operation}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v; want %q", err, c.want)
		}
	}
	twice := answer((*thing)(nil))
	if _, err := build(openapi.Document{}, openapi.Call{Method: "GET", Path: "/a", Operation: &twice}, openapi.Call{Method: "GET", Path: "/b", Operation: &twice}); err == nil {
		t.Error("two operations of one name")
	}
}
