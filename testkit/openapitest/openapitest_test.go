package openapitest_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/fustor/fustor/ingest"
	"github.com/fustor/fustor/internal/access"
	"github.com/fustor/fustor/internal/httpapi"
	"github.com/fustor/fustor/internal/store/local"
	"github.com/fustor/fustor/query"
	"github.com/fustor/fustor/testkit/openapitest"
)

// TestMerged: the document of a process that serves both sides, as `fustor up` does, is as valid as each.
func TestMerged(t *testing.T) {
	st, err := local.Open(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	keys, err := access.New(access.Options{Store: st})
	if err != nil {
		t.Fatal(err)
	}
	q, err := query.New(query.Options{Store: st, Authenticator: keys})
	if err != nil {
		t.Fatal(err)
	}
	i, err := ingest.New(ingest.Options{Store: st, Authenticator: keys})
	if err != nil {
		t.Fatal(err)
	}
	reads, err := q.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	pipes, err := i.OpenAPI()
	if err != nil {
		t.Fatal(err)
	}
	merged, err := httpapi.MergeOpenAPI(reads, pipes, "Pipe")
	if err != nil {
		t.Fatal(err)
	}
	of := func(document []byte) int { return len(openapitest.Read(t, document).Calls()) }
	const probes = 4 // which both have
	if n := of(merged); n != of(reads)+of(pipes)-probes {
		t.Errorf("%d calls of %d and %d", n, of(reads), of(pipes))
	}
}

const document = `{"openapi":"3.1.0","info":{"title":"t","version":"1"},"paths":{"/a/{id}":{"get":{"operationId":"a",
	"parameters":[{"name":"id","in":"path","required":true,"schema":{"type":"string"}}],
	"responses":{"200":{"description":"d","content":{"application/json":{"schema":{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}},
	"application/x-ndjson":{"schema":{"type":"object","properties":{"n":{"type":"integer"}}}}}},"204":{"description":"none"}}}}}}`

// failures is a test that only notes whether it failed.
type failures struct {
	testing.TB
	failed bool
}

func (f *failures) Helper()               {}
func (f *failures) Errorf(string, ...any) { f.failed = true }

// TestAnswersThatAreNotDescribed has each kind of answer that the document does not describe.
func TestAnswersThatAreNotDescribed(t *testing.T) {
	d := openapitest.Read(t, []byte(document))
	for _, c := range []struct {
		method, path   string
		status         int
		kind, body     string
		isNotDescribed bool
	}{
		{"GET", "/a/1", 200, "application/json", `{"n":1}`, false},
		{"GET", "/a/1/", 200, "application/json; charset=utf-8", `{"n":1}`, false},
		{"HEAD", "/a/1", 200, "application/json", ``, false},
		{"GET", "/b", 200, "text/html", `a page`, false},
		{"GET", "/a/1", 204, "", ``, false},
		{"GET", "/a/1", 200, "application/x-ndjson", "{\"n\":1}\n{\"n\":2}\n", false},
		{"GET", "/a/1", 200, "application/json", `{"n":"1"}`, true},
		{"GET", "/a/1", 200, "application/json", `{"n":1,"m":1}`, true},
		{"GET", "/a/1", 200, "application/json", `{}`, true},
		{"GET", "/a/1", 200, "application/json", `{`, true},
		{"GET", "/a/1", 200, "text/plain", `{"n":1}`, true},
		{"GET", "/a/1", 200, "application/x-ndjson", "{\"n\":1}\n{\"m\":2}\n", true},
		{"GET", "/a/1", 404, "application/problem+json", `{}`, true},
		{"GET", "/a/1", 204, "", `{}`, true},
	} {
		noted := &failures{TB: t}
		d.Answer(noted, httptest.NewRequest(c.method, c.path, nil), c.status, http.Header{"Content-Type": {c.kind}}, []byte(c.body))
		if noted.failed != c.isNotDescribed {
			t.Errorf("%s %s %d %s %q: failed is %v", c.method, c.path, c.status, c.kind, c.body, noted.failed)
		}
	}
}

// TestParametersThatAreNotDescribed has a server that knows other parameters than its document, or takes any.
func TestParametersThatAreNotDescribed(t *testing.T) {
	d := openapitest.Read(t, []byte(strings.ReplaceAll(document, "/a/", "/api/a/")))
	for problem, want := range map[string]bool{
		`{"detail":"unknown parameter \"no_such_parameter\"","hint":"this call takes no parameters"}`: false,
		`{"detail":"unknown parameter \"no_such_parameter\"","hint":"known here: limit"}`:             true,
		`{"n":1}`: true,
	} {
		noted := &failures{TB: t}
		d.Parameters(noted, func(string, string) (int, []byte) { return http.StatusBadRequest, []byte(problem) })
		if noted.failed != want {
			t.Errorf("%s: failed is %v", problem, noted.failed)
		}
	}
}
