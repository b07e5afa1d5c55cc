package openapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"
)

// object is a part of the document.
type object = map[string]any

// Build makes the document of the calls, as JSON.
func (d *Document) Build(calls []Call) ([]byte, error) {
	b := builder{reflector: newReflector(d), document: d, ids: map[string]string{}}
	paths := object{}
	for _, c := range calls { // what is read before what is written: a type that is both is as loose as what is read
		if c.Operation != nil && c.Body != nil && c.Body.Type != nil {
			b.loosen(reflect.TypeOf(c.Body.Type))
		}
	}
	for _, c := range calls {
		if c.Operation == nil {
			continue
		}
		item, _ := paths[c.Path].(object)
		if item == nil {
			item = object{}
			paths[c.Path] = item
		}
		item[strings.ToLower(c.Method)] = b.operation(c)
	}
	responses := object{}
	for _, p := range d.Errors {
		responses[p.Name] = b.problem(p.Text)
	}
	document := object{
		"openapi": "3.1.0",
		"info": object{"title": d.Title, "version": "1", "description": d.Description,
			"license": object{"name": "Apache-2.0", "identifier": "Apache-2.0"}},
		"servers": []any{object{"url": "{scheme}://{address}", "variables": object{
			"scheme":  object{"default": "http", "enum": []string{"http", "https"}},
			"address": object{"default": d.Address, "description": "Host and port, with the path before /api if a proxy adds one."},
		}}},
		"security": []any{object{"apiKey": []any{}}, object{"bearer": []any{}}},
		"paths":    paths,
		"components": object{"schemas": b.components, "responses": responses, "securitySchemes": object{
			"apiKey": object{"type": "apiKey", "in": "header", "name": "X-API-Key"},
			"bearer": object{"type": "http", "scheme": "bearer"},
		}},
	}
	if err := b.finish(); err != nil {
		return nil, fmt.Errorf("make the OpenAPI document: %w", err)
	}
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(document); err != nil {
		return nil, fmt.Errorf("make the OpenAPI document: %w", err)
	}
	return out.Bytes(), nil
}

type builder struct {
	*reflector
	document *Document
	ids      map[string]string // operationId to the route that has it
}

func (b *builder) operation(c Call) object {
	route := c.Method + " " + c.Path
	if other, taken := b.ids[c.ID]; taken || c.ID == "" {
		b.fail("%s and %s have the operationId %q", route, other, c.ID)
	}
	b.ids[c.ID] = route
	o := object{"operationId": c.ID, "summary": c.Summary, "responses": b.answers(c)}
	if c.Tag != "" {
		o["tags"] = []string{c.Tag}
	}
	if c.Description != "" {
		o["description"] = c.Description
	}
	if c.Role != "" {
		o["x-fustor-role"] = c.Role
	}
	if c.Open {
		o["security"] = []any{}
	}
	if parameters := b.parameters(c); len(parameters) > 0 {
		o["parameters"] = parameters
	}
	if c.Body != nil {
		content := b.content(c.Body.Type, c.Body.Schema, c.Body.Example)
		o["requestBody"] = object{"required": !c.Body.Optional, "content": object{cmp.Or(c.Body.Media, "application/json"): content}}
		if c.Body.Text != "" {
			o["requestBody"].(object)["description"] = c.Body.Text
		}
	}
	return o
}

// parameters are those of the path, in its order, and then the others.
func (b *builder) parameters(c Call) (out []any) {
	for part := range strings.SplitSeq(c.Path, "/") {
		name, ok := strings.CutPrefix(part, "{")
		if !ok {
			continue
		}
		name = strings.TrimSuffix(name, "}")
		i := slices.IndexFunc(b.document.Path, func(p Parameter) bool { return p.Name == name })
		if i < 0 {
			b.fail("%s: nothing says what {%s} is", c.Path, name)
			continue
		}
		p := b.document.Path[i]
		p.In, p.Required = "path", true
		out = append(out, b.parameter(p))
	}
	for _, p := range c.Parameters {
		p.In = cmp.Or(p.In, "query")
		out = append(out, b.parameter(p))
	}
	return out
}

func (b *builder) parameter(p Parameter) object {
	o := object{"name": p.Name, "in": p.In, "schema": b.raw(cmp.Or(p.Schema, `{"type":"string"}`))}
	if p.Text != "" {
		o["description"] = p.Text
	}
	if p.Required {
		o["required"] = true
	}
	if p.Example != "" {
		o["example"] = b.raw(p.Example)
	}
	return o
}

func (b *builder) answers(c Call) object {
	out := object{}
	for _, a := range c.Answers {
		status := strconv.Itoa(cmp.Or(a.Status, http.StatusOK))
		o, _ := out[status].(object)
		if o == nil {
			o = object{"description": a.Text}
			out[status] = o
		}
		if a.Type != nil || a.Schema != "" {
			content, _ := o["content"].(object)
			if content == nil {
				content = object{}
				o["content"] = content
			}
			content[cmp.Or(a.Media, "application/json")] = b.content(a.Type, a.Schema, a.Example)
		}
		for _, h := range a.Headers {
			headers, _ := o["headers"].(object)
			if headers == nil {
				headers = object{}
				o["headers"] = headers
			}
			headers[h.Name] = object{"description": h.Text, "schema": object{"type": "string"}}
		}
	}
	errors := c.Errors
	if slices.Contains(errors, http.StatusUnauthorized) && !slices.Contains(errors, http.StatusTooManyRequests) {
		errors = append(slices.Clone(errors), http.StatusTooManyRequests) // to wrong keys, beyond some
	}
	for _, status := range errors {
		i := slices.IndexFunc(b.document.Errors, func(p Problem) bool { return p.Status == status })
		if i < 0 {
			b.fail("%s %s: nothing says what %d means", c.Method, c.Path, status)
			continue
		}
		out[strconv.Itoa(status)] = object{"$ref": "#/components/responses/" + b.document.Errors[i].Name}
	}
	return out
}

func (b *builder) content(of any, schema, example string) object {
	o := object{}
	if of != nil {
		o["schema"] = b.pointedTo(of)
	} else {
		o["schema"] = b.raw(schema)
	}
	if example != "" {
		o["example"] = b.raw(example)
	}
	return o
}

func (b *builder) problem(text string) object {
	return object{"description": text, "content": object{"application/problem+json": object{"schema": b.pointedTo(b.document.Problem)}}}
}
