package httpapi

import (
	"encoding/json"
	"fmt"
	"strings"
)

// MergeOpenAPI is one OpenAPI document of two handlers that one process serves. Where both have a path, main's counts;
// other's components get names that begin with prefix, as both may have a Problem. Both authenticate alike.
func MergeOpenAPI(main, other []byte, prefix string) ([]byte, error) {
	var a, b map[string]any
	if err := json.Unmarshal(main, &a); err != nil {
		return nil, fmt.Errorf("read OpenAPI document: %w", err)
	}
	if err := json.Unmarshal(other, &b); err != nil {
		return nil, fmt.Errorf("read OpenAPI document: %w", err)
	}
	paths := member(a, "paths")
	for path, item := range member(b, "paths") {
		if _, both := paths[path]; !both {
			paths[path] = prefixRefs(item, prefix)
		}
	}
	components := member(a, "components")
	for kind, named := range member(b, "components") {
		if kind == "securitySchemes" {
			continue
		}
		into := member(components, kind)
		for name, component := range named.(map[string]any) {
			into[prefix+name] = prefixRefs(component, prefix)
		}
	}
	return json.MarshalIndent(a, "", "  ")
}

// member is an object within an object, made if it is not there.
func member(of map[string]any, name string) map[string]any {
	m, ok := of[name].(map[string]any)
	if !ok {
		m = map[string]any{}
		of[name] = m
	}
	return m
}

// prefixRefs puts prefix before the component's name in every reference.
func prefixRefs(v any, prefix string) any {
	switch v := v.(type) {
	case map[string]any:
		for k, x := range v {
			if ref, ok := x.(string); ok && k == "$ref" {
				i := strings.LastIndexByte(ref, '/') + 1
				v[k] = ref[:i] + prefix + ref[i:]
			} else {
				v[k] = prefixRefs(x, prefix)
			}
		}
	case []any:
		for i := range v {
			v[i] = prefixRefs(v[i], prefix)
		}
	}
	return v
}
