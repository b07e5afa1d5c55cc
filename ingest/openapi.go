package ingest

import (
	_ "embed"
	"slices"
)

//go:embed openapi.json
var openAPI []byte

// OpenAPI is the document of the pipe side and of the probes (OpenAPI 3.1, JSON).
func OpenAPI() []byte { return slices.Clone(openAPI) }
