package ingest

import _ "embed"

// openAPI is the document of the pipe side, served at /openapi.json.
//
//go:embed openapi.json
var openAPI []byte
