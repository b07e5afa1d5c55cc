package openapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// The parts of an OpenAPI 3.0 or 3.1 document that say how to make a request. All else in it is skipped. After parse, every
// reference has been followed: a schema that contains itself is a cycle of pointers.
type (
	spec struct {
		Version    any                  `json:"openapi"` // in YAML without quotes, 3.1 is a number
		Servers    []server             `json:"servers"`
		Security   []map[string]any     `json:"security"`
		Paths      map[string]*pathItem `json:"paths"`
		Components struct {
			SecuritySchemes map[string]*securityScheme `json:"securitySchemes"`
		} `json:"components"`
	}
	server struct {
		URL       string `json:"url"`
		Variables map[string]struct {
			Default string `json:"default"`
		} `json:"variables"`
	}
	securityScheme struct {
		Ref    string `json:"$ref"`
		Type   string `json:"type"`
		Name   string `json:"name"`
		In     string `json:"in"`
		Scheme string `json:"scheme"`
	}
	pathItem struct {
		Ref        string           `json:"$ref"`
		Servers    []server         `json:"servers"`
		Parameters []*specParameter `json:"parameters"`
		Get        *operation       `json:"get"`
		Put        *operation       `json:"put"`
		Post       *operation       `json:"post"`
		Patch      *operation       `json:"patch"`
		Delete     *operation       `json:"delete"`
	}
	operation struct {
		ID         string            `json:"operationId"`
		Role       string            `json:"x-fustor-role"`
		Servers    []server          `json:"servers"`
		Parameters []*specParameter  `json:"parameters"`
		Body       *requestBody      `json:"requestBody"`
		Security   *[]map[string]any `json:"security"` // nil: the document's
	}
	specParameter struct {
		Ref      string  `json:"$ref"`
		Name     string  `json:"name"`
		In       string  `json:"in"`
		Required bool    `json:"required"`
		Schema   *schema `json:"schema"`
	}
	requestBody struct {
		Ref      string `json:"$ref"`
		Required bool   `json:"required"`
		Content  map[string]*struct {
			Schema *schema `json:"schema"`
		} `json:"content"`
	}
	// schema is nil where nothing is said.
	schema struct {
		Ref                  string             `json:"$ref"`
		Type                 types              `json:"type"`
		Properties           map[string]*schema `json:"properties"`
		AdditionalProperties *schema            `json:"additionalProperties"`
		Required             []string           `json:"required"`
		Items                *schema            `json:"items"`
		MaxItems             int                `json:"maxItems"`
		AllOf                []*schema          `json:"allOf"`
		OneOf                []*schema          `json:"oneOf"`
		AnyOf                []*schema          `json:"anyOf"`
		Enum                 []any              `json:"enum"`
		Const                any                `json:"const"`
		Default              any                `json:"default"`
		Nullable             bool               `json:"nullable"` // of 3.0
		never                bool               // it is false: nothing is allowed
		linked               bool
	}
)

// types are the names of JSON types: one, or in 3.1 several; nil: any.
type types []string

// UnmarshalJSON implements json.Unmarshaler.
func (t *types) UnmarshalJSON(b []byte) error {
	var one string
	if json.Unmarshal(b, &one) == nil {
		*t = types{one}
		return nil
	}
	return json.Unmarshal(b, (*[]string)(t))
}

// UnmarshalJSON implements json.Unmarshaler. In 3.1, a schema may be true or false.
func (s *schema) UnmarshalJSON(b []byte) error {
	switch string(bytes.TrimSpace(b)) {
	case "true":
		return nil
	case "false":
		s.never = true
		return nil
	}
	type plain schema
	return json.Unmarshal(b, (*plain)(s))
}

// operations are those of a path, by method.
func (p *pathItem) operations() map[string]*operation {
	all := map[string]*operation{"GET": p.Get, "PUT": p.Put, "POST": p.Post, "PATCH": p.Patch, "DELETE": p.Delete}
	for method, op := range all {
		if op == nil {
			delete(all, method)
		}
	}
	return all
}

// parse reads a document, JSON or YAML.
func parse(body []byte) (*spec, error) {
	if !json.Valid(body) {
		var err error
		if body, err = yaml.YAMLToJSON(body); err != nil {
			return nil, fmt.Errorf("it is neither JSON nor YAML: %s", yaml.FormatError(err, false, false))
		}
	}
	d := &spec{}
	if err := json.Unmarshal(body, d); err != nil {
		return nil, err
	}
	if version := fmt.Sprint(d.Version); version != "3" && !strings.HasPrefix(version, "3.") {
		return nil, fmt.Errorf("its field \"openapi\" is %q: versions 3.0 and 3.1 are known", version)
	}
	l := linker{schemas: map[string]*schema{}}
	if err := json.Unmarshal(body, &l.whole); err != nil {
		return nil, err
	}
	l.spec(d)
	return d, l.err
}

// linker follows references.
type linker struct {
	whole   any
	schemas map[string]*schema
	err     error // the first
}

// at decodes what a reference leads to.
func (l *linker) at(ref string, to any) {
	path, ok := strings.CutPrefix(ref, "#/")
	v := l.whole
	for part := range strings.SplitSeq(path, "/") {
		part = strings.NewReplacer("~1", "/", "~0", "~").Replace(part)
		switch of := v.(type) {
		case map[string]any:
			v = of[part]
		case []any:
			i, err := strconv.Atoi(part)
			if v = nil; err == nil && i >= 0 && i < len(of) {
				v = of[i]
			}
		default:
			v = nil
		}
	}
	b, err := json.Marshal(v)
	switch {
	case !ok:
		err = fmt.Errorf("$ref %q leads to another document, which is not read: bundle the documents into one", ref)
	case v == nil:
		err = fmt.Errorf("$ref %q leads nowhere", ref)
	case err == nil:
		err = json.Unmarshal(b, to)
	}
	if err != nil && l.err == nil {
		l.err = err
	}
}

func (l *linker) spec(d *spec) {
	for _, s := range d.Components.SecuritySchemes {
		if s != nil && s.Ref != "" {
			l.at(s.Ref, s)
		}
	}
	for _, item := range d.Paths {
		if item == nil {
			continue
		}
		if item.Ref != "" {
			l.at(item.Ref, item)
		}
		l.parameters(&item.Parameters)
		for _, op := range item.operations() {
			l.parameters(&op.Parameters)
			if op.Body == nil {
				continue
			}
			if op.Body.Ref != "" {
				l.at(op.Body.Ref, op.Body)
			}
			for _, content := range op.Body.Content {
				if content != nil {
					l.schema(&content.Schema)
				}
			}
		}
	}
}

func (l *linker) parameters(all *[]*specParameter) {
	*all = slices.DeleteFunc(*all, func(p *specParameter) bool { return p == nil })
	for _, p := range *all {
		if p.Ref != "" {
			l.at(p.Ref, p)
		}
		l.schema(&p.Schema)
	}
}

// schema puts what a reference leads to in the place of it, here and in all that the schema is made of.
func (l *linker) schema(at **schema) {
	for hops := 0; *at != nil && (*at).Ref != ""; hops++ {
		ref := (*at).Ref
		target, known := l.schemas[ref]
		if !known {
			target = &schema{}
			l.schemas[ref] = target
			l.at(ref, target)
		}
		if *at = target; hops > maxDepth || l.err != nil {
			target.Ref = "" // references in circles mean nothing
		}
	}
	s := *at
	if s == nil || s.linked {
		return
	}
	s.linked = true
	for name := range s.Properties {
		p := s.Properties[name]
		l.schema(&p)
		s.Properties[name] = p
	}
	l.schema(&s.Items)
	l.schema(&s.AdditionalProperties)
	for _, list := range [][]*schema{s.AllOf, s.OneOf, s.AnyOf} {
		for i := range list {
			l.schema(&list[i])
		}
	}
}

// The JSON types.
const (
	jsonNull    = "null"
	jsonBoolean = "boolean"
	jsonInteger = "integer"
	jsonNumber  = "number"
	jsonString  = "string"
	jsonArray   = "array"
	jsonObject  = "object"
)

// permits reports whether a type is among them.
func (t types) permits(kind string) bool { return len(t) == 0 || slices.Contains(t, kind) }

// is reports whether they are this one alone.
func (t types) is(kind string) bool { return len(t) == 1 && t[0] == kind }
