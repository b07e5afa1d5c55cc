package openapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// reflector makes the schemas of Go types as encoding/json writes them. Structs with a name become components.
type reflector struct {
	components object
	types      map[reflect.Type]Type
	notes      map[string]Note
	used       map[string]bool // notes
	loose      map[reflect.Type]bool
	named      map[string]reflect.Type // components
	errs       []error
}

func newReflector(d *Document) *reflector {
	r := &reflector{components: object{}, types: map[reflect.Type]Type{}, notes: map[string]Note{}, used: map[string]bool{},
		loose: map[reflect.Type]bool{}, named: map[string]reflect.Type{}}
	for _, t := range d.Types {
		r.types[reflect.TypeOf(t.Of).Elem()] = t
	}
	for _, n := range d.Notes {
		if _, twice := r.notes[n.At]; twice {
			r.fail("two notes on %s", n.At)
		}
		r.notes[n.At] = n
	}
	return r
}

func (r *reflector) fail(format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf(format, args...))
}

// finish is what did not fit.
func (r *reflector) finish() error {
	for _, at := range slices.Sorted(maps.Keys(r.notes)) {
		if !r.used[at] {
			r.fail("a note on %s, which no call reads or writes", at)
		}
	}
	return errors.Join(r.errs...)
}

// raw is a schema or an example that is written as JSON.
func (r *reflector) raw(text string) any {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		r.fail("%s: %v", text, err)
	}
	return v
}

// pointedTo is the schema of the type that the nil pointer p is for.
func (r *reflector) pointedTo(p any) object { return r.schema(reflect.TypeOf(p).Elem()) }

// loosen notes that t, and what it is made of, is read: of that nothing is required but what a note says.
func (r *reflector) loosen(t reflect.Type) {
	for _, variant := range slices.Concat(r.types[t].OneOf, r.types[t].AnyOf) {
		r.loosen(reflect.TypeOf(variant).Elem())
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		r.loosen(t.Elem())
	case reflect.Struct:
		if !r.loose[t] {
			r.loose[t] = true
			for f := range fields(t) {
				r.loosen(f.Type)
			}
		}
	}
}

var (
	timeType      = reflect.TypeFor[time.Time]()
	rawType       = reflect.TypeFor[json.RawMessage]()
	marshalerType = reflect.TypeFor[json.Marshaler]()
)

func (r *reflector) schema(t reflect.Type) object {
	if t.Kind() == reflect.Pointer {
		return r.schema(t.Elem())
	}
	if known, ok := r.types[t]; ok {
		switch {
		case known.As != nil:
			return r.pointedTo(known.As)
		case known.Name != "" && known.says():
			return r.component(t, known.Name)
		case known.says():
			return r.described(known)
		}
	}
	switch t {
	case timeType:
		return object{"type": "string", "format": "date-time"}
	case rawType:
		return object{}
	}
	if _, ok := r.types[t]; !ok && (t.Implements(marshalerType) || reflect.PointerTo(t).Implements(marshalerType)) {
		r.fail("%s writes its JSON itself: Document.Types must say what it is", t)
	}
	switch t.Kind() {
	case reflect.Bool:
		return object{"type": "boolean"}
	case reflect.String:
		return object{"type": "string"}
	case reflect.Int, reflect.Int64, reflect.Uint, reflect.Uint32, reflect.Uint64:
		return object{"type": "integer", "format": "int64"}
	case reflect.Int8, reflect.Int16, reflect.Int32, reflect.Uint8, reflect.Uint16:
		return object{"type": "integer", "format": "int32"}
	case reflect.Float32, reflect.Float64:
		return object{"type": "number"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return object{"type": "string", "contentEncoding": "base64"}
		}
		return object{"type": "array", "items": r.schema(t.Elem())}
	case reflect.Map:
		return object{"type": "object", "additionalProperties": r.schema(t.Elem())}
	case reflect.Interface:
		return object{}
	case reflect.Struct:
		if name := r.nameOf(t); name != "" {
			return r.component(t, name)
		}
		return r.structure(t, "")
	}
	r.fail("%s has no JSON", t)
	return object{}
}

func (r *reflector) nameOf(t reflect.Type) string {
	if known := r.types[t]; known.Name != "" {
		return known.Name
	}
	if strings.Contains(t.Name(), "[") {
		r.fail("%s needs a name of its own: Document.Types must say it", t)
	}
	return exported(t.Name())
}

// exported is the name of a type, in upper case; that of a generic type without its arguments.
func exported(name string) string {
	name, _, _ = strings.Cut(name, "[")
	first, n := utf8.DecodeRuneInString(name)
	if n == 0 {
		return ""
	}
	return string(unicode.ToUpper(first)) + name[n:]
}

// component is a reference to the schema of t among the components.
func (r *reflector) component(t reflect.Type, name string) object {
	switch other, there := r.named[name]; {
	case there && other != t:
		r.fail("%s and %s are both %s", t, other, name)
	case !there:
		r.named[name] = t
		if known := r.types[t]; known.says() {
			s := r.described(known)
			r.annotate(s, name)
			r.components[name] = s
		} else {
			r.components[name] = object{} // for types that contain themselves
			r.components[name] = r.structure(t, name)
		}
	}
	return object{"$ref": "#/components/schemas/" + name}
}

// says reports whether the schema is described.
func (t *Type) says() bool { return t.Schema != "" || t.OneOf != nil || t.AnyOf != nil }

// described is the schema of a type that Document.Types describes.
func (r *reflector) described(t Type) object {
	if t.Schema != "" {
		s, _ := r.raw(t.Schema).(object)
		return s
	}
	out := object{}
	for word, variants := range map[string][]any{"oneOf": t.OneOf, "anyOf": t.AnyOf} {
		var of []any
		for _, variant := range variants {
			of = append(of, r.pointedTo(variant))
		}
		if of != nil {
			out[word] = of
		}
	}
	return out
}

func (r *reflector) structure(t reflect.Type, name string) object {
	properties, required := object{}, []string{}
	loose := r.loose[t] || r.types[t].Optional
	for f := range fields(t) {
		property := r.schema(f.Type)
		optional := f.optional || loose
		if f.Type.Kind() == reflect.Pointer && !optional {
			property = nullable(property)
		}
		if r.annotate(property, name+"."+f.name, r.nameOf(f.in)+"."+f.name, exported(f.in.Name())+"."+f.name) {
			optional = false
		}
		if !optional {
			required = append(required, f.name)
		}
		properties[f.name] = property
	}
	s := object{"type": "object", "properties": properties}
	if len(required) > 0 {
		s["required"] = required
	}
	r.annotate(s, name)
	return s
}

// annotate adds what the first note there is says. It reports whether that makes a field required.
func (r *reflector) annotate(s object, at ...string) (required bool) {
	i := slices.IndexFunc(at, func(at string) bool { _, ok := r.notes[at]; return ok })
	if i < 0 {
		return false
	}
	n := r.notes[at[i]]
	r.used[n.At] = true
	if n.Text != "" {
		s["description"] = n.Text
	}
	if n.Also != "" {
		also, _ := r.raw("{" + n.Also + "}").(object)
		required, _ = also["required"].(bool)
		if required {
			delete(also, "required")
		}
		maps.Copy(s, also)
	}
	return required
}

func nullable(s object) object {
	if kind, ok := s["type"].(string); ok {
		s["type"] = []any{kind, "null"}
		return s
	}
	return object{"anyOf": []any{s, object{"type": "null"}}}
}

// field is one that encoding/json writes.
type field struct {
	reflect.StructField
	name     string
	in       reflect.Type // that declares it
	optional bool         // may be left out
}

// fields are those of t, embedded ones in their place.
func fields(t reflect.Type) func(yield func(field) bool) {
	return func(yield func(field) bool) { eachField(t, yield) }
}

func eachField(t reflect.Type, yield func(field) bool) bool {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		inner := f.Type
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		switch {
		case name == "-":
		case f.Anonymous && name == "" && inner.Kind() == reflect.Struct:
			absent := f.Type.Kind() == reflect.Pointer // and then so are its fields
			if !eachField(inner, func(f field) bool { f.optional = f.optional || absent; return yield(f) }) {
				return false
			}
		case !f.IsExported():
		default:
			if name == "" {
				name = f.Name
			}
			if !yield(field{f, name, t, strings.Contains(options, "omitempty") || strings.Contains(options, "omitzero")}) {
				return false
			}
		}
	}
	return true
}
