package query

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
)

type document struct {
	Paths map[string]map[string]struct {
		Parameters []struct {
			Ref  string `json:"$ref"`
			Name string
			In   string
		}
		Responses map[string]any
	}
	Components struct {
		Schemas map[string]struct {
			Properties map[string]any
			AllOf      []struct{ Properties map[string]any }
		}
	}
}

func readDocument(t *testing.T) (d document) {
	t.Helper()
	if err := json.Unmarshal(OpenAPI(), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// isPage reports whether a path, or a route's pattern, is a page for people.
func isPage(path string) bool {
	return path == "/" || strings.HasPrefix(path, "/browse/") || strings.HasPrefix(path, "/state/")
}

// TestOpenAPIRoutes: the document has the routes that are served, the pages for people aside.
func TestOpenAPIRoutes(t *testing.T) {
	var served, documented []string
	for _, r := range newFixture(t).server.mux.Routes() {
		isForm := r.Pattern == "/login" || r.Pattern == "/logout"
		if !isPage(r.Pattern) && !isForm && !strings.HasPrefix(r.Pattern, "/web/") {
			served = append(served, r.Method+" "+r.Pattern)
		}
	}
	for path, methods := range readDocument(t).Paths {
		for method := range methods {
			documented = append(documented, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(served)
	slices.Sort(documented)
	equal(t, "routes", documented, served)
}

// TestOpenAPIParameters: each call knows the parameters that the document gives it, and its own words name no other.
func TestOpenAPIParameters(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	for path, methods := range readDocument(t).Paths {
		name, ok := strings.CutPrefix(path, "/api/v1/views/{view_id}/")
		if _, reads := methods["get"]; !ok || !reads {
			continue
		}
		var want []string
		for _, p := range methods["get"].Parameters {
			switch ref := strings.TrimPrefix(p.Ref, "#/components/parameters/"); {
			case p.In == "query":
				want = append(want, p.Name)
			case ref != "" && ref != "view_id" && ref != "if_none_match":
				want = append(want, ref)
			}
		}
		// Every call takes explain, whatever else it knows.
		if !slices.Contains(want, "explain") {
			t.Errorf("%s lacks explain", name)
		}
		want = slices.DeleteFunc(want, func(p string) bool { return p == "explain" })
		slices.Sort(want)
		params := []string{"no_such_parameter", "1"}
		if name == "search" {
			params = append(params, "pattern", "a")
		}
		hint := f.call(name, params...).problem(http.StatusBadRequest, "no_such_parameter")["hint"].(string)
		known := []string(nil)
		if list, ok := strings.CutPrefix(hint, "known here: "); ok {
			known = strings.Split(list, ", ")
		}
		equal(t, name, known, want)
	}
}

// TestOpenAPISchemas: answers have the fields that the document has, and no others.
func TestOpenAPISchemas(t *testing.T) {
	f := newFixture(t)
	f.base(testView, sample())
	schemas := readDocument(t).Components.Schemas
	fields := func(name string) map[string]bool {
		out := map[string]bool{}
		for field := range schemas[name].Properties {
			out[field] = true
		}
		for _, part := range schemas[name].AllOf {
			for field := range part.Properties {
				out[field] = true
			}
		}
		return out
	}
	check := func(schema string, got map[string]any, extra ...string) {
		t.Helper()
		known := fields(schema)
		for _, e := range extra {
			maps.Copy(known, fields(e))
		}
		for field := range got {
			if !known[field] {
				t.Errorf("%s has no %s", schema, field)
			}
		}
	}
	for _, path := range []string{"/", "/docs/link", "/data/b\xff\xfed.txt", "/readme.txt"} {
		node := f.call("metadata", "path_b64", b64(path)).is(200).object()
		check("Node", node)
		for field := range schemas["Node"].Properties {
			optional := slices.Contains([]string{"path_b64", "target", "target_b64", "subtree"}, field)
			if _, there := node[field]; !there && !optional {
				t.Errorf("%q lacks %s", path, field)
			}
		}
		if sub, ok := node["subtree"].(map[string]any); ok {
			check("Totals", sub)
		}
	}
	check("Tree", f.call("tree", "limit", "1").object(), "Node")
	check("Entries", f.call("list", "limit", "1").object())
	stats := f.call("stats").object()
	check("Stats", stats)
	for field := range schemas["Stats"].Properties {
		if _, there := stats[field]; !there && field != "path_b64" {
			t.Errorf("stats lack %s", field)
		}
	}
	check("Sessions", f.call("sessions").object())
	check("Explain", f.call("list", "explain", "true").object()["explain"].(map[string]any))
	check("Problem", f.call("metadata", "path", "/nothing").object())
}
