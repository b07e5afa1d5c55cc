// Package openapi makes the OpenAPI 3.1 document of a server from the routes that it serves: each route is registered with
// an Operation (httpapi.Mux.HandleAPI), and the schemas of what it reads and writes come from their Go types.
//
// Operations and notes are literals without a call in them, so that a process that is never asked for its document pays
// nothing for it. Build refuses what does not fit: a note on a field that is not there, a type whose JSON it cannot know, two
// operations of one name. Tests hold the document against the handlers (testkit/openapitest).
package openapi

// Operation is what one route does.
type Operation struct {
	ID          string // operationId: the name of a function in generated clients
	Tag         string
	Summary     string // a line
	Description string // more, where a line is not enough
	// Parameters are those of the query and of headers. Those of the path come from the route.
	Parameters []Parameter
	Body       *Body
	Answers    []Answer
	// Errors are the statuses of problems, beside Answers. Document.Errors says what they mean.
	Errors []int
	// Open says that the call takes no key.
	Open bool
	// Role is what the call is for an agent's sender of type openapi (x-fustor-role; docs/agent.md); empty: nothing.
	Role string
}

// Parameter is a value in the query, a header or the path.
type Parameter struct {
	Name   string
	In     string // query, header or path; empty: query
	Text   string
	Schema string // JSON; empty: a string
	// Required holds for the query. What is in the path is always required.
	Required bool
	Example  string // JSON; empty: none
}

// Body is what a call reads.
type Body struct {
	Type     any    // a nil pointer to the Go type; nil: Schema
	Schema   string // JSON, where there is no type
	Media    string // empty: application/json
	Text     string
	Example  string // JSON; empty: none
	Optional bool
}

// Answer is one thing that a call answers. Several of one status differ by media type.
type Answer struct {
	Status  int    // 0: 200
	Text    string // when it is answered, or what it is
	Type    any    // a nil pointer to the Go type; nil: Schema
	Schema  string // JSON, where there is no type; empty too: no body
	Media   string // empty: application/json
	Headers []Header
	Example string // JSON; empty: none
}

// Header of an answer.
type Header struct{ Name, Text string }

// Document is what all operations of a server share.
type Document struct {
	Title       string
	Description string
	Address     string // where such a server mostly is: host:port
	// Path says what stands in the paths of routes.
	Path []Parameter
	// Errors say what problems mean, by status; Problem is a nil pointer to their Go type.
	Errors  []Problem
	Problem any
	Types   []Type
	Notes   []Note
}

// Problem is an error that several operations answer.
type Problem struct {
	Status int
	Name   string // of the component
	Text   string
}

// Type names a Go type, or says what its JSON is where that is not what its fields say. With none of Schema, As, OneOf and AnyOf it
// is by its fields, whatever its MarshalJSON does.
type Type struct {
	Of     any    // a nil pointer to it
	Name   string // of the component; empty: as in Go, and no component if it is not a struct
	Schema string // JSON schema, as JSON
	As     any    // a nil pointer to another type, whose JSON it has
	OneOf  []any  // nil pointers to the types that it may be, exactly one at a time
	AnyOf  []any  // the same, where the fields of one are all in another
	// Optional says that any of its fields may be missing.
	Optional bool
}

// Note adds to the schema of a type, or of a field.
type Note struct {
	At   string // TYPE or TYPE.field, by the names of the component (or of the embedded or generic type) and of the JSON
	Text string
	Also string // members of the JSON schema, such as `"enum":["a","b"]`; "required":true makes a field of a request required
}

// Call is one route and what it does.
type Call struct {
	Method, Path string
	*Operation
}
