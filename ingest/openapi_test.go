package ingest

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// The document and the routes are the same.
func TestOpenAPI(t *testing.T) {
	f := newFixture(t, 1)
	served := f.want(f.send(f.ingests[0], agentKey, "GET", "/openapi.json", nil), 200)
	var documented []string
	for path, operations := range served.body["paths"].(map[string]any) {
		for method, operation := range operations.(map[string]any) {
			documented = append(documented, strings.ToUpper(method)+" "+path)
			o := operation.(map[string]any)
			if o["summary"] == "" || len(o["responses"].(map[string]any)) == 0 {
				t.Errorf("%s %s says nothing", method, path)
			}
		}
	}
	var routes []string
	for _, r := range f.ingests[0].mux.Routes() {
		routes = append(routes, r.Method+" "+r.Pattern)
	}
	slices.Sort(documented)
	slices.Sort(routes)
	if !slices.Equal(documented, routes) {
		t.Errorf("documented:\n%s\nserved:\n%s", strings.Join(documented, "\n"), strings.Join(routes, "\n"))
	}
	for _, ref := range references(served.body) {
		var at any = served.body
		for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
			m, _ := at.(map[string]any)
			at = m[part]
		}
		if at == nil {
			t.Errorf("%s leads nowhere", ref)
		}
	}
}

// The fields of the answers are those of the document.
func TestOpenAPIAnswers(t *testing.T) {
	f := newFixture(t, 1)
	var document map[string]any
	if err := json.Unmarshal(openAPI, &document); err != nil {
		t.Fatal(err)
	}
	schemas := document["components"].(map[string]any)["schemas"].(map[string]any)
	session := f.want(f.ask(0, "POST", "/api/v1/pipe/session", `{"task_id":"a"}`), 200)
	path := "/api/v1/pipe/session/" + session.text("session_id")
	for name, a := range map[string]answer{
		"Session": session, "Heartbeat": f.ask(0, "POST", path+"/heartbeat", `{"agent_status":{"x":1},"can_realtime":true}`), "Stats": f.ask(0, "GET", "/api/v1/pipe/stats", ""),
		"Pipe": f.ask(0, "GET", "/api/v1/pipe/pipes/a", ""), "Accepted": f.ask(0, "POST", "/api/v1/pipe/consistency/audit/end", ""),
		"Problem": f.ask(0, "GET", "/api/v1/pipe/session?x=1", ""),
	} {
		var has, documented []string
		for field := range a.body {
			has = append(has, field)
		}
		for field := range schemas[name].(map[string]any)["properties"].(map[string]any) {
			documented = append(documented, field)
		}
		slices.Sort(has)
		slices.Sort(documented)
		if !slices.Equal(has, documented) {
			t.Errorf("%s has %v, documented are %v", name, has, documented)
		}
	}
}

func references(v any) (refs []string) {
	switch v := v.(type) {
	case map[string]any:
		for key, value := range v {
			if s, ok := value.(string); ok && key == "$ref" {
				refs = append(refs, s)
			}
			refs = append(refs, references(value)...)
		}
	case []any:
		for _, value := range v {
			refs = append(refs, references(value)...)
		}
	}
	return refs
}
