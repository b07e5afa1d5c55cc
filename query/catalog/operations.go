package catalog

import (
	"net/http"

	"github.com/fustor/fustor/internal/httpapi/openapi"
	"github.com/fustor/fustor/internal/iceberg"
)

// What /openapi.json says of the catalog. Iceberg's REST specification has the calls in full.

const tag = "iceberg"

// errorAnswer is an error, as httpapi.ForIceberg has it written.
type errorAnswer struct {
	Error struct {
		Message string `json:"message"`
		Type    string `json:"type"`
		Code    int    `json:"code"`
	} `json:"error"`
}

// Of errors, by status.
var (
	badRequest   = openapi.Answer{Status: http.StatusBadRequest, Text: "A parameter is unknown, repeated or malformed.", Type: (*errorAnswer)(nil)}
	unauthorized = openapi.Answer{Status: http.StatusUnauthorized, Text: "No API key, or one that is not known.", Type: (*errorAnswer)(nil)}
	forbidden    = openapi.Answer{Status: http.StatusForbidden, Text: "The key may not read this view, or none without regard to file permissions.", Type: (*errorAnswer)(nil)}
	notFound     = openapi.Answer{Status: http.StatusNotFound, Text: "There is no such namespace, table or view.", Type: (*errorAnswer)(nil),
		Example: `{"error":{"message":"there is no namespace \"lab\": those that there are are fustor, changes and named","type":"NoSuchNamespaceException","code":404}}`}
	unavailable = openapi.Answer{Status: http.StatusServiceUnavailable, Text: "The object store cannot be read now.", Type: (*errorAnswer)(nil)}
	notModified = openapi.Answer{Status: http.StatusNotModified, Text: "The answer is still the one of If-None-Match."}
)

var (
	tagHeader   = []openapi.Header{{Name: "ETag", Text: "Of the answer, for If-None-Match."}}
	ifNoneMatch = openapi.Parameter{Name: "If-None-Match", In: "header", Text: "An ETag: 304 while the answer would still be that one."}
	pageToken   = openapi.Parameter{Name: "pageToken", Text: "next-page-token of the page before; empty for the first page. With neither this nor pageSize, the answer has everything."}
	pageSize    = openapi.Parameter{Name: "pageSize", Text: "Entries in a page at most.", Schema: `{"type":"integer","minimum":1,"default":1000}`}
	referenced  = openapi.Parameter{Name: "referenced-by", Text: "Which view of SQL reads the table. It makes no difference."}
)

// PathParameters are what stands in the paths.
var PathParameters = []openapi.Parameter{
	{Name: "namespace", Text: "The namespace: fustor has tables of views, changes tables of their changes, named views of SQL over the tables.", Example: `"fustor"`},
	{Name: "table", Text: "The table: a view of Fustor.", Example: `"research"`},
	{Name: "view", Text: "The view of SQL: a view of Fustor.", Example: `"research"`},
}

// Types name the types of the answers.
var Types = []openapi.Type{
	{Of: (*errorAnswer)(nil), Name: "IcebergError"}, {Of: (*configAnswer)(nil), Name: "IcebergConfig"}, {Of: (*namespacesAnswer)(nil), Name: "IcebergNamespaces"},
	{Of: (*namespaceAnswer)(nil), Name: "IcebergNamespace"}, {Of: (*tablesAnswer)(nil), Name: "IcebergTables"}, {Of: (*identifier)(nil), Name: "IcebergTableName"},
	{Of: (*tableAnswer)(nil), Name: "IcebergTable"}, {Of: (*viewAnswer)(nil), Name: "IcebergView"}, {Of: (*iceberg.ViewMetadata)(nil), Name: "IcebergViewMetadata"},
	{Of: (*iceberg.ViewVersion)(nil), Name: "IcebergViewVersion"}, {Of: (*iceberg.Representation)(nil), Name: "IcebergViewSQL"}, {Of: (*iceberg.ViewLogEntry)(nil), Name: "IcebergViewLogEntry"},
	{Of: (*iceberg.Schema)(nil), Name: "IcebergSchema"}, {Of: (*iceberg.SchemaField)(nil), Name: "IcebergSchemaField"}, {Of: (*credentialsAnswer)(nil), Name: "IcebergCredentials"},
}

var (
	configOperation = openapi.Operation{ID: "icebergConfig", Tag: tag, Summary: "What a client of the catalog has to know",
		Description: "The calls under /iceberg are the reading ones of Iceberg's REST catalog, whose specification has them in full. An API key is the bearer token. Calls that write answer 406.",
		Parameters:  []openapi.Parameter{{Name: "warehouse", Text: "Absent, empty or fustor: there is one."}, ifNoneMatch},
		Answers: []openapi.Answer{{Text: "The calls that there are.", Type: (*configAnswer)(nil), Headers: tagHeader,
			Example: `{"defaults":{},"overrides":{},"endpoints":["GET /v1/{prefix}/namespaces"]}`}, notModified, badRequest, unauthorized, forbidden, unavailable}}
	namespacesOperation = openapi.Operation{ID: "icebergNamespaces", Tag: tag, Summary: "The namespaces: fustor, changes and named",
		Parameters: []openapi.Parameter{{Name: "parent", Text: "Those below this one: none."}, pageToken, pageSize, ifNoneMatch},
		Answers: []openapi.Answer{{Text: "The namespaces.", Type: (*namespacesAnswer)(nil), Headers: tagHeader, Example: `{"namespaces":[["changes"],["fustor"],["named"]]}`},
			notModified, badRequest, unauthorized, forbidden, notFound, unavailable}}
	namespaceOperation = openapi.Operation{ID: "icebergNamespace", Tag: tag, Summary: "A namespace", Parameters: []openapi.Parameter{ifNoneMatch},
		Answers: []openapi.Answer{{Text: "The namespace.", Type: (*namespaceAnswer)(nil), Headers: tagHeader, Example: `{"namespace":["fustor"],"properties":{}}`},
			{Status: http.StatusNoContent, Text: "To HEAD: there is such a namespace."}, notModified, badRequest, unauthorized, forbidden, notFound, unavailable}}
	tablesOperation = openapi.Operation{ID: "icebergTables", Tag: tag, Summary: "The tables of a namespace: the views that the key may read and that are published, or their changes",
		Parameters: []openapi.Parameter{pageToken, pageSize, ifNoneMatch},
		Answers: []openapi.Answer{{Text: "The tables.", Type: (*tablesAnswer)(nil), Headers: tagHeader,
			Example: `{"identifiers":[{"namespace":["fustor"],"name":"research"}]}`}, notModified, badRequest, unauthorized, forbidden, notFound, unavailable}}
	tableOperation = openapi.Operation{ID: "icebergTable", Tag: tag, Summary: "A table with its metadata",
		Parameters: []openapi.Parameter{{Name: "snapshots", Text: "refs: only the current snapshot and those of pins.", Schema: `{"type":"string","enum":["all","refs"],"default":"all"}`}, referenced, ifNoneMatch},
		Answers: []openapi.Answer{{Text: "The table. metadata is as in Iceberg's table specification, config is what engines need to reach the store, but for credentials.",
			Type: (*tableAnswer)(nil), Headers: tagHeader,
			Example: `{"metadata-location":"s3://bucket/views/research/iceberg/metadata/v17.metadata.json","metadata":{"format-version":2},"config":{"s3.region":"eu-central-1"},"storage-credentials":[]}`},
			{Status: http.StatusNoContent, Text: "To HEAD: there is such a table."}, notModified, badRequest, unauthorized, forbidden, notFound, unavailable}}
	credentialsOperation = openapi.Operation{ID: "icebergCredentials", Tag: tag, Summary: "Credentials for a table's objects: none, engines have their own",
		Parameters: []openapi.Parameter{{Name: "planId", Text: "It makes no difference."}, referenced, ifNoneMatch},
		Answers: []openapi.Answer{{Text: "None.", Type: (*credentialsAnswer)(nil), Headers: tagHeader, Example: `{"storage-credentials":[]}`},
			notModified, badRequest, unauthorized, forbidden, notFound, unavailable}}
	viewsOperation = openapi.Operation{ID: "icebergViews", Tag: tag, Summary: "The views of SQL of a namespace: in named, one for each table", Parameters: []openapi.Parameter{pageToken, pageSize, ifNoneMatch},
		Answers: []openapi.Answer{{Text: "The views.", Type: (*tablesAnswer)(nil), Headers: tagHeader,
			Example: `{"identifiers":[{"namespace":["named"],"name":"research"}]}`}, notModified, badRequest, unauthorized, forbidden, notFound, unavailable}}
	viewOperation = openapi.Operation{ID: "icebergView", Tag: tag, Summary: "A view of SQL: a table with paths, names of owners, timestamps, extension and depth",
		Parameters: []openapi.Parameter{referenced, ifNoneMatch},
		Answers: []openapi.Answer{{Text: "The view. metadata is as in Iceberg's view specification, with SQL for Spark, Trino and DuckDB.", Type: (*viewAnswer)(nil), Headers: tagHeader},
			{Status: http.StatusNoContent, Text: "To HEAD: there is such a view."}, notModified, badRequest, unauthorized, forbidden, notFound, unavailable}}
	metricsOperation = openapi.Operation{ID: "icebergReportMetrics", Tag: tag, Summary: "Takes an engine's report of a scan, and forgets it",
		Body: &openapi.Body{Schema: `{"type":"object","required":["report-type"],"properties":{"report-type":{"type":"string"}},"additionalProperties":true}`, Example: `{"report-type":"scan-report"}`},
		Answers: []openapi.Answer{{Status: http.StatusNoContent, Text: "It is taken."}, badRequest, unauthorized, forbidden, notFound,
			{Status: http.StatusRequestEntityTooLarge, Text: "The report is larger than 1 MiB.", Type: (*errorAnswer)(nil)}, unavailable}}
)
