package openapi

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// shape is an object as a schema describes it, with what allOf adds.
type shape struct {
	properties map[string]*schema
	required   []string
	open       bool // it may have other properties
}

// Bounds of schemas that contain themselves, and of the alternatives that are looked at.
const (
	maxDepth        = 20
	maxAlternatives = 64
)

// shapesOf are the objects that a schema allows: one, or the alternatives of oneOf and anyOf.
func shapesOf(s *schema, depth int) []shape {
	if s == nil || depth > maxDepth {
		return []shape{{open: true}}
	}
	all := []shape{{properties: s.Properties, required: s.Required, open: s.AdditionalProperties != nil && !s.AdditionalProperties.never || len(s.Properties) == 0}}
	join := func(with []shape) {
		var next []shape
		for _, a := range all {
			for _, b := range with {
				next = append(next, a.and(b))
			}
		}
		all = next[:min(len(next), maxAlternatives)]
	}
	for _, part := range s.AllOf {
		join(shapesOf(part, depth+1))
	}
	for _, of := range [][]*schema{s.OneOf, s.AnyOf} {
		var any []shape
		for _, part := range of {
			if part == nil || !part.Type.is(jsonNull) {
				any = append(any, shapesOf(part, depth+1)...)
			}
		}
		if len(any) > 0 {
			join(any)
		}
	}
	return all
}

func (a shape) and(b shape) shape {
	out := shape{properties: map[string]*schema{}, required: append(slices.Clone(a.required), b.required...)}
	maps.Copy(out.properties, a.properties)
	maps.Copy(out.properties, b.properties)
	out.open = len(out.properties) == 0 || len(a.properties) > 0 && a.open || len(b.properties) > 0 && b.open
	return out
}

// given is the value that a schema leaves no choice of, or its default.
func given(s *schema, withDefault bool) (any, bool) {
	switch {
	case s == nil:
	case s.Const != nil:
		return s.Const, true
	case len(s.Enum) == 1:
		return s.Enum[0], true
	case withDefault && s.Default != nil:
		return s.Default, true
	}
	return nil, false
}

// fill makes a body of an object's properties from values that are known by name. missing are the required ones that nothing gives.
func (a shape) fill(known map[string]any) (body map[string]any, missing []string) {
	body = map[string]any{}
	for _, name := range slices.Sorted(maps.Keys(a.properties)) {
		required := slices.Contains(a.required, name)
		if v, ok := given(a.properties[name], required); ok && (required || known[name] != nil) {
			body[name] = v
			continue
		}
		if v := known[name]; v != nil && takes(a.properties[name], kindOf(v)) {
			body[name] = v
		} else if required {
			missing = append(missing, name)
		}
	}
	for _, name := range a.required {
		if _, described := a.properties[name]; !described {
			if v := known[name]; v != nil {
				body[name] = v
			} else {
				missing = append(missing, name)
			}
		}
	}
	return body, missing
}

// kindOf is a value's type in JSON.
func kindOf(v any) string {
	switch v.(type) {
	case string:
		return jsonString
	case bool:
		return jsonBoolean
	case int64, uint64, int:
		return jsonInteger
	case float64:
		return jsonNumber
	case []any, json.RawMessage:
		return jsonArray
	case nil:
		return jsonNull
	}
	return jsonObject
}

// takes reports whether a schema may take a value of a type. What it cannot tell it takes for yes.
func takes(s *schema, kind string) bool { return takesWithin(s, kind, 0) }

func takesWithin(s *schema, kind string, depth int) bool {
	switch {
	case s == nil || kind == "" || depth > maxDepth:
		return true
	case s.never:
		return false
	case kind == jsonNull && s.Nullable:
		return true
	}
	for _, of := range [][]*schema{s.OneOf, s.AnyOf} {
		if len(of) > 0 {
			return slices.ContainsFunc(of, func(part *schema) bool { return takesWithin(part, kind, depth+1) })
		}
	}
	for _, part := range s.AllOf {
		if !takesWithin(part, kind, depth+1) {
			return false
		}
	}
	if kind == jsonNull && len(s.Type) == 0 {
		return len(s.Enum) == 0 && len(s.Properties) == 0
	}
	return s.Type.permits(kind) || kind == jsonInteger && s.Type.permits(jsonNumber)
}

// typesOf is what a schema says its type is, for people.
func typesOf(s *schema) string {
	if s == nil || len(s.Type) == 0 {
		return "of another type"
	}
	return "of type " + strings.Join(s.Type, " or ")
}

// isArray reports whether a schema is one of arrays.
func isArray(s *schema) bool { return s != nil && slices.Contains(s.Type, jsonArray) }

// jsonBody is the schema of the JSON body that an operation takes. ok is false if it takes another body.
func jsonBody(op *operation) (body *schema, there, ok bool) {
	if op.Body == nil {
		return nil, false, true
	}
	for _, media := range slices.Sorted(maps.Keys(op.Body.Content)) {
		if media == "application/json" || strings.HasPrefix(media, "application/json;") || strings.HasSuffix(media, "+json") || media == "*/*" {
			if content := op.Body.Content[media]; content != nil {
				body = content.Schema
			}
			return body, true, true
		}
	}
	return nil, false, !op.Body.Required
}
